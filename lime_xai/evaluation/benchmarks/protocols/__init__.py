"""Benchmarks by name: importing this package registers them."""

from . import world as world
