"""`rmcheck curve`: what best-of-n and KL-regularised policies keep of golden's gain."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rmcheck.cli.arguments import add_model, add_suites, opened
from rmcheck.errors import UndefinedMetricError, UsageError, near_miss
from rmcheck.metrics.policy_steps import REFRESH
from rmcheck.wording import aligned

if TYPE_CHECKING:
    from rmcheck.lab.curves.curve import Curve, CurveInterval
    from rmcheck.lab.curves.decay import DecayCurve
    from rmcheck.lab.curves.goodhart import ExpectedAndObserved
    from rmcheck.lab.curves.labels import LabelCurve
    from rmcheck.lab.curves.tilted_curve import TiltedCurve
    from rmcheck.metrics.picked_texts import PickedTexts
    from rmcheck.metrics.rewards import Floats, Rewards
    from rmcheck.metrics.tails import TailDiagnostics
    from rmcheck.run.loaded import LoadedSuite
    from rmcheck.run.runner import Runner

T = TypeVar("T", int, float)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Options of the command."""
    command.description = (
        "How golden gain, proxy gain and drop ratio change as more responses are drawn, and as a "
        "policy moves away in KL. Bounds are one-sided and hold for a whole curve at once, with "
        "the confidence, resamples and seed of the suite."
    )
    add_suites(command)
    add_model(command, "reward model whose choices are followed")
    command.add_argument(
        "--n",
        metavar="N,…",
        help="numbers of responses drawn; by default about 16 up to what 9 prompts in 10 have",
    )
    command.add_argument(
        "--kl",
        default="0.1,0.25,0.5,1,2,4",
        metavar="NATS,…",
        help="KL divergences in nats (default %(default)s)",
    )
    command.add_argument(
        "--over",
        metavar="COLUMN",
        help="slice of the pool that holds the policy's training step, such as policy_step: show "
        "how accuracy and NDR change over the steps",
    )
    command.add_argument(
        "--at-least",
        type=float,
        metavar="X",
        help="with --over: say to which step the model has an accuracy of X",
    )
    command.add_argument(
        "--label",
        nargs="+",
        metavar="NAME",
        help="what the picks are counted by: label columns of the pool (1 or 0 a response), or "
        "traits of texts, such as words (default: refusal, flattery and other habits)",
    )
    command.add_argument(
        "--out", type=Path, metavar="FILE", help="file to write, .json or .csv (points only)"
    )


def run(options: argparse.Namespace) -> int:
    """Print the curves of every suite, and write them where a file is asked for."""
    grid = _numbers("--n", options.n, int, 1) if options.n is not None else None
    kls = _numbers("--kl", options.kl, float, 0)
    _require_format(options.out)
    if options.at_least is not None and options.over is None:
        raise UsageError("--at-least means nothing without --over")
    found = []
    with opened(options) as (runner, suites):
        for loaded in suites:
            try:
                curves = _suite_curves(runner, loaded, grid, kls, options.label)
                if options.over is not None:
                    curves["decay"] = _decay(runner, loaded, options.over, options.at_least)
            except UndefinedMetricError as error:
                raise UndefinedMetricError(f"{loaded.suite.name}: {error}") from error
            found.append(curves)
        for line in runner.scoring_lines():
            print(line)
    if options.out is not None:
        _write(options.out, found)
        print(f"written: {options.out}")
    return 0


