"""Templates and regular expressions of others run with a limit of time and of memory."""

import os
import signal
from pathlib import Path

import pytest

from rmcheck.errors import MissingDependencyError
from rmcheck.models.text import confined as module
from rmcheck.models.text.confined import ConfinedError, confined

LOOPS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
DOUBLING = (
    "{% set n = namespace(a='aa') %}"
    "{% for i in range(60) %}{% set n.a = n.a ~ n.a %}{% endfor %}{{ n.a }}"
)
ESCAPE = "{{ ('{0.__class__.__init__.__globals__}'|attr('format'))(messages) }}"


def chat(source, runs=([],), date="", **variables):
    """What a chat template writes."""
    conversations = [{"messages": messages} for messages in runs]
    return confined("chat", conversations, source=source, date=date, variables=variables)


@pytest.fixture
def hurried(monkeypatch):
    """A limit that a test can wait for."""
    monkeypatch.setattr(module, "SECONDS", 0.3)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (LOOPS, "runs for more than 0.3 s"),
        (DOUBLING, "more than (0.3 s|2 GiB of memory)"),
        ("{{ 'a' * 10 ** 10 }}", "more than 2 GiB of memory"),
        ("{{ 10 ** (10 ** 10) }}", "runs for more than 0.3 s"),
        ("{{ 'ab' * 1000000 }}", "writes 2,000,000 characters"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{% for i in range(10 ** 9) %}{% endfor %}", "Range too big"),
        ("{{" * 200, "RecursionError"),
        ("{{ [1, 2] | random }}", "No filter named 'random'"),
        ("{{ [[1, 2]] | map('ran' ~ 'dom') | first }}", "No filter named 'random'"),
        ("{{ lipsum() }}", "'lipsum' is undefined"),
        ("{{ strftime_now('%d') }}", "reads the clock, and no date="),
        (ESCAPE, "access to attribute '__[a-z]+__' of '[A-Za-z]+' object is unsafe"),
    ],
)
def test_a_template_is_stopped(hurried, source, says):
    """By time, by memory, by length, or by the sandbox; and the next one is rendered."""
    with pytest.raises(ConfinedError, match=says):
        chat(source)

    assert chat("{{ bos_token }}", bos_token="<s>") == ["<s>"]


def test_a_regular_expression_is_stopped(hurried):
    """Backtracking without end is ended."""
    with pytest.raises(ConfinedError, match="runs for more than"):
        confined("match", ["a" * 41 + "!"], pattern="(a+)+$", last=True)

    assert confined("match", ["7 of 10", ""], pattern=r"(\d+)", last=False) == ["7", None]


def test_the_run_that_fails_is_known(hurried):
    """Many conversations are written at once, and a message must name the right one."""
    source = "{% if messages %}" + LOOPS + "{% endif %}fine"

    with pytest.raises(ConfinedError) as caught:
        chat(source, [[], [], [{"role": "user", "content": "x"}], []])

    assert caught.value.place == 2
    assert chat(source, [[]] * 3) == ["fine"] * 3


def test_answers_keep_their_order_whatever_their_size():
    """More than a pipe holds in one direction or in both, and in more than one group."""
    runs = [
        [{"content": f"{i} " * size}] for i, size in enumerate([1, 300_000, 2, 900_000, 700_000])
    ]

    assert chat("{{ messages[0].content }}", runs) == [run[0]["content"] for run in runs]


def test_a_child_that_was_killed_is_replaced():
    """Whoever kills it stops one run at most."""
    assert chat("a") == ["a"]
    child = module._CHILDREN._child
    os.kill(child.pid, signal.SIGKILL)
    child.wait()

    assert chat("b") == ["b"]


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_the_child_has_no_key(monkeypatch, tmp_path):
    """What gets out of the sandbox still finds no key: the environment stays here."""
    monkeypatch.setenv("RMCHECK_API_KEY", "sk-secret")
    module._CHILDREN.close()
    chat("a")

    environment = Path(f"/proc/{module._CHILDREN._child.pid}/environ").read_bytes()

    assert b"PYTHONPATH" in environment
    assert b"sk-secret" not in environment


@pytest.mark.parametrize(("found", "refused"), [("3.1.5", True), ("3.1.6", False), ("3.10", False)])
def test_a_jinja_with_a_hole_is_refused(monkeypatch, found, refused):
    """3.1.5 lets a template out of its sandbox (CVE-2025-27516)."""
    monkeypatch.setattr(module, "version", lambda _: found)

    if refused:
        with pytest.raises(MissingDependencyError, match=r"jinja2 3.1.5 .*jinja2>=3.1.6,<4"):
            chat("a")
    else:
        assert chat("a") == ["a"]
