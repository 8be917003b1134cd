"""`rmcheck lab`: the commands of the laboratory."""

import argparse
import importlib

from rmcheck.cli.arguments import shows_help

# Command to its one line of help; its module has the same name.
COMMANDS = {
    "curve": "best-of-n and KL curves of a model on the pools of suites",
    "logs": "what your own RL runs made of reward models, from their logs",
    "power": "how many prompts and responses a suite needs",
    "policies": "optimise policies against reward models, and say what it did to golden",
    "sample": "sample responses of a policy, or choose those that people should label",
    "study": "which metric foretells what optimising a reward model does",
    "train": "train a family of reward models from preference data",
    "training": "whether an RL run went too far, from its log",
}


def add_arguments(command: argparse.ArgumentParser) -> None:
    """A command for each part of the laboratory."""
    command.description = "The laboratory: what lies behind the gate."
    commands = command.add_subparsers(title="commands", metavar="COMMAND")
    command.set_defaults(run_part=shows_help(command))
    for name, text in COMMANDS.items():
        module = importlib.import_module(f"rmcheck.lab.cli.{name}")
        part = commands.add_parser(name, help=text)
        module.add_arguments(part)
        part.set_defaults(run_part=module.run)


def run(options: argparse.Namespace) -> int:
    """Run the command that was named."""
    return int(options.run_part(options))
