"""A process that scores in children, and kills them: engines are imported and loaded only once.

    python killed_scoring.py '{"engine": "spec", …}'

tells {engine: [fingerprint of each member, …]}, then reads lines of JSON: `engine`, `store`, `log`,
`kill`: how many batches the child begins, and how many seconds later it is killed, null for never;
and `threads`: how many torch has in the child. The answer to each is the exit code, negative where
a signal ended it. The log holds one line a batch that was begun: the numbers of the texts, told by
the last word of the response.
"""

import json
import os
import signal
import sys
import time
import traceback
from functools import partial
from pathlib import Path

import torch

from rmcheck.models.model import RewardModel, Session
from rmcheck.models.registry import open_model
from rmcheck.models.sample import Sample
from rmcheck.pool.pool import Message
from rmcheck.scoring.members import fill_members
from rmcheck.scoring.one_process import OneProcess
from rmcheck.scoring.request import Request
from rmcheck.scoring.scorer import fill_requests
from rmcheck.store.scores import ScoreStore

TEXTS = 36
BUDGET = 60


def numbered_samples() -> list[Sample]:
    """Three responses a prompt, of different lengths."""
    return [
        Sample(f"p{i // 3}", i % 3, (Message("user", f"why {i // 3}"),), f"{'so ' * (i % 7)}{i}")
        for i in range(TEXTS)
    ]


def open_logged(spec: str) -> tuple[RewardModel, dict[RewardModel, Session], list[Path]]:
    """The model, its members loaded, and a list for the file that they write their batches to."""
    model, log = open_model(spec), []
    sessions = {member: member.load() for member in model.members}
    for session in sessions.values():
        _log_batches(session, log)
    return model, sessions, log


def _log_batches(session: Session, log: list[Path]) -> None:
    scoring = session.scoring

    def logged(score, batch):
        texts = [encoded.sample.response.split()[-1] for encoded in batch]
        with log[0].open("a") as file:
            file.write(f"{session.model.fingerprint} {' '.join(texts)}\n")
        return score(batch)

    session.scoring = lambda proven: partial(logged, scoring(proven))


def score_all(model: RewardModel, sessions: dict[RewardModel, Session], store: Path) -> None:
    """What is missing, in small batches."""
    kept = ScoreStore(store)
    request = Request(model, tuple(numbered_samples()))
    for part in request.members:
        engine = OneProcess(sessions[part.model])
        fill_requests([part], kept, budget=BUDGET, engine=engine)
    assert not any(report.scored for report in fill_members([request], lambda _: kept))


def child(
    model: RewardModel,
    sessions: dict[RewardModel, Session],
    store: Path,
    log: Path,
    kill: tuple[int, float] | None,
    threads: int,
) -> int:
    """Exit code of a process that scores, killed some seconds after it began some batches."""
    pid = os.fork()
    if not pid:
        try:
            torch.set_num_threads(threads)
            score_all(model, sessions, store)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if kill is None:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    batches, seconds = kill
    while log.read_bytes().count(b"\n") < batches:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.0005)
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)  # not yet waited for, so it is still ours
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _tell(value: object) -> None:
    sys.stdout.write(f"{json.dumps(value)}\n")
    sys.stdout.flush()


def main(specs: dict[str, str]) -> None:
    """Answer until nothing more is asked."""
    engines = {engine: open_logged(spec) for engine, spec in specs.items()}
    names = {e: [m.fingerprint for m in model.members] for e, (model, *_) in engines.items()}
    _tell(names)
    for line in sys.stdin:
        asked = json.loads(line)
        model, sessions, log = engines[asked["engine"]]
        log[:] = [Path(asked["log"])]
        store, kill, threads = Path(asked["store"]), asked["kill"], asked["threads"]
        _tell(child(model, sessions, store, log[0], kill, threads))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
