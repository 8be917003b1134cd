"""What leaves a check: plain facts that cross process boundaries and end in reports."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Self

from rmcheck.wording import encodable

# Characters of a text that a record keeps.
EXCERPT = 300


@dataclass(frozen=True)
class MistakeRecord:
    """One prompt that the model got wrong, with enough text to recognise it."""

    prompt_id: str
    golden_loss: float
    margin: float
    prompt: str
    picked: str
    better: str


@dataclass(frozen=True)
class CauseRecord:
    """Something that may be why a model picks worse answers, with the evidence.

    Traits of responses have all numbers; a slice, cut texts and ties have the first four.

    Attributes:
        name: Of the trait, or of the place, such as `category=code`.
        share: Share of the golden loss of the picks that follows it. Of a trait: lost where the
            pick has more of it than golden's best, less what is lost where it has less of it. Of
            a place: what would go if no more were lost there than elsewhere. Of ties: what the
            best choice among them would spare.
        lower: Lower end of 95 % bounds that hold for all suspects together; so all that follow.
        more: Share of the golden loss where the pick has more of the trait than golden's best.
        less: Share where it has less.
        gap: Trait of the pick less that of golden's best, in standard deviations inside prompts.
        alone: Share of the reward's variance inside prompts that the trait explains by itself.
        beyond: Share that it explains beyond golden and all other traits.
        baseline: `beyond` of the baseline.
        agrees: Whether the reward follows the trait in the direction in which golden is lost.
        suspected: Whether this one is, among all.
    """

    name: str
    share: float
    lower: float
    upper: float
    more: float | None = None
    less: float | None = None
    gap: float | None = None
    gap_lower: float | None = None
    gap_upper: float | None = None
    alone: float | None = None
    beyond: float | None = None
    beyond_lower: float | None = None
    beyond_upper: float | None = None
    baseline: float | None = None
    agrees: bool = False
    suspected: bool = False


@dataclass(frozen=True)
class DriftRecord:
    """One response to which two engines give different rewards.

    Attributes:
        first: Reward of the engine that is the reference (the candidate).
        second: Reward of the other (the serving engine).
        text: The beginning of the response.
    """

    prompt_id: str
    response: int
    first: float
    second: float
    text: str


@dataclass(frozen=True)
class EstimateRecord:
    """An estimate of one model."""

    value: float
    lower: float
    upper: float


@dataclass(frozen=True)
class CheckRecord:
    """One check, decided.

    Attributes:
        node: Where pytest finds it, such as `suites/safety.yaml::accuracy`.
        path: Suite file as the terminal shows it.
        signature: Everything that changes the number, in one string.
        slice: Slice it was measured on, such as `category=code`; empty for the whole pool.
        value: What was measured: the metric, or the drop against the baseline.
        lower: One-sided bound at `confidence`.
        upper: One-sided bound at `confidence`.
        n: Independent prompts that it rests on.
        left_out: Prompts with too few responses to take part.
        constant_golden: Prompts that take no part because their golden rewards are all equal.
        verdict: `pass`, `fail` or `inconclusive`.
        gate: What the build does: `passed` or `failed` (inconclusive may be either).
        required: The requirement, such as `>= 0.70`.
        kind: `at_least`, `at_most`, `max_drop` or `max_decay`.
        bound: The number of the requirement.
        reason: One line, numbers first.
        p_value: Evidence against the requirement being met, uncorrected.
        p_holm: The same, Holm-adjusted over the suite.
        prompts_needed: Prompts that would decide, where that can be said (see `deciding`).
        baseline: The baseline's own estimate, where one was compared.
        mistakes: Prompts that the candidate got most wrong.
        exact: Whether it is a statement about the rows themselves: the bounds are the value.
        drifts: Responses whose reward the serving engine changes most, where one is compared.
        causes: Why it may pick worse answers, what is suspected first.
    """

    suite: str
    name: str
    node: str
    path: str
    line: int
    metric: str
    settings: dict[str, Any]
    signature: str
    slice: str
    value: float
    lower: float
    upper: float
    confidence: float
    n: int
    left_out: int
    verdict: str
    gate: str
    required: str
    kind: str
    bound: float
    reason: str
    p_value: float
    p_holm: float
    prompts_needed: int | None
    candidate: EstimateRecord
    baseline: EstimateRecord | None = None
    facts: dict[str, float] = field(default_factory=dict)
    note: str = ""
    concerns: tuple[str, ...] = ()
    mistakes: tuple[MistakeRecord, ...] = ()
    exact: bool = False
    constant_golden: int = 0
    drifts: tuple[DriftRecord, ...] = ()
    causes: tuple[CauseRecord, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain data: what goes through a worker's pipe and into report.json."""
        return dict(self._plain)

    @cached_property
    def _plain(self) -> dict[str, Any]:
        return dict(encodable(asdict(self)))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The record that `as_dict` came from."""
        baseline = data["baseline"]
        return cls(
            **{
                **data,
                "candidate": EstimateRecord(**data["candidate"]),
                "baseline": EstimateRecord(**baseline) if baseline else None,
                "concerns": tuple(data["concerns"]),
                "mistakes": tuple(MistakeRecord(**m) for m in data["mistakes"]),
                "drifts": tuple(DriftRecord(**d) for d in data["drifts"]),
                "causes": tuple(CauseRecord(**c) for c in data["causes"]),
            }
        )


def deciding(check: Mapping[str, Any]) -> tuple[str, int, int] | None:
    """What would decide a check: of what there are too few, how many there are, and need to be.

    Where labels of people put a judge's right, they are what is short.

    Args:
        check: `CheckRecord.as_dict()`.
    """
    if check["prompts_needed"] is None:
        return None
    humans = check["facts"].get("human_prompts")
    if humans is None:
        return "prompts", check["n"], check["prompts_needed"]
    needed = math.ceil(check["prompts_needed"] * humans / check["n"])
    return "prompts labelled by people", int(humans), needed


@dataclass(frozen=True)
class ComponentRecord:
    """One of several rewards that a model adds up, on a suite's pool.

    Attributes:
        name: The component.
        weight: In the sum.
        share: Of the sum's variance inside prompts, cov(w x, Σ w x) / var(Σ w x); all shares add up
            to 1, and one is negative where the reward works against the others. None where the sum
            is constant.
        measured: Name of a check to what its metric gives for this reward alone.
        correlations: Other component to the correlation with it inside prompts; one that is
            constant inside prompts has none.
    """

    name: str
    weight: float
    share: float | None
    measured: Mapping[str, EstimateRecord]
    correlations: Mapping[str, float]

    def __str__(self) -> str:
        share = "" if self.share is None else f"; {self.share:.0%} of the variance"
        own = "".join(
            f"; {name} {e.value:.3f} [{e.lower:.3f}, {e.upper:.3f}]"
            for name, e in self.measured.items()
        )
        others = ", ".join(f"{r:.2f} with {name}" for name, r in self.correlations.items())
        return f"weight {self.weight:g}{share}{own}" + (f"; correlates {others}" if others else "")


@dataclass(frozen=True)
class ModelRecord:
    """A reward model as the report names it: what it is, how it proved itself, what was scored."""

    role: str
    spec: str
    name: str
    fingerprint: str
    description: dict[str, str] = field(default_factory=dict)
    conformance: tuple[dict[str, str], ...] = ()
    scoring: dict[str, Any] = field(default_factory=dict)
    components: tuple[ComponentRecord, ...] = ()


@dataclass(frozen=True)
class PoolRecord:
    """A pool as the report names it: what was read, and what was found wrong with it."""

    path: str
    format: str
    fingerprint: str
    rows_read: int
    prompts: int
    responses: int
    units: int
    faults: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class SuiteRecord:
    """What a suite was judged with.

    Attributes:
        golden: Where the golden reward came from.
        models: Candidate, baseline and golden RM, as far as there are any.
        lineage: Whose responses the models learned from, where the suite says it; else empty.
    """

    name: str
    path: str
    golden: str
    pool: PoolRecord
    models: tuple[ModelRecord, ...]
    resamples: int
    seed: int
    lineage: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain data: what goes through a worker's pipe and into report.json."""
        return dict(encodable(asdict(self)))
