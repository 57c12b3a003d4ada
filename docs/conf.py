"""Sphinx configuration."""

import sys
from pathlib import Path

from equinet import __version__

sys.path.insert(0, str(Path(__file__).parent))
import options_page
import results_page

project = "equinet"
author = "The equinet developers"
copyright = "2026, The equinet developers"
version = release = __version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "offline_math",
    "typed_arguments",
]
html_math_renderer = "mathml"
html_theme = "furo"
html_title = "equinet"
html_static_path = ["_static"]
html_css_files = ["page.css"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3  # links to sections, as in data.md#pickled-lmdb-files
autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_google_docstring = True
# Fields of named tuples are members already; as objects of their own they would be there twice.
napoleon_use_ivar = True


results_page.write()
options_page.write()


def setup(app) -> None:  # noqa: ANN001 - Sphinx's application
    """Leave out what Python says of the fields of named tuples, which are described above them."""
    app.connect("autodoc-skip-member", _is_alias)


def _is_alias(*event: object) -> bool | None:
    return (getattr(event[3], "__doc__", None) or "").startswith("Alias for field") or None
