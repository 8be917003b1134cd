"""Scores computed elsewhere, as a reward model: `scores:FILE`."""

import gzip
import json
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import ModelError, Problem, ScoringError, UnknownModelError
from rmcheck.models.checkpoint.fingerprint import columns_digest, file_digest
from rmcheck.models.model import (
    ConformanceItem,
    Encoded,
    RewardModel,
    Sample,
    TooLong,
    loaded,
    named_prompts,
)
from rmcheck.models.spec import ModelSpec
from rmcheck.parsing import ParsingError, as_float, column_values, parse_json
from rmcheck.pool.limits import LimitedLines, TooLargeError, Unpacked, special_file
from rmcheck.wording import first_lines, listed

_REQUIRED = ("prompt_id", "response", "score")
_KEY = "text_key"
_KEY_BYTES = 16
PROBLEMS_SHOWN = 20
# What the table and the report say where nothing ties a score to the text that it was given for.
_BY_POSITION = {
    "rows": "found by prompt_id and position",
    "warning": "found by position, texts not verified: scores of other texts would pass unnoticed; "
    "add text_key to its rows",
}
# In the metadata of a bundle: over the rest of it and the columns; older bundles have none.
BUNDLE_DIGEST = b"rmcheck.digest"
# (prompt_id, position of the response), and the text's digest; empty where rows have none.
Row = tuple[str, int, bytes]


class ScoresFile(RewardModel):
    """A file of scores: JSON Lines (also gzipped) or Parquet, told apart by their first bytes.

    Each row has `prompt_id`, `response` (position in its prompt, from 0), `score` (a finite
    number, higher is better), and may have `text_key` (16 bytes, or 32 hex digits in JSON:
    `Sample.text_key`). Rows are found by prompt_id and response; with `text_key` the text must be
    the one that was scored, so that a pool whose texts have changed since is noticed, and a prompt
    that was renamed is found by its text, where all rows of that text have one score.

    A score bundle written by `rmcheck score` is such a Parquet file; it also tells the model and
    its conformance page.

    Args:
        spec: Where the file is.

    Raises:
        UnknownModelError: There is no such file.
    """

    scheme: ClassVar[str] = "scores"
    kept = False
    precomputed = True

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec.text
        self.path = spec.path
        if not self.path.is_file():
            kind = "is a folder, not a file" if self.path.is_dir() else "does not exist"
            kind = special_file(self.path) or kind
            raise UnknownModelError(f"{spec.text}: {self.path} {kind}")
        self.fingerprint = file_digest(self.path)
        self._table: _Table | None = None
        self._origin: Mapping[str, str] = {}

    @classmethod
    def from_spec(cls, spec: ModelSpec) -> Self:
        """The model that a spec names; the file is hashed, not read."""
        return cls(spec)

    @property
    def name(self) -> str:
        """The file's name."""
        return f"scores:{self.path.name}"

    @cached_property
    def identity(self) -> str:
        """Fingerprint of the model that a bundle names; of another file its own."""
        found = read_metadata(self.path).get(b"rmcheck.fingerprint", b"")
        return found.decode("ascii", "replace") or self.fingerprint

    @property
    def description(self) -> Mapping[str, str]:
        """The file; once loaded how rows are found, and what a bundle tells of its model."""
        return {**self._origin, "path": str(self.path)}

    def load(self) -> None:
        """Read and check the file.

        Raises:
            ModelError: Rows are wrong; all of them are named, with line and field.
        """
        if self._table is not None:
            return
        rows, metadata = read_rows(self.path)
        self._table = _tabulate(self.path, rows)
        origin: dict[str, str] = {}
        if b"rmcheck.fingerprint" in metadata:
            origin, self.conformance = _origin(self.path, metadata)
        found = {"rows": "found by text_key"} if self._table.by_text else _BY_POSITION
        self._origin = {**origin, **found}

    def encode(self, samples: Sequence[Sample], too_long: TooLong = "error") -> list[Encoded]:
        """The samples themselves.

        Raises:
            ScoringError: Samples without a score; prompts are named.
        """
        encoded = super().encode(samples, too_long)
        self.score(encoded)
        return encoded

    def score(self, batch: Sequence[Encoded]) -> NDArray[np.float64]:
        """(len(batch),) scores as the file has them.

        Raises:
            ScoringError: A sample has no score, or its text has several and none is its own.
        """
        table = self._loaded
        found = np.array([table.score(e.sample, e.key) for e in batch], dtype=np.float64)
        missing = [batch[i].sample for i in np.flatnonzero(np.isnan(found)).tolist()]
        if missing:
            raise ScoringError(self._missing_message(missing, len(batch)))
        return found

    def close(self) -> None:
        """Forget the scores; what the bundle told of its model is kept."""
        self._table = None

    @property
    def _loaded(self) -> "_Table":
        return loaded(self._table, self.spec)

    def _missing_message(self, missing: Sequence[Sample], total: int) -> str:
        message = (
            f"{self.path} has no score for {len(missing)} of {total} responses; prompts: "
            f"{named_prompts(missing)}"
        )
        places = {row[:2] for row in self._loaded.own}
        changed = [s for s in missing if (s.prompt_id, s.index) in places]
        if self._loaded.by_text and changed:
            message += (
                f". {len(changed)} of them have a row of that prompt_id and response, but for "
                "another text: the pool has changed since it was scored"
            )
        several = [s for s in missing if s.text_key in self._loaded.of_text]
        if several:
            message += (
                f". {len(several)} of them have a text that other rows give several scores, and "
                "no row of that prompt_id and response"
            )
        return message


