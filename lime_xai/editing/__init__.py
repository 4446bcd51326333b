"""The paper's method: an objective on relevance, minimised over deltas of cached keys and values."""
