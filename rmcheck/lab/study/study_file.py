"""Reads the file of a study, and says everything that is wrong with it at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from rmcheck.config.document import MapNode, Node, ScalarNode, describe
from rmcheck.config.file import open_file, read_versioned
from rmcheck.config.kinds import Choice, Integer, Kind, Number, OneLine, one_of, refuse
from rmcheck.config.mapping import (
    ByName,
    FileName,
    ListOf,
    Section,
    Version,
    key_span,
)
from rmcheck.config.section import read_keys, refuse_unknown, require_keys
from rmcheck.config.source import Source
from rmcheck.metrics.metric import Metric
from rmcheck.metrics.registry import make_metric, metric_names
from rmcheck.models.sample import TooLong
from rmcheck.suite.model_name import ModelName

EACH = "each"
# Faults of the data that a user may choose to leave out.
FAULTS = ("identical", "constant", "missing", "unchanged", "failed_runs")


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


@dataclass(frozen=True)
class MetricName(Kind):
    """A metric by its name."""

    def read(self, node: Node, what: str, source: Source) -> Metric:
        try:
            return make_metric(_METRICS.read(node, "'metric'", source))
        except ValueError as error:
            raise refuse(source, node, str(error)) from error

    def schema(self) -> dict[str, Any]:
        return _METRICS.schema()


@dataclass(frozen=True)
class ModelOfStudy(Kind):
    """A model by its spec, or a mapping of what `FamilyMember` has beside its name."""

    def read(self, node: Node, what: str, source: Source) -> dict[str, Any]:
        """What the member has."""
        if isinstance(node, ScalarNode):
            return {"model": ModelName().read(node, what, source)}
        if not isinstance(node, MapNode):
            message = f"{what} must be SCHEME:LOCATION or a mapping, not {describe(node)}"
            raise refuse(source, node, message)
        takes = f"A model takes: {', '.join(MEMBER.table)}."
        refuse_unknown(node, MEMBER.table, f" of {what}", source, takes)
        if len(node.entries.keys() & {"model", "column"}) != 1:
            message = f"{what} is either a model or a column of the pool"
            raise refuse(source, node, message, "Write {model: hf:runs/rm} or {column: golden}.")
        return read_keys(node, MEMBER.table, f" of {what}", source)

    def schema(self) -> dict[str, Any]:
        """A spec, or an object with one of both."""
        either = [{"required": ["model"]}, {"required": ["column"]}]
        return {"oneOf": [{"type": "string"}, {**MEMBER.schema(), "oneOf": either}]}


_METRICS = Choice(lambda: tuple(sorted(metric_names())), noun="metric")
MEMBER = Section(FamilyMember, {"model": ModelName(), "column": OneLine(), "group": OneLine()})
POOL = Section(
    StudyPool,
    {
        "path": FileName(),
        "format": Choice(lambda: _reader_names(), noun="format"),
        "category": OneLine(),
    },
    ("path",),
    example="{path: data/pool.jsonl}",
)
REWRITES = Section(
    Rewrites,
    {"policy": OneLine(), "shares": ListOf(Number(0, 1), "[0, 0.5, 1]")},
    example="{policy: offline}",
)
STUDY = Section(
    StudyFile,
    {
        "study": Version(),
        "name": OneLine(),
        "pool": POOL,
        "models": ByName(
            ModelOfStudy(), "model ", "{flips-00: hf:runs/flips-00, judge: {column: golden}}"
        ),
        "golden": OneLine(),
        "n": Integer(2),
        "responses": Integer(2),
        "per_prompt": Integer(4),
        "metrics": ListOf(MetricName(), "[accuracy, xi]"),
        "kl_penalties": ListOf(Number(0, open=True), "[0.5, 1]"),
        "rl": FileName(),
        "other_pools": ByName(POOL, "", "{mistral: {path: FILE}}"),
        "rewrites": REWRITES,
        "test_sets": Integer(20),
        "seed": Integer(0),
        "too_long": one_of(*get_args(TooLong)),
        "leave_out": ListOf(one_of(*FAULTS), "[identical]"),
    },
    ("study", "pool", "models"),
)


def load_study(path: Path) -> StudyFile:
    """Read the file of a study; paths in it are relative to it.

    Raises:
        SuiteError: All problems of the file, each with line, column and excerpt.
    """
    begin = "A study begins with `study: 1`, then has `pool:` and `models:`."
    source = open_file(path)
    top = read_versioned(source, "study", "a study", begin)
    refuse_unknown(top, STUDY.table, "", source, f"A study takes: {', '.join(STUDY.table)}.")
    require_keys(top, STUDY.required, STUDY.table, "the study", source)
    found = read_keys(top, STUDY.table, "", source)
    members = tuple(FamilyMember(name, **of) for name, of in found.pop("models", {}).items())
    _refuse_golden(top, found.get("golden", EACH), [member.name for member in members], source)
    if source.problems:
        raise source.error()
    del found["study"]
    return StudyFile(
        path=path,
        name=found.pop("name", path.stem),
        pool=StudyPool(**found.pop("pool")),
        models=members,
        metrics={metric.name: metric for metric in found.pop("metrics", ())},
        other_pools={n: StudyPool(**of) for n, of in found.pop("other_pools", {}).items()},
        rewrites=Rewrites(**found.pop("rewrites")) if "rewrites" in found else None,
        **found,
    )


def _refuse_golden(top: MapNode, golden: str, names: list[str], source: Source) -> None:
    if golden not in (EACH, *names):
        message = f"golden {golden!r} is no model of this study"
        source.add(
            key_span(top, "golden"), message, f"Valid: {EACH}, or one of {', '.join(names)}."
        )


def _reader_names() -> tuple[str, ...]:
    from rmcheck.pool.reading import reader_names

    return reader_names()
