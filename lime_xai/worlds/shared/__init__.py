"""What the embedded worlds have in common: the words of their texts."""
