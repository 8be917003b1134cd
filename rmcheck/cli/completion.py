"""`rmcheck completion`: what a shell needs to complete the command line."""

import argparse
from pathlib import Path

from rmcheck.errors import MissingDependencyError


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Options of the command."""
    command.description = (
        "Print the completion script of a shell, for bash: "
        "rmcheck completion bash > ~/.local/share/bash-completion/completions/rmcheck"
    )
    command.add_argument("shell", choices=("bash", "zsh", "tcsh"), help="which shell")


def run(options: argparse.Namespace) -> int:
    """Print the script.

    Raises:
        MissingDependencyError: shtab, which writes it, is not installed.
    """
    try:
        import shtab
    except ImportError as error:
        raise MissingDependencyError("completion needs shtab: pip install shtab") from error
    from rmcheck.cli import parser

    whole = parser((), whole=True)
    _complete_paths(whole, shtab.FILE)
    print(shtab.complete(whole, options.shell))
    return 0


def _complete_paths(command: argparse.ArgumentParser, file: object) -> None:
    for action in command._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in set(action.choices.values()):
                _complete_paths(below, file)
        elif action.type is Path:
            action.complete = file  # type: ignore[attr-defined]
