"""HTTP image-generation service on Ray Serve; the API accepts the OpenAI client.

    client ──► Ingress (api) ──► ServeBackend ──┬─► sampler     one deployment per model; step-level batching
               keys, limits                     ├─► evaluator   set metrics, nearest training images
               studio page                      └─► captioner   captions of uploaded images

``app`` builds the application from ``settings``. ``api`` depends only on the ``Backend`` protocol in ``backend``, which
``serve_backend`` implements over the handles of ``deployments``. ``evaluations`` stores evaluation records.
``slow_readers`` runs in Ray Serve's proxy.
"""
