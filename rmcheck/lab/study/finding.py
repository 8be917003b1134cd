"""What one design found: rows of a table, charts, and what they say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from rmcheck.lab.study.agreement import Agreement
from rmcheck.metrics.rewards import Floats


@dataclass(frozen=True)
class Measured:
    """A number with its interval, where it has one.

    Attributes:
        value: None where it is not defined.
        lower: One end; None without an interval.
        upper: The other end.
    """

    value: float | None
    lower: float | None = None
    upper: float | None = None

    @classmethod
    def over(cls, values: Floats) -> Self:
        """The mean of (B,) values of as many test sets, and what 95 in 100 of them are."""
        if not np.isfinite(values).all():
            return cls(None)
        lower, upper = np.quantile(values, [0.025, 0.975])
        return cls(float(values.mean()), float(lower), float(upper))

    @classmethod
    def over_tests(cls, found: Agreement) -> Self:
        """An agreement with the interval of other test sets."""
        return cls(found.value, found.lower, found.upper)

    @classmethod
    def over_models(cls, found: Agreement) -> Self:
        """An agreement with the interval of other families of models."""
        return cls(found.models.value, found.models.lower, found.models.upper)

    def __str__(self) -> str:
        if self.value is None:
            return "not defined"
        if self.lower is None or self.upper is None:
            return f"{self.value:.3f}"
        return f"{self.value:.3f} [{self.lower:.3f}, {self.upper:.3f}]"


Cell = str | int | float | None | Measured
Row = Mapping[str, Cell]


@dataclass(frozen=True, eq=False)
class DesignResult:
    """The result of one design.

    Attributes:
        name: Name of its file, such as `table-4`.
        title: Over its section.
        about: What was done, in plain sentences.
        rows: Of its table, all with the same columns.
        figures: Charts as SVG.
        notes: What to know of the numbers.
    """

    name: str
    title: str
    about: str
    rows: Sequence[Row]
    figures: Sequence[str] = ()
    notes: Sequence[str] = field(default=())
