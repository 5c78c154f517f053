"""Whether this machine, this run's folder, this dataset and this cluster do for a config, and manifests for a cluster."""
