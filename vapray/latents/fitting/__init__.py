"""Stage that fits or loads the autoencoder."""
