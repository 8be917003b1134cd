"""The model that tests score texts of their own with."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import ScoringError, UsageError
from rmcheck.models.model import RewardModel
from rmcheck.models.sample import Sample
from rmcheck.pool.conversation import messages
from rmcheck.pool.pool import Message
from rmcheck.pool.row import Row, RowFault
from rmcheck.scoring.members import StoreOf, fill_members, read_combined
from rmcheck.scoring.one_process import OneProcess
from rmcheck.scoring.request import Request

Conversation = str | Sequence[Mapping[str, Any]]


_NO_MODEL = (
    "A test that scores texts of its own needs the model: run it where the checkpoint is, and "
    "leave it out where only its scores are (-k, -m, or a folder of its own)."
)


class Scorer:
    """A reward model with its store: what is known is not scored again.

    The model is loaded when the first unknown text comes, and stays loaded until `close`. Members
    of an ensemble are loaded one after another, since they may not fit together.
    """

    def __init__(self, model: RewardModel, store_of: StoreOf) -> None:
        self.model = model
        self._store_of = store_of
        self._engine = OneProcess()

    def score(
        self,
        prompts: Sequence[Conversation],
        responses: Sequence[str],
        **columns: Sequence[Any],
    ) -> NDArray[np.float64]:
        """(n,) raw rewards, higher is better.

        Args:
            prompts: What was asked: a text, or messages `{"role": …, "content": …}`.
            responses: One answer to each prompt.
            **columns: What the model asks for beside them, one value a response:
                `ground_truth=["4", "5"]`.

        Raises:
            UsageError: There are not as many prompts, or values, as responses; or the model is an
                ensemble with `scale=prompt`, whose rewards exist only on a pool.
            ModelError: The model cannot be trusted, or a text is too long for it.
        """
        if isinstance(prompts, str) or isinstance(responses, str):
            raise UsageError(
                "score takes two lists, and got a text. For one answer write "
                "score([prompt], [response]); to compare two answers of a prompt, "
                "margin(prompt, chosen, rejected)"
            )
        if len(prompts) != len(responses):
            raise UsageError(
                f"score takes one response a prompt, as two lists; got {len(prompts)} prompts and "
                f"{len(responses)} responses"
            )
        for name, values in columns.items():
            if len(values) != len(responses):
                raise UsageError(
                    f"score takes one {name} a response; got {len(values)} for {len(responses)}"
                )
        rows = [{name: values[i] for name, values in columns.items()} for i in range(len(prompts))]
        samples = self._samples(list(map(_messages, prompts)), responses, rows)
        request = Request(self.model, samples)
        try:
            # Members of an ensemble need not fit into memory, and each is released.
            engine = None if self.model.is_ensemble else self._engine
            fill_members([request], self._store_of, engine=engine)
        except ScoringError as error:
            if self.model.scheme == "scores":
                raise ScoringError(f"{error}\n{_NO_MODEL}") from error
            raise
        return read_combined(request, self._store_of).rewards

    def _samples(
        self,
        conversations: Sequence[tuple[Message, ...]],
        responses: Sequence[str],
        columns: Sequence[Mapping[str, Any]],
    ) -> tuple[Sample, ...]:
        """A prompt each; for a model that compares, equal prompts are one."""
        texts = enumerate(zip(conversations, responses, columns, strict=True))
        if not self.model.compares:
            return tuple(
                Sample(f"prompt {i}", 0, one, text, columns=row) for i, (one, text, row) in texts
            )
        numbers = [conversations.index(one) for one in conversations]
        return tuple(
            Sample(f"prompt {numbers[i]}", i, one, text, columns=row)
            for i, (one, text, row) in texts
        )

    def margin(self, prompt: Conversation, chosen: str, rejected: str) -> float:
        """Reward of the chosen response minus that of the rejected one."""
        first, second = self.score([prompt, prompt], [chosen, rejected])
        return float(first - second)

    def close(self) -> None:
        """Release the weights."""
        self._engine.close()

    def __repr__(self) -> str:
        return repr(self.model)


def _messages(prompt: Conversation) -> tuple[Message, ...]:
    if isinstance(prompt, str):
        return (Message("user", prompt),)
    try:
        return messages(Row({"prompt": list(prompt)}), "prompt")
    except RowFault as fault:
        raise UsageError(f"score: {fault.detail}") from fault
