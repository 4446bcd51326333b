"""Sphinx configuration; the build needs no network."""

import importlib.metadata
import shutil
import sys
from pathlib import Path

here = Path(__file__).parent
for notebook in (here.parent / "tutorials").glob("*.ipynb"):
    shutil.copy(notebook, here / "tutorials" / notebook.name)  # Sphinx reads below its own folder only

project = "lime_xai"
author = "the lime_xai authors"
copyright = "2026, the lime_xai authors"
release = importlib.metadata.version("lime_xai")
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
]
myst_enable_extensions = ["dollarmath", "colon_fence"]
nb_execution_mode = "off" if "doctest" in sys.argv else "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_output_stderr = "remove"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
autosummary_generate = True
autodoc_typehints = "none"  # NumPy docstrings name types, with shapes
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "inherited-members": False}
templates_path = ["_templates"]
exclude_patterns = ["_build", "_templates"]
html_theme = "furo"
html_static_path = ["_static"]
html_title = "lime_xai"
doctest_global_setup = "from lime_rules import *\nfrom lime_xai import *"
