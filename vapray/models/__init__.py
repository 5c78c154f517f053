"""Noise prediction networks: the U-ViT with its Prototype Condition Mechanism (PCM) in pure torch, and baselines."""
