"""Reads a check of the log of an RL run: `training: {log: …, transfer: {at_least: …}}`."""

from pathlib import Path

from rmcheck.config.document import ListNode, MapNode, ScalarNode, describe
from rmcheck.config.section import beside, read_section, value_of
from rmcheck.config.source import Source, did_you_mean
from rmcheck.rl_logs.log_columns import ROLES
from rmcheck.suite import keys
from rmcheck.suite.suite import TrainingCheck

EXAMPLE = "Write training: {log: runs/42/trainer_state.json, transfer: {at_least: 0.5}}."


def only_logs(top: MapNode) -> bool:
    """Whether all checks of a suite are of logs, so that it needs no pool and no model."""
    _, checks = top.entries.get("checks", (None, None))
    items = checks.items if isinstance(checks, ListNode) else ()
    return bool(items) and all(isinstance(i, MapNode) and "training" in i.entries for i in items)


def refuse_unused(top: MapNode, source: Source) -> None:
    """Note what only checks on a pool use, in a suite that has none of them."""
    for key in keys.OF_POOL:
        if key in top.entries:
            span, _ = top.entries[key]
            source.add(span, f"{key!r} is used by no check: all of them are of logs of RL runs")


def read_training_check(
    node: MapNode, number: int, path: Path, source: Source
) -> TrainingCheck | None:
    """The check, or None where something of it is missing or wrong; every problem is noted."""
    _, name = node.entries.get("name", (node.span, None))
    label = f"check {name.text!r}" if isinstance(name, ScalarNode) else f"check {number}"
    required = keys.REQUIRED["training_check"]
    found = read_section(node, keys.TRAINING_CHECK, required, label, source, "A check of a log")
    log = _mapping(node, "training", f" in {label}", source)
    if log is None:
        return None
    owner = f"training of {label}"
    required = keys.REQUIRED["training"]
    found |= read_section(log, keys.TRAINING, required, owner, source, "training")
    if "columns" in found:
        _refuse_unknown_roles(log, f" in {owner}", source)
    transfer = _mapping(log, "transfer", f" in {owner}", source)
    if transfer is not None:
        owner, required = f"transfer of {label}", keys.REQUIRED["transfer"]
        found |= read_section(transfer, keys.TRANSFER, required, owner, source, "transfer")
    if not {"name", "log", "at_least"} <= found.keys():
        return None
    found["log"] = beside(path, found["log"])
    return TrainingCheck(**found, line=node.span.line)


def _mapping(node: MapNode, key: str, place: str, source: Source) -> MapNode | None:
    value = value_of(node, key, place, source)
    if value is None or isinstance(value, MapNode):
        return value
    source.add(value.span, f"{key!r}{place} must be a mapping, not {describe(value)}", EXAMPLE)
    return None


def _refuse_unknown_roles(log: MapNode, place: str, source: Source) -> None:
    _, columns = log.entries["columns"]
    for role, (span, _) in columns.entries.items() if isinstance(columns, MapNode) else ():
        if role not in ROLES:
            message = f"unknown column {role!r}{place}{did_you_mean(role, ROLES)}"
            source.add(span, message, f"Columns: {', '.join(ROLES)}.")
