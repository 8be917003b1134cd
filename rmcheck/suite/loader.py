"""Reads a suite file, and says everything that is wrong with it at once.

Whether the pool exists, has the columns and the models open is not known here: the runner finds
that out and points into the file again through `rmcheck.suite.locate`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rmcheck.config.document import ListNode, MapNode, ScalarNode, describe
from rmcheck.config.file import open_file, read_versioned
from rmcheck.config.section import (
    beside,
    read_keys,
    read_section,
    refuse_unknown,
    require_keys,
    value_of,
)
from rmcheck.config.source import Source
from rmcheck.errors import Problem, SuiteError
from rmcheck.hub import is_hub_data
from rmcheck.metrics.judged import JudgedMean
from rmcheck.probes.probe import Probe
from rmcheck.probes.probe_file import read_probes, shipped_probes
from rmcheck.suite import keys
from rmcheck.suite.requirement import read_check
from rmcheck.suite.suite import (
    Check,
    GoldenSource,
    PoolSource,
    ServingSource,
    Suite,
    TrainingCheck,
)
from rmcheck.suite.training import only_logs, read_training_check, refuse_unused

BEGIN = "A suite begins with `rmcheck: 1`, then has `pool:` and `checks:`."
# What a suite is asked to name, and a run names.
RUN_NAMES = {"model", "candidate", "baseline"}


class PartlyReadError(SuiteError):
    """A suite file is wrong, and its pool can be looked at all the same."""

    def __init__(self, problems: Sequence[Problem], suite: Suite) -> None:
        super().__init__(problems)
        self.suite = suite


def load_suite(path: str | Path) -> Suite:
    """Read a suite file.

    Paths in it are relative to it. A golden model (`golden: {model: hf:ckpt/golden}`) is kept as
    written, and its location is relative to the current directory, like that of
    `--rmcheck-model`.

    Raises:
        SuiteError: All problems of the file, each with line, column and excerpt.
    """
    path = Path(path)
    return _suite(open_file(path), path)


def parse_suite(text: str, path: str | Path) -> Suite:
    """The suite in this text; `path` names it in messages and is where its paths start from.

    Raises:
        SuiteError: All problems of the text, each with line, column and excerpt.
    """
    return _suite(Source(str(path), text, SuiteError), Path(path))


def _suite(source: Source, path: Path) -> Suite:
    """The suite in a text; relative paths in it start from where `path` is."""
    top = read_versioned(source, "rmcheck", "a suite", BEGIN)
    takes = [f"A suite takes: {', '.join(keys.SUITE)}."]
    if RUN_NAMES & top.entries.keys():
        takes.insert(0, "A run names its models: --rmcheck-model=… and --rmcheck-baseline=….")
    refuse_unknown(top, keys.SUITE, "", source, *takes)
    logs_only = only_logs(top)
    required = keys.REQUIRED["suite"] if logs_only else ("rmcheck", "pool", "checks")
    require_keys(top, required, keys.SUITE, "the suite", source)
    found = read_keys(top, keys.SUITE, "", source)
    pool = _pool(top, path, source)
    golden = _golden(top, source)
    serving = _serving(top, source)
    slices = pool.slices if pool else ()
    probes = _probes(top, path, found.get("probes", ""), source)
    if "probes" in found:
        found["probes"] = beside(path, found["probes"])
    checks, training = _checks(top, slices, probes, path, source)
    if logs_only:
        refuse_unused(top, source)
    elif not found.get("directionless", False) and not source.problems:
        _refuse_blind(top, checks, source)
    if golden is None or (pool is None and not logs_only):
        raise source.error()
    name = found.pop("name", path.stem)
    if "history" in found:
        found["history"] = beside(path, found["history"])
    if golden.judge is not None:
        checks = tuple(replace(check, metric=JudgedMean(check.metric)) for check in checks)
    suite = Suite(
        path=path,
        name=name,
        pool=pool,
        golden=golden,
        checks=checks,
        training=training,
        serving=serving,
        **found,
    )
    if source.problems:
        raise PartlyReadError(source.in_order, suite)
    return suite


def _mapping(top: MapNode, key: str, first: str, example: str, source: Source) -> MapNode | None:
    """The mapping under a key of the suite; None where it is absent or was refused."""
    node = value_of(top, key, "", source)
    if node is None or isinstance(node, MapNode):
        return node
    if isinstance(node, ScalarNode) and node.type == "text":
        example = f"{key}: {{{first}: {node.text}}}"
    source.add(node.span, f"{key!r} must be a mapping, not {describe(node)}", f"Write {example}.")
    return None


def _pool(top: MapNode, path: Path, source: Source) -> PoolSource | None:
    node = _mapping(top, "pool", "path", "pool: {path: data/pool.jsonl}", source)
    if node is None:
        return None
    found = read_section(node, keys.POOL, keys.REQUIRED["pool"], "pool", source)
    if "path" not in found:
        return None
    if is_hub_data(found["path"]):
        found["path"] = Path(found["path"])
    else:
        found["path"] = beside(path, found["path"])
    return PoolSource(**found)


def _golden(top: MapNode, source: Source) -> GoldenSource | None:
    if "golden" not in top.entries:
        return GoldenSource()
    example = "golden: {column: golden} or golden: {model: hf:ckpt/golden-rm}"
    _, written = top.entries["golden"]
    is_model = isinstance(written, ScalarNode) and ":" in written.text
    node = _mapping(top, "golden", "model" if is_model else "column", example, source)
    if node is None:
        return None
    place = " in golden"
    refuse_unknown(node, keys.GOLDEN, place, source, f"golden takes: {', '.join(keys.GOLDEN)}.")
    if len(node.entries.keys() & {"column", "model"}) != 1:
        span, _ = top.entries["golden"]
        message = "'golden' is either a column of the pool or a model"
        source.add(span, message, f"Write {example}.")
        return None
    found = read_keys(node, keys.GOLDEN, place, source)
    if "model" in found and "repeat" in found:
        span, _ = node.entries["repeat"]
        message = "'repeat' in golden is a second read of a column; a golden RM is read once"
        source.add(span, message, "Write golden: {column: golden, repeat: golden_2}.")
    if "judge" in found and found.keys() & {"model", "repeat"}:
        span, _ = node.entries["judge"]
        message = "'judge' in golden is a column that the labels of humans in 'column' put right"
        source.add(span, message, "Write golden: {column: human, judge: gpt}.")
    return GoldenSource(**{"column": None, **found})


def _serving(top: MapNode, source: Source) -> ServingSource | None:
    node = _mapping(top, "serving", "model", "serving: {model: http:http://host:8000}", source)
    if node is None:
        return None
    found = read_section(node, keys.SERVING, keys.REQUIRED["serving"], "serving", source)
    return ServingSource(**found) if "model" in found else None


def _checks(
    top: MapNode,
    slices: tuple[str, ...],
    probes: Mapping[str, Probe],
    path: Path,
    source: Source,
) -> tuple[tuple[Check, ...], tuple[TrainingCheck, ...]]:
    node = value_of(top, "checks", "", source)
    if node is None:
        return (), ()
    if not isinstance(node, ListNode):
        source.add(node.span, f"'checks' must be a list of checks, not {describe(node)}")
        return (), ()
    if not node.items:
        source.add(node.span, "no checks: this suite would pass whatever the model")
    checks: list[Check] = []
    training: list[TrainingCheck] = []
    names: dict[str, int] = {}
    for number, item in enumerate(node.items, start=1):
        if not isinstance(item, MapNode):
            message = f"check {number} must be a mapping, not {describe(item)}"
            example = "Write {name: accuracy, metric: accuracy, at_least: 0.7}."
            source.add(item.span, message, example)
            continue
        _refuse_second_name(item, names, source)
        if "training" in item.entries:
            of_log = read_training_check(item, number, path, source)
            training += [of_log] if of_log else []
            continue
        check = read_check(item, number, slices, probes, source)
        if check is not None:
            checks.append(check)
    return tuple(checks), tuple(training)


def _probes(top: MapNode, path: Path, own: str, source: Source) -> Mapping[str, Probe]:
    """The probes that checks can name, where one does: a team's own come first."""
    _, checks = top.entries.get("checks", (None, None))
    items = checks.items if isinstance(checks, ListNode) else ()
    named = any(isinstance(item, MapNode) and "probe" in item.entries for item in items)
    if not own:
        return shipped_probes() if named else {}
    file = beside(path, own)
    if not file.is_file():
        _, node = top.entries["probes"]
        source.add(node.span, f"there is no file {path.parent / own}")
        return shipped_probes()
    try:
        return {**shipped_probes(), **read_probes(file, str(path.parent / own))}
    except SuiteError as error:
        source.problems += error.problems
        return shipped_probes()


def _refuse_blind(top: MapNode, checks: tuple[Check, ...], source: Source) -> None:
    """Note that no check tells a good model from a reversed one, or from a constant."""
    if any(check.measured.tells_direction for check in checks):
        return
    span, _ = top.entries["checks"]
    metrics = ", ".join(dict.fromkeys(check.measured.name for check in checks))
    source.add(
        span,
        f"a reversed or a constant model would pass: {metrics} cannot tell it from a good one",
        "Put a check of accuracy beside, or write `directionless: true` into the suite.",
    )


def _refuse_second_name(node: MapNode, names: dict[str, int], source: Source) -> None:
    """Each verdict, waiver and line of history is found by the name of its check."""
    if "name" not in node.entries:
        return
    _, name = node.entries["name"]
    if not isinstance(name, ScalarNode):
        return
    text = name.text.strip()
    if text in names:
        source.add(name.span, f"a second check named {text!r}; the first is on line {names[text]}")
    names.setdefault(text, name.span.line)
