"""Prompt sets of rich captions as data: one YAML file per imaging modality."""
