"""Where relevance lies for questions about a known place: of a picture, or of the time of a sound."""

from .examples import GroundingExample
from .measure import measure_grounding
from .readers import READERS, read_grounding
from .results import GroundingResult

__all__ = ["READERS", "GroundingExample", "GroundingResult", "measure_grounding", "read_grounding"]
