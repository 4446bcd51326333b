"""Training of the scene world's models; the worlds themselves, and the trained models, are in ``lime_xai.worlds``."""
