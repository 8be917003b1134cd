"""The responses on which two engines differ most: which are chosen, and how they are shown."""

import numpy as np

from rmcheck.checks.mistakes import worst_drifts
from rmcheck.checks.record import EXCERPT, DriftRecord
from rmcheck.models.sample import Sample
from rmcheck.reports.drift import TEXT_WIDTH, drift_lines

FIRST = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
SECOND = np.array([0.5, 1.0, 2.25, 3.0, 3.0])


def samples(text="text"):
    """Five responses to two prompts; positions in the pool are not positions in the prompt."""
    places = [("p0", 0), ("p0", 1), ("p1", 0), ("p1", 1), ("p1", 2)]
    return [Sample(prompt, index, (), f"{text} {i}") for i, (prompt, index) in enumerate(places)]


def chosen(rows, **options):
    """Prompt, response and both rewards of what is chosen."""
    found = worst_drifts(samples(), FIRST, SECOND, np.array(rows), **options)
    return [(d.prompt_id, d.response, d.first, d.second) for d in found]


def test_the_largest_differences_come_first_and_equal_rewards_not_at_all():
    """Whatever the sign; five at most unless told otherwise."""
    worst = [("p1", 2, 4.0, 3.0), ("p0", 0, 0.0, 0.5), ("p1", 0, 2.0, 2.25)]

    assert chosen(range(5)) == worst
    assert chosen(range(5), most=2) == worst[:2]


def test_only_the_rows_that_are_measured_are_chosen_from():
    """A check on a slice shows no text of another one."""
    assert chosen([0, 1, 2]) == [("p0", 0, 0.0, 0.5), ("p1", 0, 2.0, 2.25)]
    assert chosen([1, 3]) == []


def test_a_record_keeps_the_beginning_of_a_long_response():
    """A report does not hold the pool."""
    found = worst_drifts(samples("long " * 200), FIRST, SECOND, np.arange(5))

    assert [len(drift.text) for drift in found] == [EXCERPT] * 3


def test_a_drift_is_one_line():
    """Difference with its sign, both rewards, which response, and its text on a line."""
    lines = drift_lines([DriftRecord("p1", 2, 4.0, 3.0, "one\n two")])

    assert lines == ["texts that differ most", "  -1  4 → 3  p1 response 2: 'one two'"]
    assert drift_lines([]) == []


def test_a_long_text_is_shortened():
    """To its beginning and an ellipsis; one that just fits is whole."""
    fits, long = (
        drift_lines([DriftRecord("p", 0, 0.0, 1.0, "x" * size)])[1]
        for size in (TEXT_WIDTH, TEXT_WIDTH + 1)
    )

    assert fits.endswith(f"'{'x' * TEXT_WIDTH}'")
    assert long.endswith(f"'{'x' * (TEXT_WIDTH - 1)}…'")
