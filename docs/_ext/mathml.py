"""Sphinx extension: equations as MathML, which browsers draw themselves.

Sphinx's own renderer loads MathJax from the network, and a copy of it would weigh megabytes. MathML needs neither
network nor JavaScript, follows the colours of the page, is printed and read aloud. Every current browser draws it
(Chrome since 109, Firefox, Safari). latex2mathml leaves a command that it does not know as it is: a warning here.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)

FUNCTION = re.compile(r"(<mi>(?:log|exp|ln)</mi>)(?=<m(?:i|row|sub|over))")  # latex2mathml sets no space behind these
NUMBERED = '<span class="eqno">({0})</span>'


def mathml(latex: str, display: str, node: Any) -> str:
    """Return an equation as a ``math`` element; ``display`` is ``inline`` or ``block``."""
    found = FUNCTION.sub(r'\1<mspace width="0.17em" />', convert(latex, display=display))
    for command in re.findall(r">\s*(?:\\|&#x0005C;)([A-Za-z]+)", found):
        logger.warning("latex2mathml does not know \\%s", command, location=node, type="mathml")
    return found


def visit_math(translator: Any, node: nodes.math) -> None:
    """Write an equation within a line."""
    translator.body.append(mathml(node.astext(), "inline", node))
    raise nodes.SkipNode


def visit_displaymath(translator: Any, node: nodes.math_block) -> None:
    """Write an equation of its own."""
    number = NUMBERED.format(node["number"]) if node.get("number") else ""
    ids = "".join(f' id="{name}"' for name in node["ids"][:1])
    equation = mathml(node.astext(), "block", node)
    translator.body.append(f'<div class="math"{ids}>{number}{equation}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer under the name ``mathml``."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_displaymath, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
