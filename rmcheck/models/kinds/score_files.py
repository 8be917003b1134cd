"""Reading a file of scores: whole columns of Parquet where nothing is odd, else row by row."""

import gzip
import json
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import ModelError, Problem
from rmcheck.models.checkpoint.fingerprint import columns_digest
from rmcheck.models.kinds.known_scores import KnownScores
from rmcheck.parsing import ParsingError, as_float, column_numbers, column_values, parse_json
from rmcheck.pool.keys import NamedResponses, as_keys
from rmcheck.pool.limits import LimitedLines, TooLargeError, Unpacked
from rmcheck.wording import first_lines, listed

if TYPE_CHECKING:
    import pyarrow as pa

_REQUIRED = ("prompt_id", "response", "score")
_KEY = "text_key"
_KEY_BYTES = 16
PROBLEMS_SHOWN = 20
# No prompt has so many responses.
_NO_PLACE = 2**63
# In the metadata of a bundle: over the rest of it and the columns; older bundles have none.
BUNDLE_DIGEST = b"rmcheck.digest"
# Line, and the row's values by column name.
_Row = tuple[int, Mapping[str, Any]]


def read_scores_file(path: Path) -> tuple[KnownScores, Mapping[bytes, bytes]]:
    """The rows of JSON Lines (also gzipped) or Parquet, and a Parquet file's metadata.

    Raises:
        ModelError: The file is neither, or is damaged, or rows are wrong; all of them are named,
            with line and field.
    """
    with path.open("rb") as file:
        start = file.read(4)
    if start == b"PAR1":
        rows, metadata = _read_parquet(path)
    else:
        rows, metadata = _checked(path, _read_json_lines(path, start)), {}
    if not len(rows.scores):
        raise ModelError(f"{path}: no scores in it")
    _refuse(path, rows.contradictions())
    return rows, metadata


# -- Parquet: whole columns ------------------------------------------------------------------------


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


def _read_parquet(path: Path) -> tuple[KnownScores, Mapping[bytes, bytes]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            metadata = dict(file.schema_arrow.metadata or {})
            names = [n for n in (*_REQUIRED, _KEY) if n in file.schema_arrow.names]
            table = _table(file, names, Unpacked(path))
            present = listed(file.schema_arrow.names, 10)
            rows = _sound(table)
            values = [] if rows else [column_values(n, table[n]) for n in names]
    except TooLargeError as error:
        raise ModelError(f"{path}: {error}") from error
    except (pa.ArrowException, OSError, KeyError, ParsingError) as error:
        raise ModelError(f"{path}: not a readable Parquet file ({error})") from error
    lacking = [name for name in _REQUIRED if name not in names]
    if lacking:
        raise ModelError(f"{path}: no column {', '.join(map(repr, lacking))}; it has {present}")
    digest = metadata.pop(BUNDLE_DIGEST, None)
    if digest is not None and digest != _found_digest(metadata, rows):
        raise ModelError(
            f"{path}: is damaged (its rows are not those that were written). Write it again: "
            "rmcheck score --bundle"
        )
    if rows is None:
        each = (dict(zip(names, row, strict=True)) for row in zip(*values, strict=True))
        rows = _checked(path, enumerate(each, start=1))
    return rows, metadata


def _table(file: Any, names: Sequence[str], unpacked: Unpacked) -> "pa.Table":
    """These columns."""
    import pyarrow as pa

    unpacked.add(0, file.metadata.num_rows)
    batches = []
    for batch in file.iter_batches(columns=names):
        unpacked.add(batch.nbytes, 0)
        batches.append(batch)
    schema = pa.schema([file.schema_arrow.field(name) for name in names])
    return pa.Table.from_batches(batches, schema if not batches else batches[0].schema)


def _sound(table: "pa.Table") -> KnownScores | None:
    """The rows, where a look at whole columns finds nothing odd; None where each must be looked at.

    Of a column in another type than a bundle's one by one says whether it will do.
    """
    import pyarrow as pa

    try:
        ids, indices, scores = (table[name] for name in _REQUIRED)
    except KeyError:
        return None
    kinds = (
        pa.types.is_string(ids.type),
        pa.types.is_integer(indices.type),
        pa.types.is_floating(scores.type),
    )
    if not all(kinds) or ids.null_count or indices.null_count or scores.null_count:
        return None
    keys = table[_KEY].combine_chunks() if _KEY in table.column_names else None
    if keys is not None and (keys.null_count or keys.type != pa.binary(_KEY_BYTES)):
        return None
    numbers, places = (
        column_numbers(c.cast(t)) for c, t in ((scores, pa.float64()), (indices, pa.int64()))
    )
    if not np.isfinite(numbers).all() or (places < 0).any():
        return None
    texts = np.zeros(len(places), "V16") if keys is None else column_numbers(keys, "V16")
    named = NamedResponses(column_values(_REQUIRED[0], ids), places, texts)
    return KnownScores(named, numbers, keys is not None, np.arange(1, len(places) + 1))


def bundle_digest(
    metadata: Mapping[bytes, bytes], named: NamedResponses, scores: NDArray[np.float64]
) -> bytes:
    """Of a bundle's columns with the metadata beside them; see `columns_digest`."""
    return columns_digest(
        metadata,
        json.dumps(list(named.prompt_ids)).encode(),
        named.indices.astype("<i4").tobytes(),
        scores.astype("<f8").tobytes(),
        named.text_keys.tobytes(),
    )


def _found_digest(metadata: Mapping[bytes, bytes], rows: KnownScores | None) -> bytes:
    """The digest of what was read; empty where it has not the columns of a bundle."""
    if rows is None or not rows.by_text:
        return b""
    return bundle_digest(metadata, rows.named, rows.scores)


# -- one row after another -------------------------------------------------------------------------


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


def _checked(path: Path, rows: Iterable[_Row]) -> KnownScores:
    """Rows whose fields are looked at one by one.

    Raises:
        ModelError: Some are wrong.
    """
    problems: list[tuple[int, str]] = []
    sound: list[tuple[str, int, float, bytes, int]] = []
    by_text: bool | None = None
    for line, row in rows:
        wrong = _wrong_field(row)
        if not wrong and by_text is None:
            by_text = row.get(_KEY) is not None
        if not wrong and by_text != (row.get(_KEY) is not None):
            wrong = "some rows have a text_key and some have none; give it to all, or to none"
        if wrong:
            problems.append((line, wrong))
            continue
        text = _as_key(row[_KEY]) if by_text else bytes(_KEY_BYTES)
        sound.append((row["prompt_id"], row["response"], float(row["score"]), text, line))
    _refuse(path, problems)
    ids, places, scores, texts, lines = zip(*sound, strict=True) if sound else ((),) * 5
    named = NamedResponses(ids, np.array(places, np.int64), as_keys(texts))
    return KnownScores(named, np.array(scores, float), bool(by_text), np.array(lines, np.int64))


def _refuse(path: Path, problems: Sequence[tuple[int, str]]) -> None:
    """Raise all problems at once, where there are some."""
    if not problems:
        return
    told = [str(Problem(str(path), said, line)) for line, said in problems]
    raise ModelError("\n".join(first_lines(told, PROBLEMS_SHOWN, "problems", indent="")))


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
    if type(response) is not int or not 0 <= response < _NO_PLACE:
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
