"""Entry points for ``ray job submit``; each hands over to the library."""