def _suite_curves(
    runner: "Runner",
    loaded: "LoadedSuite",
    grid: Sequence[int] | None,
    kls: Sequence[float],
    labels: Sequence[str] | None,
) -> dict[str, Any]:
    from rmcheck.lab.curves.curve import best_of_n_curve
    from rmcheck.lab.curves.goodhart import expected_and_observed
    from rmcheck.lab.curves.labels import label_curve
    from rmcheck.lab.curves.tilted_curve import tilted_curve
    from rmcheck.metrics.picked_texts import picked_texts, tilted_texts
    from rmcheck.pool.traits import traits_with_rare

    rewards = runner.rewards(loaded, "candidate")
    sampled, least = _sampled(loaded), loaded.sampling.min_prompts
    curve = best_of_n_curve(rewards, grid=grid, min_prompts=least, **sampled)
    tilted = tilted_curve(rewards, kls, min_prompts=least, **sampled)
    name, model = loaded.suite.name, runner.plan.models["candidate"].name
    expected = expected_and_observed(rewards, curve.n[-1])
    tails = _tails(rewards)
    texts = [text for prompt in loaded.pool.prompts for text in prompt.responses]
    traits = traits_with_rare(texts)
    labelled = [
        label_curve(rewards, name, values, curve.n, **sampled)
        for name, values in _labels(loaded, traits, labels).items()
    ]
    picked = picked_texts(rewards, traits, [n for n in curve.n if n > 1])
    tilted_to = tilted_texts(rewards, traits, [point.kl for point in tilted.points])
    print(f"{name}: {model}, {curve.confidence:.0%} bounds that hold for each whole curve\n")
    lines = [*_curve_lines(curve), "", *_tilted_lines(tilted), ""]
    lines += [*_expected_lines(expected), *_tail_lines(tails), ""]
    lines += [*_label_lines(labelled), ""]
    lines += [*_picked_lines([one for one in picked if one.n == curve.n[-1]]), ""]
    if tilted.points:
        farthest = [one for one in tilted_to if one.kl == tilted.points[-1].kl]
        lines += [*_picked_lines(farthest), ""]
    _print(lines)
    return {
        "suite": name,
        "model": model,
        "seed": loaded.sampling.seed,
        "best_of_n": curve.as_dict(),
        "kl": tilted.as_dict(),
        "expected_and_observed": asdict(expected),
        "tails": tails if isinstance(tails, str) else asdict(tails),
        "labels": [row for one in labelled for row in one.rows()],
        "picked_texts": [asdict(one) for one in picked],
        "tilted_texts": [asdict(one) for one in tilted_to],
    }


def _sampled(loaded: "LoadedSuite") -> dict[str, Any]:
    """How the bounds of its curves are drawn."""
    names = ("resamples", "seed", "confidence")
    return {name: getattr(loaded.sampling, name) for name in names}


def _print(lines: Sequence[str]) -> None:
    for line in lines:
        print(f"  {line}" if line else "")


def _labels(
    loaded: "LoadedSuite", traits: "Mapping[str, Floats]", names: Sequence[str] | None
) -> "dict[str, Floats]":
    """Label columns of the pool and traits of its texts by name.

    Raises:
        UsageError: There is none of this name.
    """
    from rmcheck.pool.traits import HABITS

    columns = loaded.pool.label_columns
    for name in names or ():
        if name not in columns and name not in traits:
            hint = near_miss(name, (*columns, *traits))
            raise UsageError(
                f"--label: {loaded.suite.name} has no {name!r}.{hint} Label columns of the pool: "
                f"{', '.join(columns)}. Traits: {', '.join(traits)}."
            )
    if names:
        return {n: loaded.pool.columns.label(n) if n in columns else traits[n] for n in names}
    return {name: traits[name] for name in HABITS if traits[name].any()}


def _decay(
    runner: "Runner", loaded: "LoadedSuite", column: str, least: float | None
) -> list[dict[str, object]]:
    """Accuracy and NDR over the steps of the policy, printed and as plain data."""
    from rmcheck.lab.curves.decay import decay
    from rmcheck.metrics.registry import make_metric

    rewards = runner.rewards(loaded, "candidate")
    found = []
    for metric in (make_metric("accuracy"), make_metric("ndr", n=2)):
        one = decay(rewards, column, metric, **_sampled(loaded))
        asked = least if metric.name == "accuracy" else None
        _print([*_decay_lines(one, asked), ""])
        found.append({**one.as_dict(), "holds_to": None if asked is None else one.holds_to(asked)})
    return found


def _tails(rewards: "Rewards") -> "TailDiagnostics | str":
    """The shape of the errors, or why it cannot be told."""
    from rmcheck.metrics.tails import tail_diagnostics

    try:
        return tail_diagnostics(rewards)
    except UndefinedMetricError as error:
        return str(error)


# -- what is printed --------------------------------------------------------------------------

CURVE_LEGEND = (
    "KL nats, bits: from the policy to its best-of-n, at most; on pool: the same in nats where "
    "equal rewards make it smaller; of at most: what golden's own choice gains"
)


