"""What `rmcheck.testing` offers to users' own tests, and what it costs to import."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rmcheck.testing
from rmcheck.errors import MissingDependencyError
from rmcheck.metrics.registry import make_metric
from rmcheck.testing import increasing_maps, rewards_for


@pytest.mark.parametrize("name", rmcheck.testing.__all__)
def test_every_offered_name_exists(name):
    """Each name in the list can be imported."""
    assert getattr(rmcheck.testing, name) is not None


def test_unknown_name_is_an_attribute_error():
    """A misspelt import fails as any other module's."""
    with pytest.raises(AttributeError, match="no attribute 'chek'"):
        _ = rmcheck.testing.chek


def test_importing_the_door_does_not_import_hypothesis():
    """The fakes can be used without the test extra."""
    code = "import sys, rmcheck.testing; print('hypothesis' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"


def test_missing_hypothesis_says_the_command(monkeypatch):
    """Without Hypothesis the error says what to install."""
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    for module in ("rmcheck.testing.laws", "rmcheck.testing.strategies"):
        monkeypatch.delitem(sys.modules, module, raising=False)

    with pytest.raises(MissingDependencyError, match=r"pip install 'rmcheck\[test\]'"):
        _ = rmcheck.testing.check_metric_laws


@given(table=increasing_maps(most=10))
def test_increasing_maps_are_strictly_increasing(table):
    """A map never rounds two scores to one."""
    assert (np.diff(table) > 0).all()


@given(data=st.data())
def test_rewards_for_a_metric_are_accepted_by_it(data):
    """Generated pools meet the metric's needs: enough responses, equal N where it matters."""
    metric = make_metric("xi")

    metric.require(data.draw(rewards_for(metric)))
