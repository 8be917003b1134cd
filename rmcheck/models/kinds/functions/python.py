"""A user's own function as a reward model: `python:module:function`."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from rmcheck.models.kinds.functions.columns import asked_by, by_column, conversation
from rmcheck.models.kinds.functions.function import FunctionModel
from rmcheck.models.sample import Sample
from rmcheck.pool.asked import AskedColumns


class PythonRewardModel(FunctionModel):
    """A function `(prompts, responses, …) -> rewards`.

    `prompts` is a list of conversations, each a list of `{"role": ..., "content": ...}`;
    `responses` a list of as many texts. Further parameters are columns of the pool by name, each a
    list of as many values: `def score(prompts, responses, ground_truth)`. One with a default may be
    missing in the pool, and `**columns` takes all others. See `FunctionModel`.
    """

    scheme: ClassVar[str] = "python"

    def asks(self, parameters: Sequence[inspect.Parameter]) -> AskedColumns:
        """Every parameter behind the first two."""
        return asked_by(parameters, skip=2)

    def call(self, function: Callable[..., Any], samples: Sequence[Sample]) -> Any:
        """Prompts and responses by position, columns by name."""
        prompts = [conversation(sample) for sample in samples]
        return function(prompts, [s.response for s in samples], **by_column(samples))
