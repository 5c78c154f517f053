"""File names of autoencoders: diffusers' layout, and the distribution of TAEF2."""

__all__ = ["CONFIG_FILE", "DECODER_FILE", "ENCODER_FILE", "WEIGHTS_FILE"]

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"
ENCODER_FILE, DECODER_FILE = "taef2_encoder.pth", "taef2_decoder.pth"