@dataclass(frozen=True)
class _Table:
    """Scores by row, and by text: NaN where rows of one text have several."""

    by_text: bool
    own: dict[Row, float]
    of_text: dict[bytes, float]

    def score(self, sample: Sample, text_key: bytes) -> float:
        """The sample's own, else that of its text; NaN if there is none."""
        key = text_key if self.by_text else b""
        own = self.own.get((sample.prompt_id, sample.index, key))
        return self.of_text.get(key, math.nan) if own is None else own


def read_metadata(path: Path) -> Mapping[bytes, bytes]:
    """A Parquet file's metadata; none of another file, or of one that `load` will refuse."""
    with path.open("rb") as file:
        if file.read(4) != b"PAR1":
            return {}
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_schema(path).metadata or {}
    except (pa.ArrowException, OSError):
        return {}


# Line, and the row's values by column name.
_Row = tuple[int, Mapping[str, Any]]


def read_rows(path: Path) -> tuple[Iterable[_Row], Mapping[bytes, bytes]]:
    """Rows with their line or row number from 1, and a Parquet file's metadata.

    Raises:
        ModelError: The file is neither JSON Lines nor Parquet, or is damaged.
    """
    with path.open("rb") as file:
        start = file.read(4)
    return _read_parquet(path) if start == b"PAR1" else (_read_json_lines(path, start), {})


def _read_json_lines(path: Path, start: bytes) -> Iterator[_Row]:
    gzipped = start[:2] == b"\x1f\x8b"
    with gzip.open(path, "rb") if gzipped else path.open("rb") as file:
        line = 0
        try:
            for line, text in enumerate(
                LimitedLines(file, Unpacked(path) if gzipped else None), start=1
            ):
                if text.strip():
                    yield line, parse_json(text)
        except TooLargeError as error:
            raise ModelError(f"{path}: {error}") from error
        except ParsingError as error:
            where = f" at column {error.column}" if error.column else ""
            raise ModelError(f"{path}:{line}: {error.message}{where}") from error
        except (EOFError, OSError, zlib.error) as error:
            raise ModelError(f"{path}: cannot be read to its end ({error})") from error


