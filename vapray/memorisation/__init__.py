"""Audit of generated images for copies of training images: search, planted copies, test."""
