"""verl's reward functions: `verl:module:compute_score`."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from rmcheck.models.kinds.functions.function import SETTINGS
from rmcheck.models.kinds.functions.rows import RowFunctionModel, member
from rmcheck.models.sample import Sample
from rmcheck.models.spec import ModelSpec, Setting, stated_settings
from rmcheck.pool.asked import AskedColumns


class VerlRewardModel(RowFunctionModel):
    """A function `(data_source, solution_str, ground_truth, extra_info) -> reward`.

    It is called for one response at a time and may be a coroutine function. A mapping that it
    returns has the reward as `score`. `ground_truth` is a column, or stands in the object of the
    column `reward_model`, as in verl's data; `data_source` is a column, or the setting of that
    name; `extra_info` is a column, or empty.

    Reference:
        verl's naive reward manager, `verl/experimental/reward_loop/reward_manager/naive.py`.
    """

    scheme: ClassVar[str] = "verl"
    settings: ClassVar[tuple[Setting, ...]] = (*SETTINGS, Setting("data_source", ("NAME",)))

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self._source_name = stated_settings(spec, self.settings)["data_source"]

    def asks(self, parameters: Sequence[inspect.Parameter]) -> AskedColumns:
        """What verl passes, whatever the function reads of it."""
        needed = ("ground_truth",) if self._source_name else ("data_source", "ground_truth")
        return AskedColumns(needed, ("extra_info",), inside={"ground_truth": "reward_model"})

    def call_row(self, function: Callable[..., Any], sample: Sample) -> Any:
        """The four arguments by name."""
        return function(
            data_source=self._source_name or sample.columns["data_source"],
            solution_str=sample.response,
            ground_truth=sample.columns["ground_truth"],
            extra_info=dict(sample.columns.get("extra_info") or {}),
        )

    def reward(self, answer: Any) -> Any:
        """The number, or the `score` of a mapping."""
        return member(self.spec, answer, "score")
