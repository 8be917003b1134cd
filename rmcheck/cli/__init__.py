"""The command `rmcheck`: what can be done without pytest.

Each command is one module with `add_arguments(command)` and `run(options)`; only the one that was
asked for is imported.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib.metadata import entry_points
from types import ModuleType

import rmcheck
from rmcheck.errors import RmcheckError, bug_text, near_miss
from rmcheck.models.trust import trusting
from rmcheck.scoring.progress import telling
from rmcheck.scoring.stopping import (
    EXIT_INTERRUPTED,
    EXIT_TERMINATED,
    KEPT,
    Terminated,
    sigterm_stops,
)
from rmcheck.wording import PrintableStream, first_line, printable

EXIT_WRONG_INPUT = 2
EXIT_BUG = 70  # EX_SOFTWARE of sysexits.h
EXIT_NO_READER = 128 + 13  # what a shell says of SIGPIPE
# Command to its one line of help; its module has the same name.
COMMANDS = {
    "init": "write a first suite for a file of data",
    "score": "score the pools of suites, without pytest",
    "validate": "check suite files and their pools",
    "probe": "which edits of responses a reward model falls for",
    "parity": "whether two engines give the same rewards",
    "explain": "what a metric measures, or what a check found and what would open the gate",
    "diff": "what became of each check between two runs",
    "report": "draw the page of a run again, or compare two runs",
    "history": "what earlier checkpoints measured, and what RL made of them",
    "doctor": "whether this machine can run the gate, and with what",
    "completion": "what a shell needs to complete this command line",
}
# Other packages, and the laboratory, add a command that is not listed: a module like those here.
ENTRY_POINT_GROUP = "rmcheck.commands"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 when it did what was asked, 1 when what it compared differs or fails, 2 when something
        given to it is wrong, 70 for a bug in rmcheck, 130 after Ctrl-C, 143 after SIGTERM, 141 when
        its reader went away, as under `| head`.
    """
    top = parser(arguments)
    options = top.parse_args(arguments)
    if "run" not in options:
        top.print_help(sys.stderr)
        return EXIT_WRONG_INPUT
    try:
        with (
            sigterm_stops(),
            telling(_say),
            redirect_stdout(PrintableStream(sys.stdout)),
            trusting(getattr(options, "trust_suites", False)),
        ):
            code = int(options.run(options))
            sys.stdout.flush()
            return code
    except Terminated as stop:
        print(f"rmcheck: {stop}", file=sys.stderr)
        return EXIT_TERMINATED
    except KeyboardInterrupt:
        print(f"rmcheck: interrupted; {KEPT}", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Python flushes stdout once more when it ends; that must not fail too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_NO_READER
    except RmcheckError as error:
        print(f"rmcheck: {error}", file=sys.stderr)
        return EXIT_WRONG_INPUT
    except Exception as error:
        if options.debug:
            raise
        if isinstance(error, OSError) and error.filename:
            _say(str(error))  # a full disk, a folder without permission
            return EXIT_WRONG_INPUT
        print(f"rmcheck: {bug_text(error, '`rmcheck --debug …`')}", file=sys.stderr)
        return EXIT_BUG


def _say(line: str) -> None:
    print(printable(f"rmcheck: {line}"), file=sys.stderr, flush=True)


def parser(
    arguments: Sequence[str] | None = None, *, whole: bool = False
) -> argparse.ArgumentParser:
    """All commands; only the one that the arguments name has its options, unless all are wanted."""
    top = argparse.ArgumentParser(
        prog="rmcheck", description="Gate reward-model checkpoints. The gate is `pytest --rmcheck`."
    )
    top.add_argument("--version", action="version", version=f"rmcheck {rmcheck.__version__}")
    top.add_argument("--debug", action="store_true", help="show the traceback of a bug")
    commands = top.add_subparsers(title="commands", metavar="COMMAND")
    given = sys.argv[1:] if arguments is None else arguments
    named = next((word for word in given if not word.startswith("-")), "")
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text)
        if whole or name == named:
            _fill(command, importlib.import_module(f"rmcheck.cli.{name}"))
    known = list(COMMANDS)
    if named not in COMMANDS:
        for entry in entry_points(group=ENTRY_POINT_GROUP):
            if whole or entry.name == named:
                module = entry.load()
                _fill(commands.add_parser(entry.name, help=first_line(module)), module)
            elif entry.name not in commands.choices:
                known.append(entry.name)
        if named and named not in commands.choices:
            top.error(f"no command {named!r}.{near_miss(named, known)} `rmcheck --help` lists all.")
    return top


def _fill(command: argparse.ArgumentParser, module: ModuleType) -> None:
    module.add_arguments(command)
    command.set_defaults(run=module.run)
