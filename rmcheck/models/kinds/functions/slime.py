"""slime's reward functions: `slime:module:custom_rm`."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, ClassVar

from rmcheck.models.kinds.functions.columns import conversation
from rmcheck.models.kinds.functions.function import SETTINGS
from rmcheck.models.kinds.functions.rows import RowFunctionModel, member
from rmcheck.models.kinds.functions.written import WrittenPrompts
from rmcheck.models.sample import Sample
from rmcheck.models.spec import ModelSpec, Setting, stated_settings
from rmcheck.pool.asked import AskedColumns


@dataclass
class SlimeSample:
    """What a `custom_rm` of slime reads of a sample: its texts and columns, and no tokens.

    Attributes:
        prompt: As text, or as messages where no chat template writes several turns.
        response: The answer.
        label: The column `label`, or that of the setting `label_key`; None where there is none.
        metadata: The column `metadata`.
        index: Position of the response in its prompt.
        reward: None before the function is called.
    """

    prompt: str | list[dict[str, Any]]
    response: str
    label: Any = None
    metadata: dict[str, Any] = field(default_factory=dict)
    index: int = 0
    reward: Any = None


class SlimeRewardModel(RowFunctionModel):
    """A function `(args, sample) -> reward`, as a rule a coroutine function.

    `args` has `reward_key` alone. With `tokenizer=DIR` the prompt is written by the policy's chat
    template, and the response ends with its EOS, which SGLang leaves there; `eos=strip` is for
    training with `--rollout-skip-special-tokens`. A mapping that the function returns has the
    reward under the setting `reward_key`.

    Reference:
        slime, `slime/rollout/rm_hub/__init__.py`, `slime/rollout/sglang_rollout.py`
        (`no_stop_trim`) and `slime/utils/data.py`.
    """

    scheme: ClassVar[str] = "slime"
    settings: ClassVar[tuple[Setting, ...]] = (
        *SETTINGS,
        Setting("label_key", ("COLUMN",), "label"),
        Setting("reward_key", ("NAME",)),
        Setting("tokenizer", ("DIR",)),
        Setting("eos", ("append", "strip"), "append", closed=True),
    )

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        chosen = stated_settings(spec, self.settings)
        self._label, self._reward = chosen["label_key"], chosen["reward_key"]
        self._written = WrittenPrompts(spec, chosen["tokenizer"])
        self._ends = chosen["eos"] == "append"
        self.fingerprint = self._written.fingerprint(self.fingerprint)

    def asks(self, parameters: Sequence[inspect.Parameter]) -> AskedColumns:
        """Label and metadata, where the pool has them."""
        return AskedColumns(optional=(self._label, "metadata"))

    def call_row(self, function: Callable[..., Any], sample: Sample) -> Any:
        """The function with a sample of ours."""
        return function(
            SimpleNamespace(reward_key=self._reward or None),
            SlimeSample(
                self._prompt(sample),
                sample.response + (self._written.end if self._ends else ""),
                sample.columns.get(self._label),
                dict(sample.columns.get("metadata") or {}),
                sample.index,
            ),
        )

    def _prompt(self, sample: Sample) -> str | list[dict[str, Any]]:
        if self._written.is_template or len(sample.messages) == 1:
            return self._written.texts([sample])[0]
        return conversation(sample)

    def reward(self, answer: Any) -> Any:
        """The number, or that under `reward_key`."""
        return member(self.spec, answer, self._reward) if self._reward else answer
