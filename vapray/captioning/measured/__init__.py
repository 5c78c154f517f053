"""Attributes measured from pixels by classical image analysis: the captioner that needs no model."""
