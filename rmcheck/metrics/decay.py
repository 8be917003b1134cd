"""How much worse a metric gets while the policy trains.

A reward model is judged on responses of the policy that it trains. As the policy moves away, what
was measured on the first pool says less and less.
"""

from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.metric import Metric, forwarded, per_prompt_sums
from rmcheck.metrics.policy_steps import FEWEST_PROMPTS, PolicySteps
from rmcheck.metrics.rewards import Floats, Rewards


@dataclass(frozen=True)
class Decay(Metric):
    """By how much a metric gets worse from the first step of the policy to the last.

    A straight line through its values at the steps, all of one weight; lower is better, below 0 the
    metric gets better. Prompts that are asked at several steps are one unit.

    Attributes:
        column: Slice of the prompts, or number of each response, with the step of the policy.
        steps: (S,) the steps, ascending; empty before `fitted`.
    """

    direction = "lower"
    scale_free = False  # how it would decay if the longest answer won is no number to beat
    tells_direction = False  # a model that is bad from the start does not get worse
    invariances = forwarded("base.invariances")
    columns = forwarded("base.columns")
    min_responses = forwarded("base.min_responses")
    studentised = forwarded("base.studentised")

    base: Metric
    column: str
    steps: tuple[float, ...] = field(default=(), init=False, repr=False)

    @property
    def name(self) -> str:  # type: ignore[override]
        """The name of what decays, and that it is the decay."""
        return f"decay of {self.base.name}"

    @property
    def range(self) -> tuple[float, float]:
        """As much as its values can differ, either way."""
        return self._reach(self.base.range)

    @property
    def attainable(self) -> tuple[float, float]:
        """The same of what the metric can reach on a pool."""
        return self._reach(self.base.attainable)

    def _reach(self, ends: tuple[float, float]) -> tuple[float, float]:
        weights = np.abs(self._weights).sum() if self.steps else 2.0
        most = float(weights) / 2 * (ends[1] - ends[0])
        return (-most, most)

    @property
    def settings(self) -> dict[str, Any]:
        return {**self.base.settings, "over": self.column}

    @property
    def signature(self) -> str:
        """That of the metric, and that it is its decay."""
        return f"{self.base.signature}|decay:{self.column}"

    def require(self, rewards: Rewards) -> None:
        """Refuse rewards without steps, and metrics that are fixed on a whole pool first.

        Raises:
            UndefinedMetricError: See `PolicySteps.read` and `Metric.require`; or the metric has no
                value that sums of a step give.
        """
        self.base.require(rewards)
        if not self.base.sums_suffice or self.base.exact:
            raise UndefinedMetricError(
                f"{self.base.name} has no decay: it is fixed on a pool as a whole. Ask for its "
                "value at each step with `over`"
            )
        PolicySteps.read(rewards, self.column)

    def fitted(self, rewards: Rewards) -> Self:
        return self.fixed(steps=PolicySteps.read(rewards, self.column).steps)

    def whole_sums(self, rewards: Rewards) -> tuple[Floats, NDArray[np.bool_]]:
        """(P, S K) sums of every prompt at each step, and which prompts were measured at any.

        Raises:
            UndefinedMetricError: Fewer than ten prompts were measured at a step.
        """
        steps = PolicySteps.read(rewards, self.column)
        found, measured = [], np.zeros(len(rewards), dtype=bool)
        few = []
        for number, step in enumerate(steps.steps):
            sums, taking_part = per_prompt_sums(self.base, steps.at(rewards, number))
            informative = taking_part & self.base.compared(sums)
            if (count := int(informative.sum())) < FEWEST_PROMPTS:
                few.append(f"{step:g} ({count})")
            found.append(np.where(informative[:, None], sums, 0.0))
            measured |= taking_part
        if few:
            raise UndefinedMetricError(
                f"{self.base.name} over {self.column!r}: fewer than {FEWEST_PROMPTS} prompts at "
                f"step {', '.join(few)}"
            )
        return np.hstack(found), measured

    def per_prompt(self, proxy: Floats, golden: Floats) -> Floats:
        """Refused: two arrays do not say which step a response is of.

        Raises:
            UndefinedMetricError: Always.
        """
        raise UndefinedMetricError(f"{self.name} needs the steps of the policy: use whole_sums")

    def each(self, sums: Floats) -> Floats:
        """(…, S) the metric at each step, from (…, S K) totals."""
        return np.asarray(self.base.value(self._apart(sums)))

    def value(self, sums: Floats) -> Floats:
        """Fall of the line from the first step to the last."""
        return np.asarray(self.each(sums) @ self._weights)

    def gradient(self, sums: Floats) -> Floats | None:
        own = self.base.gradient(self._apart(sums))
        return None if own is None else (own * self._weights[:, None]).reshape(sums.shape)

    def compared(self, sums: Floats) -> NDArray[np.bool_]:
        """(n,) where golden allows to compare at some step."""
        return np.asarray(sums.any(axis=1))

    def concerns(self, sums: Floats) -> tuple[str, ...]:
        apart = self._apart(sums)
        found = {step: apart[:, number] for number, step in enumerate(self.steps)}
        return tuple(
            f"at step {step:g}: {said}"
            for step, rows in found.items()
            for said in self.base.concerns(rows[rows.any(axis=1)])
        )

    def facts(self, sums: Floats) -> dict[str, float]:
        values = zip(self.steps, self.each(sums).tolist(), strict=True)
        return {f"at_step_{step:g}": value for step, value in values}

    def prompts(self, sums: Floats) -> tuple[int, ...]:
        """(S,) prompts that are measured at each step, of (P, S K) sums."""
        return tuple(self._apart(sums).any(axis=-1).sum(axis=0).tolist())

    def _apart(self, sums: Floats) -> Floats:
        """(…, S, K) of (…, S K)."""
        return sums.reshape(*sums.shape[:-1], len(self.steps), -1)

    @property
    def _weights(self) -> Floats:
        """(S,) weight of each value in the fall of the line."""
        line = np.array(self.steps) - np.mean(self.steps)
        fall: Floats = line * (self.steps[0] - self.steps[-1]) / (line @ line)
        return fall if self.base.direction == "higher" else -fall
