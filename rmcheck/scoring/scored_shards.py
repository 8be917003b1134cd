"""Rewards of a pool that was scored file by file, for metrics over shards."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import UsageError
from rmcheck.metrics.rewards import Rewards
from rmcheck.models.kinds.scores_file import ScoresFile
from rmcheck.models.spec import parse_spec
from rmcheck.pool.labels import judged_alone, labelled
from rmcheck.pool.pool import Pool
from rmcheck.pool.reading import read_pool
from rmcheck.scoring.request import PoolSamples
from rmcheck.scoring.shards import Shard, shards_of

# Slice with the name of each prompt's independent unit.
CLUSTER = "cluster"


def scored_shards(
    pool: Path | str, scores: Path | str, *, golden: str = "golden", format: str | None = None
) -> Iterator[Rewards]:
    """Rewards of the files of a pool, one after another, for `measure_shards`.

    Responses without a golden reward are left out. Slices are those of the pool, and `cluster`,
    which names the independent unit of a prompt where the pool has no slice of that name.

    Args:
        pool: The folder or file that `rmcheck score --out` was given.
        scores: What was given as `--out`.
        golden: Label column of the golden rewards.
        format: Of the pool; None finds it out.

    Raises:
        UsageError: Files have no scores yet; all are counted, before anything is read.
        PoolError: A file is wrong, or has no such label.
        ScoringError: A response has no score, because its file has changed.
    """
    shards = shards_of([Path(pool)])
    missing = [shard for shard in shards if not (Path(scores) / shard.name).exists()]
    if missing:
        raise UsageError(
            f"{len(missing)} of {len(shards)} files of {pool} have no scores in {scores}, the "
            f"first is {missing[0].file}. Score them: rmcheck score {pool} --out={scores} --model=…"
        )
    return (_rewards(shard, Path(scores), golden, format) for shard in shards)


def _rewards(shard: Shard, scores: Path, golden: str, format: str | None) -> Rewards:
    read = read_pool(shard.file, format=format)
    pool = judged_alone(labelled(read, golden, "drop"), golden)
    columns = pool.columns
    inner = columns.ends[1:-1]
    return Rewards.from_arrays(
        np.split(_scores(scores / shard.name, pool), inner),
        np.split(columns.labels[golden], inner),
        prompt_ids=columns.prompt_ids.tolist(),
        clusters=columns.clusters.tolist(),
        slices={
            CLUSTER: columns.clusters.tolist(),
            **{column: columns.slice(column).tolist() for column in pool.slice_columns},
        },
    )


def _scores(bundle: Path, pool: Pool) -> NDArray[np.float64]:
    with ScoresFile(parse_spec(f"scores:{bundle.absolute()}", Path())).load() as session:
        return session.look_up(PoolSamples(pool).named)
