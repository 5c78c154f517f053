"""Jinja templates and style sheet of the pages; a package, so that the wheel includes them."""
