"""Arguments that several commands have."""

import argparse
from pathlib import Path


def add_suites(command: argparse.ArgumentParser) -> None:
    """The suite files that a command works on."""
    text = "suite file, or a folder of them"
    command.add_argument("suites", nargs="+", type=Path, metavar="SUITE", help=text)


def add_model(command: argparse.ArgumentParser, text: str) -> None:
    """The reward model, and the store that its scores are read from and kept in."""
    command.add_argument("--model", required=True, metavar="SPEC", help=text)
    command.add_argument("--store", type=Path, default=Path(".rmcheck"), metavar="DIR")
