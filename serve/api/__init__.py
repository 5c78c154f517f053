"""HTTP API: FastAPI over the ``Backend`` protocol, independent of Ray and torch.

request ──► RequestContextMiddleware ──► ApiKeyMiddleware ──► RequestBodyMiddleware ──► route ──► Backend
            (id, headers, audit log)     (authentication)     (limits, disconnect)
"""
