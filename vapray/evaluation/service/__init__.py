"""Measurements of a service against the real images of a finished run.

``real_images`` finds the images, and ``reference`` loads or measures their features.
``set_measurement`` measures a set of images with the functions of the stage ``evaluate``; ``neighbours`` finds the
training images nearest to one image.
"""
