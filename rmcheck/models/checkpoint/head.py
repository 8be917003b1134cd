"""Which logits of a classification head make the reward: one, or several by weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import UsageError, near_miss
from rmcheck.parsing import finite_number


@dataclass(frozen=True, slots=True)
class Head:
    """A weighted sum of logits; nearly always one logit with weight 1.

    Attributes:
        labels: Name of each logit, in order.
        terms: (index of a logit, its weight) in order of index; no index twice, no weight 0.
    """

    labels: tuple[str, ...]
    terms: tuple[tuple[int, float], ...]

    def rewards(self, logits: NDArray[Any]) -> NDArray[np.float64]:
        """(rows,) float64 rewards of (rows, labels) logits; one logit is returned as it is."""
        total = np.zeros(len(logits))
        # A sum term by term: a matrix product may round otherwise in another batch.
        for index, weight in self.terms:
            total += weight * logits[:, index].astype(np.float64)
        return total

    @property
    def key(self) -> int | list[list[float]]:
        """What a fingerprint holds: the index of a single logit, else indices and weights."""
        if len(self.terms) == 1 and self.terms[0][1] == 1.0:
            return self.terms[0][0]
        return [[index, weight] for index, weight in self.terms]

    @property
    def formula(self) -> str:
        """The reward as a person writes it: `'helpful'`, or `0.7 * 'helpful' + 0.3 * 'safe'`."""
        if isinstance(self.key, int):
            return repr(self.labels[self.key])
        return " + ".join(f"{weight:g} * {self.labels[i]!r}" for i, weight in self.terms)

    def __str__(self) -> str:
        if isinstance(self.key, int):
            return f"{self.key} {self.labels[self.key]} of {len(self.labels)}"
        return f"{self.formula} of {len(self.labels)}"


def parse_head(named: str, labels: Sequence[str], spec: str) -> Head:
    """The head that a setting names.

    Args:
        named: `NAME`, `INDEX`, or `NAME:WEIGHT,NAME:WEIGHT,…` (indices as well; a label that holds
            a comma is named by its index).
        labels: Name of each logit, in order.
        spec: The model as the user named it, for messages.

    Raises:
        UsageError: No logit has such a name, one is named twice, a weight is missing or not
            finite, or all are 0; all problems are named.
    """
    alone = _index(named, labels)
    if alone is not None:
        return Head(tuple(labels), ((alone, 1.0),))
    if ":" not in named and "," not in named:
        raise UsageError(f"{spec}: {_unknown(named, labels)} {_listing(labels)}")
    weights: dict[int, float] = {}
    problems: list[str] = []
    for part in named.split(","):
        name, colon, text = part.strip().rpartition(":")
        if not colon:
            problems.append(f"head {part.strip()!r} has no weight; write NAME:WEIGHT.")
            continue
        index, weight = _index(name, labels), finite_number(text)
        if index is None:
            problems.append(_unknown(name, labels))
        elif index in weights:
            problems.append(f"head {name!r} is named twice.")
        if weight is None:
            problems.append(f"the weight of head {name!r} is {text!r}, not a finite number.")
        if index is not None and weight is not None:
            weights[index] = weight
    if not problems and not any(weights.values()):
        problems.append("all weights are 0, so all rewards would be.")
    if problems:
        raise UsageError(f"{spec}: " + "\n".join(problems) + f" {_listing(labels)}")
    return Head(tuple(labels), tuple((i, w) for i, w in sorted(weights.items()) if w))


def _index(name: str, labels: Sequence[str]) -> int | None:
    if name in labels:
        return list(labels).index(name)
    if name.isascii() and name.isdigit() and int(name) < len(labels):
        return int(name)
    return None


def _unknown(name: str, labels: Sequence[str]) -> str:
    return f"no head {name!r}.{near_miss(name, labels)}"


def _listing(labels: Sequence[str]) -> str:
    return f"Heads: {', '.join(f'{i} {label}' for i, label in enumerate(labels))}."
