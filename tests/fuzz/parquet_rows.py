"""Parquet files whose columns have types that nobody expects."""

import io
import random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

COLUMNS: tuple[pa.Array, ...] = (
    pa.array([1_700_000_000_000_000_001, 1], pa.timestamp("ns")),
    pa.array([2**62, 1], pa.timestamp("ms")),
    pa.array([1, 2], pa.timestamp("us", "Europe/Berlin")),
    pa.array([2**31 - 1, 1], pa.date32()),
    pa.array([1, 2], pa.time64("ns")),
    pa.array([1, 2], pa.duration("ns")),
    pa.array([[1], [2]], pa.list_(pa.timestamp("ns"))),
    pa.array([{"a": 1}, {"a": 2}], pa.struct([("a", pa.timestamp("ns"))])),
    pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.timestamp("ns"))),
    pa.array([b"\xff\xfe", b"\xed\xa0\x80"], pa.binary()).view(pa.string()),
    pa.array([b"\xff", None], pa.binary()),
    pa.array([2**64 - 1, 0], pa.uint64()),
    pa.array([float("nan"), float("inf")]),
    pa.array(["a", "b"]).dictionary_encode(),
    pa.array([None, None], pa.null()),
    pa.array([1, 2], pa.decimal128(38, 2)),
    pa.array([["a", "b"], []], pa.list_(pa.string())),
    pa.array([[0.0, 1.0], [1.0, None]], pa.list_(pa.float64())),
    pa.array(["p1", "p2"]),
    pa.array([0, 1]),
    pa.array([0.5, 1.5]),
)


def written(rows: list[dict[str, Any]]) -> bytes:
    """The rows as a Parquet file."""
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


def odd_types(data: bytes, rng: random.Random) -> bytes:
    """The first two rows of a file with some columns of other types, one of them perhaps new."""
    table = pq.read_table(io.BytesIO(data)).slice(0, 2)
    if table.num_rows < 2:
        return data
    for _ in range(rng.randint(1, 3)):
        column = rng.choice(COLUMNS)
        place = rng.randint(0, table.num_columns)
        if place == table.num_columns:
            table = table.append_column(f"more{table.num_columns}", column)
        else:
            table = table.set_column(place, table.column_names[place], column)
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()
