"""Waiting for another process that scores the same model: in words, and with a limit."""

import json
import os
import platform
import subprocess
import sys
import threading

import pytest

from rmcheck.errors import StoreError, UsageError
from rmcheck.store import lock as locks
from rmcheck.store.lock import HOLDER, Waiting, held_lock, holder_of

HOLD = """
import sys
from pathlib import Path
from rmcheck.store.lock import Waiting, held_lock
with held_lock(Path(sys.argv[1]), Waiting(run=sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _early_words(monkeypatch):
    """Words come after a tenth of a second, and again every two tenths."""
    monkeypatch.setattr(locks, "FIRST_WORDS", 0.1)
    monkeypatch.setattr(locks, "WORDS_EVERY", 0.2)


@pytest.fixture
def hold(tmp_path):
    """Starts another process that holds the lock of the folder until its input is closed."""
    started = []

    def start(run=""):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path), run],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        with process:  # its pipes are closed
            process.kill()


def never(line):
    """Nothing is to be said."""
    raise AssertionError(line)


def test_who_holds_the_lock_is_told_until_the_limit(hold, tmp_path):
    """The words name process and host, come again, and end in an error that names the folder."""
    process, said = hold(), []

    with (
        pytest.raises(StoreError) as caught,
        held_lock(tmp_path, Waiting(limit=0.8, tell=said.append)),
    ):
        raise AssertionError("the lock is another's")
    message = str(caught.value)

    assert 2 <= len(said) <= 5
    assert all(f"process {process.pid} on {platform.node()}, since 20" in line for line in said)
    assert all("waiting for it" in line and str(tmp_path) in line for line in said)
    assert message.startswith(f"{tmp_path}: another process (process {process.pid} on ")
    assert "lock timeout of 0.8 s has passed" in message


def test_a_limit_of_zero_does_not_wait(hold, tmp_path):
    """It is an error at once, without words before it."""
    hold()

    with (
        pytest.raises(StoreError, match="lock timeout of 0 s"),
        held_lock(tmp_path, Waiting(limit=0, tell=never)),
    ):
        raise AssertionError("the lock is another's")


def test_a_killed_holder_leaves_the_lock_to_the_next(hold, tmp_path):
    """After kill -9 of the holder the waiting process goes on, and signs with its own name."""
    process = hold()

    with held_lock(tmp_path, Waiting(tell=lambda line: process.kill())):
        holder = holder_of(tmp_path)

    assert (holder.pid, holder.host) == (os.getpid(), platform.node())
    assert process.wait() == -9


def test_processes_of_one_run_wait_without_words_and_limit(hold, tmp_path):
    """Workers of pytest-xdist read what one of them scores, however long it takes."""
    process = hold("one run")
    threading.Timer(0.6, process.stdin.close).start()

    with held_lock(tmp_path, Waiting(limit=0, run="one run", tell=never)):
        holder = holder_of(tmp_path)

    assert holder.run == "one run"
    assert process.wait() == 0


def test_another_run_is_not_this_one(hold, tmp_path):
    """A process of another run counts against the limit."""
    hold("their run")

    with (
        pytest.raises(StoreError, match="lock timeout"),
        held_lock(tmp_path, Waiting(limit=0.2, run="our run", tell=[].append)),
    ):
        raise AssertionError("the lock is another's")


def test_a_free_lock_is_taken_without_a_word(tmp_path):
    """Whoever takes it signs, also where an earlier holder's signature is left."""
    for run in ("first", "second"):
        with held_lock(tmp_path, Waiting(limit=0, run=run, tell=never)):
            signed = json.loads((tmp_path / HOLDER).read_text())

        assert (signed["pid"], signed["run"]) == (os.getpid(), run)


def test_a_signature_that_cannot_be_read_is_no_fault(hold, tmp_path):
    """A holder that signed nothing, or something else, is waited for all the same."""
    hold()
    (tmp_path / HOLDER).write_text('{"pid": 1')

    with (
        pytest.raises(StoreError, match="which one is not known"),
        held_lock(tmp_path, Waiting(limit=0)),
    ):
        raise AssertionError("the lock is another's")


def test_a_holder_that_cannot_sign_holds_the_lock_all_the_same(tmp_path, monkeypatch):
    """Who waits is told less, and nothing else depends on the signature."""

    def refuse(folder, run):
        raise OSError("full")

    monkeypatch.setattr(locks, "_sign", refuse)
    with held_lock(tmp_path, Waiting(tell=never)):
        assert holder_of(tmp_path) is None


def test_words_go_to_standard_error(hold, tmp_path, capsys):
    """Unless somebody takes them."""
    hold()

    with pytest.raises(StoreError), held_lock(tmp_path, Waiting(limit=0.25)):
        raise AssertionError("the lock is another's")
    shown = capsys.readouterr()

    assert shown.err.startswith("rmcheck: another process (process ")
    assert shown.out == ""


@pytest.mark.parametrize("limit", [-1.0, float("nan")])
def test_a_limit_that_is_none(limit):
    """A time is 0 seconds or more."""
    with pytest.raises(UsageError, match="valid: seconds, 0 or more"):
        Waiting(limit)
