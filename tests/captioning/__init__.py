"""Captions say what is in the picture."""
