"""Laws of the autoencoders and of the latent space."""
