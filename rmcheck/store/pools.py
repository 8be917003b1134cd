"""Pools kept as columns, so that an unchanged file is read, checked and hashed once.

A file in `pools/` of the store is named by what was read: the bytes of the pool's files, how they
were read and the code that read them. It has no texts: whoever asks for one reads the pool's files.
It is no fact that a score depends on: one that is gone, damaged or of another version only costs
the reading again.

Content: a line that names the format, the SHA-256 of the rest, and an Arrow file of one row, whose
columns are lists: of a value a prompt, a response or a fault.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import rmcheck
from rmcheck.errors import PoolError, Problem, StoreError
from rmcheck.models.checkpoint.fingerprint import file_digest
from rmcheck.parsing import column_numbers
from rmcheck.pool.columns import PoolColumns
from rmcheck.pool.files import data_files
from rmcheck.pool.keys import as_keys
from rmcheck.pool.pool import Fault, LazyPrompts, Pool, Prompt
from rmcheck.store.folder import make_store_folder, remove_stale_temporaries, write_whole

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER = "pools"
_HEAD = b"rmcheck pool 2\n"
# Smaller files are read faster than they are looked for.
SMALL = 1 << 20
# Bytes of all kept pools together; those that were not used for longest go first.
MOST = 4 << 30


class KeptPools:
    """Reads pools, and keeps them in the store.

    Args:
        store: The `.rmcheck` folder; made for the first large pool, and where it cannot be made
            nothing is kept.
        session_folder: Shared with the other processes of a run, if there are any.
    """

    def __init__(self, store: Path, session_folder: Path | None = None) -> None:
        self._folder = store / FOLDER
        self._shared = None if session_folder is None else session_folder / FOLDER
        self._new: dict[str, Pool] = {}

    def read(self, path: Path, **asked: Any) -> Pool:
        """`read_pool`, from what an earlier session has kept where it can be."""
        faults = sorted((asked.get("faults") or {}).items())
        how = repr((str(path), sorted({**asked, "faults": faults}.items())))
        name = _name(path, how)

        def parsed() -> Pool:
            from rmcheck.pool.reading import read_pool

            return read_pool(path, **asked)

        def again() -> Sequence[Prompt]:
            pool = parsed()
            if _name(path, how) != name:
                raise PoolError([Problem(str(path), "was changed while its suite was judged")])
            return pool.prompts

        for folder in filter(None, (self._folder, self._shared)):
            if name and (kept := _kept(folder / name, again)):
                return kept
        pool = parsed()
        if name and _name(path, how) == name:  # else it was written while it was read
            self._new[name] = pool
        return pool

    def keep(self) -> None:
        """Write what was read anew, where a store takes it."""
        if self._new and self._made():
            self._write(self._folder)
            self._new.clear()

    def share(self) -> None:
        """Write what was read anew where other processes of the run find it, if there are any."""
        if not self._new or self._shared is None:
            return
        if self._made():
            self.keep()
        else:
            self._write(self._shared)

    def _made(self) -> bool:
        """Whether there is a store; a gate on a bundle has none before its pool."""
        with contextlib.suppress(StoreError):
            make_store_folder(self._folder.parent)
        return self._folder.parent.is_dir()

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


def _kept(file: Path, read: Callable[[], Sequence[Prompt]]) -> Pool | None:
    """The pool that a file keeps, its texts to be read; None where it is gone or damaged."""
    import pyarrow as pa

    try:
        content = memoryview(file.read_bytes())
        start = len(_HEAD) + hashlib.sha256().digest_size
        if content[:start] != _HEAD + hashlib.sha256(content[start:]).digest():
            return None
        with pa.ipc.open_file(pa.BufferReader(pa.py_buffer(content[start:]))) as arrow:
            pool = _unpacked(arrow.get_batch(0), read)
        os.utime(file)
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return None
    return pool


# -- columns --------------------------------------------------------------------------------------


def _packed(pool: Pool) -> bytes:
    """The content of the file that keeps a pool."""
    import pyarrow as pa

    c = pool.columns
    text, whole = pa.large_string(), pa.int64()
    columns: dict[str, tuple[Iterable[Any], pa.DataType]] = {
        "pool": ((str(pool.path), pool.format, pool.fingerprint()), text),
        "rows_read": ((pool.rows_read,), whole),
        "prompt_id": (c.prompt_ids, text),
        "cluster": (c.clusters, text),
        "path": (c.paths, text),
        "line": (c.lines, whole),
        "count": (c.counts, whole),
        "index": (c.indices, whole),
        "length": (c.lengths, whole),
        "key": (pool.keys.tolist(), pa.binary(16)),
        "fault": ([word for fault in pool.faults for word in _words(fault)], text),
        "fault_line": ([fault.line for fault in pool.faults], whole),
        "label": (pool.label_columns, text),
        "labels": (_joined(c.labels, np.float64), pa.float64()),
        "labelled": (_joined(c.labelled, np.bool_), pa.bool_()),
        "slice": (pool.slice_columns, text),
        "slices": (_joined(c.slices, np.object_), text),
    }
    lists = [pa.array(values, kind) for values, kind in columns.values()]
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


def _joined(columns: Mapping[str, NDArray[Any]], kind: type) -> NDArray[Any]:
    """All columns in one."""
    return np.concatenate([np.empty(0, kind), *columns.values()])


def _array(values: "pa.Array") -> NDArray[Any]:
    import pyarrow as pa

    if pa.types.is_fixed_size_binary(values.type):
        return column_numbers(values, "V16")
    if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
        return column_numbers(values)
    kind = np.bool_ if pa.types.is_boolean(values.type) else np.object_
    return np.array(values.to_pylist(), kind)


def _unpacked(batch: "pa.RecordBatch", read: Callable[[], Sequence[Prompt]]) -> Pool:
    """The pool that a row of lists holds."""
    batch.validate(full=True)
    lists = {name: _array(batch.column(name).values) for name in batch.schema.names}
    path, format, fingerprint = lists["pool"]
    columns = PoolColumns(
        lists["prompt_id"],
        lists["cluster"],
        lists["path"],
        lists["line"],
        lists["count"],
        lists["index"],
        lists["length"],
        _apart(lists["label"], lists["labels"]),
        _apart(lists["label"], lists["labelled"]),
        _apart(lists["slice"], lists["slices"]),
    )
    keys = as_keys(lists["key"])
    prompts = LazyPrompts(columns, lambda: keys, read, fingerprint)
    faults = zip(lists["fault_line"].tolist(), *[iter(lists["fault"])] * 5, strict=True)
    return Pool(
        Path(path),
        format,
        prompts,
        tuple(Fault(k, line, name, detail, done, at) for line, k, name, detail, done, at in faults),
        int(lists["rows_read"][0]),
    )


def _apart(names: NDArray[np.object_], values: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """The inverse of `_joined`."""
    return dict(zip(names, np.split(values, len(names)), strict=True)) if len(names) else {}
