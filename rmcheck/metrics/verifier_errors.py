"""The two errors of a verifier: wrong responses that pass, and right ones that do not."""

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rmcheck.metrics.metric import Invariance
from rmcheck.metrics.ratio import RatioMetric
from rmcheck.metrics.registration import register
from rmcheck.metrics.rewards import Floats
from rmcheck.metrics.settings import require_number

_NOTHING: frozenset[Invariance] = frozenset()


@dataclass(frozen=True)
class _VerdictErrors(RatioMetric):
    """A share of responses that a verdict is wrong about, pooled over prompts.

    Args:
        threshold: Rewards above it pass.
        golden_threshold: Responses with golden above it are right.
    """

    direction = "lower"
    range = (0.0, 1.0)
    invariances = _NOTHING
    min_responses = 1  # a verdict needs no other to be wrong
    # A verifier that always says the same makes one of the two errors never.
    tells_direction = False

    threshold: float = 0.5
    golden_threshold: float = 0.5

    def __post_init__(self) -> None:
        for name in ("threshold", "golden_threshold"):
            require_number(name, getattr(self, name), -np.inf)

    @abstractmethod
    def judged(
        self, passed: NDArray[np.bool_], right: NDArray[np.bool_]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """(p, N) responses that the verdict is wrong about, and (p, N) those that count."""

    def per_prompt(self, proxy: Floats, golden: Floats) -> Floats:
        """(p, 2): errors, and responses that could have been one."""
        wrong, counted = self.judged(proxy > self.threshold, golden > self.golden_threshold)
        return np.column_stack([wrong.sum(axis=1), counted.sum(axis=1)]).astype(np.float64)

    def compared(self, sums: Floats) -> NDArray[np.bool_]:
        """(n,) prompts with a response that could have been an error."""
        return np.asarray(sums[:, 1] > 0)


@register
@dataclass(frozen=True)
class FalsePositiveRate(_VerdictErrors):
    """Share of wrong responses that pass: what a policy learns to write.

    #{reward > threshold, golden ≤ golden_threshold} / #{golden ≤ golden_threshold}, pooled over
    all responses. Lower is better; a verifier that never passes anything has 0, so ask for
    `false_negative_rate` too. Undefined where no response is wrong; such prompts are left out.

    Caution:
        It is about these wrong responses. A policy in training looks for others, which pass.

    Reference:
        Fawcett 2006, An introduction to ROC analysis, section 2.
    """

    name = "false_positive_rate"

    def judged(
        self, passed: NDArray[np.bool_], right: NDArray[np.bool_]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Wrong responses that pass, of all wrong ones."""
        return passed & ~right, ~right


@register
@dataclass(frozen=True)
class FalseNegativeRate(_VerdictErrors):
    """Share of right responses that do not pass: what a policy unlearns.

    #{reward ≤ threshold, golden > golden_threshold} / #{golden > golden_threshold}, pooled over
    all responses. Lower is better; a verifier that passes everything has 0, so ask for
    `false_positive_rate` too. Undefined where no response is right; such prompts are left out.

    Caution:
        Right answers in a form that the pool does not hold are not counted.

    Reference:
        Fawcett 2006, An introduction to ROC analysis, section 2.
    """

    name = "false_negative_rate"

    def judged(
        self, passed: NDArray[np.bool_], right: NDArray[np.bool_]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Right responses that do not pass, of all right ones."""
        return right & ~passed, right
