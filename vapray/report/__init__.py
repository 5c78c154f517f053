"""Page frame, templates, number formats and charts of all HTML pages; takes plain records."""
