"""Images in: the sources, the one decode function for everybody, and the drawn phantoms."""
