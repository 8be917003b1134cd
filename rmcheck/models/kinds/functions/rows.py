"""Functions that are called for one response at a time."""

import asyncio
import inspect
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import PartialScoringError, ScoringError
from rmcheck.models.kinds.functions.calling import TimedOutError
from rmcheck.models.kinds.functions.function import FunctionModel
from rmcheck.models.kinds.functions.modules import place
from rmcheck.models.sample import Encoded, Sample, checked_rewards, named_prompts


class RowFunctionModel(FunctionModel):
    """A function of one response; one that fails costs no other its reward.

    Coroutines of a batch run side by side, under one `timeout`; plain calls have one each.

    A kind says in `call_row` how its trainer calls the function.
    """

    @abstractmethod
    def call_row(self, function: Callable[..., Any], sample: Sample) -> Any:
        """What the function says of a sample, or a coroutine that will."""

    def reward(self, answer: Any) -> Any:
        """The number in what the function returned."""
        return answer

    def call(self, function: Callable[..., Any], samples: Sequence[Sample]) -> Any:
        """What the function says of each sample; an exception in the place of one that fails."""
        answers = [self._attempt(function, sample) for sample in samples]

        async def gathered() -> list[Any]:
            waiting = [i for i, answer in enumerate(answers) if inspect.isawaitable(answer)]
            found = await asyncio.gather(*(answers[i] for i in waiting), return_exceptions=True)
            done = dict(zip(waiting, found, strict=True))
            return [done.get(i, answer) for i, answer in enumerate(answers)]

        return gathered() if any(map(inspect.isawaitable, answers)) else answers

    def _attempt(self, function: Callable[..., Any], sample: Sample) -> Any:
        try:
            return self.call_row(function, sample)
        except MemoryError:
            raise
        # Whatever the user's code raises; it is told with its response.
        except Exception as error:
            return error

    def rewards(
        self, function: Callable[..., Any], batch: Sequence[Encoded]
    ) -> NDArray[np.float64]:
        """(len(batch),) what the function returns.

        Raises:
            PartialScoringError: It gives some responses no reward: it raises, takes too long, or
                returns something that is no finite number.
            MemoryError: The function raises it.
        """
        rewards = np.full(len(batch), np.nan)
        faults: dict[int, ScoringError] = {}
        together = inspect.iscoroutinefunction(function)
        for at in [range(len(batch))] if together else [range(i, i + 1) for i in range(len(batch))]:
            try:
                answers = self.answer(function, [batch[i].sample for i in at])
            except TimedOutError as error:
                faults |= dict.fromkeys(range(at[0], len(batch)), error)
                break
            for i, answer in zip(at, answers, strict=True):
                try:
                    rewards[i] = self._number(answer, batch[i].sample)
                except ScoringError as error:
                    faults[i] = error
        if not faults:
            return checked_rewards(rewards, batch, self.spec)
        raise self._without_reward(rewards, batch, faults)

    def _number(self, answer: Any, sample: Sample) -> float:
        where = f"prompt {sample.prompt_id!r}, response {sample.index}"
        if isinstance(answer, Exception):
            raise ScoringError(
                f"{self.spec}: the function raised {type(answer).__name__}: {answer}"
                f"{place(answer)} for {where}"
            ) from answer
        (value,) = self.numbers([self.reward(answer)], [sample])
        if value is None:
            raise ScoringError(f"{self.spec}: the function returned None for {where}")
        return value

    def _without_reward(
        self,
        rewards: NDArray[np.float64],
        batch: Sequence[Encoded],
        faults: Mapping[int, ScoringError],
    ) -> PartialScoringError:
        first = faults[min(faults)]
        more = [batch[i].sample for i in sorted(faults)]
        told = f"{first}; {len(faults)} of {len(batch)} responses of this batch have no reward"
        kept = {int(i): float(rewards[i]) for i in np.flatnonzero(np.isfinite(rewards))}
        error = PartialScoringError(
            f"{told} (prompts {named_prompts(more)})",
            kept,
            goes_on=not isinstance(first, TimedOutError),
        )
        error.__cause__ = first.__cause__ or first
        return error


def member(spec: str, answer: Any, name: str) -> Any:
    """One value of a mapping that a function returned; anything else as it is.

    Raises:
        ScoringError: The mapping has no such key.
    """
    if not isinstance(answer, Mapping):
        return answer
    if name not in answer:
        raise ScoringError(
            f"{spec}: the function returned a mapping without {name!r}; it has: "
            f"{', '.join(map(str, answer)) or 'nothing'}"
        )
    return answer[name]
