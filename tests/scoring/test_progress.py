"""People see that scoring goes on: a bar on a terminal, lines in every log."""

import io

import pytest
from counting_models import CountingModel, numbered_samples
from stored_scores import fill

from rmcheck.scoring.progress import (
    ProgressLines,
    duration,
    followed_by,
    progress_of,
    rounded,
    telling,
)
from rmcheck.store.scores import MemoryStore


class Clock:
    """Time that passes when a test says so."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        """Seconds."""
        return self.now


@pytest.fixture
def said():
    """What is told meanwhile."""
    lines: list[str] = []
    with telling(lines.append):
        yield lines


def test_the_first_line_says_what_will_be_scored(said):
    """Model, texts and tokens, before the first batch."""
    progress_of("hf:models/good", 7680, 449_321, io.StringIO())

    assert said == ["scoring hf:models/good: 7,680 texts, 449k tokens"]


def test_then_comes_a_line_a_minute_with_rate_and_time_left(said):
    """Batches between two lines say nothing."""
    clock = Clock()
    lines = ProgressLines("scoring hf:rm", "100 texts", 10_000, "tokens", clock)
    for clock.now in (20.0, 40.0, 59.0, 60.0, 80.0, 119.0, 120.0):
        lines.update(500)

    assert said[1:] == [
        "scoring hf:rm: 20% of 10k tokens, 33.3 tokens/s, about 4 min left",
        "scoring hf:rm: 35% of 10k tokens, 29.2 tokens/s, about 4 min left",
    ]


def test_every_line_says_what_comes_next(said):
    """The next model and how many more; nothing for the last one."""
    clock = Clock()
    with followed_by(lambda: ["hf:b", "hf:c"]):
        lines = ProgressLines("scoring hf:a", "100 texts", 10_000, "tokens", clock)
        clock.now = 60.0
        lines.update(5_000)
    progress_of("hf:c", 100, 10_000, io.StringIO())

    assert said[0] == "scoring hf:a: 100 texts; then hf:b and 1 more"
    assert said[1].endswith("about 1 min left; then hf:b and 1 more")
    assert said[2] == "scoring hf:c: 100 texts, 10k tokens"


def test_nobody_is_asked_what_comes_next_where_nobody_listens():
    """It takes a look into the store."""
    with followed_by(lambda: pytest.fail("asked")):
        progress_of("hf:a", 100, 10_000, io.StringIO())


def test_a_terminal_of_the_run_takes_the_place_of_standard_error(monkeypatch):
    """With a first line, which leaves the line that others have begun."""
    monkeypatch.delenv("CI", raising=False)  # where a runner reads, no bar is drawn
    screen, lines = io.StringIO(), []
    screen.isatty = lambda: True
    with telling(lines.append, screen), progress_of("hf:a", 100, 10_000) as bar:
        bar.update(5_000)
        bar.refresh()

    assert lines == ["scoring hf:a: 100 texts, 10k tokens"]
    assert "scoring hf:a" in screen.getvalue()


def test_a_handful_of_texts_is_scored_without_a_word(said):
    """A test that compares two answers is no pool; it is told all the same once a minute."""
    clock = Clock()
    progress_of("hf:rm", 2, 60, io.StringIO())
    lines = ProgressLines("scoring hf:rm", "", 60, "tokens", clock)
    lines.update(30)
    assert said == []

    clock.now = 61.0
    lines.update(15)
    assert said == ["scoring hf:rm: 75% of 60 tokens, 0.738 tokens/s, about 20 s left"]


def test_a_model_that_is_loaded_is_told_before(said):
    """Loading takes minutes where weights are many."""
    fill(CountingModel(), numbered_samples(600), MemoryStore())

    assert said[0].startswith("loading ")
    assert said[0].endswith(" to score 600 texts")
    assert said[1].startswith("scoring ")
    assert len(said) == 2


def test_what_the_store_knows_is_not_told(said):
    """A second run scores nothing and says nothing."""
    store = MemoryStore()
    fill(CountingModel(), numbered_samples(600), store)
    said.clear()
    fill(CountingModel(), numbered_samples(600), store)

    assert said == []


def test_a_program_that_uses_the_library_sees_nothing(capfd, caplog):
    """Neither on a stream nor in its logs."""
    caplog.set_level("DEBUG")
    fill(CountingModel(), numbered_samples(600), MemoryStore())

    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_who_listens_last_hears_alone(said):
    """A run inside a run, as tests of plugins make them, says nothing outside."""
    inner: list[str] = []
    with telling(inner.append):
        progress_of("hf:inner", 100, 10_000, io.StringIO())
    progress_of("hf:outer", 100, 10_000, io.StringIO())

    assert (len(inner), len(said)) == (1, 1)
    assert "hf:outer" in said[0]


@pytest.mark.parametrize(
    ("terminal", "ci", "bar"),
    [(True, "", True), (False, "", False), (True, "true", False)],
)
def test_the_bar_is_for_people_at_a_terminal(said, monkeypatch, terminal, ci, bar):
    """A log file, and a CI log with a terminal, get lines; nobody gets both."""
    stream = io.StringIO()
    stream.isatty = lambda: terminal
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr("rmcheck.scoring.progress.DELAY_SECONDS", 0)
    with progress_of("rm-7b", 5, 10_000, stream) as progress:
        progress.update(5_000)

    assert ("scoring rm-7b" in stream.getvalue()) == bar
    assert ("scoring rm-7b: 5 texts, 10k tokens" in said) != bar


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (999.4, "999"), (999.6, "1k"), (449_321, "449k"), (2.5e6, "2.5M"), (3e12, "3e+03G")],
)
def test_numbers_are_told_in_three_digits(number, text):
    """As rough as a guess of the time left."""
    assert rounded(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (60, "1 min"), (3599, "1 h 0 min"), (12_000, "3 h 20 min")],
)
def test_times_are_told_in_the_largest_unit(seconds, text):
    """And hours with their minutes."""
    assert duration(seconds) == text
