"""Reads the file of a study, and says everything that is wrong with it at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from rmcheck.config.document import ListNode, MapNode, Node, ScalarNode, compose, describe
from rmcheck.config.kinds import (
    Choice,
    Integer,
    Kind,
    Number,
    OneLine,
    Wrong,
    one_of,
    refuse,
)
from rmcheck.config.section import beside, read_keys, refuse_unknown, require_keys, value_of
from rmcheck.config.source import Source, Span
from rmcheck.errors import Problem, SuiteError
from rmcheck.metrics.metric import Metric
from rmcheck.metrics.registry import make_metric, metric_names
from rmcheck.models.model import TooLong
from rmcheck.suite.model_name import ModelName

VERSION = 1
EACH = "each"
# Faults of the data that a user may choose to leave out.
FAULTS = ("identical", "constant", "missing", "unchanged", "failed_runs")


@dataclass(frozen=True)
class ListOf(Kind):
    """A list of values of one kind.

    Attributes:
        kind: Of each.
        example: How a right list looks.
    """

    kind: Kind
    example: str

    def read(self, node: Node, what: str, source: Source) -> tuple[Any, ...]:
        """The values in file order."""
        if not isinstance(node, ListNode):
            message = f"{what} must be a list, such as {self.example}, not {describe(node)}"
            raise refuse(source, node, message)
        found, wrong = [], 0
        for item in node.items:
            try:
                found.append(self.kind.read(item, f"an item of {what}", source))
            except Wrong:
                wrong += 1
        if wrong:
            raise Wrong(what)
        return tuple(found)

    def schema(self) -> dict[str, Any]:
        """An array."""
        return {"type": "array", "items": self.kind.schema()}


STUDY: Mapping[str, Kind | None] = {
    "study": None,
    "name": OneLine(),
    "pool": None,
    "models": None,
    "golden": OneLine(),
    "n": Integer(2),
    "responses": Integer(2),
    "per_prompt": Integer(4),
    "metrics": None,
    "kl_penalties": ListOf(Number(0, open=True), "[0.5, 1]"),
    "rl": OneLine(),
    "other_pools": None,
    "rewrites": None,
    "test_sets": Integer(20),
    "seed": Integer(0),
    "too_long": one_of(*get_args(TooLong)),
    "leave_out": ListOf(one_of(*FAULTS), "[identical]"),
}
POOL: Mapping[str, Kind | None] = {
    "path": OneLine(),
    "format": Choice(lambda: _reader_names(), noun="format"),
    "category": OneLine(),
}
MODEL: Mapping[str, Kind | None] = {"model": ModelName(), "column": OneLine(), "group": OneLine()}
REWRITES: Mapping[str, Kind | None] = {
    "policy": OneLine(),
    "shares": ListOf(Number(0, 1), "[0, 0.5, 1]"),
}


@dataclass(frozen=True)
class StudyPool:
    """Where responses are.

    Attributes:
        path: File or folder.
        format: Reader; None finds it out.
        category: Slice column of the pool that Table 3 goes by; None without.
    """

    path: Path
    format: str | None = None
    category: str | None = None


@dataclass(frozen=True)
class FamilyMember:
    """A model of the family.

    Attributes:
        name: In tables.
        model: Its spec; None where a column of the pool has its rewards.
        column: That column.
        group: What it is grouped by in Figure 12.
    """

    name: str
    model: str | None = None
    column: str | None = None
    group: str = ""


@dataclass(frozen=True)
class Rewrites:
    """How prompts are said anew for Figure 5.

    Attributes:
        policy: Spec of the policy that rewrites; `offline` needs none.
        shares: Shares of the prompts that are replaced.
    """

    policy: str = "offline"
    shares: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class StudyFile:
    """A study as its file says it.

    Attributes:
        path: The file.
        name: Of the study; the file's name unless it says another.
        pool: The responses that metrics see and policies choose from.
        models: The family, golden among them.
        golden: Name of the model that judges all others; `each` takes each in turn.
        n: Of best-of-n; None takes a quarter of the responses that are chosen from.
        responses: Responses a prompt in a test set.
        per_prompt: Responses of each prompt that are used; None asks for the same number of all.
        metrics: Name to metric; empty takes the paper's.
        kl_penalties: Of KL-regularised policies, in standard deviations of the rewards.
        rl: CSV table of RL runs; None without.
        other_pools: Name to pool of another policy's responses.
        rewrites: How prompts are rewritten; None leaves Figure 5 out.
        test_sets: How many test sets are drawn for each number.
        seed: Of all random choices.
        too_long: What to do with conversations longer than a model takes.
        leave_out: Faults whose models, prompts or runs are left out instead of refused.
    """

    path: Path
    name: str
    pool: StudyPool
    models: tuple[FamilyMember, ...]
    golden: str = EACH
    n: int | None = None
    responses: int = 5
    per_prompt: int | None = None
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    kl_penalties: tuple[float, ...] = (0.5, 1.0, 2.0)
    rl: Path | None = None
    other_pools: Mapping[str, StudyPool] = field(default_factory=dict)
    rewrites: Rewrites | None = None
    test_sets: int = 100
    seed: int = 0
    too_long: TooLong = "error"
    leave_out: tuple[str, ...] = ()


def load_study(path: Path) -> StudyFile:
    """Read the file of a study; paths in it are relative to it.

    Raises:
        SuiteError: All problems of the file, each with line, column and excerpt.
    """
    try:
        source = Source.of(path, SuiteError)
    except OSError as error:
        raise SuiteError([Problem(str(path), f"cannot be read: {error.strerror}")]) from error
    return _Reading(source, path).study()


@dataclass
class _Reading:
    source: Source
    path: Path

    def study(self) -> StudyFile:
        top = self._top(compose(self.source))
        takes = f"A study takes: {', '.join(STUDY)}."
        refuse_unknown(top, STUDY, "", self.source, takes)
        require_keys(top, ("pool", "models"), STUDY, "the study", self.source)
        found = read_keys(top, STUDY, "", self.source)
        pool = self._pool(value_of(top, "pool", "", self.source), "pool")
        models = self._models(value_of(top, "models", "", self.source))
        rewrites = self._rewrites(value_of(top, "rewrites", "", self.source))
        others = self._other_pools(value_of(top, "other_pools", "", self.source))
        metrics = self._metrics(value_of(top, "metrics", "", self.source))
        self._golden(top, found.get("golden", EACH), models)
        if self.source.problems or pool is None:
            raise self.source.error()
        if "rl" in found:
            found["rl"] = beside(self.path, found["rl"])
        found.setdefault("name", self.path.stem)
        return StudyFile(
            path=self.path,
            pool=pool,
            models=models,
            other_pools=others,
            metrics=metrics,
            rewrites=rewrites,
            **found,
        )

    def _top(self, root: Node | None) -> MapNode:
        begin = "A study begins with `study: 1`, then has `pool:` and `models:`."
        if not isinstance(root, MapNode):
            span = Span(1, 1) if root is None else root.span
            held = "nothing" if root is None else describe(root)
            self.source.add(span, f"a study is a mapping; the file holds {held}", begin)
            raise self.source.error()
        _, version = root.entries.get("study", (root.span, None))
        written = version.text if isinstance(version, ScalarNode) else None
        if written != str(VERSION):
            said = "no 'study: 1'" if version is None else f"'study' must be {VERSION}"
            span = root.span if version is None else version.span
            self.source.add(span, f"{said}: what format is this?", begin)
            raise self.source.error()
        return root

    def _pool(self, node: Node | None, key: str) -> StudyPool | None:
        if node is None:
            return None
        if not isinstance(node, MapNode):
            example = f"Write {key}: {{path: data/pool.jsonl}}."
            self.source.add(node.span, f"{key!r} must be a mapping, not {describe(node)}", example)
            return None
        takes = f"{key} takes: {', '.join(POOL)}."
        refuse_unknown(node, POOL, f" in {key}", self.source, takes)
        require_keys(node, ("path",), POOL, key, self.source)
        found = read_keys(node, POOL, f" in {key}", self.source)
        if "path" not in found:
            return None
        found["path"] = beside(self.path, found["path"])
        return StudyPool(**found)

    def _other_pools(self, node: Node | None) -> dict[str, StudyPool]:
        found = {}
        for name, value in self._entries(node, "other_pools", "{mistral: {path: FILE}}"):
            pool = self._pool(value, name)
            if pool is not None:
                found[name] = pool
        return found

    def _models(self, node: Node | None) -> tuple[FamilyMember, ...]:
        found = []
        example = "{flips-00: hf:runs/flips-00, judge: {column: golden}}"
        for name, value in self._entries(node, "models", example):
            member = self._member(name, value)
            if member is not None:
                found.append(member)
        return tuple(found)

    def _member(self, name: str, node: Node) -> FamilyMember | None:
        place = f" of model {name!r}"
        if isinstance(node, ScalarNode):
            try:
                return FamilyMember(name, ModelName().read(node, f"model {name!r}", self.source))
            except Wrong:
                return None
        if not isinstance(node, MapNode):
            message = f"model {name!r} must be SCHEME:LOCATION or a mapping, not {describe(node)}"
            self.source.add(node.span, message)
            return None
        refuse_unknown(node, MODEL, place, self.source, f"A model takes: {', '.join(MODEL)}.")
        if len(node.entries.keys() & {"model", "column"}) != 1:
            message = f"model {name!r} is either a model or a column of the pool"
            self.source.add(node.span, message, "Write {model: hf:runs/rm} or {column: golden}.")
            return None
        return FamilyMember(name, **read_keys(node, MODEL, place, self.source))

    def _rewrites(self, node: Node | None) -> Rewrites | None:
        if node is None:
            return None
        if not isinstance(node, MapNode):
            message = f"'rewrites' must be a mapping, not {describe(node)}"
            self.source.add(node.span, message, "Write rewrites: {policy: offline}.")
            return None
        takes = f"rewrites takes: {', '.join(REWRITES)}."
        refuse_unknown(node, REWRITES, " in rewrites", self.source, takes)
        return Rewrites(**read_keys(node, REWRITES, " in rewrites", self.source))

    def _metrics(self, node: Node | None) -> dict[str, Metric]:
        if node is None:
            return {}
        if not isinstance(node, ListNode):
            message = f"'metrics' must be a list, such as [accuracy, xi], not {describe(node)}"
            self.source.add(node.span, message)
            return {}
        found = {}
        kind = Choice(lambda: tuple(sorted(metric_names())), noun="metric")
        for item in node.items:
            try:
                name = kind.read(item, "'metric'", self.source)
                found[name] = make_metric(name)
            except Wrong:
                continue
            except ValueError as error:
                self.source.add(item.span, str(error))
        return found

    def _entries(self, node: Node | None, key: str, example: str) -> list[tuple[str, Node]]:
        if node is None:
            return []
        if not isinstance(node, MapNode):
            message = f"{key!r} must be a mapping, not {describe(node)}"
            self.source.add(node.span, message, f"Write {key}: {example}.")
            return []
        return [(name, value) for name, (_, value) in node.entries.items()]

    def _golden(self, top: MapNode, golden: str, models: tuple[FamilyMember, ...]) -> None:
        names = [member.name for member in models]
        if golden == EACH or golden in names or "golden" not in top.entries:
            return
        message = f"golden {golden!r} is no model of this study"
        valid = f"Valid: {EACH}, or one of {', '.join(names)}."
        self.source.add(top.entries["golden"][1].span, message, valid)


def _reader_names() -> tuple[str, ...]:
    from rmcheck.pool.reading import reader_names

    return reader_names()
