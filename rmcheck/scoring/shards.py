"""Pools too large for memory, scored file by file: texts in, scores out.

Of each file, a shard, one score bundle is written, under the name of the shard. Until it is whole,
the batches are kept in a store of that shard alone, so that memory holds the texts, keys and scores
of one shard, and a killed run goes on where it stopped.
"""

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rmcheck.errors import PoolError, Problem, UsageError
from rmcheck.models.checkpoint.fingerprint import file_digest
from rmcheck.models.kinds.score_files import read_metadata
from rmcheck.models.model import RewardModel
from rmcheck.models.sample import TooLong
from rmcheck.pool.faults import capped
from rmcheck.pool.files import data_files
from rmcheck.pool.reading import read_pool
from rmcheck.scoring.bundle import write_bundle
from rmcheck.scoring.members import fill_members, read_combined
from rmcheck.scoring.one_process import OneProcess
from rmcheck.scoring.report import ScoringReport
from rmcheck.scoring.request import PoolSamples, Request
from rmcheck.store.folder import unwritable
from rmcheck.store.lock import Waiting, held_lock
from rmcheck.store.parts import Provenance
from rmcheck.store.scores import ScoreStore

UNFINISHED = ".unfinished"
# In the metadata of a shard's bundle: what was scored.
SOURCE = "source"


@dataclass(frozen=True)
class Shard:
    """One file of a pool.

    Attributes:
        file: Prompts with their responses, in any known format. Responses of one prompt stand in
            one shard.
        name: Below the common folder of all shards, with `.parquet` at its end.
    """

    file: Path
    name: str


def shards_of(paths: Iterable[Path]) -> list[Shard]:
    """Every data file among these files and below these folders, each once.

    Raises:
        PoolError: A path is not there, or a folder holds no data file; all are named.
        UsageError: There is none.
    """
    files: dict[Path, None] = {}
    problems: list[Problem] = []
    for path in paths:
        try:
            files |= dict.fromkeys(file.absolute() for file in data_files(path))
        except PoolError as error:
            problems += error.problems
    if problems:
        raise PoolError(capped(problems))
    if not files:
        raise UsageError("no shards: name files of a pool, or a folder of them")
    common = Path(os.path.commonpath([file.parent for file in files]))
    return [Shard(file, f"{file.relative_to(common)}.parquet") for file in files]


class ShardScoring:
    """Scores shards one after another; the model is loaded and proved once.

    Raises:
        UsageError: The model cannot be used shard by shard.
    """

    def __init__(
        self,
        model: RewardModel,
        out: Path,
        *,
        format: str | None = None,
        too_long: TooLong = "error",
        waiting: Waiting | None = None,
    ) -> None:
        _require_usable(model)
        self._model, self._out, self._format = model, out, format
        self._too_long: TooLong = too_long
        self._waiting = waiting or Waiting()
        self._engine = OneProcess()

    def run(self, shards: Sequence[Shard]) -> Iterator[tuple[Shard, ScoringReport]]:
        """Score what has no bundle yet; what is wrong with a shard is raised when all are done.

        Yields:
            Each shard as soon as its bundle is there, with what was done now: nothing for one that
            an earlier run has scored.

        Raises:
            PoolError: Shards are wrong; the others are scored.
            UsageError: A file of another model stands where a bundle is to be written.
            ScoringError, ConformanceError, StoreError: See `fill_requests`.
        """
        problems: list[Problem] = []
        for shard in shards:
            try:
                yield shard, self._scored(shard)
            except PoolError as error:
                problems += error.problems
        if problems:
            raise PoolError(capped(problems))

    def close(self) -> None:
        """Release the model."""
        self._engine.close()

    def _scored(self, shard: Shard) -> ScoringReport:
        bundle, source = self._out / shard.name, self._source(shard)
        report = ScoringReport(self._model.spec)
        unfinished = self._out / UNFINISHED / shard.name
        if not self._is_there(bundle, source):
            try:
                unfinished.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise unwritable(self._out, error) from error
            with held_lock(unfinished, self._waiting):
                if not self._is_there(bundle, source):  # else another process had the lock
                    report = self._bundled(shard, bundle, source, ScoreStore(unfinished))
        shutil.rmtree(unfinished, ignore_errors=True)
        return report

    def _bundled(self, shard: Shard, bundle: Path, source: str, store: ScoreStore) -> ScoringReport:
        pool = read_pool(shard.file, format=self._format)
        request = Request(self._model, PoolSamples(pool), self._too_long)
        (report,) = fill_members([request], lambda _: store, engine=self._engine)
        found = read_combined(request, lambda _: store).rewards
        kept = store.open(self._model.fingerprint).provenance
        provenance = Provenance.opened(self._model).or_stronger(kept)
        write_bundle(bundle, request.samples, found, provenance, facts={SOURCE: source})
        return report

    def _source(self, shard: Shard) -> str:
        """What a bundle holds the scores of."""
        try:
            facts = (file_digest(shard.file), self._format, self._too_long)
        except OSError as error:
            message = f"cannot be read: {error.strerror or error}"
            raise PoolError([Problem(str(shard.file), message)]) from error
        return hashlib.sha256(repr(facts).encode()).hexdigest()

    def _is_there(self, bundle: Path, source: str) -> bool:
        if not bundle.exists():
            return False
        metadata = read_metadata(bundle)
        fingerprint = metadata.get(b"rmcheck.fingerprint", b"").decode("ascii", "replace")
        if fingerprint != self._model.fingerprint:
            whose = f"of another model ({fingerprint[:8]})" if fingerprint else "no scores of ours"
            raise UsageError(
                f"{bundle}: is a file {whose}, and would be written anew; choose another folder "
                "with --out"
            )
        return metadata.get(f"rmcheck.{SOURCE}".encode(), b"").decode() == source


def _require_usable(model: RewardModel) -> None:
    """Refuse models whose rewards are no fact of one text."""
    wrong = ""
    if model.is_ensemble:
        wrong = "is an ensemble; score each of its members"
    elif model.precomputed or model.reads_golden:
        wrong = "computes nothing; name the checkpoint"
    elif not model.kept:
        wrong = "has scores that are not for keeping; give it a version: python:…?version=1"
    if wrong:
        raise UsageError(f"{model.spec}: {wrong}")
