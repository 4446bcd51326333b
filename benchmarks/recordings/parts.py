"""Download and check the packages of which the model and its clips are made."""

import argparse

from benchmarks.photographs.packages import OF_RECORDINGS, fetch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Nothing besides the folder, which every command has."""


def run(arguments: argparse.Namespace) -> None:
    """Download what is missing, check everything, say where it is."""
    fetch(arguments.folder, wanted=OF_RECORDINGS)
