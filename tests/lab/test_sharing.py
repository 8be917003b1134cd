"""Several processes that share the work of a laboratory, and one that is part of a launch."""

import pytest
from filelock import FileLock

from rmcheck.errors import UsageError
from rmcheck.lab.quiet import require_laboratory
from rmcheck.lab.sharing import shared


def test_what_another_process_is_at_comes_last(tmp_path):
    """The others are done meanwhile; it is waited for, and each item is given once."""
    other = FileLock(tmp_path / "a.lock")
    other.acquire()
    found = []
    for item in shared("abc", lambda each: tmp_path / f"{each}.lock"):
        found.append(item)
        if item == "c":
            other.release()

    assert found == ["b", "c", "a"]


def test_an_item_is_held_while_it_is_worked_at_and_free_behind(tmp_path):
    """A second process passes it over; one that was killed holds nothing."""
    lock = FileLock(tmp_path / "x" / "a.lock", timeout=0)
    for _ in shared("a", lambda each: tmp_path / "x" / f"{each}.lock"):
        with pytest.raises(TimeoutError):
            lock.acquire()
    with lock:
        pass


def test_one_of_several_launched_processes_is_refused(monkeypatch):
    """`accelerate launch` on several GPUs would make batches larger than the file says."""
    monkeypatch.setenv("WORLD_SIZE", "2")

    with pytest.raises(UsageError, match=r"one of 2 processes.*once for each GPU"):
        require_laboratory()


def test_a_launch_of_one_process_is_as_good_as_none(monkeypatch, laboratory):
    """`accelerate launch --cpu --num_processes 1` says WORLD_SIZE=1."""
    monkeypatch.setenv("WORLD_SIZE", "1")

    require_laboratory()


def test_of_several_gpus_a_trainer_takes_one(laboratory, tmp_path):
    """Transformers would put a batch on each, so that a step saw several."""
    from rmcheck.lab.quiet import trainer_config

    class Config:
        _n_gpu = 4

        def __init__(self, **_):
            pass

        @property
        def n_gpu(self):
            return self._n_gpu

    config = trainer_config(Config, tmp_path, seed=0, device="cpu", every=1)
    assert config.n_gpu == 1
