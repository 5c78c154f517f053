"""Checks that a machine, a run root, a dataset and a cluster meet the needs of a config."""
