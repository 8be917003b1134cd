"""How often `rmcheck training` is wrong, on simulated RL runs whose outcome is known.

    OMP_NUM_THREADS=1 python benchmarks/training.py [--runs 100] [--lengths 20 60 200]

A run that is stopped goes on where it was: rows of training.json with as many runs stay. Delete it
after a change of what is measured.

Noise is what a batch of prompts gives both rewards (.06) and each its own (.04 and .03), with an
autocorrelation of 0, .5 or .8. In each world the outcomes that would be false are counted: also
where a run lies exactly on the border (transfer .5), so that `follows` and `stopped` are both
false. The onset is counted where it was said: whether its bounds hold the true step.

Prints and writes benchmarks/results/training.md, and training.json with every number.
"""

import argparse
import json
import platform
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmcheck.rl_logs.training_analysis import analyse_training
from rmcheck.rl_logs.training_log import TrainingLog
from rmcheck.rl_logs.training_outcome import OUTCOMES

RESULTS = Path(__file__).parent / "results"
Floats = NDArray[np.float64]
Curve = Callable[[Floats], Floats]
Key = tuple[str, int, float]


def quick(t: Floats) -> Floats:
    """A climb that is over after a tenth of the run."""
    return 1 - np.exp(-30 * t)


def slow(t: Floats) -> Floats:
    """A climb that goes on for most of the run."""
    return 1 - np.exp(-4 * t)


def until(t: Floats, end: float) -> Floats:
    """A steady climb to 1 that ends there."""
    return np.minimum(t / end, 1.0)


def gao(t: Floats) -> Floats:
    """Gao's RL curve with its peak at a third of the run, scaled to 1 there."""
    d = np.sqrt(t)
    peak = np.sqrt(1 / 3)
    beta = 1 / (1 + np.log(peak))
    curve = d * (1 - beta * np.log(np.where(d > 0, d, 1.0)))
    return curve / curve.max()


@dataclass(frozen=True)
class World:
    """A kind of run.

    Attributes:
        golden: Golden over the share of the run that is done.
        proxy: Proxy likewise.
        false: Outcomes that would be wrong.
        scale: Of proxy; 1 where both lie in [0, 1].
        onset: Share of the run at which golden stops or turns, where it does.
    """

    golden: Curve
    proxy: Curve
    false: tuple[str, ...]
    scale: float = 1.0
    onset: float | None = None


WORLDS = {
    "nothing moves": World(lambda t: 0 * t, lambda t: 0 * t, ("follows", "stopped", "falls")),
    "follows, slowly": World(
        lambda t: 0.4 * slow(t), lambda t: 0.4 * slow(t), ("stopped", "falls")
    ),
    "follows, at once": World(
        lambda t: 0.4 * quick(t), lambda t: 0.4 * quick(t), ("stopped", "falls")
    ),
    "half, slowly": World(
        lambda t: 0.2 * slow(t), lambda t: 0.4 * slow(t), ("follows", "stopped", "falls")
    ),
    "half, steadily": World(
        lambda t: 0.2 * t, lambda t: 0.4 * t, ("follows", "stopped", "falls")
    ),
    "half, at once": World(
        lambda t: 0.2 * quick(t), lambda t: 0.4 * quick(t), ("follows", "stopped", "falls")
    ),
    "never follows": World(
        lambda t: 0 * t, lambda t: 0.4 * slow(t), ("follows", "falls"), onset=0.0
    ),
    "never follows, at once": World(
        lambda t: 0 * t, lambda t: 0.4 * quick(t), ("follows", "falls"), onset=0.0
    ),
    "stops halfway": World(
        lambda t: 0.25 * until(t, 0.5), lambda t: 0.5 * t, ("follows", "falls"), onset=0.5
    ),
    "turns halfway": World(
        lambda t: 0.25 * until(t, 0.5) - 0.3 * np.maximum(t - 0.5, 0),
        lambda t: 0.5 * t,
        ("follows",),
        onset=0.5,
    ),
    "Gao's curve": World(
        lambda t: 0.3 * gao(t), lambda t: 0.5 * np.sqrt(t), ("follows",), onset=1 / 3
    ),
    "both collapse": World(
        lambda t: 0.3 * until(t, 0.5) - 0.3 * np.maximum(2 * t - 1, 0),
        lambda t: 0.3 * until(t, 0.5) - 0.3 * np.maximum(2 * t - 1, 0),
        ("follows", "stopped", "falls"),
    ),
    "follows, in logits": World(
        lambda t: 0.3 * t, lambda t: 0.3 * t, ("stopped", "falls"), scale=12.0
    ),
    "half as much late, in logits": World(
        lambda t: 0.2 * until(t, 0.5) + 0.1 * np.maximum(2 * t - 1, 0),
        lambda t: 0.3 * t,
        ("follows", "stopped", "falls"),
        scale=12.0,
    ),
    "stops halfway, in logits": World(
        lambda t: 0.25 * until(t, 0.5), lambda t: 0.3 * t, ("follows", "falls"), scale=12.0,
        onset=0.5,
    ),
}  # fmt: skip


def noise(rng: np.random.Generator, autocorrelation: float, size: int) -> Floats:
    """(size,) stationary AR(1) noise of variance 1."""
    out = rng.normal(size=size + 100)
    for t in range(1, out.size):
        fresh = np.sqrt(1 - autocorrelation**2)
        out[t] = autocorrelation * out[t - 1] + fresh * out[t]
    return out[100:]


