"""The page's Jinja templates and its style sheet; a package so that the wheel holds them."""
