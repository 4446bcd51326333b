"""Hooks on ``model.generate`` that let policies decide every token."""
