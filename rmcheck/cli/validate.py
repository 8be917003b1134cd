"""`rmcheck validate`: check suite files and their pools."""

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from rmcheck.cli import EXIT_WRONG_INPUT
from rmcheck.cli.arguments import Prints, add_suites
from rmcheck.errors import RmcheckError
from rmcheck.wording import aligned, first_line

if TYPE_CHECKING:
    from rmcheck.checks.measurement import Sampling
    from rmcheck.metrics.rewards import Rewards
    from rmcheck.run.loaded import LoadedSuite, PlannedCheck


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Options of the command."""
    command.description = (
        "Read suite files and their pools, open the models that suites name, and say everything "
        "that is wrong, which checks have too few prompts for any model, and how often an equal "
        "checkpoint passes each max_drop."
    )
    add_suites(command)
    for option, (text, words) in _LISTS.items():
        command.add_argument(option, action=Prints, const=text, help=f"print {words}")


def _schema() -> str:
    from rmcheck.suite.schema import schema_text

    return schema_text()


def _metrics() -> str:
    from rmcheck.metrics.registry import metric_class, metric_names

    classes = [metric_class(name) for name in sorted(metric_names())]
    rows = [(cls.name, f"{cls.direction} is better", first_line(cls)) for cls in classes]
    return "\n".join(aligned(rows)) + "\n"


def _formats() -> str:
    from rmcheck.pool.detection import reader_named, reader_names

    rows = [(name, reader_named(name).fields) for name in reader_names()]
    return "\n".join(aligned(rows)) + "\n"


_LISTS: dict[str, tuple[Callable[[], str], str]] = {
    "--schema": (_schema, "the JSON Schema of suites for an editor"),
    "--metrics": (_metrics, "all metrics"),
    "--formats": (_formats, "all formats of pools, with their fields"),
}


def run(options: argparse.Namespace) -> int:
    """Say for each file what it holds, or what is wrong with it."""
    from rmcheck.pool.faults import fault_counts
    from rmcheck.reports.table import PAST
    from rmcheck.run.load import load
    from rmcheck.run.plan import open_named
    from rmcheck.run.training import read_log, suite_of_logs
    from rmcheck.suite.detect import suite_files

    wrong = 0
    for path in suite_files(options.suites):
        try:
            suite = suite_of_logs(path)
            loaded = None if suite else load(path)
            if loaded is not None:
                suite = loaded.suite
                open_named(loaded)
            training = suite.training if suite else ()
            logs = [read_log(check) for check in training]
        except RmcheckError as error:
            wrong += 1
            print(f"{error}\n", file=sys.stderr)
            continue
        for check, log in zip(training, logs, strict=True):
            print(f"{path}: {check.name}: {log.steps.size} points of an RL run in {log.path}")
        if loaded is None:
            continue
        print(
            f"{path}: {_checks(len(loaded.planned))} on {_prompts(loaded)}, "
            f"{_responses(loaded)} ({loaded.pool.format})"
        )
        for kind, counts in fault_counts(loaded.pool).items():
            done = ", ".join(f"{count} {PAST[action]}" for action, count in counts.items())
            print(f"  {kind}: {done}")
        for line in (*_few_lines(loaded), *_drop_lines(loaded)):
            print(f"  {line}")
    return EXIT_WRONG_INPUT if wrong else 0


def _few_lines(loaded: "LoadedSuite") -> Iterator[str]:
    """Checks that no model can pass: too few prompts can tell one from another."""
    import numpy as np

    from rmcheck.checks.measurement import pending
    from rmcheck.run.draft import equal_models
    from rmcheck.stats.units import few_units

    least = loaded.sampling.min_prompts
    model, _ = equal_models(loaded)
    differs = replace(model, proxy=model.golden).varies
    for one in loaded.planned:
        check, metric = one.check, one.check.metric
        if metric.exact or metric.brought_by_model or check.view or check.steps is not None:
            continue
        for where in _slices(one, model):
            units = np.unique(model.clusters[model.matching(where) & differs]).size
            if units >= least:
                continue
            place = ",".join(f"{column}={value}" for column, value in where.items())
            name = f"{check.name}[{place}]" if place else check.name
            try:
                found = pending(metric, model, where=where)
            except RmcheckError as error:
                yield f"{name}: no model can pass: {error}"
                continue
            constant = found.left_out.constant
            for few in few_units(found.seen.units, least, constant=constant):
                yield f"{name}: no model can pass: {few}"


def _slices(planned: "PlannedCheck", model: "Rewards") -> list[Mapping[str, str]]:
    """What a check is measured on: one part of the pool, or each that it takes the worst of."""
    check = planned.check
    if not (check.worst and check.over is not None):
        return [planned.conditions]
    values = model.slice_values(check.over, planned.conditions)
    return [{**planned.conditions, check.over: value} for value in values]


def _drop_lines(loaded: "LoadedSuite") -> Iterator[str]:
    """How often an equal checkpoint passes each check of a drop, and what all of it assumes."""
    from rmcheck.checks.alike import ASSUMED
    from rmcheck.run.draft import equal_models

    drops = [one for one in loaded.planned if one.check.max_drop is not None]
    planned = [one for one in drops if one.check.steps is None and not one.check.view]
    if not planned:
        return
    models = equal_models(loaded)
    for one in planned:
        yield f"{one.name}: {_chance(one, models, loaded.sampling)}"
    yield f"({ASSUMED}; `rmcheck power` measures yours)"


def _chance(
    planned: "PlannedCheck", models: "tuple[Rewards, Rewards]", sampling: "Sampling"
) -> str:
    from rmcheck.checks.alike import alike

    check = planned.check
    if check.max_drop is None:
        return ""
    sampling = replace(sampling, confidence=check.confidence or sampling.confidence)
    try:
        found = [
            alike(check.metric, models, where=where, sampling=sampling)
            for where in _slices(planned, models[0])
        ]
    except RmcheckError as error:
        return f"how often an equal checkpoint passes is not known: {error}"
    share = math.prod(one.passes(check.max_drop) for one in found)
    needed = max(one.passed_by(0.95 ** (1 / len(found))) for one in found)
    return (
        f"an equal checkpoint passes max_drop {check.max_drop:g} in {share:.0%} of runs, and "
        f"{_rounded_up(needed):g} in 95%"
    )


def _rounded_up(number: float) -> float:
    """To two digits."""
    digits = 1 - math.floor(math.log10(number))
    return math.ceil(number * 10.0**digits) / 10.0**digits


def _prompts(loaded: "LoadedSuite") -> str:
    rows = len(loaded.pool.prompts)
    return f"{rows} prompts" + (f" ({loaded.units} independent)" if loaded.units < rows else "")


def _responses(loaded: "LoadedSuite") -> str:
    scored, judged = len(loaded.samples), int(loaded.is_labelled.sum())
    return f"{scored} responses" + (f", {judged} of them labelled" if judged < scored else "")


def _checks(number: int) -> str:
    return f"{number} check" if number == 1 else f"{number} checks"
