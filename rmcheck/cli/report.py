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
    command.add_argument(
        "--badge", type=Path, metavar="FILE", help="also write an SVG badge: how many checks passed"
    )
    command.add_argument(
        "--model-card",
        type=Path,
        metavar="FILE",
        help="also write the verdicts as the block model-index of a model card, in YAML",
    )


def run(options: argparse.Namespace) -> int:
    """Write the page.

    Raises:
        UsageError: More than two folders, or one without a report of a version that is known.
    """
    from rmcheck.reports.document import read_run
    from rmcheck.reports.model_card import badge, model_index
    from rmcheck.reports.page import PAGE_NAME, page
    from rmcheck.store.folder import write_whole

    if len(options.folders) > 2:
        raise UsageError(f"at most two runs can be compared, not {len(options.folders)}")
    *earlier, data = [read_run(folder) for folder in options.folders]
    target = options.out or options.folders[-1]
    files = {target / PAGE_NAME: page(data, before=earlier[0] if earlier else None)}
    files |= {options.badge: badge(data)} if options.badge else {}
    files |= {options.model_card: model_index(data)} if options.model_card else {}
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.encode())
        print(path)
    return 0
