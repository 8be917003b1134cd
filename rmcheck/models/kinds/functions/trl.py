"""TRL's reward functions: `trl:module:function`, or several of them."""

import inspect
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, ClassVar, Self, cast

from rmcheck.errors import UsageError
from rmcheck.models.kinds.functions.columns import accepted, asked_by, by_column, conversation
from rmcheck.models.kinds.functions.function import SETTINGS, FunctionModel
from rmcheck.models.kinds.functions.several import WeightedRewards, weights_of
from rmcheck.models.kinds.functions.written import plain_prompt
from rmcheck.models.sample import Sample
from rmcheck.models.spec import ModelSpec, Setting, stated_settings
from rmcheck.pool.asked import AskedColumns

# What the trainer gives beside columns.
_GIVEN = ("prompts", "completions", "trainer_state", "log_extra", "log_metric")
_WEIGHTS = "reward_weights"


class TrlRewardModel(FunctionModel):
    """A function `(prompts, completions, **columns) -> rewards` of GRPO or RLOO.

    Prompts and completions are messages, as in a conversational data set; with `prompts=text` both
    are texts. Columns of the pool come by name, and so would `completion_ids`, which only a trainer
    makes. `trainer_state` stands at step 0, and what is logged goes nowhere.

    With several functions, `trl:rewards:correct,rewards:format?reward_weights=1,0.2`, the reward is
    their weighted sum (`WeightedRewards`).

    Reference:
        TRL 1.16, `GRPOTrainer._calculate_rewards`.
    """

    scheme: ClassVar[str] = "trl"
    settings: ClassVar[tuple[Setting, ...]] = (
        *SETTINGS,
        Setting("prompts", ("messages", "text"), "messages", closed=True),
        Setting(_WEIGHTS, ("W1,W2",)),
    )

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self._texts = stated_settings(spec, self.settings)["prompts"] == "text"

    @classmethod
    def from_spec(cls, spec: ModelSpec) -> Self:
        """One function, or the weighted sum of several.

        Raises:
            UnknownModelError: There is no such module.
            UsageError: A location is not `module:function`, stands there twice, or a setting is
                wrong.
        """
        stated = spec.settings.get(_WEIGHTS, "")
        locations = spec.location.split(",")
        if len(locations) == 1 and not stated:
            return cls(spec)
        weights = weights_of(spec, stated, len(locations))
        if twice := [name for name, count in Counter(locations).items() if count > 1]:
            raise UsageError(f"{spec.text}: {twice[0]!r} is named twice; give it one weight")
        members = [cls(_single(spec, location)) for location in locations]
        last = [location.rpartition(":")[2] for location in locations]
        names = last if len(set(last)) == len(last) else locations
        return cast(Self, WeightedRewards(spec.text, members, names, weights))

    def asks(self, parameters: Sequence[inspect.Parameter]) -> AskedColumns:
        """Every parameter but those that the trainer fills otherwise."""
        return asked_by(parameters, known=_GIVEN)

    def call(self, function: Callable[..., Any], samples: Sequence[Sample]) -> Any:
        """All by name."""
        if self._texts:
            prompts: list[Any] = [plain_prompt(self.spec, sample) for sample in samples]
            completions: list[Any] = [sample.response for sample in samples]
        else:
            prompts = [conversation(sample) for sample in samples]
            completions = [[{"role": "assistant", "content": s.response}] for s in samples]
        given = {
            "prompts": prompts,
            "completions": completions,
            "trainer_state": SimpleNamespace(global_step=0, epoch=0.0, max_steps=0),
            "log_extra": _nothing,
            "log_metric": _nothing,
        }
        return function(**accepted(function, given), **by_column(samples))


def _nothing(*arguments: Any, **named: Any) -> None:
    """What is logged goes nowhere."""


def _single(spec: ModelSpec, location: str) -> ModelSpec:
    settings = {name: value for name, value in spec.settings.items() if name != _WEIGHTS}
    query = "&".join(f"{name}={value}" for name, value in settings.items())
    text = f"{spec.scheme}:{location}" + (f"?{query}" if query else "")
    return replace(spec, text=text, location=location, settings=settings)
