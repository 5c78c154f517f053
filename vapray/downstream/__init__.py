"""Does synthetic data help? Classifiers trained with and without generated images, tested on real ones."""
