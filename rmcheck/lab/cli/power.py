"""`rmcheck power`: how many prompts and responses a suite needs."""

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rmcheck.cli import EXIT_WRONG_INPUT
from rmcheck.cli.arguments import add_model, add_suites, opened
from rmcheck.errors import RmcheckError, UndefinedMetricError, UsageError
from rmcheck.wording import aligned, printable

if TYPE_CHECKING:  # the command line starts fast: what computes is imported when it is needed
    from rmcheck.checks.designs import PoolDesign
    from rmcheck.lab.power import Power, Spending
    from rmcheck.metrics.rewards import Rewards
    from rmcheck.run.loaded import LoadedSuite, PlannedCheck
    from rmcheck.run.runner import Runner

# How the words of a block are meant.
LEGEND = """\
sees: the smallest difference between the true value and the bound at which the check decides, as
  often as the power says; a smaller one comes out inconclusive more often
spread: standard deviation of what one prompt adds
comparisons: pairs of responses that people judge where golden comes from them"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Options of the command."""
    command.description = (
        "Say for every check what difference its pool can see, how many prompts a smaller one "
        "needs, and how to spend a budget of responses or of comparisons. Scores come from the "
        "store; what it does not have is scored first."
    )
    add_suites(command)
    add_model(command, "reward model to measure the noise with")
    command.add_argument(
        "--baseline", metavar="SPEC", help="model that max_drop checks compare with"
    )
    command.add_argument(
        "--drop",
        type=float,
        default=0.02,
        metavar="D",
        help="difference to see, in each metric's units (default %(default)s)",
    )
    command.add_argument(
        "--power",
        type=float,
        default=0.8,
        metavar="P",
        help="chance of seeing it (default %(default)s)",
    )
    command.add_argument(
        "--samples",
        type=int,
        default=2_000,
        metavar="N",
        help="responses to sample in all (default %(default)s)",
    )
    command.add_argument(
        "--comparisons",
        type=int,
        default=1_500,
        metavar="N",
        help="pairs of responses to compare in all, where people give golden (default %(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    """One block a check; exit code 2 where no check could be told anything about."""
    _require_options(options)
    told = 0
    with opened(options, baseline=options.baseline) as (runner, suites):
        for loaded in suites:
            candidate, baseline = _rewards(runner, loaded)
            for planned in loaded.planned:
                name = f"{loaded.suite.name}::{planned.name}"
                try:
                    found = _power(planned, loaded, candidate, baseline, options.power)
                except RmcheckError as error:
                    print(f"{name}\n  {error}\n")
                    continue
                told += 1
                print("\n".join([*block(name, planned, *found, options), ""]))
    if told:
        print(LEGEND, file=sys.stderr)
    return 0 if told else EXIT_WRONG_INPUT


def _require_options(options: argparse.Namespace) -> None:
    if not (math.isfinite(options.drop) and options.drop > 0):
        raise UsageError(f"--drop is {options.drop:g}; valid: a finite number above 0")
    if not 0.5 <= options.power < 1:
        raise UsageError(f"--power is {options.power:g}; valid: a number from 0.5 to below 1")
    for name in ("samples", "comparisons"):
        if getattr(options, name) < 1:
            raise UsageError(f"--{name} is {getattr(options, name)}; valid: 1 or more")


def _rewards(runner: "Runner", loaded: "LoadedSuite") -> "tuple[Rewards, Rewards | None]":
    baseline = runner.rewards(loaded, "baseline") if "baseline" in runner.plan.models else None
    return runner.rewards(loaded, "candidate"), baseline


def _power(
    planned: "PlannedCheck",
    loaded: "LoadedSuite",
    candidate: "Rewards",
    baseline: "Rewards | None",
    power: float,
) -> "tuple[Power, str]":
    """What the check can see, and where; of slices or steps of which one decides, the least."""
    from rmcheck.lab.power import measure_power

    check, sampling = planned.check, loaded.sampling
    if check.needs_baseline and baseline is None:
        raise UsageError("compares with a baseline: give one with --baseline")
    if check.confidence is not None:
        sampling = replace(sampling, confidence=check.confidence)
    candidate, baseline = check.view.of(candidate), baseline and check.view.of(baseline)
    places = _places(planned, candidate, baseline if check.needs_baseline else None)
    if check.worst:
        # The bounds of a worst slice are corrected for looking at all of them; steps are not.
        sampling = replace(sampling, confidence=1 - (1 - sampling.confidence) / len(places))
    found = []
    for where, own, paired in places:
        named = printable(",".join(f"{column}={value}" for column, value in where.items()))
        within = {k: v for k, v in where.items() if k != check.steps}
        try:
            one = measure_power(
                check.measured, own, paired, where=within, sampling=sampling, power=power
            )
        except UndefinedMetricError as error:
            raise UndefinedMetricError(f"{named}: {error}" if named else str(error)) from error
        found.append((one, named))
    return max(found, key=lambda pair: pair[0].sees)


def _places(
    planned: "PlannedCheck", candidate: "Rewards", baseline: "Rewards | None"
) -> "list[tuple[dict[str, str], Rewards, Rewards | None]]":
    """Slices or steps of the policy of which one decides, with the rewards there."""
    from rmcheck.metrics.policy_steps import PolicySteps

    check, where = planned.check, dict(planned.conditions)
    if check.over is not None and check.holds_to is not None:
        steps = PolicySteps.read(candidate, check.over)
        return [
            (
                {**where, check.over: f"{steps.steps[number]:g}"},
                steps.at(candidate, number),
                baseline and steps.at(baseline, number),
            )
            for number in steps.up_to(check.holds_to)
        ]
    if check.over is not None and check.worst:
        values = candidate.slice_values(check.over, where)
        return [({**where, check.over: value}, candidate, baseline) for value in values]
    return [(where, candidate, baseline)]


def block(
    name: str, planned: "PlannedCheck", found: "Power", where: str, options: argparse.Namespace
) -> Iterator[str]:
    """What is said about one check, line by line."""
    from rmcheck.checks.verdict import CHANGES

    change = CHANGES.get(planned.check.criterion.kind, "")
    what = f"{planned.check.metric.name} {change}".strip()
    yield (
        f"{name}  {what} {found.value:.3f} on {found.prompts} prompts x {_pool_size(found)} "
        f"responses{f' ({where})' if where else ''}"
    )
    if found.note:
        yield f"  {found.note}"
    for concern in found.concerns:
        yield f"  not decided whatever the number of prompts: {concern}"
    yield (
        f"  sees a difference of {found.sees:.4f} from its bound "
        f"(confidence {100 * found.confidence:g}%, power {100 * found.power:g}%)"
    )
    yield f"  a difference of {options.drop:g} needs {found.prompts_needed(options.drop):,} prompts"
    yield f"  spread of a prompt {found.sd:.3f}{_parts(found)}"
    if found.designs:
        yield from (f"  {line}" for line in aligned(list(_table(found, options)), range(5)))
        yield _best("responses", options.samples, found.under_samples(options.samples))
        plan = found.under_comparisons(options.comparisons)
        yield _best("comparisons", options.comparisons, plan)
    if any(design.extrapolated for design in found.designs):
        yield "  * extrapolated from fewer responses"
    if found.limitation:
        yield f"  {found.limitation}"


def _pool_size(found: "Power") -> str:
    return str(found.most) if found.fewest == found.most else f"{found.fewest}-{found.most}"


def _parts(found: "Power") -> str:
    if found.between is None or found.within is None:
        return ""
    return f": {found.between:.3f} between prompts, {found.within:.3f} from their responses"


def _table(found: "Power", options: argparse.Namespace) -> Iterator[Sequence[str]]:
    yield (
        "responses",
        "spread",
        f"prompts for {options.drop:g}",
        f"{options.samples:,} responses see",
        f"{options.comparisons:,} comparisons see",
    )
    for design in found.designs:
        plans = (
            found.plan(design, options.samples / design.responses),
            found.plan(design, options.comparisons / design.comparisons),
        )
        yield (
            _responses(design),
            f"{design.sd:.3f}",
            f"{found.prompts_needed(options.drop, design):,}",
            *(f"{plan.sees:.4f}" if plan else "too few prompts" for plan in plans),
        )


def _responses(design: "PoolDesign") -> str:
    return f"{design.responses}{'*' if design.extrapolated else ' '}"


def _best(unit: str, budget: int, plan: "Spending | None") -> str:
    if plan is None:
        return f"  {budget:,} {unit} are too few for any of these"
    return (
        f"  best for {budget:,} {unit}: {plan.prompts:,} prompts x "
        f"{_responses(plan.design).strip()} responses, sees {plan.sees:.4f}"
    )
