"""Pictures and text of attributions."""

from .picture import attribution_figure
from .text import relevance_text

__all__ = ["attribution_figure", "relevance_text"]
