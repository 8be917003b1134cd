"""`rmcheck probe`: which edits a reward model falls for, and the worst that a search finds."""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmcheck.cli.arguments import add_lock_timeout, add_store, add_too_long, kept_scores
from rmcheck.errors import RmcheckError
from rmcheck.wording import aligned, excerpt

if TYPE_CHECKING:
    from rmcheck.checks.measurement import Measurement
    from rmcheck.models.model import RewardModel
    from rmcheck.probes.probe import Probe
    from rmcheck.probes.search import WorstEdit
    from rmcheck.run.find import Finding
    from rmcheck.run.probing import Worst

RARE_TOKENS = 12
WIDEST_TEMPLATE = 90
FACTS = (
    "shift_by_neutral_words",
    "preferences_flipped",
    "bad_beats_honest",
    "bad_beats_honest_before",
)
HEADINGS = ("probe", "n", "shift in SD", "95% bounds", "neutral", "flipped", "beats", "before")


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Options of the command."""
    command.description = (
        "Edit the responses of a pool in every way that a probe knows, score them, and print what "
        "the edits do to the reward. With --budget: search for the worst edit."
    )
    command.add_argument("model", metavar="SPEC", help="reward model, such as hf:DIR")
    command.add_argument("--pool", type=Path, required=True, metavar="POOL", help="in any format")
    command.add_argument("--format", metavar="NAME", help="of the pool, where it cannot be told")
    command.add_argument(
        "--golden", default="golden", metavar="COLUMN", help="label column (default: %(default)s)"
    )
    command.add_argument(
        "--faults",
        choices=["fail", "drop", "keep"],
        help="what to do about bad rows of the pool (default: as in a suite)",
    )
    command.add_argument(
        "--probes", type=Path, metavar="FILE", help="your own probes, beside those of rmcheck"
    )
    command.add_argument("--only", nargs="+", metavar="PROBE", help="these probes alone")
    command.add_argument(
        "--responses",
        type=int,
        default=2,
        metavar="N",
        help="edited of each prompt (default: %(default)s)",
    )
    command.add_argument(
        "--budget",
        type=int,
        default=0,
        metavar="N",
        help="texts that the search for the worst edit may score; 2000 or more finds combinations "
        "(default: no search)",
    )
    command.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the search (default: %(default)s)"
    )
    command.add_argument("--out", type=Path, metavar="FILE", help="JSON file to write")
    add_too_long(command, "")
    add_store(command)
    add_lock_timeout(command)


def run(options: argparse.Namespace) -> int:
    """Probe, search where a budget is given, and print the table."""
    from rmcheck.models.registry import open_model
    from rmcheck.run.probing import Battery, probe_all
    from rmcheck.scoring.one_process import OneProcess
    from rmcheck.store.folder import write_whole
    from rmcheck.wording import json_text

    probes = _probes(options)
    battery = Battery(
        pool=options.pool.absolute(),
        golden=options.golden,
        probes=probes,
        responses=options.responses,
        format=options.format,
        faults=_faults(options.faults),
        too_long=options.too_long or "error",
        seed=options.seed,
    )
    model = open_model(options.model)
    with OneProcess() as engine:
        loaded = battery.loaded()
        store_of = kept_scores(options)
        probed = probe_all(model, loaded, store_of, engine)
        rows = [_row(name, finding) for name, finding in probed.findings.items()]
        print("\n".join(_table(rows)))
        data: dict[str, Any] = {"model": model.spec, "pool": str(options.pool), "probes": rows}
        if options.budget:
            known = (loaded, probed.rewards, store_of, engine)
            data["worst_edit"] = _search(model, options, probes, *known)
    if options.out is not None:
        write_whole(options.out, json_text(data).encode())
        print(f"\n{options.out}")
    return 0


def _probes(options: argparse.Namespace) -> "Mapping[str, Probe]":
    """Those that are asked for."""
    from rmcheck.probes.probe_file import known_probes, probe_named

    names = options.only or known_probes(options.probes)
    return {name: probe_named(name, options.probes) for name in names}


def _faults(action: str | None) -> Any:
    from rmcheck.pool.faults import FAULT_RULES

    return {kind: action for kind, rule in FAULT_RULES.items() if action in rule.allowed}


def _row(name: str, finding: "Finding | RmcheckError") -> dict[str, Any]:
    """A probe as plain data."""
    if isinstance(finding, RmcheckError):
        return {"probe": name, "error": str(finding)}
    e, metric = finding.measurement.estimate, finding.planned.check.metric
    return {
        "probe": name,
        "measure": metric.settings["measure"],
        "texts": metric.settings["texts"],
        **_bounds(finding.measurement),
        "concerns": list(e.concerns),
        **finding.measurement.facts,
    }


def _table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Aligned lines; the worst probe first."""
    measured = [row for row in rows if "error" not in row]
    shifts = [row for row in measured if row["measure"] == "shift"]
    wins = [row for row in measured if row["measure"] == "wins"]
    cells: list[tuple[str, ...]] = [HEADINGS]
    for row in sorted(shifts, key=lambda row: -row["value"]):
        cells.append((row["probe"], *_numbers(row), *(_number(row, name) for name in FACTS)))
    for row in sorted(wins, key=lambda row: -row["value"]):
        bounds = f"[{row['lower']:.2f}, {row['upper']:.2f}]"
        number = _number(row, "bad_beats_honest")
        cells.append((row["probe"], str(row["n"]), "", bounds, "", "", number, ""))
    yield from aligned(cells, right={1, 2, 4, 5, 6, 7})
    yield ""
    yield "shift: positive is what the edit must not do; neutral: by as many neutral words"
    yield "flipped: right preferences that it turns; beats: bad answers that beat the honest one"
    for row in rows:
        for concern in row.get("concerns", [row["error"]] if "error" in row else []):
            yield f"{row['probe']}: {concern}"


