"""Entry points for other evaluation engines; none is imported by the rest of the package."""
