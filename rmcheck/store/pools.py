"""Pools kept as they were read, so that an unchanged file is read, checked and hashed once.

A file in `pools/` of the store is named by what was read: the bytes of the pool's files, how they
were read and the code that read them. It is no fact that a score depends on: one that is gone,
damaged or of another version only costs the reading again.

Content: a line that names the format, the SHA-256 of the rest, and an Arrow file of one row, whose
columns are lists: of a value a prompt, a response, a message or a fault.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import rmcheck
from rmcheck.errors import PoolError
from rmcheck.models.checkpoint.fingerprint import file_digest
from rmcheck.pool.files import data_files
from rmcheck.pool.pool import Fault, FaultAction, FaultKind, Message, Pool, Prompt
from rmcheck.pool.reading import read_pool
from rmcheck.store.folder import remove_stale_temporaries, write_whole

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER = "pools"
_HEAD = b"rmcheck pool 1\n"
# Smaller files are read faster than they are looked for.
SMALL = 1 << 20
# Bytes of all kept pools together; those that were not used for longest go first.
MOST = 4 << 30


class KeptPools:
    """Reads pools, and keeps them in the store.

    Args:
        store: The `.rmcheck` folder; where it does not exist nothing is kept.
        session_folder: Shared with the other processes of a run, if there are any.
    """

    def __init__(self, store: Path, session_folder: Path | None = None) -> None:
        self._folder = store / FOLDER
        self._shared = None if session_folder is None else session_folder / FOLDER
        self._new: dict[str, Pool] = {}

    def read(
        self,
        path: Path,
        *,
        format: str | None = None,
        faults: Mapping[FaultKind, FaultAction] | None = None,
        cluster: str | None = None,
    ) -> Pool:
        """`rmcheck.pool.read_pool`, from what an earlier session has kept where it can be.

        Raises:
            PoolError, UsageError: See `read_pool`.
        """
        how = repr((str(path), format, sorted((faults or {}).items()), cluster))
        name = _name(path, how)
        for folder in filter(None, (self._folder, self._shared)):
            if name and (pool := _kept(folder / name)):
                return pool
        pool = read_pool(path, format=format, faults=faults, cluster=cluster)
        if name and _name(path, how) == name:  # else it was written while it was read
            self._new[name] = pool
        return pool

    def keep(self) -> None:
        """Write what was read anew, where there is a store."""
        if self._new and self._folder.parent.is_dir():
            self._write(self._folder)
            self._new.clear()

    def share(self) -> None:
        """Write what was read anew where other processes of the run find it, if there are any."""
        if self._shared and self._folder.parent.is_dir():
            self.keep()
        elif self._shared:
            self._write(self._shared)

    def _write(self, folder: Path) -> None:
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            remove_stale_temporaries(folder)
            for name, pool in self._new.items():
                write_whole(folder / name, _packed(pool))
            _bound(folder)


def _name(path: Path, how: str) -> str:
    """Name of the file that keeps what is read; empty where nothing is kept of it."""
    try:
        files = data_files(path)
        if sum(file.stat().st_size for file in files) < SMALL:
            return ""
        read = [(str(file), file_digest(file)) for file in files]
    except (OSError, PoolError):
        return ""  # reading says what is wrong
    facts = repr((rmcheck.__version__, _code(), str(path.resolve()), how, read))
    return f"{hashlib.sha256(facts.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}.pool"


def _code() -> list[str]:
    """Digests of the code that reads pools."""
    package = Path(rmcheck.__file__).parent
    sources = [Path(__file__), package / "parsing.py", *sorted((package / "pool").rglob("*.py"))]
    return [hashlib.sha256(source.read_bytes()).hexdigest() for source in sources]


def _bound(folder: Path) -> None:
    """Remove the pools that were not used for longest, until the rest is small enough."""
    left = MOST
    for file in sorted(folder.glob("*.pool"), key=lambda file: -file.stat().st_mtime_ns):
        left -= file.stat().st_size
        if left < 0:
            file.unlink(missing_ok=True)


def _kept(file: Path) -> Pool | None:
    """The pool that a file keeps; None where it is gone or damaged."""
    import pyarrow as pa

    try:
        content = memoryview(file.read_bytes())
        start = len(_HEAD) + hashlib.sha256().digest_size
        if content[:start] != _HEAD + hashlib.sha256(content[start:]).digest():
            return None
        with pa.ipc.open_file(pa.BufferReader(pa.py_buffer(content[start:]))) as arrow:
            pool = _unpacked(arrow.get_batch(0))
        os.utime(file)
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return None
    return pool


# -- columns --------------------------------------------------------------------------------------


def _packed(pool: Pool) -> bytes:
    """The content of the file that keeps a pool."""
    import pyarrow as pa

    prompts, faults = pool.prompts, pool.faults
    messages = [message for prompt in prompts for message in prompt.messages]
    text, whole = pa.large_string(), pa.int64()
    columns: dict[str, tuple[Iterable[Any], pa.DataType]] = {
        "pool": ((str(pool.path), pool.format), text),
        "rows_read": ((pool.rows_read,), whole),
        "prompt_id": ((p.prompt_id for p in prompts), text),
        "cluster": ((p.cluster for p in prompts), text),
        "path": ((p.path for p in prompts), text),
        "line": ((p.line for p in prompts), whole),
        "messages": ((len(p.messages) for p in prompts), whole),
        "responses": ((len(p.responses) for p in prompts), whole),
        "role": ((m.role for m in messages), text),
        "content": ((m.content for m in messages), text),
        "response": ((r for p in prompts for r in p.responses), text),
        "text_key": ((k for p in prompts for k in p.text_keys), pa.binary(16)),
        "index": ((i for p in prompts for i in p.indices), whole),
        "fault": ((word for f in faults for word in _words(f)), text),
        "fault_line": ((f.line for f in faults), whole),
        "label": (pool.label_columns, text),
        "slice": (pool.slice_columns, text),
        "labels": (_numbers(pool), pa.float64()),
        "labelled": ((c in p.labels for c in pool.label_columns for p in prompts), pa.bool_()),
        "slices": ((p.slices.get(c) for c in pool.slice_columns for p in prompts), text),
    }
    lists = [pa.array(list(values), kind) for values, kind in columns.values()]
    row = [pa.LargeListArray.from_arrays([0, len(values)], values) for values in lists]
    batch = pa.RecordBatch.from_arrays(row, names=list(columns))
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.ipc.new_file(sink, batch.schema, options=options) as arrow:
        arrow.write_batch(batch)
    content: bytes = sink.getvalue().to_pybytes()
    return _HEAD + hashlib.sha256(content).digest() + content


def _words(fault: Fault) -> tuple[str, ...]:
    return fault.kind, fault.prompt_id, fault.detail, fault.action, fault.path


def _numbers(pool: Pool) -> Iterator[float | None]:
    """Labels, column by column, None also for the responses of a prompt without the column."""
    for column in pool.label_columns:
        for prompt in pool.prompts:
            yield from prompt.labels.get(column, (None,) * len(prompt.responses))


def _unpacked(batch: "pa.RecordBatch") -> Pool:
    """The pool that a row of lists holds.

    Raises:
        KeyError, ValueError, TypeError: It holds none.
    """
    batch.validate(full=True)
    lists = {name: batch.column(name).values for name in batch.schema.names}
    path, format = _texts(lists["pool"])
    prompts = tuple(_prompts(lists))
    words = iter(_texts(lists["fault"]))
    faults = zip(lists["fault_line"].to_pylist(), *[words] * 5, strict=True)
    return Pool(
        Path(path),
        format,
        prompts,
        tuple(Fault(k, line, name, detail, done, at) for line, k, name, detail, done, at in faults),
        lists["rows_read"].to_pylist()[0],
    )


def _prompts(lists: "Mapping[str, pa.Array]") -> Iterator[Prompt]:
    texts = {n: _texts(lists[n]) for n in ("prompt_id", "cluster", "path", "role", "content")}
    responses, keys = _texts(lists["response"]), _texts(lists["text_key"])
    lines, indices = lists["line"].to_numpy().tolist(), lists["index"].to_numpy().tolist()
    messages = list(map(Message, texts["role"], texts["content"]))
    turns, answers = _cuts(lists["messages"]), _cuts(lists["responses"])
    labels = _labels(lists, answers)
    slices = _by_prompt(_texts(lists["slice"]), _texts(lists["slices"]), len(lines))
    for i, line in enumerate(lines):
        start, end = answers[i], answers[i + 1]
        prompt = Prompt(
            texts["prompt_id"][i],
            tuple(messages[turns[i] : turns[i + 1]]),
            tuple(responses[start:end]),
            _of_prompt(labels, i),
            _of_prompt(slices, i),
            texts["cluster"][i],
            line,
            texts["path"][i],
            tuple(indices[start:end]),
        )
        prompt.set_text_keys(keys[start:end])
        yield prompt


def _of_prompt(columns: Mapping[str, Sequence[Any]], at: int) -> dict[str, Any]:
    return {column: values[at] for column, values in columns.items() if values[at] is not None}


def _labels(
    lists: "Mapping[str, pa.Array]", cuts: Sequence[int]
) -> dict[str, list[tuple[float | None, ...] | None]]:
    """Label column to the numbers of each prompt, None where a prompt has not the column."""
    columns, count = _texts(lists["label"]), len(cuts) - 1
    numbers = lists["labels"].to_pylist()
    has = lists["labelled"].to_pylist()
    found: dict[str, list[tuple[float | None, ...] | None]] = {}
    for at, column in enumerate(columns):
        values = numbers[at * cuts[-1] : (at + 1) * cuts[-1]]
        found[column] = [
            tuple(values[cuts[i] : cuts[i + 1]]) if has[at * count + i] else None
            for i in range(count)
        ]
    return found


def _by_prompt(columns: Sequence[str], values: list[Any], count: int) -> dict[str, list[Any]]:
    return {column: values[i * count : (i + 1) * count] for i, column in enumerate(columns)}


def _cuts(counts: "pa.Array") -> list[int]:
    """Where the values of each prompt begin, and where the last ones end."""
    cuts: list[int] = np.concatenate([[0], np.cumsum(counts.to_numpy())]).tolist()
    return cuts


def _texts(values: "pa.Array") -> list[Any]:
    """Values as Python objects; ten times as fast as `to_pylist`."""
    found: list[Any] = values.to_numpy(zero_copy_only=False).tolist()
    return found
