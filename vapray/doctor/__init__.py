"""Whether this machine, a run's folder, a dataset and a cluster do for a config, and manifests for a cluster."""
