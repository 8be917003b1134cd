"""Reads one check: a metric with its settings, one criterion, and which prompts count."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from rmcheck.checks.verdict import CHANGES
from rmcheck.config.document import MapNode, Node, ScalarNode, describe
from rmcheck.config.kinds import Choice, Kind, percent_hint
from rmcheck.config.section import misspelt, read_keys, refuse_unknown, require_keys
from rmcheck.config.source import Source, Span, did_you_mean
from rmcheck.metrics.metric import Metric
from rmcheck.metrics.registry import metric_class, metric_names
from rmcheck.probes.effect import ProbeEffect
from rmcheck.probes.probe import Probe
from rmcheck.suite import keys
from rmcheck.suite.suite import Check
from rmcheck.wording import attribute_texts

# Keys that need `over`, at most one a check, and which column that is.
USES_OVER = {
    "worst": "the column whose worst value must hold",
    "quantile": "the column of whose values it is a quantile",
    "holds_to": "the column with the step of the policy",
    "max_decay": "the column with the step of the policy",
}


@dataclass(frozen=True)
class _Subject:
    """What a check measures."""

    key: str
    table: Mapping[str, Kind | None]
    metric: type[Metric] | None
    make: Callable[..., Metric] | None

    @property
    def takes(self) -> str:
        """What such a check may say."""
        return f"A check takes: {', '.join(self.table)}, and the settings of its {self.key}."


def read_check(
    node: MapNode,
    number: int,
    slices: tuple[str, ...],
    probes: Mapping[str, Probe],
    source: Source,
) -> Check | None:
    """A check, or None when it has no name, metric or criterion; every problem is noted."""
    _, name = node.entries.get("name", (node.span, None))
    label = f"check {name.text!r}" if isinstance(name, ScalarNode) else f"check {number}"
    place = f" in {label}"
    subject = _subject(node, probes)
    metric = subject.metric
    _refuse_unknown(node, subject, place, source)
    required = keys.REQUIRED["check" if subject.key == "metric" else "probe_check"]
    require_keys(node, required, subject.table, label, source)
    found = read_keys(node, subject.table, place, source)
    made = _made(node, subject, place, source)
    _judge_criterion(node, found, metric, made, label, source)
    _judge_slices(node, found, slices, label, source)
    _judge_view(node, found, metric, label, source)
    if made is None or "name" not in found:
        return None
    found.pop("probe", None)
    return Check(**{**found, "metric": made}, line=node.span.line)


def _subject(node: MapNode, probes: Mapping[str, Probe]) -> _Subject:
    if "probe" in node.entries and "metric" not in node.entries:
        table = {**keys.PROBE_CHECK, "probe": Choice(lambda: tuple(probes), "probe")}
        probe = probes.get(_word(node, "probe"))
        make = None if probe is None else partial(ProbeEffect, probe)
        return _Subject("probe", table, ProbeEffect, make)
    name = _word(node, "metric")
    found = metric_class(name) if name in metric_names() else None
    return _Subject("metric", keys.CHECK, found, found)


def _word(node: MapNode, key: str) -> str:
    _, value = node.entries.get(key, (None, None))
    return value.text if isinstance(value, ScalarNode) else ""


def _refuse_unknown(node: MapNode, subject: _Subject, place: str, source: Source) -> None:
    """Of a check whose metric is not known, any metric's settings may be right."""
    metric, table = subject.metric, subject.table
    if metric is None:
        classes = [metric_class(name) for name in metric_names()]
        settings = {name for cls in classes for name in keys.settings_of(cls)}
        refuse_unknown(node, [*table, *sorted(settings)], place, source, subject.takes)
        return
    own = keys.settings_of(metric)
    takes = f"{metric.name} takes: {', '.join(own)}." if own else f"{metric.name} takes none."
    refuse_unknown(node, [*table, *own], place, source, subject.takes, takes)


def _made(node: MapNode, subject: _Subject, place: str, source: Source) -> Metric | None:
    """The metric with its settings, unless one is missing or refused."""
    cls = subject.metric
    if cls is None or subject.make is None:
        return None
    table = keys.settings_of(cls)
    lacking = [name for name in keys.required_settings(cls) if name not in node.entries]
    for name in lacking:
        span = node.entries[subject.key][1].span
        about = attribute_texts(cls).get(name, "")
        source.add(span, f"metric {cls.name!r} needs {name!r}{place}", f"{name}: {about}")
    settings = read_keys(node, table, place, source)
    if lacking or len(settings) < len(table.keys() & node.entries.keys()):
        return None
    try:
        return subject.make(**settings)
    except ValueError as error:
        reason = str(error).removesuffix(".")
        blamed = [name for name in settings if reason.startswith(f"{name} ")] or [subject.key]
        source.add(node.entries[blamed[0]][1].span, f"metric {cls.name!r}{place}: {reason}")
        return None


