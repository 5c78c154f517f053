"""Measurements and repeated captions of a sample of captioned images, for the caption audit."""
