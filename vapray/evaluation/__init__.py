"""Evaluation of generated images: distances between sets, agreement with captions and labels, and the report."""
