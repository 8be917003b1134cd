"""An object in a process of its own: what it answers, how it ends, and what stays."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rmcheck.errors import ConformanceError
from rmcheck.models.engines.own_process import OwnProcess
from rmcheck.models.libraries import ForeignError, brief


class Echo:
    """What the child holds in these tests."""

    def __init__(self, first="", *, fails=False):
        if fails:
            raise ConformanceError("no head")
        self.said = [first]

    def say(self, word, *, times=1):
        """All words so far."""
        self.said += [word] * times
        return self.said

    def fact(self, name):
        """Of its process."""
        return {"pid": os.getpid(), "variable": os.environ.get("ECHO")}[name]

    def chatter(self):
        """Something on both streams."""
        sys.stdout.write("to stdout")
        sys.stderr.write("to stderr")

    def fail(self, kind):
        """An error of each kind."""
        raise {"own": ConformanceError, "memory": MemoryError, "other": ZeroDivisionError}[kind](
            "because"
        )

    def start(self):
        """A process of its own, which does not look whether anybody lives."""
        return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]).pid

    def die(self, how):
        """By a signal, with last words."""
        for i in range(9):
            sys.stderr.write(f"line {i}\n")
        sys.stderr.flush()
        os.kill(os.getpid(), how)
        time.sleep(60)

    def end_in(self, path):
        """Say in a file when it is closed."""
        self.close = lambda: Path(path).write_text("closed")

    def interrupt(self):
        """As Ctrl-C in the process that asks, while it waits for an answer."""
        os.kill(os.getppid(), signal.SIGINT)
        time.sleep(60)


@pytest.fixture
def echo():
    """One, alive."""
    process = opened(first="a")
    yield process
    process.close()


def opened(**how):
    """A child of this module."""
    return OwnProcess(f"{__name__}:Echo", {"ECHO": "here"}, **how)


def ended(pid):
    """Whether the process is gone within seconds."""
    for _ in range(200):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_it_is_one_object_in_another_process(echo):
    """Calls reach the same object; its environment has what was named, and this one has not."""
    echo.ask("say", "b")

    assert echo.ask("say", "c", times=2) == ["a", "b", "c", "c"]
    assert echo.ask("fact", "pid") == echo.pid != os.getpid()
    assert echo.ask("fact", "variable") == "here"
    assert "ECHO" not in os.environ


def test_errors_of_ours_keep_their_class_and_others_are_told_in_a_line(echo):
    """The object lives on after each."""
    with pytest.raises(ConformanceError, match="because"):
        echo.ask("fail", "own")
    with pytest.raises(MemoryError, match="because"):
        echo.ask("fail", "memory")
    with pytest.raises(ForeignError) as caught:
        echo.ask("fail", "other")

    assert brief(caught.value) == "ZeroDivisionError: because"
    assert echo.alive
    assert echo.ask("say", "b") == ["a", "b"]


def test_an_object_that_cannot_be_made_says_why():
    """The error of its making is that of opening it, and no process is left."""
    with pytest.raises(ConformanceError, match="no head"):
        opened(fails=True)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="states are read from /proc")
def test_its_death_is_told_with_its_last_words(echo):
    """Signal and last lines, once; it is closed then, and so is what it has started."""
    started = echo.ask("start")

    with pytest.raises(ForeignError) as caught:
        echo.ask("die", signal.SIGKILL)

    assert str(caught.value) == (
        "its process was ended by SIGKILL, as where memory is short: "
        "line 4 / line 5 / line 6 / line 7 / line 8"
    )
    assert not echo.alive
    assert ended(echo.pid)
    assert ended(started)
    with pytest.raises(ForeignError, match="its process has ended"):
        echo.ask("say", "b")


def test_what_it_prints_is_not_in_our_streams(echo, capfd):
    """Both streams go to a file."""
    echo.ask("chatter")

    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="states are read from /proc")
def test_closing_ends_it_and_twice_is_harmless(echo, tmp_path):
    """Its object is closed first; nothing is left, also of one that nobody closed."""
    echo.ask("end_in", str(tmp_path / "said"))
    echo.close()
    echo.close()
    forgotten = opened()
    pid = forgotten.pid
    del forgotten

    assert (tmp_path / "said").read_text() == "closed"
    assert not echo.alive
    assert ended(echo.pid)
    assert ended(pid)


@pytest.fixture
def interruptible():
    """A process that heeds interrupts; a shell lets those in the background ignore them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="states are read from /proc")
def test_whoever_is_interrupted_while_waiting_ends_it(echo, interruptible):
    """Its answer would be taken for that to the next question."""
    with pytest.raises(KeyboardInterrupt):
        echo.ask("interrupt")

    assert not echo.alive
    assert ended(echo.pid)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="states are read from /proc")
@pytest.mark.parametrize("at_work", [False, True])
def test_it_ends_with_a_parent_that_is_killed(at_work):
    """After kill -9 of the process that asks, also in the middle of its work."""
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); "
        f"from {__name__} import opened; process = opened(); print(process.pid, flush=True); "
        + ("process.ask('die', 0)" if at_work else "sys.stdin.read()")
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    child = int(parent.stdout.readline())

    parent.kill()
    parent.communicate()

    assert ended(child)
