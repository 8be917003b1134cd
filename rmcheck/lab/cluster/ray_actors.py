"""The actors of one model on a Ray cluster, and the loop that hands them blocks.

Actors die: a machine goes, memory runs out, somebody kills a process. What was stored stays; the
rest of the block goes to the end of the queue, and another actor is started.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import rmcheck.errors
from rmcheck.errors import RmcheckError, ScoringError, UsageError
from rmcheck.lab.cluster.blocks import cut_blocks
from rmcheck.lab.cluster.ray_actor import Assignment, ScoringActor, SentError
from rmcheck.lab.cluster.ray_cluster import Shape, free_resources, imported_ray
from rmcheck.models.sample import Sample, TooLong, named_prompts
from rmcheck.scoring.progress import Progress
from rmcheck.scoring.report import ScoringReport
from rmcheck.store.scores import ModelScores

# Seconds in which a cluster starts a process, the loading of the model not included.
PLACEMENT_SECONDS = 120.0
# Actors that may die one after another, with nothing new stored, before their block is blamed.
MOST_LOST = 4


@dataclass
class Worker:
    """An actor as the driver sees it."""

    actor: Any
    place: str = "an actor that was not placed yet"


@dataclass(frozen=True)
class TextBlock:
    """Texts that one actor scores at a time.

    Attributes:
        at: Positions of the texts.
        lost_actors: Actors that died over it one after another without storing anything.
    """

    at: NDArray[np.int64]
    lost_actors: int = 0


@dataclass(frozen=True)
class Texts:
    """Texts of one call, in a fixed order.

    Attributes:
        keys: What each is stored under.
        samples: The texts.
        too_long: What to do with long ones.
    """

    keys: Sequence[bytes]
    samples: Sequence[Sample]
    too_long: TooLong

    def of(self, block: TextBlock | None) -> list[Sample]:
        """The texts of a block."""
        return [self.samples[i] for i in block.at.tolist()] if block is not None else []


class Actors:
    """Actors that hold one model.

    Args:
        shape: How many, and what each reserves.
        assignment: What they score with.
        scores: The driver's view of what they store.
        timeout: Seconds without any sign from any actor after which the run is given up.
    """

    def __init__(
        self, shape: Shape, assignment: Assignment, scores: ModelScores, timeout: float
    ) -> None:
        self._ray = imported_ray()
        self._shape = shape
        self._assignment = assignment
        self._scores = scores
        self._timeout = timeout
        self._idle: list[Worker] = []
        # What each running call is for; None where an actor opens its model.
        self._running: dict[Any, tuple[Worker, TextBlock | None]] = {}
        self._lost_at_opening = 0

    def open(self) -> None:
        """Start all actors; they open the model while others may be at work already.

        Raises:
            UsageError: The cluster does not place them in time: what is asked, what is free.
            ScoringError: A process cannot be started.
        """
        workers = [self._started() for _ in range(self._shape.actors)]
        places = [worker.actor.place.remote() for worker in workers]
        try:
            placed, waiting = self._ray.wait(
                places, num_returns=len(places), timeout=PLACEMENT_SECONDS
            )
            if waiting:
                raise UsageError(
                    f"{self._shape} were asked for, and {len(placed)} could be placed in "
                    f"{PLACEMENT_SECONDS:.0f} s; free now are {free_resources()}. Wait for the "
                    "other jobs of the cluster, or ask for less."
                )
            for worker, place in zip(workers, places, strict=True):
                worker.place = self._ray.get(place)
                self._open(worker)
        except BaseException as error:
            for worker in workers:
                self._ray.kill(worker.actor)
            if isinstance(error, self._ray.exceptions.RayActorError):
                raise ScoringError(f"no process can be started on the cluster: {error}") from error
            raise

    def close(self) -> None:
        """End all actors, whatever they are doing."""
        for worker in [*self._idle, *(worker for worker, _ in self._running.values())]:
            self._ray.kill(worker.actor)
        self._idle.clear()
        self._running.clear()

    def score(
        self, texts: Mapping[bytes, Sample], too_long: TooLong, bar: Progress
    ) -> ScoringReport:
        """Score all texts; blocks that cost most come first.

        After the first error nothing new is begun, and what is being scored is finished and kept.

        Raises:
            ModelError, StoreError, UsageError: An actor met it; the text names its node.
            ScoringError: Actors die over a block or over the model, or nothing moves.
        """
        work = Texts(list(texts), list(texts.values()), too_long)
        todo = deque(TextBlock(at) for at in cut_blocks(work.samples, self._shape.actors))
        report = ScoringReport(self._assignment.spec)
        faults: list[RmcheckError] = []
        while todo or self._blocks():
            while todo and self._idle and not faults:
                self._begin(self._idle.pop(), todo.popleft(), work)
            if faults and not self._blocks():
                break
            worker, block, answer = self._next_answer(work)
            if isinstance(answer, SentError):
                faults.append(_error(answer))
            if isinstance(answer, self._ray.exceptions.RayError):
                try:
                    left, stored = self._after_death(worker, block, answer, work)
                    todo.extend(left)
                    report = report.plus(stored)
                except ScoringError as error:
                    faults.append(error)
                continue
            self._idle.append(worker)
            if isinstance(answer, str):
                worker.place = answer
            if isinstance(answer, ScoringReport) and block is not None:
                report = report.plus(answer)
                self._lost_at_opening = 0
                bar.update(about_tokens(work.of(block)))
        if faults:
            raise _together(faults)
        return report

    def _started(self) -> Worker:
        remote = self._ray.remote(ScoringActor)
        options = {"num_cpus": self._shape.cpus, "num_gpus": self._shape.gpus}
        return Worker(remote.options(**options, max_restarts=0).remote())

    def _open(self, worker: Worker) -> None:
        self._running[worker.actor.open.remote(self._assignment)] = (worker, None)

    def _begin(self, worker: Worker, block: TextBlock, work: Texts) -> None:
        call = worker.actor.score.remote(work.of(block), work.too_long)
        self._running[call] = (worker, block)

    def _blocks(self) -> list[TextBlock]:
        return [block for _, block in self._running.values() if block is not None]

    def _next_answer(self, work: Texts) -> tuple[Worker, TextBlock | None, Any]:
        """The next call that ends: whose it was, for what, and its result or Ray's error."""
        done, _ = self._ray.wait(list(self._running), num_returns=1, timeout=self._timeout)
        if not done:
            raise self._stalled(work)
        worker, block = self._running.pop(done[0])
        try:
            return worker, block, self._ray.get(done[0])
        except self._ray.exceptions.RayTaskError:
            self._idle.append(worker)
            raise
        except self._ray.exceptions.RayError as error:
            return worker, block, error

    def _after_death(
        self, worker: Worker, block: TextBlock | None, error: Exception, work: Texts
    ) -> tuple[list[TextBlock], ScoringReport]:
        """What a dead actor leaves to do, and what it did; another one is started in its place.

        What it had padded or shared is not known.
        """
        self._ray.kill(worker.actor)
        self._open(self._started())
        if block is None:
            self._lost_at_opening += 1
            if self._lost_at_opening >= MOST_LOST * self._shape.actors:
                raise ScoringError(
                    f"{self._assignment.spec}: {self._lost_at_opening} actors died while they "
                    f"loaded the model, the last on {worker.place}: {_first_line(error)}. An actor "
                    "needs the memory of the whole model."
                )
            return [], ScoringReport(self._assignment.spec)
        self._scores.refresh()
        keys = [work.keys[i] for i in block.at.tolist()]
        found = self._scores.lookup(keys, work.too_long)
        tokens = int(found.lengths.sum())
        rest = block.at[found.missing]
        stored = ScoringReport(
            self._assignment.spec,
            scored=block.at.size - rest.size,
            tokens=tokens,
            padded_tokens=tokens,
        )
        if not rest.size:
            return [], stored
        left = TextBlock(rest, block.lost_actors + 1 if rest.size == block.at.size else 0)
        if left.lost_actors >= MOST_LOST:
            raise ScoringError(
                f"{self._assignment.spec}: {left.lost_actors} actors died one after another over "
                f"{rest.size} texts (prompts {named_prompts(work.of(left))})"
                f", the last on {worker.place}: {_first_line(error)}. What the others scored is "
                "kept."
            )
        return [left], stored

    def _stalled(self, work: Texts) -> ScoringError:
        shown = []
        for worker, block in list(self._running.values())[:5]:
            texts = work.of(block)
            what = f"{len(texts)} texts (prompts {named_prompts(texts, 2)})" if texts else "loading"
            shown.append(f"  {worker.place}: {what}")
        return ScoringError(
            f"{self._assignment.spec}: nothing was heard from any of {len(self._running)} actors "
            f"for {self._timeout:.0f} s; free now are {free_resources()}. What was scored is kept: "
            "run again, or allow more with --timeout.\n" + "\n".join(shown)
        )


@contextmanager
def opened_actors(
    shape: Shape, assignment: Assignment, scores: ModelScores, timeout: float
) -> Iterator[Actors]:
    """Actors that are ended whatever happens."""
    found = Actors(shape, assignment, scores, timeout)
    try:
        found.open()
        yield found
    finally:
        found.close()


def _error(fault: SentError) -> RmcheckError:
    error: RmcheckError = getattr(rmcheck.errors, fault.kind)(fault.message)
    return error


def _together(errors: Sequence[RmcheckError]) -> RmcheckError:
    """One error that says all of them; of the class of the first."""
    messages = dict.fromkeys(str(error) for error in errors)
    return type(errors[0])("\n".join(messages))


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def about_tokens(samples: Iterable[Sample]) -> int:
    """Tokens of responses, four characters each: the unit of the progress bar."""
    return sum(max(1, len(sample.response) // 4) for sample in samples)
