"""Caption audit: how often captions contradict their images, and how far repeated captions agree."""
