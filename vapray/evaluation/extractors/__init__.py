"""Networks that turn pictures into feature vectors."""
