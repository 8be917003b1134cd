"""The part of a judge's file that says how an answer becomes a reward: `read` and `unparsed`."""

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rmcheck.config.document import ListNode, MapNode, Node, ScalarNode, describe
from rmcheck.config.kinds import AsWritten, Boolean, Integer, Kind, Number, Words, one_of, refuse
from rmcheck.config.section import (
    misspelt,
    read_keys,
    read_section,
    refuse_unknown,
    require_keys,
    value_of,
)
from rmcheck.config.source import Source, did_you_mean
from rmcheck.models.kinds.judge.read import (
    Matched,
    Read,
    Rubric,
    RubricCriterion,
    Score,
    YesNo,
)
from rmcheck.models.kinds.judge.read_lists import UNPARSED, ListScores, Preferred

READS = (
    "Write yes: and no: (words), or score: (a regular expression) and range:, or criteria: with a "
    "range: each; to compare responses, choice: (a regular expression), or scores: and range:."
)
CRITERIA_ARE = "Write criteria: {NAME: {range: [1, 5]}}, with a weight: where they differ."
UNPARSED_IS = "Write unparsed: error, or unparsed: {reward: X} with a reward outside of the range."
TIE_IS = "Write unparsed: error, or unparsed: {verdict: tie, at_most: 0.05}."
# Letters that responses are called by.
MOST_SHOWN = 26


@dataclass(frozen=True)
class Pattern(Kind):
    """A regular expression with one group.

    Attributes:
        example: What one looks like.
        what: What the group is.
    """

    example: str = r"'Score:\s*(\d+)'"
    what: str = "the number"

    def read(self, node: Node, what: str, source: Source) -> str:
        """The expression, which is compiled once to see that it is one."""
        written = AsWritten(self.example).read(node, what, source)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what a later Python may read otherwise
                groups = re.compile(written).groups
        except (re.error, OverflowError, RecursionError) as error:
            message = f"{what} is no regular expression: {error}"
            raise refuse(source, node, message) from error
        if groups != 1:
            message = f"{what} must have one group, which is {self.what}, and has {groups}"
            another = f"a group that is not {self.what} is written (?:…)."
            raise refuse(source, node, message, f"Write {self.example}; {another}")
        return written


@dataclass(frozen=True)
class Range(Kind):
    """The least and the greatest number."""

    def read(self, node: Node, what: str, source: Source) -> tuple[float, float]:
        """Both."""
        items = node.items if isinstance(node, ListNode) else ()
        bounds = [Number().read(item, f"a bound of {what}", source) for item in items]
        if len(bounds) != 2 or bounds[0] >= bounds[1]:
            found = f"not {describe(node)}" if not items else "the smaller one first"
            message = f"{what} must be two numbers, such as [1, 10], {found}"
            raise refuse(source, node, message)
        return bounds[0], bounds[1]


# How answers are drawn.
DRAWN: Mapping[str, Kind] = {
    "samples": Integer(1),
    "repeat": Integer(1),
    "temperature": Number(0),
    "max_tokens": Integer(1),
}
LISTS: Mapping[str, Kind] = {"of": Integer(2), "opponents": Integer(2), **DRAWN, "last": Boolean()}
CRITERION: Mapping[str, Kind] = {"range": Range(), "weight": Number(0, open=True)}
# What can be read, by the keys that say so, and all keys that it has; but for these and `range`
# they are fields of what is read.
READINGS: Mapping[str, tuple[tuple[str, ...], Mapping[str, Kind | None]]] = {
    "words": (
        ("yes", "no"),
        {
            "yes": Words(),
            "no": Words(),
            "top_logprobs": Integer(2),
            "censored_at_most": Number(0, 1),
        },
    ),
    "a score": (
        ("score",),
        {"score": Pattern(), "range": Range(), **DRAWN, "last": Boolean()},
    ),
    "criteria": (("criteria",), {"criteria": None, **DRAWN}),
    "a choice": (
        ("choice",),
        {
            "choice": Pattern(r"'\[\[([A-C])\]\]'", "what is chosen"),
            "tie": Words(),
            **LISTS,
        },
    ),
    "scores": (
        ("scores",),
        {
            "scores": Pattern(r"'Scores: \[([^\]]*)\]'", "the list of numbers"),
            "range": Range(),
            **LISTS,
        },
    ),
}
# What is read by a pattern.
MATCHED: Mapping[str, type[Matched]] = {
    "a score": Score,
    "a choice": Preferred,
    "scores": ListScores,
}


def compares(top: MapNode) -> bool:
    """Whether what is read is about several responses, as far as the file can be read."""
    node = top.entries["read"][1] if "read" in top.entries else None
    return isinstance(node, MapNode) and not {"choice", "scores"}.isdisjoint(node.entries)


def read_rule(top: MapNode, source: Source) -> Read | None:
    """How the answer becomes a reward."""
    node = value_of(top, "read", "", source)
    if not isinstance(node, MapNode):
        if node is not None:
            source.add(node.span, f"'read' must be a mapping, not {describe(node)}", READS)
        return None
    known = list(dict.fromkeys(name for _, table in READINGS.values() for name in table))
    refuse_unknown(node, known, " in read", source, f"read takes: {', '.join(known)}.")
    marks = [mark for marks, _ in READINGS.values() for mark in marks]
    kinds = [k for k, (own, _) in READINGS.items() if not node.entries.keys().isdisjoint(own)]
    if len(kinds) != 1:
        if not misspelt(node, marks, known):
            what = "'read' has either words, a score, criteria, a choice or scores"
            source.add(node.span, what, READS)
        return None
    (kind,) = kinds
    own, table = READINGS[kind]
    for name in [name for name in node.entries if name in known and name not in table]:
        others = [k for k, (_, keys) in READINGS.items() if name in keys]
        what = " or ".join(filter(None, [", ".join(others[:-1]), others[-1]]))
        source.add(node.entries[name][0], f"{name!r} is for reading {what}; remove it")
    needed = [*own, "range"] if "range" in table else own
    require_keys(node, needed, table, "read", source)
    found = read_keys(node, table, " in read", source)
    if kind == "words":
        return _yes_no(node, found, top, source)
    _check_drawn(node, found, source)
    if kind == "criteria":
        return _rubric(node, found, top, source)
    return _matched(MATCHED[kind], own[0], found, top, source)


