"""Measuring what was made: distances between sets, agreement with captions and labels, and the report."""
