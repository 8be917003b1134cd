"""`rmcheck report`: draw the page of a run again, or of two runs beside each other."""

import argparse
from pathlib import Path

from rmcheck.errors import UsageError


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Options of the command."""
    command.description = (
        "Draw report.html from the report.json that `pytest --rmcheck --rmcheck-report=FOLDER` "
        "wrote. With two folders: the second run, beside the first."
    )
    command.add_argument(
        "folders", nargs="+", type=Path, metavar="FOLDER", help="folder of a run, the earlier first"
    )
    command.add_argument(
        "--out", type=Path, metavar="FOLDER", help="where to write it (default: the last FOLDER)"
    )


def run(options: argparse.Namespace) -> int:
    """Write the page.

    Raises:
        UsageError: More than two folders, or one without a report of a version that is known.
    """
    from rmcheck.reports.page import write_page
    from rmcheck.reports.reading import read_run

    if len(options.folders) > 2:
        raise UsageError(f"at most two runs can be compared, not {len(options.folders)}")
    *earlier, data = [read_run(folder) for folder in options.folders]
    target = options.out or options.folders[-1]
    print(write_page(target, data, before=earlier[0] if earlier else None))
    return 0
