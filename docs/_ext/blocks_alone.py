"""Sphinx extension: every code block of a page is run alone as printed, and shows something.

Sphinx puts all blocks of a page into one namespace, ``testsetup`` blocks, which a reader does not see, among them. Here
each ``testcode`` block, with the ``testoutput`` behind it, has a namespace and a working directory of its own. A block
that could not be read and run alone is a warning, which is an error under ``-W``.
"""

from __future__ import annotations

import contextlib
import tempfile
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.ext.doctest import DocTestBuilder
from sphinx.util import logging

logger = logging.getLogger(__name__)

HIDDEN = "{0}: readers do not see this block; put what a block needs into the block itself"
NO_CODE = "testoutput stands directly behind no testcode"
SHOWS_NOTHING = "this testcode shows nothing: put its testoutput, or the picture that it draws, directly behind it"
ONLY_TRUTH = "this testoutput holds only {0}: print the numbers, a table or a text"
NOT_RUN = "this Python block is not run: make it a testcode, or say why in a caption that begins with 'Not run'"

PYTHON = ("python", "python3", "py", "pycon")


def prepare(app: Sphinx, doctree: nodes.document) -> None:
    """Give every block that is run a doctest group of its own, and warn about blocks that break the rule."""
    if app.config.doctest_global_setup:
        _warn(HIDDEN.format("doctest_global_setup"), doctree)
    if app.env.doc2path(app.env.docname).suffix == ".ipynb":
        return  # cells are run in their order, as in a notebook
    for number, node in enumerate(doctree.findall(_is_block)):
        kind = node.get("testnodetype")
        if isinstance(node, nodes.comment):
            _warn(HIDDEN.format(kind), node)
        elif kind == "testcode":
            _take_output(node, f"block {number}")
        elif kind == "testoutput":
            if _neighbour(node, -1).get("testnodetype") != "testcode":
                _warn(NO_CODE, node)
            words = set(node.astext().split())
            if words <= {"True", "False", "None"}:
                _warn(ONLY_TRUTH.format(", ".join(sorted(words))), node)
        elif kind == "doctest" or isinstance(node, nodes.doctest_block):
            node["groups"] = [f"block {number}"]
        elif not _says_why(node):
            _warn(NOT_RUN, node)


def _is_block(node: nodes.Node) -> bool:
    if isinstance(node, nodes.doctest_block):
        return True
    if not isinstance(node, nodes.literal_block | nodes.comment):
        return False
    return "testnodetype" in node or node.get("language") in PYTHON


def _take_output(code: Any, group: str) -> None:
    """Put a testcode into a group, and the testoutput behind it if there is one."""
    code["groups"] = [group]
    behind = _neighbour(code, 1)
    if behind.get("testnodetype") == "testoutput":
        behind["groups"] = [group]
    elif not any(behind.findall(nodes.image)):
        _warn(SHOWS_NOTHING, code)


def _neighbour(node: Any, step: int) -> Any:
    """Return the node before (-1) or behind (1) within the same section, or an empty one."""
    index = node.parent.index(node) + step
    return node.parent[index] if 0 <= index < len(node.parent) else nodes.paragraph()


def _says_why(node: Any) -> bool:
    """Return whether a caption of the block says that it is not run."""
    captions = node.parent.findall(nodes.caption) if node.parent.get("literal_block") else ()
    return any(caption.astext().startswith("Not run") for caption in captions)


def _warn(message: str, node: Any) -> None:
    logger.warning(message, location=node, type="blocks_alone")


class AloneBuilder(DocTestBuilder):
    """The doctest builder, with an empty working directory for every block."""

    def test_group(self, group: Any) -> bool:
        """Run one block where it finds no files of other blocks and leaves none."""
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            return super().test_group(group)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the check and the builder."""
    app.setup_extension("sphinx.ext.doctest")
    app.add_builder(AloneBuilder, override=True)
    app.connect("doctree-read", prepare)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