def _yes_no(node: MapNode, found: Mapping[str, Any], top: MapNode, source: Source) -> YesNo | None:
    """Words for and against."""
    if "unparsed" in top.entries:
        source.add(top.entries["unparsed"][0], "'unparsed' is for reading a score; remove it")
    if not {"yes", "no"} <= found.keys():
        return None
    if both := sorted({*found["yes"]} & {*found["no"]}):
        span = node.entries["no"][1].span
        source.add(span, f"{', '.join(map(repr, both))} stands in both yes and no")
    return YesNo(**found)


def _matched(
    kind: type[Matched], mark: str, found: dict[str, Any], top: MapNode, source: Source
) -> Matched | None:
    """What a pattern finds: numbers in a range, or a choice."""
    bounds, pattern = found.pop("range", None), found.pop(mark, None)
    found |= _unparsed(top, bounds, source, tie=kind is Preferred)
    if bounds:
        found |= zip(("lowest", "highest"), bounds, strict=True)
    if pattern is None or not (bounds or kind is Preferred):
        return None
    return kind(pattern, **found)


def _rubric(node: MapNode, drawn: Mapping[str, Any], top: MapNode, source: Source) -> Rubric | None:
    """Several criteria in one answer."""
    named = value_of(node, "criteria", " in read", source)
    if not isinstance(named, MapNode) or not named.entries:
        if named is not None:
            found = "a mapping of none" if isinstance(named, MapNode) else describe(named)
            message = f"'criteria' must be a mapping of names, not {found}"
            source.add(named.span, message, CRITERIA_ARE)
        return None
    criteria = []
    for name, (_, value) in named.entries.items():
        if not isinstance(value, MapNode):
            message = f"criterion {name!r} must be a mapping, not {describe(value)}"
            source.add(value.span, message, CRITERIA_ARE)
            continue
        fields = read_section(value, CRITERION, ("range",), f"criterion {name!r}", source)
        if "range" in fields:
            lowest, highest = fields["range"]
            criteria.append(RubricCriterion(name, lowest, highest, fields.get("weight", 1.0)))
    if not criteria:
        return None
    whole = (min(one.lowest for one in criteria), max(one.highest for one in criteria))
    return Rubric(tuple(criteria), **drawn, **_unparsed(top, whole, source))


def _check_drawn(node: MapNode, found: Mapping[str, Any], source: Source) -> None:
    """Note what is said of answers, or of lists of responses, that cannot be."""
    heat = found.get("temperature", 0 if "temperature" not in node.entries else None)
    for name in ("samples", "repeat"):
        if (count := found.get(name, 1)) > 1 and heat == 0:
            source.add(
                node.entries[name][1].span,
                f"{count} answers at temperature 0 are one answer, {count} times",
                f"Set temperature: 1.0, or {name}: 1.",
            )
    size = found.get("of", 2)
    if size > MOST_SHOWN:
        source.add(
            node.entries["of"][1].span, f"'of' is at most {MOST_SHOWN}: responses are letters"
        )
    if size > 2 and "opponents" in found:
        source.add(
            node.entries["opponents"][0],
            f"'opponents' is for pairs, and {size} responses are shown at a time; remove it",
        )


def _unparsed(
    top: MapNode, bounds: tuple[float, float] | None, source: Source, *, tie: bool = False
) -> dict[str, Any]:
    """What is not parsed is worth, and the share that may be so, as fields of `DrawnAnswers`.

    Args:
        top: The file.
        bounds: The range of what is parsed; None where there is none.
        source: Where problems are noted.
        tie: Whether what is read is a choice, which counts as a tie where it is not made.
    """
    refused = {"unparsed": None, "unparsed_at_most": 0.0}
    node = value_of(top, "unparsed", "", source)
    if node is None or (isinstance(node, ScalarNode) and node.text == "error"):
        return refused
    if not isinstance(node, MapNode):
        near = did_you_mean(node.text, ("error",)) if isinstance(node, ScalarNode) else ""
        hint = TIE_IS if tie else UNPARSED_IS
        source.add(node.span, f"'unparsed' is {describe(node)}{near}", hint)
        return refused
    worth: tuple[str, Kind] = ("verdict", one_of("tie")) if tie else ("reward", Number())
    table = dict([worth, ("at_most", Number(0, 1))])
    found = read_section(node, table, worth[:1], "unparsed", source)
    reward = UNPARSED if tie else found.get("reward")
    if reward is not None and bounds is not None and bounds[0] <= reward <= bounds[1]:
        source.add(
            node.entries["reward"][1].span,
            f"the reward of what is not parsed is {reward:g}, which answers can have too "
            f"(range {bounds[0]:g} to {bounds[1]:g})",
            "Take one outside, so that it can be told apart.",
        )
    return {"unparsed": reward, "unparsed_at_most": found.get("at_most", 0.05)}
