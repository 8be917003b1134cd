"""OpenRLHF's reward functions: `openrlhf:module:reward_func`."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from rmcheck.models.kinds.functions.function import SETTINGS, FunctionModel
from rmcheck.models.kinds.functions.rows import member
from rmcheck.models.kinds.functions.written import WrittenPrompts
from rmcheck.models.sample import Sample
from rmcheck.models.spec import ModelSpec, Setting, stated_settings
from rmcheck.pool.asked import AskedColumns


class OpenRlhfRewardModel(FunctionModel):
    """A function `(queries, prompts, labels) -> rewards`.

    It is called with one of each at a time, unless `batch` says more. With `tokenizer=DIR` prompts
    are written by the chat template of the policy, and a query is the text of the tokens that it
    read and wrote, with its EOS, as OpenRLHF has them with `--apply_chat_template`; without it a
    prompt is the text of its one user turn, and a query the prompt with its response. Labels are
    the column `label`, or that of the setting `label_key`. A mapping that the function returns has
    the rewards as `rewards`.

    Reference:
        OpenRLHF, `openrlhf/utils/agent.py` (`SingleTurnAgentExecutor`) and
        `openrlhf/datasets/prompts_dataset.py`.
    """

    scheme: ClassVar[str] = "openrlhf"
    settings: ClassVar[tuple[Setting, ...]] = (
        *SETTINGS,
        Setting("label_key", ("COLUMN",), "label"),
        Setting("tokenizer", ("DIR",)),
    )

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        chosen = stated_settings(spec, self.settings)
        self._label = chosen["label_key"]
        self.largest_batch = self.largest_batch or 1
        self._written = WrittenPrompts(spec, chosen["tokenizer"])
        self.fingerprint = self._written.fingerprint(self.fingerprint)

    def asks(self, parameters: Sequence[inspect.Parameter]) -> AskedColumns:
        """The labels."""
        return AskedColumns((self._label,))

    def call(self, function: Callable[..., Any], samples: Sequence[Sample]) -> Any:
        """Queries, prompts and labels by position."""
        prompts, end = self._written.texts(samples), self._written.end
        read = self._written.read(samples)
        queries = [f"{p}{s.response}{end}" for p, s in zip(read, samples, strict=True)]
        labels = [sample.columns[self._label] for sample in samples]
        return function(queries, prompts, labels)

    def numbers(self, answer: Any, samples: Sequence[Sample]) -> list[float | None]:
        """Those that were returned, or the `rewards` of a mapping."""
        return super().numbers(member(self.spec, answer, "rewards"), samples)
