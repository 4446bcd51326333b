"""Measuring attributions and policies, with intervals, tables and files that resume."""
