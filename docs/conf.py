"""The documentation site: `make docs`. Pages are Markdown; what the code knows itself is filled in from the code."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE / "site")]

import equitensor  # noqa: E402

project = "equitensor"
author = "the equitensor developers"
version = release = equitensor.__version__
extensions = [
    *("myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"),
    *("repository_links", "filled_in", "docstrings", "highlighting"),
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
nitpicky = False  # annotations name classes of torch, numpy and ASE

html_theme = "furo"
html_title = f"equitensor {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
# Where the repository is on the web, as https://forge.example/owner/equitensor; without it links into it are downloads.
repository_url = os.environ.get("EQUITENSOR_REPOSITORY", "")

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # they stand in the signature's documentation, with shapes and units
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False  # those of torch and ASE say nothing about ours
napoleon_numpy_docstring = False
napoleon_use_ivar = True
