"""One Parquet part of the score store: its columns, its metadata, and what can be wrong with it.

A part is written once, whole, and never changed. Its columns:

* `text_key` binary(16): `Sample.text_key`, the conversation and response.
* `input_key` binary(16): `Encoded.key`, the token ids that the model read.
* `score` float64: the raw reward, finite.
* `length` int32: tokens read (characters / 4 for models of text).
* `cut` int32: tokens removed because the conversation was too long.
* `too_long` string: the side that was cut, `left` or `right`; empty where nothing was cut.

The schema's metadata: `rmcheck.format`, `rmcheck.fingerprint`, `rmcheck.spec`, as JSON
`rmcheck.description` and `rmcheck.conformance`; and, which older parts lack, `rmcheck.proved_on`
and `rmcheck.digest` over all of it and the columns.
"""

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import StoreError
from rmcheck.models.checkpoint.fingerprint import columns_digest
from rmcheck.models.model import ConformanceItem, Proven, RewardModel, Session
from rmcheck.parsing import ParsingError, column_numbers, column_values
from rmcheck.pool.keys import Keys
from rmcheck.store.folder import write_whole

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 1
DIGEST = b"rmcheck.digest"
# The side that was cut; empty where the conversation was read whole.
CutSide = Literal["", "left", "right"]


@dataclass(frozen=True)
class Provenance:
    """Where scores came from, kept beside them.

    Attributes:
        description: Facts for the report: dtype, device, conventions.
        conformance: The conformance page of the session that scored.
        proved_on: Number of samples that the page rests on.
    """

    fingerprint: str
    spec: str = ""
    description: Mapping[str, str] | None = None
    conformance: tuple[ConformanceItem, ...] = ()
    proved_on: int = 0

    @classmethod
    def of(cls, session: Session, proven: Proven) -> "Provenance":
        """What a loaded model says of itself, and what it has proved."""
        model, description = session.model, {**session.description, **proven.described}
        return cls(model.fingerprint, model.spec, description, proven.items, proven.samples)

    @classmethod
    def opened(cls, model: RewardModel) -> "Provenance":
        """What a model says of itself that is not loaded."""
        return cls(model.fingerprint, model.spec, model.description)

    def or_stronger(self, other: "Provenance") -> "Provenance":
        """The other one where its page rests on more samples, else this one."""
        return other if other.proved_on > self.proved_on else self

    def metadata(self) -> dict[bytes, bytes]:
        """As Parquet schema metadata."""
        return {
            b"rmcheck.fingerprint": self.fingerprint.encode(),
            b"rmcheck.spec": self.spec.encode(),
            b"rmcheck.description": json.dumps(dict(self.description or {})).encode(),
            b"rmcheck.conformance": json.dumps([asdict(c) for c in self.conformance]).encode(),
            b"rmcheck.proved_on": str(self.proved_on).encode(),
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[bytes, bytes]) -> "Provenance":
        """The inverse of `metadata`.

        Raises:
            KeyError, ValueError, TypeError: It is not such metadata.
        """
        return cls(
            metadata[b"rmcheck.fingerprint"].decode(),
            metadata[b"rmcheck.spec"].decode(),
            json.loads(metadata[b"rmcheck.description"]),
            tuple(ConformanceItem(**c) for c in json.loads(metadata[b"rmcheck.conformance"])),
            int(metadata.get(b"rmcheck.proved_on", b"0")),
        )


@dataclass(frozen=True, eq=False)
class ScoreRows:
    """Scored texts, as columns of one length; see the module for their meaning."""

    text_keys: Keys
    input_keys: Keys
    scores: NDArray[np.float64]
    lengths: NDArray[np.int32]
    cuts: NDArray[np.int32]
    sides: Sequence[CutSide]

    def __len__(self) -> int:
        return len(self.text_keys)

    @classmethod
    def concatenated(cls, rows: Sequence["ScoreRows"]) -> "ScoreRows":
        """All of them in order; at least one."""
        return cls(
            np.concatenate([r.text_keys for r in rows]),
            np.concatenate([r.input_keys for r in rows]),
            np.concatenate([r.scores for r in rows]),
            np.concatenate([r.lengths for r in rows]),
            np.concatenate([r.cuts for r in rows]),
            [side for r in rows for side in r.sides],
        )

    def digest(self, metadata: Mapping[bytes, bytes]) -> bytes:
        """Of these rows with the metadata beside them; see `columns_digest`."""
        return columns_digest(
            metadata,
            self.text_keys.tobytes(),
            self.input_keys.tobytes(),
            *(column.astype(kind).tobytes() for column, kind in self._numbers()),
            "\n".join(self.sides).encode(),
        )

    def _numbers(self) -> tuple[tuple[NDArray[Any], str], ...]:
        # In the same order of bytes on every machine.
        return (self.scores, "<f8"), (self.lengths, "<i4"), (self.cuts, "<i4")

    def without_repeats(self) -> "ScoreRows":
        """Without rows that say the same as an earlier row; differing scores are all kept."""
        facts = zip(self.text_keys.tolist(), self.sides, self.scores.tolist(), strict=True)
        first = {fact: i for i, fact in reversed(list(enumerate(facts)))}
        keep = sorted(first.values())
        if len(keep) == len(self):
            return self
        return ScoreRows(
            self.text_keys[keep],
            self.input_keys[keep],
            self.scores[keep],
            self.lengths[keep],
            self.cuts[keep],
            [self.sides[i] for i in keep],
        )


