"""What reward functions have in common, whoever's trainer calls them."""

import inspect
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import PartialScoringError, ScoringError, UnknownModelError, UsageError
from rmcheck.models.checkpoint.fingerprint import fingerprint
from rmcheck.models.kinds.functions.calling import called
from rmcheck.models.kinds.functions.modules import (
    find_module,
    importable,
    imported,
    place,
    read_parameters,
)
from rmcheck.models.model import RewardModel, Session
from rmcheck.models.sample import Encoded, Sample, checked_rewards, named_prompts
from rmcheck.models.spec import ModelSpec, Setting, stated_settings, whole_number
from rmcheck.pool.asked import AskedColumns

SETTINGS = (
    Setting("version", ("ANYTHING",)),
    Setting("batch", ("N",)),
    Setting("timeout", ("SECONDS",), "600"),
)


class FunctionModel(RewardModel):
    """A function in a module of the user's, as a reward model.

    The function gets batches of any size in any order; of at most `batch` responses where the spec
    says so, and each is kept before the next is asked for. It may be a coroutine function.

    A reward is a finite number, higher is better (a list of them, an array, a tensor); true and
    false are 1 and 0. A call that takes longer than `timeout` seconds is an error.

    The current directory can be imported from. rmcheck cannot see what a function depends on, so
    its scores are not kept between sessions, unless the spec states a version that its author
    changes with the rewards.

    A kind says in `call` how its trainer calls the function, and in `asks` which columns it gets.

    Raises:
        UnknownModelError: There is no such module.
        UsageError: The location is not `module:function`, or a setting is no such number.
    """

    settings: ClassVar[tuple[Setting, ...]] = SETTINGS

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec.text
        self._base = spec.base
        self._module, colon, self._function_name = spec.location.partition(":")
        if not (colon and self._module and self._function_name):
            raise UsageError(f"{spec.text!r} is not {self.scheme}:module:function")
        chosen = stated_settings(spec, self.settings)
        version, batch = chosen["version"], chosen["batch"]
        self.largest_batch = whole_number(spec, "batch", batch, least=1) if batch else None
        self._seconds = whole_number(spec, "timeout", chosen["timeout"], least=1)
        self.kept = bool(version)
        with importable(self._base):
            found = find_module(self._module)
        if found is None:
            raise UnknownModelError(
                f"{spec.text}: there is no module {self._module!r} (looked in {self._base} and "
                "the installed packages)"
            )
        self._source = found.origin if found.has_location else None
        facts = {"scheme": self.scheme, "location": spec.location, "version": version}
        own = {s.name for s in SETTINGS}
        facts |= {name: value for name, value in chosen.items() if name not in own and value}
        # Without a version the source is all there is to go by.
        source = self._source if not version else None
        self.fingerprint = fingerprint(facts, [Path(source)] if source else [])

    @classmethod
    def from_spec(cls, spec: ModelSpec) -> Self:
        """The model that a spec names; its module is looked for, not imported."""
        return cls(spec)

    @abstractmethod
    def asks(self, parameters: Sequence[inspect.Parameter]) -> AskedColumns:
        """The columns that a function with these parameters gets."""

    @abstractmethod
    def call(self, function: Callable[..., Any], samples: Sequence[Sample]) -> Any:
        """What the function says of these samples, called as its trainer calls it.

        The samples all have the same columns.
        """

    @cached_property
    def asked(self) -> AskedColumns:
        """What the function asks for; its module is imported where its source does not say."""
        source = Path(self._source) if self._source and self._source.endswith(".py") else None
        parameters = read_parameters(source, self._function_name) if source else None
        if parameters is None:
            try:
                function = self._imported()
                parameters = list(inspect.signature(function).parameters.values())
            except (UnknownModelError, TypeError, ValueError):  # told when it is loaded or called
                parameters = []
        return self.asks(parameters)

    @property
    def name(self) -> str:
        """The module and function."""
        return f"{self._module}:{self._function_name}"

    def load(self) -> "FunctionSession":
        """Import the module.

        Raises:
            UnknownModelError: It cannot be imported, or has no such function.
        """
        return FunctionSession(self, self._imported())

    def _imported(self) -> Callable[..., Any]:
        with importable(self._base):
            return imported(self.spec, self._module, self._function_name)

    def rewards(
        self, function: Callable[..., Any], batch: Sequence[Encoded]
    ) -> NDArray[np.float64]:
        """(len(batch),) what the function returns.

        Raises:
            PartialScoringError: It gives some responses no reward: None, NaN or infinity.
            ScoringError: It raises, takes too long, or returns another number of rewards, or
                something that is no number.
            MemoryError: The function raises it.
        """
        rewards = np.zeros(len(batch))
        unrewarded: list[int] = []
        # Rows of two pools may have different columns, and go to the function apart.
        kinds = [tuple(sorted(encoded.sample.columns)) for encoded in batch]
        for kind in dict.fromkeys(kinds):
            at = [i for i, own in enumerate(kinds) if own == kind]
            samples = [batch[i].sample for i in at]
            values = self.numbers(self.answer(function, samples), samples)
            unrewarded += [i for i, value in zip(at, values, strict=True) if value is None]
            rewards[at] = [np.nan if value is None else value for value in values]
        if unrewarded:
            raise self._unrewarded(rewards, batch, unrewarded)
        return checked_rewards(rewards, batch, self.spec)

    def answer(self, function: Callable[..., Any], samples: Sequence[Sample]) -> Any:
        """What one call of the function comes to.

        Raises:
            ScoringError: It raises, or takes too long.
            MemoryError: It raises that.
        """
        with importable(self._base):
            try:
                return called(self.spec, self._seconds, lambda: self.call(function, samples))
            except (MemoryError, ScoringError):
                raise
            # Whatever the user's code raises.
            except Exception as error:
                raise ScoringError(
                    f"{self.spec}: the function raised {type(error).__name__}: {error}"
                    f"{place(error)}"
                ) from error

    def numbers(self, answer: Any, samples: Sequence[Sample]) -> list[float | None]:
        """What the function returned, as numbers; None where it returned that.

        Raises:
            ScoringError: They are not so many, or no numbers.
        """
        try:
            # Tensors come with gradients, devices and types of their own; `tolist` sheds them.
            values = answer.tolist() if hasattr(answer, "tolist") else list(answer)
        except TypeError:
            raise ScoringError(
                f"{self.spec}: the function returned {type(answer).__name__}, not a sequence of "
                f"{len(samples)} numbers"
            ) from None
        if not isinstance(values, list) or len(values) != len(samples):
            count = f"{len(values)} rewards" if isinstance(values, list) else "one number"
            raise ScoringError(
                f"{self.spec}: the function returned {count} for {len(samples)} responses "
                f"(prompts {named_prompts(samples)})"
            )
        values = [v.item() if hasattr(v, "item") else v for v in values]
        for value, sample in zip(values, samples, strict=True):
            if not (value is None or isinstance(value, Real)):
                raise ScoringError(
                    f"{self.spec}: the function returned {value!r} ({type(value).__name__}) for "
                    f"prompt {sample.prompt_id!r}, response {sample.index}; a reward is a number"
                )
        return [None if value is None else float(value) for value in values]

    def _unrewarded(
        self, rewards: NDArray[np.float64], batch: Sequence[Encoded], at: Sequence[int]
    ) -> PartialScoringError:
        first = batch[at[0]].sample
        finite = np.flatnonzero(np.isfinite(rewards)).tolist()
        return PartialScoringError(
            f"{self.spec}: the function returned None for prompt {first.prompt_id!r}, response "
            f"{first.index}, and for {len(at)} of {len(batch)} responses of this batch "
            f"(prompts {named_prompts([batch[i].sample for i in at])}); a reward is a number",
            {i: float(rewards[i]) for i in finite},
            goes_on=True,
        )


@dataclass(eq=False)
class FunctionSession(Session):
    """A function that is imported. Its module stays so when the session is closed."""

    model: FunctionModel
    function: Callable[..., Any]

    def score(self, batch: Sequence[Encoded]) -> NDArray[np.float64]:
        return self.model.rewards(self.function, batch)
