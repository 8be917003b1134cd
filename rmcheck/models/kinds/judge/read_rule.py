"""The part of a judge's file that says how an answer becomes a reward: `read` and `unparsed`."""

import re
import warnings
from collections.abc import Callable, Mapping
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
from rmcheck.models.kinds.judge.read import Read, Rubric, RubricCriterion, Score, YesNo
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


# The keys of `read`; but for `score`, `range` and `criteria` they are fields of what is read.
YES_NO: Mapping[str, Kind] = {
    "yes": Words(),
    "no": Words(),
    "top_logprobs": Integer(2),
    "censored_at_most": Number(0, 1),
}
SCORE: Mapping[str, Kind] = {
    "score": Pattern(),
    "range": Range(),
    "samples": Integer(1),
    "repeat": Integer(1),
    "temperature": Number(0),
    "max_tokens": Integer(1),
    "last": Boolean(),
}
CRITERIA: Mapping[str, Kind | None] = {
    "criteria": None,
    **{name: SCORE[name] for name in ("samples", "repeat", "temperature", "max_tokens")},
}
LISTS: Mapping[str, Kind] = {
    "of": Integer(2),
    "opponents": Integer(2),
    **{name: SCORE[name] for name in ("samples", "repeat", "temperature", "max_tokens", "last")},
}
CHOICE: Mapping[str, Kind] = {
    "choice": Pattern(r"'\[\[([A-C])\]\]'", "what is chosen"),
    "tie": Words(),
    **LISTS,
}
SCORES: Mapping[str, Kind] = {
    "scores": Pattern(r"'Scores: \[([^\]]*)\]'", "the list of numbers"),
    "range": Range(),
    **LISTS,
}
CRITERION: Mapping[str, Kind] = {"range": Range(), "weight": Number(0, open=True)}
# What can be read, by the keys that say so, and all keys that it has.
READINGS: Mapping[str, tuple[tuple[str, ...], Mapping[str, Kind | None]]] = {
    "words": (("yes", "no"), YES_NO),
    "a score": (("score",), SCORE),
    "criteria": (("criteria",), CRITERIA),
    "a choice": (("choice",), CHOICE),
    "scores": (("scores",), SCORES),
}
UNPARSED_SCORE: Mapping[str, Kind] = {"reward": Number(), "at_most": Number(0, 1)}
UNPARSED_CHOICE: Mapping[str, Kind] = {
    "verdict": one_of("tie"),
    "at_most": Number(0, 1),
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
    for name in [name for name in node.entries if name in known]:
        if name not in READINGS[kind][1]:
            others = [k for k, (_, table) in READINGS.items() if name in table]
            what = " or ".join(filter(None, [", ".join(others[:-1]), others[-1]]))
            source.add(node.entries[name][0], f"{name!r} is for reading {what}; remove it")
    return _RULES[kind](node, top, source)


def _yes_no(node: MapNode, top: MapNode, source: Source) -> YesNo | None:
    """Words for and against."""
    require_keys(node, ("yes", "no"), YES_NO, "read", source)
    found = read_keys(node, YES_NO, " in read", source)
    if "unparsed" in top.entries:
        source.add(top.entries["unparsed"][0], "'unparsed' is for reading a score; remove it")
    if not {"yes", "no"} <= found.keys():
        return None
    if both := sorted({*found["yes"]} & {*found["no"]}):
        span = node.entries["no"][1].span
        source.add(span, f"{', '.join(map(repr, both))} stands in both yes and no")
    return YesNo(**found)


def _score(node: MapNode, top: MapNode, source: Source) -> Score | None:
    """A number in the answer."""
    require_keys(node, ("score", "range"), SCORE, "read", source)
    found = _drawn(node, SCORE, source)
    unparsed = _unparsed(top, found.get("range"), source)
    if not {"score", "range"} <= found.keys():
        return None
    (lowest, highest), pattern = found.pop("range"), found.pop("score")
    return Score(pattern, lowest=lowest, highest=highest, **found, **unparsed)


def _rubric(node: MapNode, top: MapNode, source: Source) -> Rubric | None:
    """Several criteria in one answer."""
    drawn = _drawn(node, CRITERIA, source)
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
    bounds = [(one.lowest, one.highest) for one in criteria]
    whole = (min(low for low, _ in bounds), max(high for _, high in bounds)) if bounds else None
    unparsed = _unparsed(top, whole, source)
    return Rubric.of(criteria, **drawn, **unparsed) if criteria else None


def _choice(node: MapNode, top: MapNode, source: Source) -> Preferred | None:
    """One of the responses that are shown."""
    found = _of_lists(node, CHOICE, source)
    unparsed = _unparsed_choice(top, source)
    if "choice" not in found:
        return None
    return Preferred(found.pop("choice"), **found, **unparsed)


def _scores(node: MapNode, top: MapNode, source: Source) -> ListScores | None:
    """A number for each response that is shown."""
    require_keys(node, ("scores", "range"), SCORES, "read", source)
    found = _of_lists(node, SCORES, source)
    unparsed = _unparsed(top, found.get("range"), source)
    if not {"scores", "range"} <= found.keys():
        return None
    lowest, highest = found.pop("range")
    return ListScores(found.pop("scores"), lowest=lowest, highest=highest, **found, **unparsed)


def _of_lists(node: MapNode, table: Mapping[str, Kind], source: Source) -> dict[str, Any]:
    """What is said of lists of responses, and of answers about them."""
    found = _drawn(node, table, source)
    if found.get("of", 2) > MOST_SHOWN:
        source.add(
            node.entries["of"][1].span, f"'of' is at most {MOST_SHOWN}: responses are letters"
        )
    if found.get("of", 2) > 2 and "opponents" in found:
        source.add(
            node.entries["opponents"][0],
            f"'opponents' is for pairs, and {found['of']} responses are shown at a time; remove it",
        )
    return found


def _unparsed_choice(top: MapNode, source: Source) -> dict[str, Any]:
    """What a choice is that no answer makes, and the share of questions that may have none."""
    refused = {"unparsed": None, "unparsed_at_most": 0.0}
    node = value_of(top, "unparsed", "", source)
    if node is None or (isinstance(node, ScalarNode) and node.text == "error"):
        return refused
    if not isinstance(node, MapNode):
        source.add(node.span, f"'unparsed' is {describe(node)}", TIE_IS)
        return refused
    found = read_section(node, UNPARSED_CHOICE, ("verdict",), "unparsed", source)
    return {"unparsed": UNPARSED, "unparsed_at_most": found.get("at_most", 0.05)}


def _drawn(node: MapNode, table: Mapping[str, Kind | None], source: Source) -> dict[str, Any]:
    """What is said of answers; several at temperature 0 are one."""
    found = read_keys(node, table, " in read", source)
    heat = found.get("temperature", 0 if "temperature" not in node.entries else None)
    for name in ("samples", "repeat"):
        if (count := found.get(name, 1)) > 1 and heat == 0:
            source.add(
                node.entries[name][1].span,
                f"{count} answers at temperature 0 are one answer, {count} times",
                f"Set temperature: 1.0, or {name}: 1.",
            )
    return found


def _unparsed(top: MapNode, bounds: tuple[float, float] | None, source: Source) -> dict[str, Any]:
    """Reward of what is not parsed, and the share that may have it, as fields of `Score`."""
    refused = {"unparsed": None, "unparsed_at_most": 0.0}
    node = value_of(top, "unparsed", "", source)
    if node is None or (isinstance(node, ScalarNode) and node.text == "error"):
        return refused
    if not isinstance(node, MapNode):
        near = did_you_mean(node.text, ("error",)) if isinstance(node, ScalarNode) else ""
        source.add(node.span, f"'unparsed' is {describe(node)}{near}", UNPARSED_IS)
        return refused
    found = read_section(node, UNPARSED_SCORE, ("reward",), "unparsed", source)
    reward = found.get("reward")
    if reward is not None and bounds is not None and bounds[0] <= reward <= bounds[1]:
        source.add(
            node.entries["reward"][1].span,
            f"the reward of what is not parsed is {reward:g}, which answers can have too "
            f"(range {bounds[0]:g} to {bounds[1]:g})",
            "Take one outside, so that it can be told apart.",
        )
    return {"unparsed": reward, "unparsed_at_most": found.get("at_most", 0.05)}


_RULES: Mapping[str, Callable[[MapNode, MapNode, Source], Read | None]] = {
    "words": _yes_no,
    "a score": _score,
    "criteria": _rubric,
    "a choice": _choice,
    "scores": _scores,
}
