"""From a file or folder in any known format to a pool."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Any

from rmcheck.errors import NoSuchClusterError, PoolError, Problem
from rmcheck.pool.cells import with_numbers
from rmcheck.pool.conversation import content_key, unit_key
from rmcheck.pool.detection import (
    FIRST_ROWS,
    NumberedRow,
    detected_reader,
    reader_named,
    reader_names,
)
from rmcheck.pool.faults import (
    capped,
    fault_actions,
    fault_problems,
    place,
    problem_of_rows,
)
from rmcheck.pool.files import TABLES, data_files, read_rows
from rmcheck.pool.pool import Fault, FaultAction, FaultKind, Pool, Prompt
from rmcheck.pool.prompt_files import read_prompt_rows
from rmcheck.pool.readers.reader import Reader
from rmcheck.pool.row import Row, RowFault, malformed, near
from rmcheck.pool.tool_calls import with_tools

__all__ = ["read_pool", "read_prompts", "reader_names"]


def read_pool(
    path: Path | str,
    *,
    format: str | None = None,
    faults: Mapping[FaultKind, FaultAction] | None = None,
    cluster: str | None = None,
) -> Pool:
    """Read prompts with their responses.

    Prompts keep the id of their format, else get one from their content. Prompts with the same
    conversation share a cluster, unless the format or `cluster` says otherwise.

    Args:
        path: A file, or a folder whose data files are all read, sorted.
        format: Name of a reader; None finds it out from the fields of the first rows.
        faults: What to do about each kind of fault where it differs from the default
            (`rmcheck.pool.faults.FAULT_RULES`). `missing_label` is about one column, so
            `rmcheck.pool.labels.labelled` applies it.
        cluster: Field of the rows whose equal values are one independent unit.

    Raises:
        PoolError: The path, a file, its format or a row is wrong; everything found is named.
        UsageError: Unknown `format`, or a fault or action that does not exist.
    """
    reader = None if format is None else reader_named(format)
    reading = _Reading(fault_actions(faults or {}), cluster, reader)
    return reading.whole(Path(path))


def read_prompts(path: Path | str, *, format: str | None = None) -> Pool:
    """Read what a policy is to answer: a file of prompts alone, or any pool.

    Prompts alone may also stand in a table (.csv) or be one a line (.txt); see
    `rmcheck.pool.readers.prompts`. Ids are those of the file, else made from the content; the same
    conversation again is another prompt, and a `duplicate_row`.

    Args:
        path: A file, or a folder whose data files are all read, sorted.
        format: `prompts` or the name of a pool's reader; None finds it out.

    Returns:
        Prompts; those of a pool keep their responses and labels, which nobody samples from.

    Raises:
        PoolError: The path, a file, its format or a row is wrong; everything found is named.
        UsageError: Unknown `format`.
    """
    reader = None if format is None else reader_named(format, or_prompts=True)
    reading = _Reading(fault_actions({}), None, reader, prompts_alone=True)
    return reading.whole(Path(path))


@dataclass
class _Reading:
    """One reading of a pool or of prompts: what was read so far, and what is wrong with it."""

    actions: Mapping[FaultKind, FaultAction]
    cluster: str | None
    reader: Reader | None
    prompts_alone: bool = False
    found: dict[Reader, list[Path]] = field(default_factory=dict)
    rows_read: int = 0
    prompts: list[Prompt] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    unclustered: int = 0

    def whole(self, path: Path) -> Pool:
        """The pool of a file or folder.

        Raises:
            PoolError: Something is wrong with a file or row, or no prompt is left.
        """
        for file in data_files(path):
            try:
                self.read(file)
            except PoolError as error:
                self.problems += error.problems
        return self.pool(path)

    def read(self, file: Path) -> None:
        """Add the prompts of one file.

        Raises:
            PoolError: The file as a whole is wrong.
        """
        rows = self._rows(file)
        first = list(islice(rows, FIRST_ROWS))
        reader = self._reader_of(file, first)
        for line, values in chain(first, rows):
            self.rows_read += 1
            try:
                if isinstance(values, RowFault):
                    raise values
                row = Row(values, line, file=file.name)
                self.prompts += self._prompts(reader, row, str(file))
            except RowFault as fault:
                self._note(fault, str(file), line)

    def _rows(self, file: Path) -> Iterator[NumberedRow]:
        if self.prompts_alone:
            return read_prompt_rows(file)
        if file.name.lower().endswith(TABLES):
            return with_numbers(list(read_prompt_rows(file)))
        return read_rows(file)

    def pool(self, path: Path) -> Pool:
        """The pool of everything read.

        Raises:
            PoolError: Something is wrong with a file or row, or no prompt is left.
        """
        if self.unclustered and self.unclustered == self.rows_read:
            raise NoSuchClusterError([Problem(str(path), self.faults[-1].detail)])
        if len(self.found) != 1:
            raise PoolError(capped([*self._mixed_formats(path), *self.problems]))
        (reader,) = self.found
        prompts = _grouped(self.prompts) if reader.grouped else self.prompts
        prompts = self._sound(_named(prompts))
        problems = fault_problems(self.faults, read=self.rows_read, in_suite=not self.prompts_alone)
        problems += [*self.problems, *_labels_without_value(prompts)]
        if not prompts and not problems:
            problems.append(self._nothing_left(path))
        if problems:
            raise PoolError(capped(problems))
        return Pool(
            path=path.resolve(),
            format=reader.name,
            prompts=tuple(prompts),
            faults=tuple(self.faults),
            rows_read=self.rows_read,
        )

    def _reader_of(self, file: Path, first: list[NumberedRow]) -> Reader:
        reader = self.reader or detected_reader(file, first, prompts_alone=self.prompts_alone)
        self.found.setdefault(reader, []).append(file)
        return reader

    def _prompts(self, reader: Reader, row: Row, path: str) -> Iterator[Prompt]:
        """The prompts of one row, all or none."""
        made = list(reader.prompts(row))
        cluster = self._cluster_of(row)
        for item in made:
            if isinstance(item, RowFault):
                # What a reader notes is settled by the reader; the row goes on.
                self._note(item, path, row.line, action="keep")
            else:
                prompt = with_tools(row, item)
                known = cluster or item.cluster
                yield replace(prompt, path=path, line=row.line, cluster=known)

    def _cluster_of(self, row: Row) -> str:
        if self.cluster is None:
            return ""
        found = row.slices(self.cluster)
        if not found:
            self.unclustered += 1
            raise malformed(
                f"no single value in field {self.cluster!r}, which the suite's `cluster` names"
                f"{near(self.cluster, row, 'the row')}"
            )
        return found[self.cluster]

    def _note(
        self,
        fault: RowFault,
        path: str,
        line: int,
        prompt_id: str = "",
        action: FaultAction | None = None,
    ) -> FaultAction:
        done = self.actions[fault.kind] if action is None else action
        self.faults.append(Fault(fault.kind, line, prompt_id, fault.detail, done, path))
        return done

    def _sound(self, prompts: Iterable[Prompt]) -> list[Prompt]:
        """The prompts without those that a fault drops."""
        kept: list[Prompt] = []
        by_id: dict[str, Prompt] = {}
        by_content: dict[str, Prompt] = {}
        for prompt in prompts:
            content = content_key(prompt.messages, sorted(prompt.responses))
            found = [
                *_faults_inside(prompt),
                *_repeats("duplicate_prompt_id", by_id.get(prompt.prompt_id)),
                *_repeats("duplicate_row", by_content.get(content)),
            ]
            done = {self._note(f, prompt.path, prompt.line, prompt.prompt_id) for f in found}
            if "drop" not in done:
                kept.append(prompt)
                by_id.setdefault(prompt.prompt_id, prompt)
                by_content.setdefault(content, prompt)
        return kept

    def _mixed_formats(self, path: Path) -> Iterator[Problem]:
        formats = ", ".join(
            f"{reader.name} ({_named_files(files)})" for reader, files in self.found.items()
        )
        if formats:
            yield Problem(
                str(path),
                f"the files have several formats, and a pool has one: {formats}; "
                "let `path` name the files of one, or say which with `format:`",
            )

    def _nothing_left(self, path: Path) -> Problem:
        dropped = [fault for fault in self.faults if fault.action == "drop"]
        kinds = ", ".join(dict.fromkeys(fault.kind for fault in dropped))
        return problem_of_rows(
            f"no prompt is left of {self.rows_read} rows; dropped for {kinds}",
            [(fault.path, fault.line, fault.prompt_id, fault.detail) for fault in dropped],
        )


def _named_files(files: list[Path]) -> str:
    return f"{len(files)} files, the first is {files[0]}" if len(files) > 1 else str(files[0])


def _faults_inside(prompt: Prompt) -> Iterator[RowFault]:
    empty = [i for i, response in enumerate(prompt.responses) if not response.strip()]
    if empty:
        yield RowFault("empty_answer", f"nothing in responses {_numbered(empty)}")
    first: dict[str, int] = {}
    for i, response in enumerate(prompt.responses):
        same = first.setdefault(response, i)
        if same != i:
            yield RowFault("identical_answers", f"responses {same} and {i} are the same text")
            break
    roles = [*(message.role for message in prompt.messages), "assistant"]
    for turn, (role, following) in enumerate(pairwise(roles), start=1):
        # Two calls at once have two results.
        if role == following != "tool":
            yield RowFault("repeated_role", f"turns {turn} and {turn + 1} are both the {role}'s")
            break


def _repeats(kind: FaultKind, earlier: Prompt | None) -> Iterator[RowFault]:
    if earlier is not None:
        where = place(earlier.path, earlier.line)
        yield RowFault(kind, f"the same as {where} ({earlier.prompt_id})")


def _grouped(prompts: Iterable[Prompt]) -> list[Prompt]:
    """Rows of one conversation (and prompt id, where there is one) as one prompt."""
    groups: dict[tuple[str, str], list[Prompt]] = {}
    for prompt in prompts:
        groups.setdefault((prompt.prompt_id, content_key(prompt.messages)), []).append(prompt)
    return [_joined(group) for group in groups.values()]


def _joined(group: list[Prompt]) -> Prompt:
    columns = dict.fromkeys(column for prompt in group for column in prompt.labels)
    shared = set.intersection(*(set(prompt.slices.items()) for prompt in group))
    return replace(
        group[0],
        responses=tuple(r for prompt in group for r in prompt.responses),
        labels={
            column: tuple(
                value
                for prompt in group
                for value in prompt.labels.get(column, (None,) * len(prompt.responses))
            )
            for column in columns
        },
        # A value that differs between the responses is not the prompt's.
        slices={name: v for name, v in group[0].slices.items() if (name, v) in shared},
        indices=(),
        columns=_joined_columns(group, {name for name, _ in shared}),
    )


def _joined_columns(group: list[Prompt], whole: set[str]) -> dict[str, Any]:
    """What rows of one response have, once where they all have the same."""
    if not any(prompt.columns or len(prompt.slices) > len(whole) for prompt in group):
        return {}
    rows = [{**prompt.slices, **prompt.columns} for prompt in group]
    found: dict[str, Any] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        values = tuple(row.get(name) for row in rows)
        if any(repr(value) != repr(values[0]) for value in values):
            found[name] = values
        elif name not in whole or not isinstance(values[0], str):
            found[name] = values[0]
    return found


def _named(prompts: Iterable[Prompt]) -> Iterator[Prompt]:
    """The prompts with an id and a cluster each."""
    times: dict[str, int] = {}
    for prompt in prompts:
        name = prompt.prompt_id
        if not name:
            name = content_key(prompt.messages, prompt.responses)
            times[name] = times.get(name, 0) + 1
            # The same content again is another prompt (and a duplicate_row): 3f2a…, 3f2a….2
            name += f".{times[name]}" if times[name] > 1 else ""
        yield replace(prompt, prompt_id=name, cluster=prompt.cluster or unit_key(prompt.messages))


def _labels_without_value(prompts: Iterable[Prompt]) -> list[Problem]:
    """NaN and infinite labels: no fault rule can let them in."""
    found = [
        (prompt, f"{column!r} of response {i} is {value}")
        for prompt in prompts
        for column, values in prompt.labels.items()
        for i, value in enumerate(values)
        if value is not None and not math.isfinite(value)
    ]
    if not found:
        return []
    summary = f"{len(found)} labels are no numbers; write null where a response was not judged"
    return [problem_of_rows(summary, [(p.path, p.line, p.prompt_id, d) for p, d in found])]


def _numbered(indices: list[int]) -> str:
    shown = ", ".join(str(i) for i in indices[:5])
    return f"{shown}, …" if len(indices) > 5 else shown
