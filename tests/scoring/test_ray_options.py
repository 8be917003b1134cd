"""Options of `rmcheck score --engine ray` that are refused before a cluster is asked."""

import sys

import pytest
from counting_models import numbered_samples

from rmcheck.cli import main
from rmcheck.errors import MissingDependencyError, UsageError
from rmcheck.lab.cluster.ray_cluster import Node, Shape, connect
from rmcheck.lab.cluster.ray_engine import RayEngine
from rmcheck.models.registry import open_model
from rmcheck.scoring.request import Request
from rmcheck.scoring.scorer import fill_requests
from rmcheck.store.scores import MemoryStore


@pytest.mark.parametrize("option", ["--actors=2", "--ray-address=auto", "--timeout=5"])
def test_options_of_a_cluster_need_one(option, capsys):
    """Without --engine ray they would change nothing, so they are an error."""
    code = main(["score", "demo.yaml", "--model=fake:constant", option])

    assert code == 2
    assert f"{option.partition('=')[0]}: only --engine ray reads this" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"actors": 0}, "--actors is 0; it is a number above 0"),
        ({"cpus_per_actor": 0.0}, "--cpus-per-actor is 0"),
        ({"cpus_per_actor": float("nan")}, "--cpus-per-actor is nan"),
        ({"timeout": -1.0}, "--timeout is -1"),
        ({"gpus_per_actor": -1.0}, "--gpus-per-actor is -1; it is a number from 0 up"),
    ],
)
def test_impossible_numbers_are_refused(options, message):
    """At once, with the option and its value."""
    with pytest.raises(UsageError, match=message):
        RayEngine(**options)


def test_without_ray_the_command_that_installs_it_is_said(monkeypatch):
    """Ray is an extra."""
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'rmcheck\[ray\]'"):
        connect(None)


def test_a_store_in_memory_is_refused(tmp_path):
    """Actors hand their scores over through the store's folder; no cluster is asked."""
    (tmp_path / "lengths.py").write_text("def length(prompts, responses):\n    return [0.0]\n")
    model = open_model("python:lengths:length?version=1", base=tmp_path)
    request = Request(model, tuple(numbered_samples(1)))
    with pytest.raises(UsageError, match=r"lengths:length: .* through the store"):
        fill_requests([request], MemoryStore(), engine=RayEngine())


def test_what_is_asked_is_said_in_words():
    """An error about room reads as a sentence."""
    assert str(Shape(1, 1.0, 0.0)) == "1 actor of 1 CPU"
    assert str(Shape(4, 0.5, 0.25)) == "4 actors of 0.5 CPU and 0.25 GPU each"
    assert str(Node("10.0.0.1", 8.0, 2.0)) == "10.0.0.1: 8 CPU, 2 GPU"
