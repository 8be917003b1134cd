"""What a metric means, as its docstring says it: for `rmcheck explain` and the page of metrics."""

import dataclasses
import inspect
import re
from dataclasses import dataclass

from rmcheck.metrics.metric import Metric
from rmcheck.suite.keys import settings_of
from rmcheck.wording import attribute_texts

# Sections of a metric's docstring, in the order in which they stand there.
SECTIONS = ("Args", "Caution", "Reference")


@dataclass(frozen=True)
class MetricSetting:
    """A setting of a metric that a check can give."""

    name: str
    default: str | None
    text: str


@dataclass(frozen=True)
class Meaning:
    """A metric in words.

    Attributes:
        better: `higher` or `lower`.
        summary: One sentence.
        body: The formula, ties, and where it is undefined; paragraphs as they were written.
        caution: When not to believe it; empty if the docstring does not say.
        reference: Source of the formula.
    """

    name: str
    better: str
    summary: str
    body: str
    settings: tuple[MetricSetting, ...]
    caution: str
    reference: str


def meaning(metric: type[Metric]) -> Meaning:
    """What the docstring of a metric's class says."""
    first, *rest = re.split(
        rf"^({'|'.join(SECTIONS)}):\n", inspect.getdoc(metric) or "", flags=re.M
    )
    summary, _, body = first.partition("\n\n")
    sections = dict(zip(rest[::2], rest[1::2], strict=True))
    return Meaning(
        name=metric.name,
        better=metric.direction,
        summary=" ".join(summary.split()),
        body=body.strip(),
        settings=tuple(_settings(metric)),
        caution=" ".join(sections.get("Caution", "").split()),
        reference=" ".join(sections.get("Reference", "").split()),
    )


def _settings(metric: type[Metric]) -> list[MetricSetting]:
    texts, given = attribute_texts(metric), settings_of(metric)
    return [
        MetricSetting(f.name, _default(f), texts.get(f.name, ""))
        for f in dataclasses.fields(metric)
        if f.name in given
    ]


def _default(field: "dataclasses.Field[object]") -> str | None:
    if field.default is dataclasses.MISSING:
        return None
    return "not given" if field.default is None else str(field.default)
