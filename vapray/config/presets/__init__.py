"""Packaged recipes, as YAML files of settings."""
