"""Every reader accepts a file or says what is wrong with it, whatever the file."""

import pytest
from campaign import TARGETS, fuzzed

INPUTS = 300
SECONDS = 3.0


@pytest.mark.parametrize("name", TARGETS)
def test_a_spoilt_file_is_accepted_or_refused_by_an_error_of_ours(name):
    """No other exception comes out, nothing hangs, and what is accepted is what it claims to be."""
    found = fuzzed(TARGETS[name], seed=0, most=INPUTS, seconds=SECONDS)

    assert not found.sites
    assert found.counts["own"]
    assert found.counts["accepted"]
