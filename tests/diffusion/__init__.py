"""Laws of the diffusion."""
