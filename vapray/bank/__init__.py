"""Class-specific prompt bank (CSPB) and the text encoders that turn captions into contexts."""
