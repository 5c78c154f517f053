"""Networks that predict noise: the U-ViT and its Prototype Condition Mechanism (PCM), in pure torch."""
