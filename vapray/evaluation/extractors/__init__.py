"""Networks that map images to feature vectors."""
