"""Published benchmarks: their official files are read, their answers parsed and measured by the published rules."""

from . import protocols
from .protocol import PROTOCOLS, Item, Measure, Protocol, check_media, protocol_of, register_protocol
from .scoring import McNemar, differences, mcnemar, score

__all__ = [
    "PROTOCOLS",
    "Item",
    "McNemar",
    "Measure",
    "Protocol",
    "check_media",
    "differences",
    "mcnemar",
    "protocol_of",
    "protocols",
    "register_protocol",
    "score",
]