def _curve_lines(curve: "Curve") -> list[str]:
    head = ["n", "KL nats", "bits", "on pool", "golden gain", "of at most", "proxy gain", "drop"]
    rows = []
    for row in curve.rows():
        gains = [f"{row['golden']:.3g} [{row['golden_lower']:.3g}, {row['golden_upper']:.3g}]"]
        gains += [f"{row['best']:.3g}", f"{row['proxy']:.4g}"]
        drop = "-"
        if row["drop"] is not None:
            drop = f"{row['drop']:.3f} [{row['drop_lower']:.3f}, {row['drop_upper']:.3f}]"
        divergences = [f"{row[key]:.3f}" for key in ("kl_nats", "kl_bits", "kl_pool_nats")]
        rows.append([str(row["n"]), *divergences, *gains, drop])
    test = curve.past_peak
    lines = [f"best-of-n, {_measured_on(curve)}", *aligned([head, *rows], range(len(head)))]
    found = f"no sign of it (p = {test.p_value:.3g})"
    if test.p_value <= 1 - curve.confidence:
        found = f"yes, golden is lower than at n = {curve.n[test.index]} (p = {test.p_value:.3g})"
    lines.append(f"past the peak at n = {curve.n[-1]}: {found}")
    lines.append(_fit_line(curve))
    lines.append(CURVE_LEGEND)
    lines.append(f"gamma: {_shown(curve.gamma)}")
    return lines + [f"do not decide on this: {concern}" for concern in curve.concerns]


def _fit_line(curve: "Curve") -> str:
    fit = curve.fit
    line = f"d (α − β d), d = √KL: α {_shown(fit.alpha)}, β {_shown(fit.beta)}"
    if fit.beta.value <= 0:
        return f"{line}: no peak (in {fit.without_peak:.0%} of the resamples)"
    return f"{line}: peak at n = {_shown(fit.n)}, none in {fit.without_peak:.0%} of the resamples"


def _shown(interval: "CurveInterval") -> str:
    if interval.value != interval.value:
        return "undefined: golden gains nothing along the proxy's choices"
    undefined = f", undefined in {interval.undefined:.0%} of the resamples"
    return (
        f"{interval.value:.3g} [{interval.lower:.3g}, {interval.upper:.3g}]"
        f"{undefined if interval.undefined else ''}"
    )


def _tilted_lines(tilted: "TiltedCurve") -> list[str]:
    head = ["KL nats", "beta", "golden gain", "of at most", "proxy gain", "regret", "ESS"]
    rows = [
        [
            f"{p.kl:g}",
            f"{p.proxy_beta:.3g}",
            f"{p.golden_gain:.3g}",
            f"{p.best_gain:.3g}",
            f"{p.proxy_gain:.3g} sd",
            f"{1 - p.retained:.3f} [{1 - p.upper:.3f}, {1 - p.lower:.3f}]",
            f"{p.ess:.0f}" + (" (few)" if p.note else ""),
        ]
        for p in tilted.points
    ]
    lines = [f"KL-regularised policies, {_measured_on(tilted)}"]
    lines += aligned([head, *rows], range(len(head))) if rows else []
    lines += [f"refused: {r.reason}" for r in tilted.refused]
    return lines + [f"do not decide on this: {concern}" for concern in tilted.concerns]


def _expected_lines(found: "ExpectedAndObserved") -> list[str]:
    return [
        f"what a Gaussian proxy would lose at n = {found.n}, {found.prompts} prompts:",
        f"by its accuracy of {found.accuracy:.3f}: {found.drop_from_accuracy:.3f}; "
        f"by best-of-2: {found.drop_from_ndr:.3f}; measured: {found.drop_observed:.3f}",
    ]


def _tail_lines(found: "TailDiagnostics | str") -> list[str]:
    if isinstance(found, str):
        return [f"tail of the errors: not told, {found}"]
    return [
        "tail of the errors, to look at only (in brackets what Gaussian errors have):",
        f"Hill {found.hill:.2f} ({found.hill_gaussian:.2f}), "
        f"L-kurtosis {found.l_kurtosis:.2f} ({found.l_kurtosis_gaussian:.2f}), "
        f"Pareto shape {found.pareto_shape:.2f} (-0.22 to -0.12), golden and error correlate "
        f"{found.top_correlation:.2f} ({found.top_correlation_gaussian:.2f}) at the top",
    ]


