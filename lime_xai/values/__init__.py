"""Checks of values against the annotations of fields, arguments and files."""
