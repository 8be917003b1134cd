"""`rmcheck study`: which metric foretells what optimising a reward model does."""

import argparse
from collections.abc import Mapping
from pathlib import Path

from rmcheck.cli.arguments import add_lock_timeout, add_schema, add_store, add_trust, writing


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Options of the command."""
    command.description = (
        "With a FILE: score a family of reward models on a pool, each golden in turn or one golden "
        "for all, and say which metric foretells what optimising them keeps: the tables and "
        "figures of arXiv 2410.05584. A study that was killed goes on with the scores it has. With "
        "--table: read a table with a reward model a row and say which of its numbers rank an "
        "outcome, such as what RL made of them."
    )
    add_schema(command, _schema)
    what = command.add_mutually_exclusive_group(required=True)
    what.add_argument("file", nargs="?", type=Path, metavar="FILE", help="YAML with `study: 1`")
    what.add_argument("--table", type=Path, metavar="FILE", help="CSV with a header")
    command.add_argument(
        "--outcome", metavar="COLUMN", help="with --table: what is to be predicted"
    )
    command.add_argument(
        "--group",
        metavar="COLUMN",
        help="with --table: lineage or kind, inside which to look as well",
    )
    command.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder for study.json, study.md and study.html; of a FILE also a CSV file a design",
    )
    add_store(command)
    add_lock_timeout(command)
    add_trust(command, "the study run code")


def _schema() -> str:
    from rmcheck.lab.study.study_file import STUDY

    return STUDY.file_schema("rmcheck study", "Which metric foretells regret.")


def run(options: argparse.Namespace) -> int:
    """Do the one of both that was asked for."""
    from rmcheck.errors import UsageError

    if options.table is None:
        if options.outcome or options.group:
            raise UsageError("--outcome and --group mean nothing without --table")
        return _study(options)
    if options.outcome is None:
        raise UsageError("--table needs --outcome: the column that is to be predicted")
    return _table(options)


def _study(options: argparse.Namespace) -> int:
    from rmcheck.lab.study.study import scored_study
    from rmcheck.lab.study.study_file import load_study
    from rmcheck.lab.study.study_page import study_files
    from rmcheck.store.lock import Waiting

    file = load_study(options.file)
    study = scored_study(file, options.store, Waiting(options.lock_timeout))
    print("\n".join(study.facts), flush=True)
    findings = study.findings(lambda title: print(f"done: {title}", flush=True))
    _write(options.out, study_files(file.name, study.facts, findings))
    print(f"written: {options.out}/study.json, study.md, study.html and a CSV file a design")
    return 0


def _table(options: argparse.Namespace) -> int:
    from rmcheck.lab.study.correlations import associations
    from rmcheck.lab.study.rm_table import read_rm_table
    from rmcheck.lab.study.table_page import sentences, table_files

    table = read_rm_table(options.table, options.outcome, options.group)
    found = associations(table)
    _write(options.out, table_files(table, found))
    print("\n".join(sentences(table, found)))
    for name, why in table.left_out.items():
        print(f"left out: {name}: {why}")
    print("\n".join([*table.notes, f"written: {options.out}/study.json, study.md, study.html"]))
    return 0


def _write(folder: Path, files: Mapping[str, str]) -> None:
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
