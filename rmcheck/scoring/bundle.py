"""The score bundle: one Parquet file that carries scores to another machine.

Columns: `prompt_id` string, `response` int32 (position in its prompt), `score` float64 (raw
reward), `text_key` binary(16). The schema's metadata is that of the store's parts, with
`rmcheck.bundle` in place of `rmcheck.format`, and a digest of these columns. The model
`scores:FILE` reads it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import ScoringError, StoreError
from rmcheck.models.kinds.score_files import BUNDLE_DIGEST, bundle_digest
from rmcheck.models.sample import Sample
from rmcheck.scoring.request import named_responses
from rmcheck.store.folder import write_whole
from rmcheck.store.parts import Provenance

BUNDLE_FORMAT = 1


def write_bundle(
    path: Path,
    samples: Sequence[Sample],
    scores: NDArray[np.float64],
    provenance: Provenance,
    facts: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write a bundle, whole or not at all.

    Args:
        path: The file, by convention `….parquet`; replaced if it exists.
        samples: In the order of the rows.
        scores: (len(samples),) raw rewards.
        provenance: Where the scores came from: `store.open(model.fingerprint).provenance`.
        facts: Further metadata, under `rmcheck.NAME`.

    Raises:
        ScoringError: There is not one finite score for each sample.
        StoreError: The file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    scores = np.asarray(scores, dtype=np.float64)
    if scores.shape != (len(samples),) or not np.isfinite(scores).all():
        raise ScoringError(
            f"{path}: a bundle needs one finite score for each of {len(samples)} samples; got "
            f"shape {scores.shape}, {np.count_nonzero(~np.isfinite(scores))} not finite"
        )
    schema = pa.schema(
        [
            pa.field("prompt_id", pa.string(), nullable=False),
            pa.field("response", pa.int32(), nullable=False),
            pa.field("score", pa.float64(), nullable=False),
            pa.field("text_key", pa.binary(16), nullable=False),
        ],
        metadata={
            b"rmcheck.bundle": str(BUNDLE_FORMAT).encode(),
            **{f"rmcheck.{name}".encode(): value.encode() for name, value in facts.items()},
            **provenance.metadata(),
        },
    )
    named = named_responses(samples)
    columns = (named.prompt_ids, named.indices, scores, named.text_keys.tolist())
    arrays = [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)]
    schema = schema.with_metadata(
        {**schema.metadata, BUNDLE_DIGEST: bundle_digest(schema.metadata, named, scores)}
    )
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), sink, write_page_checksum=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, sink.getvalue())
    except OSError as error:
        raise StoreError(
            f"{path}: the bundle cannot be written ({error.strerror or error})."
        ) from error
