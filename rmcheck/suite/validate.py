"""Checks many suite files without scoring anything."""

from collections.abc import Iterable
from pathlib import Path

from rmcheck.errors import Problem, SuiteError, UsageError
from rmcheck.suite.detect import SUFFIXES, is_suite
from rmcheck.suite.loader import load_suite
from rmcheck.suite.suite import Suite


def load_suites(paths: Iterable[str | Path]) -> tuple[Suite, ...]:
    """Every suite in these files and folders.

    A file is taken at its word; of a folder, every YAML file below it that `is_suite`.

    Raises:
        SuiteError: The problems of all files at once, file by file.
        UsageError: There is no suite, so that nothing would be checked.
    """
    given = [Path(path) for path in paths]
    files = list(dict.fromkeys(file for path in given for file in _files(path)))
    if not files:
        where = ", ".join(str(path) for path in given) or "nothing given"
        raise UsageError(f"no suite files: {where}. A suite is a YAML file with 'rmcheck: 1'.")
    suites: list[Suite] = []
    problems: list[Problem] = []
    for file in files:
        try:
            suites.append(load_suite(file))
        except SuiteError as error:
            problems += error.problems
    if problems:
        raise SuiteError(problems)
    return tuple(suites)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = (file for file in path.rglob("*") if file.suffix in SUFFIXES)
    return sorted(file for file in found if is_suite(file))
