"""Feeds spoilt files to every reader and counts what comes out."""

import random
import shutil
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mutators import mutated
from parquet_rows import odd_types
from targets import TARGETS
from targets.target import Target, outcome

HANGS_AFTER = 30


@dataclass
class Found:
    """What came out of one reader.

    Attributes:
        counts: `accepted`, `own`, `other` to inputs.
        sites: Where another exception came from, to the first input that did it.
        seconds: CPU seconds.
    """

    counts: Counter[str] = field(default_factory=Counter)
    sites: dict[str, bytes] = field(default_factory=dict)
    seconds: float = 0.0


def inputs(target: Target, rng: random.Random) -> Iterator[tuple[str, bytes]]:
    """Every seed as it is under every name, and then spoilt ones without end."""
    for seed in target.seeds:
        for name in target.names:
            yield name, seed
    tables = [seed for seed in target.seeds if seed.startswith(b"PAR1")]
    while True:
        if target.parquet and rng.random() < 0.3:
            yield rng.choice(target.names), odd_types(rng.choice(tables), rng)
        else:
            yield rng.choice(target.names), mutated(rng.choice(target.seeds), rng)


def fuzzed(target: Target, *, seed: int, most: int, seconds: float) -> Found:
    """Reads so many inputs, or as many as the time allows; never fewer than the seeds."""
    found, began = Found(), time.monotonic()
    least = len(target.seeds) * len(target.names)
    for number, (name, data) in enumerate(inputs(target, random.Random(seed))):
        if number >= least and (number >= most or time.monotonic() - began > seconds):
            return found
        started = time.process_time()
        site = read(target, name, data)
        found.seconds += time.process_time() - started
        found.counts[site if site in ("accepted", "own") else "other"] += 1
        if site not in ("accepted", "own"):
            found.sites.setdefault(site, data)
    return found


def read(target: Target, name: str, data: bytes) -> str:
    """What came out of one input: `accepted`, `own`, or the place of another exception."""
    folder = Path(tempfile.mkdtemp(prefix="rmcheck-fuzz-"))
    path = folder / name
    path.write_bytes(data)
    try:
        with _alarm():
            return outcome(target, path)
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in last if "rmcheck" in Path(frame.filename).parts] or last
        place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
        return f"{type(error).__name__} at {place}: {str(error)[:80]!r}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _alarm() -> Iterator[None]:
    def hangs(*_: object) -> None:
        raise TimeoutError(f"hangs for {HANGS_AFTER} s")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(HANGS_AFTER)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def table(found: dict[str, Found]) -> Sequence[str]:
    """A line a reader, and one for all."""
    rows = [(name, one.counts, one.seconds) for name, one in found.items()]
    total = sum((counts for _, counts, _ in rows), Counter[str]())
    rows.append(("all", total, sum(seconds for *_, seconds in rows)))
    head = f"{'reader':16} {'inputs':>8} {'accepted':>8} {'own':>8} {'other':>6} {'CPU s':>7}"
    return [
        head,
        *(
            f"{name:16} {counts.total():8} {counts['accepted']:8} {counts['own']:8} "
            f"{counts['other']:6} {seconds:7.1f}"
            for name, counts, seconds in rows
        ),
    ]


__all__ = ["TARGETS", "Found", "fuzzed", "table"]
