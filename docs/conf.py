"""Sphinx configuration; the build needs no network, and the pages load nothing from it."""

import importlib.metadata
import os
import shutil
import sys
from pathlib import Path

here = Path(__file__).parent
sys.path.insert(0, str(here / "_ext"))
for notebook in (here.parent / "tutorials").glob("*.ipynb"):
    shutil.copy(notebook, here / "tutorials" / notebook.name)  # Sphinx reads below its own folder only

# The tutorial on photographs skips itself: pages are the same everywhere, and hold no pixels of the stamps (GPL-2).
os.environ["LIME_PHOTOGRAPHS"] = ""

project = "lime_xai"
author = "the lime_xai authors"
copyright = "2026, the lime_xai authors"
release = importlib.metadata.version("lime_xai")
extensions = [
    "blocks_alone",
    "mathml",
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
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
html_css_files = ["custom.css"]
html_title = "lime_xai"
pygments_dark_style = "github-dark"  # of accessible-pygments, which furo needs
html_math_renderer = "mathml"
# Code is copied, and not what it prints.
copybutton_selector = "div:not(.highlight-none):not(.highlight-text):not(.output) > div.highlight > pre"
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True

# A link into another project's pages needs its inventory, which intersphinx reads from the network, and warns if it
# cannot: an error under -W. A build must neither need the network nor differ by its state, so these links are made on
# request only, LIME_DOCS_NETWORK=1. Without it the names of other projects are plain text. Captum is missing: no
# inventory of its site is known to us.
NETWORK = os.environ.get("LIME_DOCS_NETWORK", "0") == "1"
INVENTORIES = {
    "matplotlib": "https://matplotlib.org/stable/",
    "numpy": "https://numpy.org/doc/stable/",
    "pandas": "https://pandas.pydata.org/docs/",
    "PIL": "https://pillow.readthedocs.io/en/stable/",
    "python": "https://docs.python.org/3/",
    "torch": "https://docs.pytorch.org/docs/stable/",
    "transformers": "https://huggingface.co/docs/transformers/main/en/",
    "zennit": "https://zennit.readthedocs.io/en/latest/",
}
intersphinx_mapping = {name: (address, None) for name, address in INVENTORIES.items()} if NETWORK else {}
FULL_NAMES = {  # docstrings write short names
    "Cache": "transformers.Cache",
    "Path": "pathlib.Path",
    "PreTrainedConfig": "transformers.PreTrainedConfig",
    "PreTrainedModel": "transformers.PreTrainedModel",
    "Tensor": "torch.Tensor",
    "nn.Module": "torch.nn.Module",
}


def full_name(app, env, node, contnode):
    """Give a reference that was not found the name that the other project lists it under."""
    node["reftarget"] = FULL_NAMES.get(node.get("reftarget"), node.get("reftarget"))


def setup(app):
    """Look up full names before intersphinx does (its priority is 500)."""
    app.connect("missing-reference", full_name, priority=400)