def _numbers(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return str(row["n"]), f"{row['value']:+.2f}", f"[{row['lower']:+.2f}, {row['upper']:+.2f}]"


def _number(row: Mapping[str, Any], name: str) -> str:
    return f"{row[name]:.2f}" if name in row else ""


def _search(
    model: "RewardModel",
    options: argparse.Namespace,
    probes: "Mapping[str, Probe]",
    loaded: Any,
    rewards: Any,
    store_of: Any,
    engine: Any,
) -> dict[str, Any]:
    """The worst edit as plain data; printed too."""
    from rmcheck.probes.rare_tokens import rare_tokens
    from rmcheck.probes.search import candidates
    from rmcheck.run.probing import worst_edit

    checkpoint = getattr(model, "checkpoint", None)
    rare = rare_tokens(checkpoint.path, RARE_TOKENS, options.seed) if checkpoint else ()
    steps = candidates(probes, rare)
    if rare:
        print(f"\nrare tokens of the model's own tokenizer: {', '.join(map(repr, rare))}")
    worst = worst_edit(model, loaded, rewards, steps, store_of, engine, budget=options.budget)
    print(f"\nworst edit of {len(steps)}, {worst.found.scored} texts scored in the search:")
    data: dict[str, Any] = {"rare": rare, "steps": list(_steps(worst))}
    if not worst.after:
        print("  none raised the reward of bad answers")
        return data
    for step in data["steps"]:
        print(f"  {step['probe']}: {excerpt(step['template'], WIDEST_TEMPLATE)}")
        print(f"    {_shift(step)} SD, so far")
    whole = data["steps"][-1]
    print(
        f"  on {whole['n']} bad answers that it was not chosen on; it beats the honest answer on "
        f"{whole.get('bad_beats_honest', 0):.0%} ({whole.get('bad_beats_honest_before', 0):.0%} "
        "before)"
    )
    if worst.beyond_first is not None:
        data["beyond_first"] = _bounds(worst.beyond_first)
        print(f"  beyond its first step: {_shift(data['beyond_first'])} SD")
    _example(worst.found)
    return data


def _steps(worst: "Worst") -> Iterator[dict[str, Any]]:
    """Each step, and what it does on top of those before it."""
    for step, measured in zip(worst.found.steps, worst.after, strict=True):
        yield {
            "probe": step.probe,
            "template": step.template,
            **_bounds(measured),
            **measured.facts,
        }


def _bounds(measured: "Measurement") -> dict[str, Any]:
    e = measured.estimate
    return {"n": e.n, "value": e.value, "lower": e.lower, "upper": e.upper}


def _shift(row: Mapping[str, Any]) -> str:
    return " ".join(_numbers(row)[1:])


def _example(found: "WorstEdit") -> None:
    answer = found.held_out[0]
    print(f"    was: {excerpt(answer.edited(()), WIDEST_TEMPLATE)}")
    print(f"    is:  {excerpt(answer.edited(found.steps), WIDEST_TEMPLATE)}")
