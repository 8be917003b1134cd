"""Scoring on a cluster with Ray: actors that load the model once and write into the one store.

Each actor writes every finished batch as a part of its own into the store's folder, so what is
scored stays scored whoever is killed: an actor, a machine, the driver. The driver keeps the texts
that it was given with their keys, as every engine does, and 24 bytes more a text to hand them out;
a block is copied only while an actor scores it. Token ids are made in the actors.

All nodes must see the store's folder and the model's files under the same names; both is checked
before anything is scored.

Actors are Ray's own, not a pool of Ray Data: by default that repeats a block whose text kills its
actor without end (a dozen times in a minute when tried, with the rest of the run behind it), it
repeats all of a block and not what is missing of it, and a pool that reserves every CPU leaves none
to read with, so that nothing moves and nothing is said.
"""

import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep
from typing import TextIO

from rmcheck.errors import StoreError, UsageError
from rmcheck.lab.cluster.ray_actor import Assignment
from rmcheck.lab.cluster.ray_actors import about_tokens, opened_actors
from rmcheck.lab.cluster.ray_cluster import connect, imported_ray, shape_of
from rmcheck.models.model import RewardModel
from rmcheck.scoring.engine import Engine, Missing
from rmcheck.scoring.progress import progress_of
from rmcheck.scoring.report import ScoringReport
from rmcheck.store.folder import unwritable
from rmcheck.store.scores import FolderModelScores, ScoreStore, Store

# Seconds without any sign from any actor after which a run is given up. A block of 250,000 tokens
# takes a large model on one GPU about a minute, loading from a slow disk ten.
TIMEOUT = 1800.0
# Shared file systems show new files of other machines late.
VISIBLE_SECONDS = 60.0


class RayEngine(Engine):
    """An `Engine` on a Ray cluster; a context manager that joins it when it is first needed.

    Members of an ensemble, like all models of a run, come one after another, so that they need not
    fit together. Texts with equal token ids are scored once by each actor that meets them.

    Args:
        actors: Processes that hold the model; None for one a GPU or, without GPUs, one a CPU less
            one.
        cpus_per_actor: CPUs that each reserves; a fraction is allowed.
        gpus_per_actor: GPUs that each reserves; None for one where the cluster has GPUs.
        address: Of the cluster; see `rmcheck.lab.cluster.ray_cluster.connect`.
        timeout: Seconds without any sign from any actor after which the run is given up.
        base: Folder that relative paths of model specs are relative to; None means the current one.

    Raises:
        UsageError: A number is not above 0.
    """

    def __init__(
        self,
        *,
        actors: int | None = None,
        cpus_per_actor: float = 1.0,
        gpus_per_actor: float | None = None,
        address: str | None = None,
        timeout: float = TIMEOUT,
        base: Path | None = None,
    ) -> None:
        for name, value in (
            ("actors", actors),
            ("cpus-per-actor", cpus_per_actor),
            ("timeout", timeout),
        ):
            if value is not None and not value > 0:
                raise UsageError(f"--{name} is {value:g}; it is a number above 0")
        if gpus_per_actor is not None and gpus_per_actor < 0:
            raise UsageError(f"--gpus-per-actor is {gpus_per_actor:g}; it is a number from 0 up")
        self._asked = (actors, cpus_per_actor, gpus_per_actor)
        self._address = address
        self._timeout = timeout
        self._base = base or Path.cwd()
        self._joined = False
        super().__init__()

    def score(
        self,
        model: RewardModel,
        missing: Missing,
        store: Store,
        *,
        budget: int | None,
        progress: TextIO | None,
    ) -> ScoringReport:
        """See `Engine`.

        Raises:
            UsageError: The cluster cannot be reached or cannot place the actors; or the model's
                scores are not for keeping, which actors must do.
            ModelError, StoreError: An actor met it; the text names its node. What was scored before
                is kept.
        """
        if not (model.kept and store.durable and isinstance(store, ScoreStore)):
            raise UsageError(
                f"{model.name}: its scores are not for keeping, and the actors of a cluster hand "
                "theirs over through the store. Use --engine local"
                + ("; or state a version: python:…?version=1" if model.scheme == "python" else "")
            )
        self._joined = connect(self._address) or self._joined
        shape = shape_of(*self._asked, model.gpus)
        scores = store.open(model.fingerprint)
        report = ScoringReport(model.spec)
        total = sum(about_tokens(texts.values()) for texts in missing.values())
        with (
            _token(scores.folder) as (token, text),
            progress_of(model.spec, sum(map(len, missing.values())), total, progress) as bar,
        ):
            assignment = Assignment(
                model.spec_anywhere or model.spec,
                self._base.absolute(),
                model.given,
                model.fingerprint,
                store.folder.absolute(),
                token,
                text,
                socket.gethostname(),
                budget,
            )
            with opened_actors(shape, assignment, scores, self._timeout) as actors:
                for too_long, texts in missing.items():
                    # What another mode has left whole needs no second score.
                    scores.refresh()
                    found = scores.lookup(list(texts), too_long).missing
                    wanted = {
                        key: sample
                        for (key, sample), gone in zip(texts.items(), found.tolist(), strict=True)
                        if gone
                    }
                    done = actors.score(wanted, too_long, bar)
                    report = report.plus(replace(done, duplicates=len(texts) - len(wanted)))
        _await_visible(scores, missing)
        scores.compact()
        return report

    def close(self) -> None:
        """Leave the cluster, where this engine joined it."""
        super().close()
        if self._joined:
            imported_ray().shutdown()
            self._joined = False


@contextmanager
def _token(folder: Path) -> Iterator[tuple[Path, str]]:
    """A file beside the scores by which an actor knows that it sees the same folder."""
    text = uuid.uuid4().hex
    path = folder.absolute() / f".{text}.tmp"
    try:
        path.write_text(text, encoding="ascii")
    except OSError as error:
        raise unwritable(folder, error) from error
    try:
        yield path, text
    finally:
        path.unlink(missing_ok=True)


def _await_visible(scores: FolderModelScores, missing: Missing) -> None:
    """Wait until the driver sees all that the actors have written."""
    deadline = monotonic() + VISIBLE_SECONDS
    while True:
        scores.refresh()
        unseen = sum(
            int(scores.lookup(list(texts), too_long).missing.sum())
            for too_long, texts in missing.items()
        )
        if not unseen:
            return
        if monotonic() > deadline:
            raise StoreError(
                f"{scores.folder}: {unseen} scores that the actors have written are not seen here "
                f"after {VISIBLE_SECONDS:.0f} s. The folder must be on a file system that all "
                "nodes share; run again: only what is missing is scored."
            )
        sleep(0.2)
