"""Start of the HTTP service, its Serve config and its API keys."""