def _judge_criterion(
    node: MapNode,
    found: dict[str, Any],
    metric: type[Metric] | None,
    made: Metric | None,
    label: str,
    source: Source,
) -> None:
    """Exactly one, that fits the metric's direction and range."""
    given = [key for key in keys.CRITERIA if key in node.entries]
    choices = "A check has exactly one of at_least, at_most, max_drop and max_decay."
    if not given and not misspelt(node, keys.CRITERIA, keys.CHECK):
        source.add(node.span, f"{label} requires nothing", choices)
    for key in given[1:]:
        source.add(node.entries[key][0], f"{label} has {given[0]!r} and {key!r}", choices)
    if metric is None or len(given) != 1 or given[0] not in found:
        return
    key, bound = given[0], found[given[0]]
    turned = _refuse_direction(node, key, metric, label, source)
    if made is not None and not turned:
        _refuse_out_of_range(node, key, bound, made, label, source)


def _refuse_direction(
    node: MapNode, key: str, metric: type[Metric], label: str, source: Source
) -> bool:
    """Note a bound that good checkpoints would miss and bad ones meet."""
    right = {"higher": "at_least", "lower": "at_most"}[metric.direction]
    if key in (right, *CHANGES):
        return False
    span, value = node.entries[key]
    source.add(
        span,
        f"{key!r} in {label} would fail the better checkpoints: "
        f"a {metric.direction} {metric.name} is better. "
        f"Did you mean '{right}: {_text(value)}'?",
    )
    return True


def _refuse_out_of_range(
    node: MapNode, key: str, bound: float, metric: Metric, label: str, source: Source
) -> None:
    """Note a bound that nothing meets, or that everything meets."""
    low, high = metric.range
    span = node.entries[key][1].span
    if key in CHANGES:
        if bound >= high - low:
            change = CHANGES[key].strip()
            message = (
                f"{metric.name} goes from {low:g} to {high:g}, so no {change} exceeds {bound:g}"
            )
            source.add(span, f"{label} cannot fail: {message}")
        return
    met_by_all = bound <= low if key == "at_least" else bound >= high
    if low <= bound <= high and not met_by_all:
        return
    side, end = ("below", low) if met_by_all == (key == "at_least") else ("above", high)
    outcome = "fail" if met_by_all else "pass"
    hint = percent_hint(bound) if high == 1 else ""
    message = f"{label} cannot {outcome} at {bound:g}: {metric.name} is never {side} {end:g}"
    source.add(span, message + hint)


def _judge_slices(
    node: MapNode, found: dict[str, Any], slices: tuple[str, ...], label: str, source: Source
) -> None:
    """Columns that the pool's list has; `worst` or a `quantile` of something, not both."""
    for key, column in USES_OVER.items():
        if key in found and found[key] is not False and "over" not in node.entries:
            message = f"{key!r} in {label} needs 'over': {column}"
            valid = f"Columns: {', '.join(slices)}." if slices else ""
            source.add(node.entries[key][0], message, valid)
    chosen = [key for key in USES_OVER if key in found and found[key] is not False]
    for key in chosen[1:]:
        message = f"{label} has {chosen[0]!r} and {key!r}, which cannot stand together"
        source.add(node.entries[key][0], message, f"A check has one of {', '.join(USES_OVER)}.")
    if not slices:
        return
    named: list[tuple[str, Span]] = []
    if "over" in found and not {"holds_to", "max_decay"} & found.keys():
        named.append((found["over"], node.entries["over"][1].span))
    where = node.entries["where"][1] if "where" in found else None
    if isinstance(where, MapNode):
        named += [(column, span) for column, (span, _) in where.entries.items()]
    for column, span in named:
        if column not in slices:
            message = f"column {column!r} of {label} is not in the pool's slices"
            source.add(
                span, f"{message}{did_you_mean(column, slices)}", f"Slices: {', '.join(slices)}."
            )


def _judge_view(
    node: MapNode, found: dict[str, Any], metric: type[Metric] | None, label: str, source: Source
) -> None:
    """No component of what is about the whole reward."""
    if metric is None or not metric.brought_by_model:
        return
    for key in ("component", "golden"):
        if key in found:
            message = (
                f"{key!r} in {label}: {metric.name} is about the whole reward, and about no golden"
            )
            source.add(node.entries[key][0], message, f"Remove {key!r}.")


def _text(node: Node) -> str:
    return node.text if isinstance(node, ScalarNode) else describe(node)
