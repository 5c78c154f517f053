"""Captioner for dermoscopy without a model: classical image analysis measures attributes, templates word them."""
