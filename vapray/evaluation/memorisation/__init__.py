"""Memorisation audit: search for generated images that copy training images."""
