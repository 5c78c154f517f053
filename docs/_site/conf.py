"""Sphinx configuration of the documentation site; ``make docs`` builds it.

The source folder is the repository, so that a relative link means the same on the site and on a code host. Theme,
search index and images are files of the site: no page loads anything from another host.
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT)]

from vapray import __version__  # noqa: E402

project = "vapray"
author = "The vapray contributors"
copyright = "The vapray contributors. Not for clinical use"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "pages"]
root_doc = "docs/index"
include_patterns = ["docs/**.md", "*.md", "cluster/*.md", "tests/README.md", "tests/benchmarks/NOTES.md"]
exclude_patterns = [".*", "build", "runs", "site", "vapray", "serve", "jobs", "docs/_site"]
templates_path = ["templates"]

smartquotes = False
myst_enable_extensions = ["attrs_inline", "deflist"]
myst_heading_anchors = 4
highlight_language = "none"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True

html_theme = "furo"
html_title = f"vapray {__version__}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_additional_pages = {"index": "redirect.html"}
html_copy_source = False
html_theme_options = {"navigation_with_keys": False}
