"""The documentation as a site: `make docs` writes it to docs/_build/html."""

from pathlib import Path

from ceiflow import __version__

project = "ceiflow"
author = copyright = "The ceiflow authors"
version = release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "ceiflow"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
napoleon_google_docstring = False
# Pages about one measurement each, in the order of the way of the data; those that are written.
SCIENCE = (
    "cross-sections",
    "real-files",
    "layer",
    "images",
    "fine-structure",
    "statistics",
    "simulation",
    "reports",
    "pages",
    "explorer",
)
HERE = Path(__file__).parent
REPOSITORY = HERE.parent


def _list_science(app, docname, source):
    """Put the pages that are there into the table of contents."""
    pages = "\n".join(name for name in SCIENCE if (HERE / f"{name}.md").exists())
    source[0] = source[0].replace("@SCIENCE@", pages)


def setup(app):
    app.connect("source-read", _list_science)
