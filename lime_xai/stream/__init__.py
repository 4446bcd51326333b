"""Relevance in forward mode on a model: its engine, the check that admits it, and routes of logits."""
