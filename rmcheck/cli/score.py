"""`rmcheck score`: score the pools of suites, without pytest."""

import argparse
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from rmcheck.cli.arguments import add_model, add_suites, add_too_long, opened
from rmcheck.errors import UsageError

if TYPE_CHECKING:
    from rmcheck.run.fill import Fill

# Who else can score: modules with `OPTIONS`, `add_arguments(group)` and `filling(given)`.
ENTRY_POINT_GROUP = "rmcheck.engines"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Options of the command."""
    command.description = (
        "Score the pools of suites into the store, and write them as a bundle that the model "
        "scores:FILE reads on a machine without the checkpoint. With --out: score the files of a "
        "pool that is too large for memory, one after another, to a bundle a file."
    )
    add_suites(command, "suite file, or a folder of them; with --out: file of a pool, or a folder")
    add_model(command, "reward model to score with")
    to = command.add_mutually_exclusive_group()
    to.add_argument("--bundle", type=Path, metavar="FILE", help="Parquet file to write")
    to.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="score files of a pool and write the bundle of each here; a run that was killed goes "
        "on where it stopped",
    )
    command.add_argument("--format", metavar="NAME", help="with --out: format of the files")
    add_too_long(command, "with --out: ")
    others = entry_points(group=ENTRY_POINT_GROUP)
    command.add_argument(
        "--engine",
        choices=("local", *others.names),
        default="local",
        help="local: this process; ray: actors on a Ray cluster that sees the same --store folder",
    )
    for engine in others:
        module = engine.load()
        module.add_arguments(command.add_argument_group(f"with --engine {engine.name}"))


def run(options: argparse.Namespace) -> int:
    """Score, and write the bundle where one is asked for."""
    if options.out is not None:
        return _score_shards(options)
    if strange := [n for n in ("format", "too_long") if getattr(options, n) is not None]:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in strange)
        raise UsageError(f"{names}: only --out reads this; a suite says it itself")
    from rmcheck.scoring.bundle import write_bundle

    with _scoring(options) as score, opened(options, score=score) as (runner, _):
        samples, scores, provenance = runner.scores()
        for line in runner.scoring_lines():
            print(line)
        if options.bundle is not None:
            write_bundle(options.bundle, samples, scores, provenance)
            print(f"{options.bundle}: {len(samples)} scores; use it as scores:{options.bundle}")
    return 0


def _score_shards(options: argparse.Namespace) -> int:
    """Score files of a pool one after another."""
    from rmcheck.models.registry import open_model
    from rmcheck.scoring.shards import ShardScoring, shards_of
    from rmcheck.store.lock import Waiting
    from rmcheck.suite.detect import is_yaml

    if suites := [str(path) for path in options.suites if is_yaml(path)]:
        raise UsageError(f"{', '.join(suites)}: --out scores files of a pool, not suites")
    if options.engine != "local":
        raise UsageError("--out scores in this process; give each machine files of its own")
    shards = shards_of(options.suites)
    scoring = ShardScoring(
        open_model(options.model),
        options.out,
        format=options.format,
        too_long=options.too_long or "error",
        waiting=Waiting(options.lock_timeout),
    )
    there = 0
    with closing(scoring):
        for number, (shard, report) in enumerate(scoring.run(shards), start=1):
            there += not report.requested
            if report.requested:
                print(f"{number}/{len(shards)} {shard.file}: {report}", flush=True)
    kept = f" ({there} were there)" if there else ""
    print(f"{options.out}: {len(shards)} files{kept}; each is a model: scores:{options.out}/…")
    return 0


@contextmanager
def _scoring(options: argparse.Namespace) -> "Iterator[Fill | None]":
    """What scores: None is this process."""
    fill = None
    with ExitStack() as stack:
        for engine in entry_points(group=ENTRY_POINT_GROUP):
            module = engine.load()
            given = {n: v for n in module.OPTIONS if (v := getattr(options, n)) is not None}
            if options.engine == engine.name:
                fill = stack.enter_context(module.filling(given))
            elif given:
                names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
                raise UsageError(f"{names}: only --engine {engine.name} reads this")
        yield fill
