"""Prompt sets as data: one YAML file per imaging modality."""
