"""Phantoms: drawn images of three modalities with exactly known visual attributes."""
