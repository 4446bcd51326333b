"""Which number of a word tells invented objects from seen ones, in captions of photographs."""

import argparse

from benchmarks.grounding import SEED, measure

from .measured import add_measured, open_measured


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the model, and what it is measured on."""
    add_measured(parser, SEED)


def run(arguments: argparse.Namespace) -> None:
    """Explain captions, print the table and write the report."""
    measure(*open_measured(arguments), arguments.json)