def a_run(name: str, size: int, autocorrelation: float, seed: int) -> TrainingLog:
    """A run of a world; each row of the table has noise of its own."""
    world = WORLDS[name]
    rng = np.random.default_rng([seed, size, round(100 * autocorrelation), *name.encode()])
    t = np.linspace(0, 1, size)
    batch, own, other = (noise(rng, autocorrelation, size) for _ in range(3))
    golden = 0.45 + world.golden(t) * 0.8 + 0.06 * batch + 0.04 * own
    proxy = world.scale * (0.4 + world.proxy(t) * 0.8 + 0.06 * batch + 0.03 * other)
    if world.scale == 1.0:
        golden, proxy = np.clip(golden, 0, 1), np.clip(proxy, 0, 1)
    steps = np.arange(size, dtype=float)
    return TrainingLog("run", steps, np.full(size, np.nan), proxy, golden, {}, {}, ())


def row(name: str, size: int, autocorrelation: float, runs: int) -> dict[str, Any]:
    """Shares of the outcomes in one world, and how often the onset's bounds hold."""
    world, counts, held, widths = WORLDS[name], Counter[str](), [], []
    for seed in range(runs):
        found = analyse_training(a_run(name, size, autocorrelation, seed), seed=seed)
        counts[found.outcome] += 1
        if found.onset is not None and world.onset is not None:
            true = world.onset * (size - 1)
            held.append(found.onset.lower <= true <= found.onset.upper)
            widths.append((found.onset.upper - found.onset.lower) / (size - 1))
    return {
        "world": name,
        "points": size,
        "autocorrelation": autocorrelation,
        "runs": runs,
        **{outcome: counts[outcome] / runs for outcome in OUTCOMES},
        "false": {outcome: counts[outcome] / runs for outcome in world.false},
        "onset_held": float(np.mean(held)) if held else None,
        "onset_width": float(np.median(widths)) if widths else None,
    }


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The rows in Markdown; false outcomes are marked."""
    lines = [
        f"| world | points | autocorrelation | {' | '.join(OUTCOMES)} | onset held | its width |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        cells = [f"{r[o]:.3f}{' ✗' if o in r['false'] else ''}" for o in OUTCOMES]
        onset = ["", ""]
        if r["onset_held"] is not None:
            onset = [f"{r['onset_held']:.2f}", f"{r['onset_width']:.2f}"]
        where = [str(r[key]) for key in ("world", "points", "autocorrelation")]
        lines.append(f"| {' | '.join([*where, *cells, *onset])} |")
    return lines


def false_shares(rows: Sequence[dict[str, Any]], autocorrelation: float) -> list[float]:
    """(F,) shares of every false outcome of every row of this autocorrelation."""
    those = [r for r in rows if r["autocorrelation"] == autocorrelation]
    return [share for r in those for share in r["false"].values()]


def main() -> None:
    """Run all worlds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--lengths", type=int, nargs="+", default=[20, 60, 200])
    parser.add_argument("--autocorrelations", type=float, nargs="+", default=[0.0, 0.5, 0.8])
    options = parser.parse_args()
    rows = stored()
    for size in options.lengths:
        for autocorrelation in options.autocorrelations:
            for name in WORLDS:
                key = (name, size, autocorrelation)
                if key not in rows or rows[key]["runs"] < options.runs:
                    rows[key] = row(*key, options.runs)
                    print(table([rows[key]])[-1], flush=True)
                    write([rows[key] for key in sorted(rows, key=_order)])


def _order(key: Key) -> tuple[int, float, int]:
    return key[1], key[2], list(WORLDS).index(key[0])


def stored() -> dict[Key, dict[str, Any]]:
    """The rows of earlier runs."""
    path = RESULTS / "training.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    return {(r["world"], r["points"], r["autocorrelation"]): r for r in rows}


def write(rows: Sequence[dict[str, Any]]) -> None:
    """Both files."""
    runs = min(r["runs"] for r in rows)
    false = {a: false_shares(rows, a) for a in sorted({r["autocorrelation"] for r in rows})}
    told = [r for r in rows if r["onset_held"] is not None]
    runs_told = [r["runs"] * (r["stopped"] + r["falls"]) for r in told]
    held = np.average([r["onset_held"] for r in told], weights=runs_told)
    lines = [
        "# How often `rmcheck training` is wrong",
        "",
        f"{runs} runs a row, made by `benchmarks/training.py` (noise: what a batch gives",
        "both rewards .06, golden's own .04, proxy's own .03). ✗ marks an outcome that is false",
        "there; at the 5 % level its Monte-Carlo error is "
        f"{np.sqrt(0.05 * 0.95 / runs):.3f}. Mean and largest share of a false outcome: "
        + ", ".join(
            f"{np.mean(v):.3f} and {max(v):.3f} of {len(v)} at autocorrelation {a:g}"
            for a, v in false.items()
        )
        + ".",
        f"The onset's bounds hold the true step in {held:.1%} of the {sum(runs_told):.0f} runs in",
        "which it is told (90 % is promised). Width: of its interval, as a share of the run.",
        "",
        *table(rows),
        "",
    ]
    (RESULTS / "training.md").write_text("\n".join(lines), encoding="utf-8")
    data = {
        "machine": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("numpy", "scipy")},
        "rows": rows,
    }
    (RESULTS / "training.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
