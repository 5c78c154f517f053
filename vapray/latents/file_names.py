"""Names of the files of autoencoders: diffusers' own, and those that TAEF2 is distributed under."""

__all__ = ["CONFIG_FILE", "DECODER_FILE", "ENCODER_FILE", "WEIGHTS_FILE"]

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"
ENCODER_FILE, DECODER_FILE = "taef2_encoder.pth", "taef2_decoder.pth"
