"""The frozen encoder f_E, the decoder f_D, and the latent space between them."""
