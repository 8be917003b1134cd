"""The text of a failed check: ten lines with all that it can have to say, more when asked."""

import re
from dataclasses import replace

import pytest
from failed_check import RECORD

from rmcheck.checks.record import CauseRecord
from rmcheck.reports.failure import FailureView, failure_text

LOOK = FailureView(
    {"candidate": "models/new", "baseline": "models/old"},
    ["--rmcheck-model=hf:new"],
    {"candidate": "hf:new", "baseline": "hf:old"},
)
RERUN = "  pytest demo.yaml::worst --rmcheck --rmcheck-model=hf:new"
ROW = "  rmcheck explain demo.yaml::worst --prompt p0 --model=hf:new --baseline=hf:old"


@pytest.mark.parametrize("kind", ["at_least", "at_most", "max_drop"])
@pytest.mark.parametrize("verdict", ["fail", "inconclusive"])
def test_a_check_has_ten_lines_at_most(kind, verdict):
    """With a baseline, a slice that was chosen, a number to compare with and a worst pick."""
    text = failure_text(replace(RECORD, kind=kind, verdict=verdict), LOOK)

    assert len(text.splitlines()) <= 10
    assert "worst of 4: shops" in text
    assert ("picked:" in text) == (verdict == "fail")
    assert text.splitlines()[-1] == RERUN
    assert (ROW in text.splitlines()) == (verdict == "fail")


def test_the_bounds_beside_the_candidate_are_those_that_decide():
    """The table has them too; those of the worst of several slices are wider than a slice's own."""
    text = failure_text(replace(RECORD, upper=0.7), LOOK)

    assert "models/new   0.600  [0.550, 0.700]" in text


def test_a_value_on_its_bound_is_told_to_move_the_bound():
    """More prompts would not help."""
    text = failure_text(replace(RECORD, verdict="inconclusive", value=0.75), LOOK)

    assert "no number of prompts would decide. Ask for what you can accept." in text
    assert "add prompts" not in text


def test_a_reader_who_asks_gets_all_of_it():
    """Every pick and number, and what signs the result."""
    text = failure_text(RECORD, replace(LOOK, verbose=True))

    assert text.count("worst pick: p") == 3
    assert "golden gained, the candidate choosing: 0.200" in text
    assert "accuracy|data:12345678" in text
    assert text.splitlines()[-2:] == [ROW, RERUN]


def test_picks_that_were_shown_are_not_shown_again():
    """One line says where."""
    text = failure_text(RECORD, replace(LOOK, same_picks="demo.yaml::accuracy"))

    assert "worst picks: as for demo.yaml::accuracy" in text
    assert "picked:" not in text


LENGTH = CauseRecord(
    *("length", 0.72, 0.53, 0.93, 0.86, 0.14, 0.37, 0.2, 0.5, 0.97, 0.69, 0.57, 0.75, 0.01),
    agrees=True,
    suspected=True,
)
CODE = CauseRecord("category=code", 0.2, -0.1, 0.5)


@pytest.mark.parametrize("kind", ["at_least", "at_most", "max_drop"])
def test_what_is_suspected_is_one_line_more(kind):
    """Still ten at most, with the baseline's number beside the candidate's."""
    text = failure_text(replace(RECORD, kind=kind, causes=(LENGTH, CODE)), LOOK)

    assert len(text.splitlines()) <= 10
    assert "suspected: length. 86% of the golden loss is where the pick has more of it" in text
    assert "69% of the reward's variance follows it alone (baseline: 1%)" in text
    assert "category=code" not in text
    assert text.splitlines()[-1] == ROW


def test_all_suspects_are_shown_to_a_reader_who_asks():
    """Each with its numbers, also where none stands out."""
    verbose = replace(LOOK, verbose=True)
    text = failure_text(replace(RECORD, causes=(LENGTH, CODE)), verbose)
    none = failure_text(replace(RECORD, causes=(replace(LENGTH, suspected=False), CODE)), verbose)

    assert re.search(r"category=code +20% \[-10%, 50%\]", text)
    assert "+0.37 sd [+0.20, +0.50]" in text
    assert "no cause stands out among 2 suspects" in none
    assert "no cause" not in failure_text(replace(RECORD, causes=(CODE,)), LOOK)