def new_part_name(after: str = "") -> str:
    """A name that sorts by time of writing; with `after`, where that part sorts."""
    stamp = after.split("-")[1] if after else f"{time.time_ns():019d}"
    return f"part-{stamp}-{uuid.uuid4().hex[:8]}.parquet"


def write_part(path: Path, rows: ScoreRows, provenance: Provenance) -> None:
    """Write a part, whole or not at all.

    Raises:
        OSError: The disk is full or the folder takes no files; nothing is left behind.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    metadata = {b"rmcheck.format": str(FORMAT).encode(), **provenance.metadata()}
    schema = _schema().with_metadata({**metadata, DIGEST: rows.digest(metadata)})
    keys = (rows.text_keys, rows.input_keys)
    buffers = ([None, pa.py_buffer(np.ascontiguousarray(column))] for column in keys)
    columns = (rows.scores, rows.lengths, rows.cuts, rows.sides)
    arrays = [pa.Array.from_buffers(pa.binary(16), len(rows), buffer) for buffer in buffers]
    arrays += [pa.array(c, f.type) for c, f in zip(columns, list(schema)[2:], strict=True)]
    # Built in memory first, so that a full disk is met by our own write and not inside pyarrow.
    sink = pa.BufferOutputStream()
    pq.write_table(
        pa.Table.from_arrays(arrays, schema=schema),
        sink,
        use_dictionary=["too_long"],
        write_statistics=False,
        write_page_checksum=True,
    )
    write_whole(path, sink.getvalue())


def read_part(path: Path, fingerprint: str) -> tuple[ScoreRows, Provenance]:
    """Read and check a part.

    Raises:
        FileNotFoundError: It is gone (merged by another process).
        StoreError: It is damaged, of a newer format, of another model, or cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # As a buffer: a file that is cut short must not be mapped.
        with (
            path.open("rb") as stream,
            pq.ParquetFile(pa.BufferReader(stream.read()), page_checksum_verification=True) as file,
        ):
            metadata = dict(file.schema_arrow.metadata or {})
            provenance = _checked_metadata(path, metadata, fingerprint)
            _check_columns(path, file.schema_arrow)
            table = file.read(columns=_schema().names, use_threads=False)
    except FileNotFoundError:
        raise
    # pyarrow reports damage as OSError too; only the operating system's own have an errno.
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise StoreError(f"{path}: cannot be read ({error.strerror}).") from error
        raise _damaged(path, str(error).splitlines()[0]) from error
    rows, digest = _checked_rows(path, table), metadata.pop(DIGEST, None)
    if digest is not None and digest != rows.digest(metadata):
        raise _damaged(path, "its rows are not those that were written")
    return rows, provenance


def _schema() -> "pa.Schema":
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("text_key", pa.binary(16), nullable=False),
            pa.field("input_key", pa.binary(16), nullable=False),
            pa.field("score", pa.float64(), nullable=False),
            pa.field("length", pa.int32(), nullable=False),
            pa.field("cut", pa.int32(), nullable=False),
            pa.field("too_long", pa.string(), nullable=False),
        ]
    )


def _checked_metadata(path: Path, found: Mapping[bytes, bytes], fingerprint: str) -> Provenance:
    version = found.get(b"rmcheck.format", b"").decode("ascii", "replace")
    if not version.isdigit() or len(version) > len(str(FORMAT)) + 6:
        raise StoreError(
            f"{path}: is no part of a score store (it has no rmcheck.format). Move it away."
        )
    if int(version) > FORMAT:
        raise StoreError(
            f"{path}: has format {version}; this rmcheck reads formats up to {FORMAT}. "
            "Upgrade rmcheck, or choose another folder for the store."
        )
    try:
        provenance = Provenance.from_metadata(found)
    except (KeyError, ValueError, TypeError) as error:
        raise _damaged(path, f"metadata: {error!r}") from error
    if provenance.fingerprint != fingerprint:
        raise StoreError(
            f"{path}: holds scores of the model with fingerprint {provenance.fingerprint[:16]}, "
            f"in the folder of {fingerprint[:16]}. Move it to the folder of its model or delete it."
        )
    return provenance


def _check_columns(path: Path, found: "pa.Schema") -> None:
    for field in _schema():
        if field.name not in found.names or found.field(field.name).type != field.type:
            raise _damaged(path, f"no column {field.name!r} of type {field.type}")


def _checked_rows(path: Path, table: Any) -> ScoreRows:
    if any(column.null_count for column in table.columns):
        raise _damaged(path, "a value is missing")
    try:
        sides = column_values("too_long", table["too_long"])
    except ParsingError as error:
        raise _damaged(path, str(error)) from error
    rows = ScoreRows(
        column_numbers(table["text_key"], "V16"),
        column_numbers(table["input_key"], "V16"),
        column_numbers(table["score"]),
        column_numbers(table["length"]),
        column_numbers(table["cut"]),
        sides,
    )
    if not np.isfinite(rows.scores).all():
        bad = rows.scores[~np.isfinite(rows.scores)][0]
        raise _damaged(path, f"a score is {bad}")
    if not set(rows.sides) <= {"", "left", "right"}:
        odd = sorted(set(rows.sides) - {"", "left", "right"})
        raise _damaged(path, f"too_long is {odd[0]!r}")
    return rows


def _damaged(path: Path, what: str) -> StoreError:
    return StoreError(
        f"{path}: is damaged ({what}). Delete this file: the scores in the other files are kept, "
        "and what it held is scored again."
    )
