"""Ray Serve deployments (sampler, evaluator, captioner) with their scaling, retries, health and metrics."""
