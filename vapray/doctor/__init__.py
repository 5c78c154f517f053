"""Whether this machine, this run's folder, this dataset and this cluster can do what a config asks, and manifests hold."""
