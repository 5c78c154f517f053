"""Drawn pictures of three modalities whose visual attributes are known exactly."""
