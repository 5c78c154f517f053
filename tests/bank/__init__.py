"""Laws of the prompt bank and of the text encoders."""
