"""Reads what RL runs came to: one run a row of a CSV file.

Columns: `rm` and `golden` (names of models of the study), `optimizer`, `seed`, and `ndr`, the share
that optimising the RM kept of the golden gain that optimising golden had with the same settings.
`ndr_matched` may stand beside: the same at the largest KL that both runs reach. So may others, such
as `kl` and `regret`; a `note` says why a run failed.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rmcheck.errors import UsageError
from rmcheck.lab.csv_rows import csv_rows
from rmcheck.lab.study.family import RmFamily
from rmcheck.lab.study.outcomes import KeptGain
from rmcheck.parsing import finite_number
from rmcheck.wording import excerpt, listed

NEEDED = ("rm", "golden", "optimizer", "seed", "ndr")
MATCHED, AT_MATCHED = "ndr_matched", " at matched KL"
# NDR by optimizer, then by (golden, rm), then by seed.
Runs = Mapping[str, Mapping[tuple[str, str], Mapping[str, float]]]


def rl_outcomes(
    path: Path, family: RmFamily, leave_out: Sequence[str]
) -> tuple[list[KeptGain], list[str]]:
    """What each optimiser of the table kept with each pair: the mean over seeds.

    The second run, for the noise ceiling, is the mean over half of the seeds; it then stands
    against the mean over the other half.

    Args:
        path: The table.
        family: The models of the study.
        leave_out: Faults that the study leaves out.

    Returns:
        One outcome an optimiser, and what was left out.

    Raises:
        UsageError: The file cannot be read; a column is missing; a run failed, or a seed is missing
            for some pair, and the study does not leave `failed_runs` out.
    """
    runs, problems = _read(path)
    names = set(family.names)
    strange = sorted(
        {name for pairs in runs.values() for pair in pairs for name in pair if name not in names}
    )
    if strange:
        raise UsageError(
            f"{path}: {listed(map(repr, strange), 10)} are no models of this study: "
            f"{', '.join(family.names)}"
        )
    for optimizer, pairs in runs.items():
        if not optimizer.endswith(AT_MATCHED):
            problems += [f"{optimizer}: {said}" for said in _uneven(pairs)]
    if problems and "failed_runs" not in leave_out:
        raise UsageError(
            f"{path}:\n  "
            + "\n  ".join(problems)
            + "\nTo leave these runs out, write `leave_out: [failed_runs]`."
        )
    return [_outcome(name, pairs, family) for name, pairs in runs.items()], problems


def _outcome(
    name: str, pairs: Mapping[tuple[str, str], Mapping[str, float]], family: RmFamily
) -> KeptGain:
    seeds = sorted({seed for runs in pairs.values() for seed in runs})
    halves = (seeds[::2], seeds[1::2])
    kept, again = (np.full(len(family.pairs), np.nan) for _ in range(2))
    for q, (g, m) in enumerate(family.pairs.tolist()):
        runs = pairs.get((family.names[g], family.names[m]), {})
        known = {seed: ndr for seed, ndr in runs.items() if math.isfinite(ndr)}
        first, second = ([known[seed] for seed in half if seed in known] for half in halves)
        if first and second:
            kept[q], again[q] = np.mean(first), np.mean(second)
        elif runs and len(seeds) == 1:
            kept[q] = np.mean(list(runs.values()))
    return KeptGain(name, kept, again if len(seeds) > 1 else None)


def _uneven(pairs: Mapping[tuple[str, str], Mapping[str, float]]) -> list[str]:
    """Pairs for which a seed is missing that others have."""
    seeds = {seed for runs in pairs.values() for seed in runs}
    return [
        f"{rm} against {golden} has no run with seed {listed(sorted(seeds - set(runs)), 5)}"
        for (golden, rm), runs in pairs.items()
        if set(runs) != seeds
    ]


def _read(path: Path) -> tuple[Runs, list[str]]:
    rows = csv_rows(path, NEEDED)
    found: dict[str, dict[tuple[str, str], dict[str, float]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    problems = []
    for line, row in enumerate(rows, start=2):
        cells = {name: (row[name] or "").strip() for name in NEEDED}
        blank = [name for name in NEEDED[:-1] if not cells[name]]
        value = finite_number(cells["ndr"])
        if blank:
            problems.append(f"row {line} has no {' and no '.join(blank)}")
            continue
        pair = cells["golden"], cells["rm"]
        runs = found[cells["optimizer"]][pair]
        if (matched := finite_number(row.get(MATCHED) or "")) is not None:
            found[cells["optimizer"] + AT_MATCHED][pair].setdefault(cells["seed"], matched)
        if cells["seed"] in runs:
            problems.append(f"row {line} repeats the run of an earlier row")
        elif value is None:
            runs[cells["seed"]] = math.nan  # known, so that it is not missing as well
            said = f"the ndr {excerpt(cells['ndr'], 30)!r}" if cells["ndr"] else "no ndr"
            run = f"{cells['rm']} against {cells['golden']}, seed {cells['seed']}"
            why = f" ({excerpt(row['note'], 100)})" if row.get("note") else ""
            problems.append(
                f"row {line}, {cells['optimizer']}, {run}: has {said}, that run failed{why}"
            )
        else:
            runs[cells["seed"]] = value
    return {name: dict(pairs) for name, pairs in found.items()}, problems
