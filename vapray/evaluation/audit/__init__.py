"""Caption audit: claims of captions compared with images, with repeated captions and with expert ratings."""