def _read_parquet(path: Path) -> tuple[Iterable[_Row], Mapping[bytes, bytes]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            metadata = dict(file.schema_arrow.metadata or {})
            names = [n for n in (*_REQUIRED, _KEY) if n in file.schema_arrow.names]
            columns = _columns(file, names, Unpacked(path))
            present = listed(file.schema_arrow.names, 10)
    except TooLargeError as error:
        raise ModelError(f"{path}: {error}") from error
    except (pa.ArrowException, OSError, KeyError, ParsingError) as error:
        raise ModelError(f"{path}: not a readable Parquet file ({error})") from error
    lacking = [name for name in _REQUIRED if name not in names]
    if lacking:
        raise ModelError(f"{path}: no column {', '.join(map(repr, lacking))}; it has {present}")
    digest = metadata.pop(BUNDLE_DIGEST, None)
    if digest is not None and digest != _found_digest(metadata, names, columns):
        raise ModelError(
            f"{path}: is damaged (its rows are not those that were written). Write it again: "
            "rmcheck score --bundle"
        )
    rows = (
        (number, dict(zip(names, values, strict=True)))
        for number, values in enumerate(zip(*columns, strict=True), start=1)
    )
    return rows, metadata


def _columns(file: Any, names: Sequence[str], unpacked: Unpacked) -> list[list[Any]]:
    """The values of these columns."""
    columns: list[list[Any]] = [[] for _ in names]
    unpacked.add(0, file.metadata.num_rows)
    for batch in file.iter_batches(columns=names):
        unpacked.add(batch.nbytes, 0)
        for name, column, values in zip(names, columns, batch.columns, strict=True):
            column += column_values(name, values)
    return columns


def bundle_digest(
    metadata: Mapping[bytes, bytes],
    prompt_ids: Sequence[str],
    responses: Sequence[int],
    scores: Sequence[float] | NDArray[np.float64],
    text_keys: Sequence[bytes],
) -> bytes:
    """Of a bundle's columns with the metadata beside them; see `columns_digest`."""
    return columns_digest(
        metadata,
        json.dumps(prompt_ids).encode(),
        np.asarray(responses, "<i4").tobytes(),
        np.asarray(scores, "<f8").tobytes(),
        b"".join(text_keys),
    )


def _found_digest(
    metadata: Mapping[bytes, bytes], names: Sequence[str], columns: Sequence[list[Any]]
) -> bytes:
    """The digest of what was read; empty where it has not the columns of a bundle."""
    named = dict(zip(names, columns, strict=True))
    try:
        return bundle_digest(metadata, *(named[name] for name in (*_REQUIRED, _KEY)))
    except (KeyError, TypeError, ValueError, OverflowError):
        return b""


def _tabulate(path: Path, rows: Iterable[_Row]) -> _Table:
    problems: list[Problem] = []
    own: dict[Row, float] = {}
    of_text: dict[bytes, float] = {}
    first: dict[Row, int] = {}
    by_text: bool | None = None
    for line, row in rows:
        wrong = _wrong_field(row)
        if not wrong and by_text is None:
            by_text = row.get(_KEY) is not None
        if not wrong and by_text != (row.get(_KEY) is not None):
            wrong = "some rows have a text_key and some have none; give it to all, or to none"
        if wrong:
            problems.append(Problem(str(path), wrong, line))
            continue
        text = _as_key(row[_KEY]) if by_text else b""
        key = (row["prompt_id"], row["response"], text)
        score = float(row["score"])
        if first.setdefault(key, line) != line and own[key] != score:
            message = (
                f"prompt_id {key[0]!r} response {key[1]} has score {score}, but row {first[key]} "
                f"gives the same response {own[key]}"
            )
            problems.append(Problem(str(path), message, line))
        own[key] = score
        if by_text and of_text.setdefault(text, score) != score:
            of_text[text] = math.nan
    if problems:
        told = list(map(str, problems))
        raise ModelError("\n".join(first_lines(told, PROBLEMS_SHOWN, "problems", indent="")))
    if not own:
        raise ModelError(f"{path}: no scores in it")
    return _Table(bool(by_text), own, of_text)


def _wrong_field(row: Any) -> str:
    """What is wrong with a row; empty when nothing is."""
    if not isinstance(row, Mapping):
        return f"a row is an object with {', '.join(_REQUIRED)}; this is {row!r:.60}"
    missing = [name for name in _REQUIRED if name not in row]
    if missing:
        return f"no {', '.join(map(repr, missing))}; it has {listed(row, 10)}"
    prompt_id, response, score = (row[name] for name in _REQUIRED)
    if not isinstance(prompt_id, str):
        return f"prompt_id is {prompt_id!r}, not a string"
    if type(response) is not int or response < 0:
        return f"response is {response!r}; it is the response's position, a whole number from 0"
    if type(score) not in (float, int):
        return f"score is {score!r}, not a number"
    if not math.isfinite(as_float(score)):
        return f"score is {score}; a score is finite"
    key = row.get(_KEY)
    if key is not None and _as_key(key) == b"":
        return f"text_key is {key!r}; it is 16 bytes, or 32 hex digits"
    return ""


def _as_key(value: Any) -> bytes:
    """The bytes of a text_key; empty when it is none."""
    if isinstance(value, str):
        try:
            value = bytes.fromhex(value)
        except ValueError:
            return b""
    return value if isinstance(value, bytes) and len(value) == _KEY_BYTES else b""


def _origin(
    path: Path, metadata: Mapping[bytes, bytes]
) -> tuple[dict[str, str], tuple[ConformanceItem, ...]]:
    """What a bundle tells of the model that scored: its description and conformance page."""
    try:
        told = parse_json(metadata.get(b"rmcheck.description", b"{}"))
        items = parse_json(metadata.get(b"rmcheck.conformance", b"[]"))
        spec, fingerprint = (metadata.get(b"rmcheck." + n, b"") for n in (b"spec", b"fingerprint"))
        origin = {"scored by": spec.decode(), "model fingerprint": fingerprint.decode()}
        page = tuple(ConformanceItem(**item) for item in items)
        description = {str(key): str(value) for key, value in told.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: the metadata of this score bundle is damaged") from error
    # Where it was scored, which says nothing of where it is read.
    if "device" in description:
        description["scored on"] = description.pop("device")
    return description | origin, page
