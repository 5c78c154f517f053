"""Export: a trained model as a diffusers folder that needs no vapray."""
