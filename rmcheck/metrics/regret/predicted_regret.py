"""Predicted regret: the share of golden's gain that optimising the proxy would lose.

One metric with several ways to find it. Which one was used, and why, is in its `note`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self, get_args

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import UndefinedMetricError, UsageError
from rmcheck.metrics.best_of_n import SELECTION, BonDropRatio
from rmcheck.metrics.metric import Invariance, Metric, forwarded
from rmcheck.metrics.registration import register
from rmcheck.metrics.regret.calibration import Past, PastOf, RegretTable
from rmcheck.metrics.regret.disattenuated import Disattenuated
from rmcheck.metrics.regret.method import MAX_KL, NAME, Predictor, Wanted, choose_method, guess
from rmcheck.metrics.regret.optimizer import UNKNOWN_RL, Optimizer
from rmcheck.metrics.regret.ordinal import OrdinalDrop
from rmcheck.metrics.regret.pooled import PooledDrop
from rmcheck.metrics.regret.weighted import WeightedDrop
from rmcheck.metrics.reliability import REPEAT
from rmcheck.metrics.rewards import Floats, Rewards
from rmcheck.metrics.settings import require_choice, require_number, require_whole_number

# Counts up when a change makes predictions incomparable with those in histories.
DEFINITION = 2
# Predictors that past reward models correct.
CALIBRATING = ("auto", "calibrated")


@dataclass(frozen=True)
class _Unchosen(Metric):
    """Stands for the method before a pool was seen."""

    name = NAME
    direction = "lower"
    range = (-np.inf, np.inf)
    attainable = (0.0, 2.0)
    invariances = frozenset()

    def per_prompt(self, proxy: Floats, golden: Floats) -> Floats:
        raise UndefinedMetricError(f"{self.name} must first see the pool: call fitted(rewards)")

    def value(self, sums: Floats) -> Floats:
        raise UndefinedMetricError(f"{self.name} must first see the pool: call fitted(rewards)")


@register
@dataclass(frozen=True)
class PredictedRegret(Metric):
    """Drop ratio of a policy optimised against the proxy, as best-of-n or at a KL divergence.

    `predictor` says how it is found:

    * `measured`: 1 − NDR_n on the pool (`bon_drop_ratio`); at a KL, `matched_kl_regret`. Needs n
      responses on half of the prompts, or enough of them for the KL.
    * `weighted`: from the scores of all responses of a prompt and the labels of a few, which are
      weighted by what best-of-n would pick; for any shape of the proxy's errors.
    * `pooled`: measured inside prompts at the n that they allow, then followed into the tail that
      all prompts have together; sees hacked and heavy-tailed proxies that few responses a prompt
      hide. Beyond those it is a guess.
    * `gaussian`: 1 − NDR_2, which is 1 − NDR_n at any n when proxy and golden are jointly Gaussian
      inside a prompt. Too optimistic where the proxy's errors have heavy tails; a guess.
    * `ordinal`: 1 − sin(π (accuracy − ½)), for a golden that only ranks; a guess.
    * `nested`: from labels of the proxy's own choices (`rmcheck sample --design nested`).
    * `calibrated`: `auto`, then corrected by the measured regrets of past reward models in the
      suite's `history`, with a bound that holds for any shape of their errors (jackknife+).
    * `auto`: `nested` where the labels are such, `weighted` where responses without a label were
      scored, else `measured` where the pool allows, else `pooled`; calibrated where the history has
      enough reward models.

    A guess depends on responses that nobody has scored. It decides nothing unless calibrated.

    With `optimizer: rl` nothing is decided but by past reward models of the same `lineage` whose RL
    runs were measured: no number of a pool is known to rank what RL makes of reward models.

    A KL beyond what the pool allows is predicted at the n of best-of-n that has it. With a second
    golden read (`golden.repeat`) the noise of golden is taken out. The choice is made on a whole
    pool by `fitted`, so that every slice is treated alike. Undefined where golden gains nothing,
    and where the predictor asked for cannot be used. Lower is better: 0 loses nothing, 1 gains
    nothing, above 1 is harmful.

    Args:
        n: Responses that the policy would draw, 2 or more; or give kl.
        kl: KL divergence in nats of the policy from the initial one; or give n.
        predictor: How it is found.
        min_golden_gain: Mean golden gain, in golden units, below which nothing is decided.
        optimizer: `best_of_n`, which stands for KL-tilting too, or `rl`, at a kl.

    Caution:
        Best-of-n and KL-tilting do not rank what PPO makes of reward models. For RL ask with
        `optimizer: rl`, and give past RL runs to the history.

    Reference:
        Wen et al. 2024, arXiv 2410.05584, eqs. 2, 3 and 22; Barber et al. 2021 (jackknife+).
    """

    name = NAME
    direction = "lower"
    range = (-np.inf, np.inf)
    alternatives = ("n", "kl")
    scale_free = True  # no method depends on the unit of the proxy
    per_prompt = forwarded("method.per_prompt")
    block_sums = forwarded("method.block_sums")
    whole_sums = forwarded("method.whole_sums")
    bounded_by = forwarded("method.bounded_by")
    value = forwarded("method.value")
    gradient = forwarded("method.gradient")
    compared = forwarded("method.compared")
    unseen = forwarded("method.unseen")
    concerns = forwarded("method.concerns")
    require = forwarded("method.require")
    columns = forwarded("method.columns")
    min_responses = forwarded("method.min_responses")
    depends_on_n = forwarded("method.depends_on_n")
    studentised = forwarded("method.studentised")
    effective_units = forwarded("method.effective_units")
    attainable = forwarded("method.attainable")

    n: int | None = None
    kl: float | None = None
    predictor: Predictor = "auto"
    min_golden_gain: float = field(default=0.0, kw_only=True)
    optimizer: Optimizer = field(default="best_of_n", kw_only=True)
    method: Metric = field(default=_Unchosen(), init=False)
    reason: str = field(default="", init=False)
    past: Past | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_choice("predictor", self.predictor, get_args(Predictor))
        require_number("min_golden_gain", self.min_golden_gain, 0)
        if (self.n is None) == (self.kl is None):
            given = "both" if self.n is not None else "neither"
            raise UsageError(f"needs n or kl, one of them; {given} is given.")
        if self.n is not None:
            require_whole_number("n", self.n, 2)
        if self.kl is not None:
            require_number("kl", self.kl, 0)
            if not 0 < self.kl <= MAX_KL:
                raise UsageError(f"kl is {self.kl!r}; valid: nats above 0, {MAX_KL:g} at most.")
        self._require_of_rl()

    def _require_of_rl(self) -> None:
        require_choice("optimizer", self.optimizer, get_args(Optimizer))
        if self.optimizer == "best_of_n":
            return
        if self.kl is None:
            raise UsageError("optimizer rl needs kl: how many nats the policy is trained away.")
        if self.predictor not in CALIBRATING:
            raise UsageError(
                f"predictor is {self.predictor!r}; with optimizer rl valid: "
                f"{', '.join(CALIBRATING)}, as past RL runs alone decide."
            )

    # -- which way ------------------------------------------------------------------------

    def fitted(self, rewards: Rewards) -> Self:
        """This metric with the method that the predictor gives on these rewards.

        Raises:
            UndefinedMetricError: The predictor asked for cannot be used on them.
        """
        if self.needs_history and self.past is None:
            raise UndefinedMetricError(
                f"{self.name} with `predictor: calibrated` needs the suite's `history`"
            )
        super().require(rewards)
        method, reason = choose_method(self._wanted, rewards)
        if REPEAT in rewards.columns and isinstance(
            method, BonDropRatio | PooledDrop | WeightedDrop
        ):
            method = Disattenuated(method).fitted(rewards)
        return self._with(method=method, reason=reason)

    def localised(self, rewards: Rewards, mask: NDArray[np.bool_]) -> Self:
        return self._with(method=self.method.localised(rewards, mask))

    def knowing(self, past: Past | None) -> Self:
        """This metric with the past reward models that it may be calibrated on."""
        return self._with(past=past)

    @property
    def needs_history(self) -> bool:
        """Where the predictor is `calibrated`."""
        return self.predictor == "calibrated"

    def calibrated_on(self, past: PastOf | None, where: Mapping[str, str]) -> Self:
        """`knowing` what there is for this metric on a slice."""
        return self if past is None else self.knowing(past(self, where))

    def _with(self, **changes: Any) -> Self:
        kept = {name: getattr(self, name) for name in ("method", "reason", "past")}
        return self.fixed(**{**kept, **changes})

    @property
    def calibration(self) -> RegretTable | None:
        """Past reward models predicted by the same method, where the predictor asks for them."""
        if self.predictor not in CALIBRATING or self.past is None:
            return None
        return RegretTable(self.past(self.method.name), required=self.needs_history)

    # -- what the method says -------------------------------------------------------------

    @property
    def invariances(self) -> frozenset[Invariance]:
        """The invariances of every method that the predictor may choose."""
        if not isinstance(self.method, _Unchosen):
            return self.method.invariances
        if self.predictor == "ordinal":
            return OrdinalDrop.invariances
        if self.n is not None and (
            self.n == 2 or self.predictor in ("measured", "gaussian", "nested")
        ):
            return SELECTION
        return frozenset({"proxy_shift", "golden_shift", "golden_scale"})

    @property
    def note(self) -> str:
        """How the value was found, and why so."""
        return "; ".join(filter(None, (self.method.note, self.reason)))

    @property
    def signature(self) -> str:
        """The settings, and the version of the definition that histories go by.

        Best-of-n is not named, so that what older versions measured stays comparable.
        """
        own = super().signature.replace("|optimizer:best_of_n", "")
        return f"{own}|definition:{DEFINITION}"

    @property
    def guessed(self) -> tuple[str, ...]:
        """Why nothing is decided on this alone: it looks beyond the labels by assumption.

        Past reward models that were measured answer for it; see `calibration`.
        """
        return (UNKNOWN_RL,) if self.optimizer == "rl" else guess(self.method, self._wanted)

    @property
    def _wanted(self) -> Wanted:
        return Wanted(self.predictor, self.n, self.kl, self.min_golden_gain)

    def facts(self, sums: Floats) -> dict[str, float]:
        """The facts of the method, and the prediction by the method's name, for histories."""
        value = float(self.method.value(sums))
        own = {self.method.name: value} if math.isfinite(value) else {}
        return {**self.method.facts(sums), **own}