def _decay_lines(found: "DecayCurve", least: float | None) -> list[str]:
    rows = [
        [f"{step:g}", str(count), f"{value:.3f} [{low:.3f}, {high:.3f}]"]
        for step, count, value, low, high in zip(
            found.steps,
            found.prompts,
            found.at.values,
            found.at.lower,
            found.at.upper,
            strict=True,
        )
    ]
    head = [found.column, "prompts", found.metric]
    told = f"from first to last step: {found.slope:+.3f} [{found.lower:+.3f}, {found.upper:+.3f}]"
    lines = [f"{found.metric} over {found.column}:", *aligned([head, *rows], range(3)), told]
    if least is not None:
        last = found.holds_to(least)
        to = "at no step" if last is None else f"to step {last:g}"
        lines.append(f"{found.metric} of {least:g} or more, by its lower bound: {to}")
    if found.decays:
        lines.append(f"it falls as the policy moves: {REFRESH}")
    return lines


def _label_lines(curves: "Sequence[LabelCurve]") -> list[str]:
    if not curves:
        return [
            "what the picks become: no response refuses, flatters, apologises, repeats or hedges"
        ]
    head = ["n", *(curve.label for curve in curves)]
    rows = [["all", *(f"{curve.pool:.3f}" for curve in curves)]]
    for i, n in enumerate(curves[0].n):
        found = (curve.proxy for curve in curves)
        cells = (f"{b.values[i]:.3f} [{b.lower[i]:.3f}, {b.upper[i]:.3f}]" for b in found)
        rows.append([str(n), *cells])
    rows.append(["golden's", *(f"{curve.golden.values[-1]:.3f}" for curve in curves)])
    told = f"what the picks become; golden's: its own best of {curves[0].n[-1]}"
    lines = [f"{told}, {curves[0].prompts} prompts:", *aligned([head, *rows], range(len(head)))]
    for curve in curves:
        if curve.beyond.lower[-1] > 0:
            more, least = curve.beyond.values[-1], curve.beyond.lower[-1]
            lines.append(f"{curve.label}: {more:.3f} more than golden picks, at least {least:.3f}")
    return lines


def _picked_lines(picked: "Sequence[PickedTexts]") -> list[str]:
    if not picked:
        return ["picked texts: not told, too few prompts"]
    head = ["trait", "all", "by proxy", "by golden", "beyond golden, 95 %"]
    rows = [
        [
            one.trait,
            f"{one.pool:.3g}",
            f"{one.proxy.value:+.3g}",
            f"{one.golden.value:+.3g}",
            f"{one.beyond.value:+.3g} [{one.beyond.lower:+.3g}, {one.beyond.upper:+.3g}]",
        ]
        for one in picked
    ]
    by = f"best of {picked[0].n}" if picked[0].n else f"a policy at {picked[0].kl:g} nats"
    told = f"what the texts picked by {by} have more or less of than all:"
    return [told, *aligned([head, *rows], range(1, len(head)))]


def _measured_on(curve: "Curve | TiltedCurve") -> str:
    left_out = f", {curve.left_out} left out with fewer responses" if curve.left_out else ""
    return f"{curve.prompts} prompts{left_out}:"


# -- what is read and written -----------------------------------------------------------------


def _numbers(option: str, text: str, kind: Callable[[str], T], least: float) -> list[T]:
    """Ascending numbers from a list with commas."""
    try:
        numbers = [kind(word) for word in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < least or max(numbers) == float("inf"):
        what = "whole numbers from 1" if kind is int else "numbers above 0"
        raise UsageError(f"{option} is {text!r}; valid: {what} with commas, such as 1,2,4.")
    return sorted(set(numbers))


def _require_format(path: Path | None) -> None:
    if path is not None and path.suffix not in (".json", ".csv"):
        raise UsageError(f"--out is {str(path)!r}; valid: a file that ends in .json or .csv.")


def _write(path: Path, curves: Sequence[dict[str, Any]]) -> None:
    import csv
    import json

    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            if path.suffix == ".json":
                json.dump(curves, file, indent=2, allow_nan=False)
                file.write("\n")
                return
            rows = [row for curve in curves for row in _points(curve)]
            columns = list(dict.fromkeys(key for row in rows for key in row))
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows(rows)
    except OSError as error:
        raise UsageError(f"--out: {path} cannot be written: {error.strerror}") from error


def _points(curves: dict[str, Any]) -> list[dict[str, Any]]:
    """Every point of all curves; those of KL have no n."""
    points = {kind: curves[kind]["points"] for kind in ("best_of_n", "kl")}
    return [
        {"suite": curves["suite"], "model": curves["model"], "curve": kind, **point}
        for kind, rows in {**points, "label": curves["labels"]}.items()
        for point in rows
    ]
