"""Policies measured on an embedded world, beside the plain model and controls."""
