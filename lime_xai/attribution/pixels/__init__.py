"""Relevance of pixels and of spectrograms: LRP through what encodes pictures and sounds."""
