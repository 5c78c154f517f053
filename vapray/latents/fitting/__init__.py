"""The stage that makes the autoencoder."""
