"""Files that are written whole and resumed, and the hash of a model's weights."""
