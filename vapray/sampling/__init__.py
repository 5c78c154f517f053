"""Sampling: what to make, how it is made, and the public Python API."""
