"""The documentation site: ``make docs``. Pages are read where they are, from the root down."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

project = "probing"
root_doc = "docs/index"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
include_patterns = [
    "docs/*.md",
    "notebooks/*.ipynb",
    "data/**/README.md",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
]
exclude_patterns = ["build", ".venv", "runs"]
nb_execution_mode = "off"  # notebooks are committed with their outputs
myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath"]
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"  # the others are in the signature
autodoc_member_order = "groupwise"
napoleon_use_ivar = True  # what a class says of its attributes, said once
default_role = "literal"  # docstrings name things in single backticks
suppress_warnings = [
    "myst.header",  # a page of a script may skip a level
    "misc.highlighting_failure",
    "toc.no_title",  # a page that is not measured yet is empty
]
html_theme = "furo"
html_title = "probing"
html_show_copyright = False
html_static_path = ["static"]
html_css_files = ["tables.css"]
