"""Explaining whole answers: words with their relevance, maps on the pictures, figures and HTML pages."""
