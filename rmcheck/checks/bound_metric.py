"""A metric bound to rewards: what a test gets when it asks for `accuracy`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

from rmcheck.checks.measurement import Measurement, Sampling, measure, measure_drop
from rmcheck.errors import BaselineError
from rmcheck.metrics.components import View
from rmcheck.metrics.judged import HUMAN, JudgedMean
from rmcheck.metrics.metric import Metric
from rmcheck.metrics.registry import make_metric
from rmcheck.metrics.regret.calibration import PastOf
from rmcheck.metrics.rewards import Rewards
from rmcheck.stats.estimate import Estimate, Unordered


@dataclass(frozen=True, eq=False)
class BoundMetric(Unordered):
    """A metric on the rewards of a suite, computed when one of its numbers is asked for.

    `accuracy.value`, `.lower`, `.upper` and `.n` are those of its Estimate. It has no ordering and
    no `float()`: a test says which end decides.

    Attributes:
        name: Name of the metric.
        rewards: Of the candidate.
        sampling: Confidence, resamples, seed.
        baseline: Gives the rewards of the baseline on the same rows, or None.
        settings: Settings of the metric.
        conditions: Slice column to value.
        past: The past reward models that a prediction may be calibrated on.
    """

    name: str
    rewards: Rewards = field(repr=False)
    sampling: Sampling = field(default_factory=Sampling, repr=False)
    baseline: Callable[[], Rewards] | None = field(default=None, repr=False)
    settings: Mapping[str, Any] = field(default_factory=dict)
    conditions: Mapping[str, str] = field(default_factory=dict)
    past: PastOf | None = field(default=None, repr=False)

    def at(self, **settings: Any) -> Self:
        """The same metric with other settings, as in `bon_drop_ratio.at(n=16)`."""
        return replace(self, settings={**self.settings, **settings})

    def where(self, **conditions: str) -> Self:
        """The same metric on prompts with these slice values, as in `.where(category="code")`."""
        return replace(self, conditions={**self.conditions, **conditions})

    def of(self, component: str) -> Self:
        """The same metric of one of several rewards at once, as in `accuracy.of("correct")`.

        Raises:
            UndefinedMetricError: The model has no such component.
        """
        view, baseline = View(component), self.baseline
        seen = baseline and (lambda: view.of(baseline()))
        return replace(self, rewards=view.of(self.rewards), baseline=seen)

    @property
    def metric(self) -> Metric:
        """The metric with its settings.

        Raises:
            UsageError: A setting is unknown, missing or out of its range.
        """
        metric = make_metric(self.name, **self.settings)
        return JudgedMean(metric) if HUMAN in self.rewards.columns else metric

    @cached_property
    def measurement(self) -> Measurement:
        """Everything that was found out about the number."""
        metric = self.metric.calibrated_on(self.past, self.conditions)
        return measure(metric, self.rewards, where=self.conditions, sampling=self.sampling)

    @property
    def estimate(self) -> Estimate:
        """Value, bounds and number of prompts."""
        return self.measurement.estimate

    @property
    def value(self) -> float:
        """The point estimate."""
        return self.estimate.value

    @property
    def lower(self) -> float:
        """One-sided lower confidence bound."""
        return self.estimate.lower

    @property
    def upper(self) -> float:
        """One-sided upper confidence bound."""
        return self.estimate.upper

    @property
    def n(self) -> int:
        """Independent prompts that the value rests on."""
        return self.estimate.n

    def drop(self) -> Estimate:
        """How much worse the candidate is than the baseline, paired; lower is better.

        Raises:
            BaselineError: No baseline was given.
        """
        if self.baseline is None:
            raise BaselineError("a drop is against a baseline: give one with --rmcheck-baseline")
        return measure_drop(
            self.metric,
            self.rewards,
            self.baseline(),
            where=self.conditions,
            sampling=self.sampling,
        ).estimate

    @property
    def _written(self) -> str:
        return self.name

    def __bool__(self) -> bool:
        """Refused, since `assert accuracy` would always pass."""
        __tracebackhide__ = True
        raise TypeError(
            f"{self.name} is neither true nor false. Say what is required: {self.name}.lower >= … "
            f"or {self.name}.upper <= …"
        )

    def __repr__(self) -> str:
        settings = "".join(f", {k}={v}" for k, v in {**self.settings, **self.conditions}.items())
        try:
            return f"<{self.name}{settings}: {self.estimate!r}>"
        except Exception as error:  # a repr is shown inside failures and must not add one
            return f"<{self.name}{settings}: {error}>"
