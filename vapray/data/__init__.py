"""Image input: dataset sources, image decoding and the drawn phantoms."""
