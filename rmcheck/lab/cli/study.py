"""`rmcheck study`: which number of a table of reward models ranks an outcome."""

import argparse
from pathlib import Path


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Options of the command."""
    command.description = (
        "Read a table with a reward model a row and say which of its numbers rank an outcome, such "
        "as what RL made of them: Spearman, Kendall and Pearson with intervals, over all and "
        "inside groups."
    )
    command.add_argument(
        "--table", type=Path, required=True, metavar="FILE", help="CSV with a header"
    )
    command.add_argument(
        "--outcome", required=True, metavar="COLUMN", help="what is to be predicted"
    )
    command.add_argument(
        "--group", metavar="COLUMN", help="lineage or kind, inside which to look as well"
    )
    command.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder for study.json, study.md and study.html",
    )


def run(options: argparse.Namespace) -> int:
    """Write the three files, and print what they say."""
    from rmcheck.errors import UsageError
    from rmcheck.lab.study.correlations import associations
    from rmcheck.lab.study.page import markdown, page, sentences, study_data
    from rmcheck.lab.study.rm_table import read_rm_table
    from rmcheck.wording import json_text

    table = read_rm_table(options.table, options.outcome, options.group)
    found = associations(table)
    files = {
        "study.json": json_text(study_data(table, found)),
        "study.md": markdown(table, found),
        "study.html": page(table, found),
    }
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (options.out / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{options.out}: cannot be written ({error.strerror or error})") from error
    print("\n".join(sentences(table, found)))
    for name, why in table.left_out.items():
        print(f"left out: {name}: {why}")
    print("\n".join([*table.notes, f"written: {options.out}/study.json, study.md, study.html"]))
    return 0
