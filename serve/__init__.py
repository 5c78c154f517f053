"""The service: sampler and evaluators as Ray Serve deployments behind an API that OpenAI's clients speak.

    client ──► Ingress ──► Sampler (one deployment for each checkpoint; the step-level engine)
               keys,   └─► Evaluator (metrics against cached reference statistics; nearest training pictures)
               limits, └─► Captioner (describes a picture)
               studio

``settings`` is what a service is told, ``backend`` what its HTTP side asks of its computing side, ``app`` puts both
together for Serve.
"""
