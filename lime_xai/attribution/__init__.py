"""Relevance of input tokens for what a model says, and what is drawn from it."""
