"""`rmcheck lab train`: a family of reward models from preference data."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rmcheck.cli.arguments import add_schema, add_trust

if TYPE_CHECKING:
    from rmcheck.lab.family.training import Trained


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Options of the command."""
    command.description = (
        "Trains the reward models that a file describes, from preference data in any known "
        "format, to folders in the Hugging Face format that `hf:` opens. What is finished is never "
        "trained again, and a run that was killed goes on where it stopped."
    )
    add_laboratory(command)


def add_laboratory(command: argparse.ArgumentParser) -> None:
    """The file of a laboratory, and the folder that it fills."""
    add_schema(command, _schema)
    command.add_argument("file", type=Path, metavar="FILE", help="the laboratory, in YAML")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to fill")
    add_trust(command, "the file name models that run code")


def _schema() -> str:
    from rmcheck.lab.file import LABORATORY

    about = "Reward models and policies for a study."
    return LABORATORY.file_schema("rmcheck laboratory", about)


def run(options: argparse.Namespace) -> int:
    """Train what is not there yet."""
    from rmcheck.lab.family.training import train_family
    from rmcheck.lab.file import read_laboratory
    from rmcheck.lab.quiet import require_laboratory

    laboratory = read_laboratory(options.file)
    require_laboratory()
    train_family(laboratory.family, options.out, tell_trained)
    return 0


def tell_trained(trained: "Trained") -> None:
    """Say that a reward model is there."""
    done = "trained" if trained.new else "was there"
    print(
        f"{trained.name}: {done}, {trained.pairs} pairs, {trained.flipped} flipped, accuracy "
        f"{trained.accuracy:.3f} on its own labels: hf:{trained.folder}",
        flush=True,
    )
