"""Downstream classifiers, trained with and without generated images and tested on real ones."""
