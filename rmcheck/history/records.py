"""What the history keeps: one record a run, and one a regret that RL gave later."""

import math
import re
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Literal, get_args

from rmcheck.errors import UsageError
from rmcheck.history.record_text import content_hash, time_text
from rmcheck.metrics.regret.optimizer import Optimizer
from rmcheck.metrics.settings import require_choice

RECORD_VERSION = 1
# A regret beyond this is a percentage, or not a regret.
MAX_REGRET = 10.0


@dataclass(frozen=True)
class Target:
    """How far a policy was optimised, and how.

    Attributes:
        kind: `n` of best-of-n, or `kl` in nats from the initial policy.
        value: 2 or more for n, above 0 for KL.
        optimizer: `best_of_n` is best-of-n, tilting, or what nobody has said; `rl` a policy that
            was trained.

    Raises:
        UsageError: The value is not valid for its kind, or RL has an n.
    """

    kind: Literal["n", "kl"]
    value: float
    optimizer: Optimizer = "best_of_n"

    def __post_init__(self) -> None:
        require_choice("optimizer", self.optimizer, get_args(Optimizer))
        if self.optimizer == "rl" and self.kind == "n":
            raise UsageError("RL draws no n responses; say how many nats it went: kl.")
        if self.kind == "n" and not (2 <= self.value < math.inf and self.value % 1 == 0):
            raise UsageError(f"n is {self.value:g}; valid: a whole number, 2 or more.")
        if self.kind == "kl" and not 0 < self.value < math.inf:
            raise UsageError(f"kl is {self.value:g}; valid: a finite number of nats above 0.")

    def __str__(self) -> str:
        return f"{self.kind}={self.value:g}{' of RL' if self.optimizer == 'rl' else ''}"

    def as_dict(self) -> dict[str, Any]:
        """`{"n": 256}`, `{"kl": 4.0}` or `{"kl": 4.0, "optimizer": "rl"}`."""
        value = int(self.value) if self.kind == "n" else float(self.value)
        far: dict[str, Any] = {self.kind: value}
        return far if self.optimizer == "best_of_n" else {**far, "optimizer": self.optimizer}


@dataclass(frozen=True)
class CheckEntry:
    """One check of a run; the fields are those of a report's check.

    Bounds are infinite where there is none.
    """

    name: str
    metric: str
    settings: dict[str, Any]
    signature: str
    slice: str
    value: float
    lower: float
    upper: float
    confidence: float
    n: int
    facts: dict[str, float]
    verdict: str


@dataclass(frozen=True)
class RunRecord:
    """One suite judged on one reward model.

    Attributes:
        fingerprint: What it was: weights, config, tokenizer, template, settings.
        golden: Where the golden reward came from: a column, or the spec of a golden RM.
        golden_fingerprint: What that golden RM was; empty for a column.
        lineage: Whether the RM learned from the policy's own responses (`on_policy`) or from
            another's (`off_policy`); empty where nobody has said.
    """

    rmcheck: str
    time: datetime
    rm: str
    spec: str
    fingerprint: str
    suite: str
    suite_path: str
    pool: str
    pool_fingerprint: str
    golden: str
    golden_fingerprint: str
    checks: tuple[CheckEntry, ...] = field(repr=False)
    lineage: str = ""

    @cached_property
    def id(self) -> str:
        """Date, RM and a hash of everything but the time; the file has this name."""
        return f"{self.time:%Y-%m-%d}-{slug(self.rm)}-{content_hash(self.as_dict())}"

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON; a lineage that nobody has said is left out."""
        return {
            **({"lineage": self.lineage} if self.lineage else {}),
            "record": RECORD_VERSION,
            "kind": "run",
            "rmcheck": self.rmcheck,
            "time": time_text(self.time),
            "rm": {"name": self.rm, "spec": self.spec, "fingerprint": self.fingerprint},
            "suite": {"name": self.suite, "path": self.suite_path},
            "pool": {"path": self.pool, "fingerprint": self.pool_fingerprint},
            "golden": {"source": self.golden, "fingerprint": self.golden_fingerprint},
            "checks": [
                {**vars(check), "lower": _finite(check.lower), "upper": _finite(check.upper)}
                for check in self.checks
            ],
        }


@dataclass(frozen=True)
class RegretRecord:
    """The regret that optimising against a reward model really gave.

    Attributes:
        run: Id of the run that it was attached to.
        fingerprint: Fingerprint of that run's reward model, for which it holds in every run.
        value: Share of the golden gain that was lost: 0 lost nothing, 1 gained nothing, above 1
            was harmful. Lower is better.
        target: How far the policy was optimised.
        seed: Seed of the RL run, or None where it has none.

    Raises:
        UsageError: The value is not a regret, or lies outside its own bounds.
    """

    run: str
    fingerprint: str
    value: float
    target: Target
    time: datetime
    lower: float | None = None
    upper: float | None = None
    seed: int | None = None
    note: str = ""

    def __post_init__(self) -> None:
        for name in ("value", "lower", "upper"):
            number = getattr(self, name)
            if number is not None and not abs(number) <= MAX_REGRET:
                shown = "regret" if name == "value" else name
                raise UsageError(
                    f"{shown} is {number:g}; valid: a share of the golden gain, as in 0.31 for "
                    f"31 %, {-MAX_REGRET:g} to {MAX_REGRET:g}."
                )
        lower = -math.inf if self.lower is None else self.lower
        upper = math.inf if self.upper is None else self.upper
        if not lower <= self.value <= upper:
            raise UsageError(f"regret {self.value:g} lies outside its bounds {lower:g}, {upper:g}.")

    @cached_property
    def id(self) -> str:
        """The run and a hash of everything but the time; the file has this name."""
        return f"{self.run}.regret-{content_hash(self.as_dict())}"

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON; what is not known is left out."""
        known = {"lower": self.lower, "upper": self.upper, "seed": self.seed}
        return {
            "record": RECORD_VERSION,
            "kind": "regret",
            "run": self.run,
            "rm": {"fingerprint": self.fingerprint},
            "regret": self.value,
            "target": self.target.as_dict(),
            "time": time_text(self.time),
            "note": self.note,
            **{key: value for key, value in known.items() if value is not None},
        }


def slug(name: str) -> str:
    """A name as part of a file name: letters, digits, dots and dashes, 60 at most."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.")[:60].strip("-.") or "rm"


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
