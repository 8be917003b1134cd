"""Arguments that several commands have."""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Never

from rmcheck.errors import UsageError

if TYPE_CHECKING:  # the command line starts fast: what computes is imported when it is needed
    from rmcheck.run.fill import Fill
    from rmcheck.run.loaded import LoadedSuite
    from rmcheck.run.runner import Runner
    from rmcheck.scoring.members import StoreOf


class Prints(argparse.Action):
    """Like --help: prints what its `const` returns, and ends the command."""

    def __init__(self, option_strings: Sequence[str], dest: str, **settings: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **settings)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> Never:
        """Print it; exit code 0."""
        sys.stdout.write(self.const())
        parser.exit()


def shows_help(command: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int]:
    """What a command does that is named without its action: tell them all, as a mistake (2)."""

    def run(_: argparse.Namespace) -> int:
        command.print_help(sys.stderr)
        return 2

    return run


def add_suites(
    command: argparse.ArgumentParser, text: str = "suite file, or a folder of them"
) -> None:
    """The suite files that a command works on."""
    command.add_argument("suites", nargs="+", type=Path, metavar="SUITE", help=text)
    add_trust(command)


def add_trust(
    command: argparse._ActionsContainer, what: str = "suites and the files they name run code"
) -> None:
    """What others wrote may run code."""
    text = f"let {what}: python: and trust_remote_code=yes"
    command.add_argument("--trust-suites", action="store_true", help=text)


def add_schema(command: argparse._ActionsContainer, text: Callable[[], str]) -> None:
    """The schema of the file that a command reads."""
    said = "print the JSON Schema of FILE for an editor, and end"
    command.add_argument("--schema", action=Prints, const=text, help=said)


def add_model(command: argparse.ArgumentParser, text: str) -> None:
    """The reward model, and the store that its scores are read from and kept in."""
    command.add_argument("--model", required=True, metavar="SPEC", help=text)
    add_store(command)
    add_lock_timeout(command)


def add_store(command: argparse._ActionsContainer) -> None:
    """Where scores are kept."""
    command.add_argument(
        "--store",
        type=Path,
        default=Path(".rmcheck"),
        metavar="DIR",
        help="where scores are kept (default: %(default)s)",
    )


def add_lock_timeout(command: argparse._ActionsContainer) -> None:
    """How long to wait for another process that scores the same model."""
    command.add_argument(
        "--lock-timeout",
        type=float,
        metavar="SECONDS",
        help="give up waiting for another process that scores the same model (default: never)",
    )


def add_too_long(command: argparse._ActionsContainer, text: str) -> None:
    """What a suite says as `too_long`, for a command that works on a pool without one."""
    command.add_argument(
        "--too-long",
        choices=["error", "left", "right"],
        help=f"{text}what to do with conversations longer than the model takes: stop, or cut on "
        "the left (keeps the response) or the right (keeps the beginning); default: error",
    )


def kept_scores(options: argparse.Namespace) -> "StoreOf":
    """Where the scores of each model are, by `--store` and `--lock-timeout`."""
    from rmcheck.scoring.members import choose_store
    from rmcheck.store.lock import Waiting
    from rmcheck.store.scores import ScoreStore

    return choose_store(ScoreStore(options.store, waiting=Waiting(options.lock_timeout)))


@contextmanager
def writing(path: Path) -> "Iterator[None]":
    """Names the file or folder that cannot be written.

    Raises:
        UsageError: It cannot.
    """
    try:
        yield
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror or error})") from error


@contextmanager
def opened(
    options: argparse.Namespace, *, baseline: str | None = None, score: "Fill | None" = None
) -> "Iterator[tuple[Runner, list[LoadedSuite]]]":
    """The model and the suites that a command was given; nothing is scored yet."""
    from rmcheck.run.runner import Runner
    from rmcheck.scoring.scorer import fill_requests
    from rmcheck.store.lock import Waiting
    from rmcheck.suite.detect import suite_files

    with tempfile.TemporaryDirectory(prefix="rmcheck-") as session:
        runner = Runner(
            candidate=options.model,
            baseline=baseline,
            store=options.store,
            session_folder=Path(session),
            shown_relative_to=Path.cwd(),
            compares=False,
            waiting=Waiting(options.lock_timeout),
            score=score or fill_requests,
        )
        with closing(runner):
            yield runner, [runner.add(path) for path in suite_files(options.suites)]
