"""How an answer about several responses is read: which of them is chosen, or a number for each."""

import re
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from rmcheck.models.kinds.judge.lists import ListSample
from rmcheck.models.kinds.judge.read import Matched
from rmcheck.models.sample import Sample
from rmcheck.stats.choices import ratings

Floats = NDArray[np.float64]

# What a choice is that no answer makes: no share of a choice, so that it can be told apart.
UNPARSED = -1.0
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


@dataclass(frozen=True)
class Compares(Matched):
    """Reads answers about several responses to one prompt, each list shown in both orders.

    Attributes:
        of: Most responses in one question.
        opponents: Of each response, where two are shown at a time and not all pairs are asked.
    """

    # Which lists are asked changes no verdict, and is no part of a fingerprint.
    of: int = 2
    opponents: int = 7
    max_tokens: int = field(default=2048, kw_only=True)
    unparsed_at_most: float = field(default=0.0, kw_only=True)
    lowest: float = field(default=0.0, kw_only=True)
    highest: float = field(default=1.0, kw_only=True)

    # Fewest texts of a prompt about which something is asked, and what stands for an answer
    # without anything to read.
    least: ClassVar[int] = 2
    stand_in: ClassVar[str] = "each counts as a tie"

    @abstractmethod
    def rows(self, size: int) -> int:
        """Numbers that are kept of one answer about so many responses, of the first ones."""

    @abstractmethod
    def shares(self, numbers: Floats) -> Floats:
        """(size,) what the (`rows(size)`,) numbers of one list say of each response."""

    @abstractmethod
    def rewards(self, count: int, lists: Sequence[Sequence[int]], told: Sequence[Floats]) -> Floats:
        """(count,) rewards of the texts of a prompt.

        Args:
            count: Different texts.
            lists: Numbers of those that were shown together, in the order that was shown.
            told: What was said of each of them; NaN where the answer had nothing to read.
        """

    @abstractmethod
    def first(self, told: Floats) -> float:
        """Share of the verdicts on a list that the place shown earlier won; a tie is half of one.

        Args:
            told: (size,) what was said of each response, in the order shown.
        """

    @abstractmethod
    def agree(self, first: Floats, second: Floats) -> tuple[int, int]:
        """How many verdicts on a list are the same in both orders, and of how many.

        Args:
            first: (size,) what is said of each response in one order.
            second: (size,) the same in the other order, put back into the first.
        """

    @abstractmethod
    def number(self, found: str, at: int, size: int) -> float | None:
        """What the matched text says of the response at a place, of so many."""

    def parsed(self, answer: str, sample: Sample) -> float | None:
        assert isinstance(sample, ListSample)  # made by `lists.compared`
        match = self.matched(answer)
        return None if match is None else self.number(match, sample.at, len(sample.responses))


@dataclass(frozen=True)
class Preferred(Compares):
    """The better response of two, or the best of more; rewards are ratings from all choices.

    Responses are A, B, C, … in the order shown, or 1, 2, 3, …. A tie gives each an equal share of
    the choice. Rewards are the ratings of Bradley and Terry (of Luce, where more than two are
    shown), in nats: the logistic function of a difference is the probability of being preferred.

    Attributes:
        tie: What the group is where the judge has no favourite.
    """

    tie: tuple[str, ...] = ()

    @property
    def facts(self) -> dict[str, object]:
        return {**super().facts, "choice": sorted(self.tie)}

    @property
    def formula(self) -> str:
        model = "Bradley-Terry" if self.of == 2 else "Luce"
        return f"{model} rating from the {self.match}, both orders asked{self.of_answers}"

    @property
    def sought(self) -> str:
        ties = "".join(f" or {word!r}" for word in self.tie)
        return f"choice among those shown (A, B, … or 1, 2, …{ties}) by {self.pattern!r}"

    def rows(self, size: int) -> int:
        """One less: the last response has the rest of the choice."""
        return size - 1

    def shares(self, numbers: Floats) -> Floats:
        """Shares of one choice."""
        return np.append(numbers, 1.0 - numbers.sum())

    def number(self, found: str, at: int, size: int) -> float | None:
        """Share of the choice: 1, 0, or an equal share of a tie."""
        found = found.strip()
        if found in self.tie:
            return 1 / size
        if found.isdecimal():
            chosen = int(found) - 1
        else:
            chosen = _LETTERS.find(found.upper()) if len(found) == 1 else -1
        return float(chosen == at) if 0 <= chosen < size else None

    def rewards(self, count: int, lists: Sequence[Sequence[int]], told: Sequence[Floats]) -> Floats:
        """Ratings; an answer with nothing to read is a tie."""
        numbers = np.full((len(lists), self.of), -1)
        shares = np.zeros(numbers.shape)
        for row, (shown, each) in enumerate(zip(lists, told, strict=True)):
            size = len(shown)
            numbers[row, :size] = shown
            shares[row, :size] = np.where(np.isnan(each), 1 / size, each)
        return ratings(count, numbers, shares)

    def first(self, told: Floats) -> float:
        """The share of the first response."""
        return float(told[0])

    def agree(self, first: Floats, second: Floats) -> tuple[int, int]:
        """One verdict: the same response chosen, or a tie twice."""
        return int(np.allclose(first, second)), 1


@dataclass(frozen=True)
class ListScores(Compares):
    """A number for each response in one list; a reward is the mean of those that a response gets.

    The numbers stand in the order in which responses are shown, with anything between them.
    """

    least: ClassVar[int] = 1
    stand_in: ClassVar[str] = "each is left out, and a response without any has the reward stated"

    @property
    def facts(self) -> dict[str, object]:
        return {**super().facts, "scores": True}

    @property
    def formula(self) -> str:
        numbers = f"mean of its numbers in the {self.match}, {self.bounds}"
        return f"{numbers}, both orders asked{self.of_answers}"

    @property
    def sought(self) -> str:
        return f"list of numbers from {self.bounds}, one for each response, by {self.pattern!r}"

    def rows(self, size: int) -> int:
        return size

    def shares(self, numbers: Floats) -> Floats:
        return numbers

    def number(self, found: str, at: int, size: int) -> float | None:
        """The number at that place, where there are as many as responses and all are in range."""
        numbers = [float(text) for text in _NUMBER.findall(found)]
        if len(numbers) != size or any(self._within(number) is None for number in numbers):
            return None
        return numbers[at]

    def rewards(self, count: int, lists: Sequence[Sequence[int]], told: Sequence[Floats]) -> Floats:
        """Means; the reward of what is not parsed where a response has no number at all."""
        numbers = np.concatenate([np.asarray(shown) for shown in lists])
        found = np.concatenate(told)
        known = ~np.isnan(found)
        sums = np.bincount(numbers[known], weights=found[known], minlength=count)
        counts = np.bincount(numbers[known], minlength=count)
        none = np.nan if self.unparsed is None else self.unparsed
        return np.where(counts > 0, sums / np.maximum(counts, 1), none)

    def first(self, told: Floats) -> float:
        """Over the pairs of the list."""
        a, b = np.triu_indices(len(told), 1)
        return float(((told[a] > told[b]) + 0.5 * (told[a] == told[b])).mean())

    def agree(self, first: Floats, second: Floats) -> tuple[int, int]:
        """Of each pair in the list, whether both orders put it alike; a tie is an order too."""
        a, b = np.triu_indices(len(first), 1)
        same = np.sign(first[a] - first[b]) == np.sign(second[a] - second[b])
        return int(same.sum()), len(same)
