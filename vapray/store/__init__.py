"""Table versions on a file system or object store: parts, manifests, fingerprints, leases, checkpoints."""
