"""Responses that a page shows: what moved since the baseline, and what best-of-n picks."""

from typing import Any

import numpy as np

from rmcheck.checks.mistakes import worst_mistakes
from rmcheck.checks.record import EXCERPT
from rmcheck.metrics.rewards import Floats, Rewards
from rmcheck.run.loaded import LoadedSuite
from rmcheck.wording import excerpt

MOVED, WORST = 5, 3
ROLES = ("candidate", "baseline")


def moved(loaded: LoadedSuite, found: dict[str, Rewards]) -> list[dict[str, Any]]:
    """The responses whose place among the answers to their prompt changed most.

    A place is the share of the other answers that have a lower reward, 1 for the best.
    """
    candidate, baseline = (found[role] for role in ROLES)
    if candidate.proxy.shape != baseline.proxy.shape:
        return []
    both = places(candidate), places(baseline)
    gap = np.nan_to_num(both[0] - both[1])
    rows = np.repeat(np.arange(len(candidate)), candidate.counts)
    order = np.argsort(-np.abs(gap), kind="stable")
    _, first = np.unique(rows[order], return_index=True)  # one a prompt
    chosen = [i for i in order[np.sort(first)][:MOVED].tolist() if gap[i]]
    return [_moved_record(loaded, found, both, int(rows[i]), i) for i in chosen]


def places(rewards: Rewards) -> Floats:
    """(M,) place of each response in its prompt; NaN where it is the only one."""
    out = np.full(rewards.proxy.size, np.nan)
    for row in range(len(rewards)):
        part = slice(rewards.offsets[row], rewards.offsets[row + 1])
        values = rewards.proxy[part]
        if values.size > 1:
            below = np.searchsorted(np.sort(values), values, side="left")
            out[part] = below / (values.size - 1)
    return out


def _moved_record(
    loaded: LoadedSuite,
    found: dict[str, Rewards],
    both: tuple[Floats, Floats],
    row: int,
    at: int,
) -> dict[str, Any]:
    candidate = found["candidate"]
    return {
        **_asked(loaded, row),
        "response": _response(loaded, row, at),
        "golden": float(candidate.golden[at]),
        **{f"{role}_reward": float(found[role].proxy[at]) for role in ROLES},
        **{f"{role}_place": float(place[at]) for role, place in zip(ROLES, both, strict=True)},
    }


def picks(loaded: LoadedSuite, rewards: Rewards) -> list[dict[str, Any]]:
    """What best-of-n picks of the prompts that lose most, as n grows.

    The pick at n is the typical one: half of all draws of n have a best of this reward or less.
    The last n is that of all responses.
    """
    found = []
    for mistake in worst_mistakes(rewards, np.ones(len(rewards), dtype=bool), most=WORST):
        row = mistake.row
        start, size = int(rewards.offsets[row]), int(rewards.counts[row])
        order = start + np.argsort(rewards.proxy[start : start + size], kind="stable")
        steps = [
            {"n": n, **_pick(loaded, rewards, row, int(order[_typical(n, size)]))}
            for n in _ladder(size)
        ]
        best = _pick(loaded, rewards, row, start + mistake.better)
        found.append({**_asked(loaded, row), "steps": steps, "best": best})
    return found


def _ladder(size: int) -> list[int]:
    """1, 4, 16, … and as many as there are."""
    steps = [4**i for i in range(8) if 4**i < size]
    return [*steps, size]


def _typical(n: int, size: int) -> int:
    """Place, from the lowest, of the median of the best of n; of all responses the best."""
    return size - 1 if n == size else min(size - 1, int(0.5 ** (1 / n) * size))


def _pick(loaded: LoadedSuite, rewards: Rewards, row: int, at: int) -> dict[str, Any]:
    return {
        "response": _response(loaded, row, at),
        "reward": float(rewards.proxy[at]),
        "golden": float(rewards.golden[at]),
        "characters": len(_whole(loaded, row, at)),
    }


def _asked(loaded: LoadedSuite, row: int) -> dict[str, str]:
    prompt = loaded.pool.prompts[row]
    return {"prompt_id": prompt.prompt_id, "prompt": excerpt(prompt.question, EXCERPT)}


def _whole(loaded: LoadedSuite, row: int, at: int) -> str:
    return loaded.pool.prompts[row].responses[at - int(loaded.pool.columns.ends[row])]


def _response(loaded: LoadedSuite, row: int, at: int) -> str:
    return excerpt(_whole(loaded, row, at), EXCERPT)
