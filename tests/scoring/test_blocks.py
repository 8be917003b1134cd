"""Blocks of a cluster cost about the same; an actor refuses a model or a store that is another."""

from dataclasses import replace

import numpy as np
import pytest
from counting_models import numbered_samples
from hypothesis import given
from hypothesis import strategies as st
from stored_scores import scores_of

from rmcheck.errors import ScoringError, StoreError, UsageError
from rmcheck.lab.cluster import ray_cluster
from rmcheck.lab.cluster.blocks import cut_blocks
from rmcheck.lab.cluster.ray_actor import Assignment, ScoringActor, SentError
from rmcheck.lab.cluster.ray_cluster import Node
from rmcheck.models.registry import open_model
from rmcheck.models.sample import Sample
from rmcheck.pool.pool import Message
from rmcheck.scoring.report import ScoringReport
from rmcheck.store.scores import FolderModelScores, ScoreStore

pools = st.lists(st.lists(st.integers(1, 60), min_size=1, max_size=6), max_size=30)


def pool_samples(lengths: list[list[int]]) -> list[Sample]:
    """Responses of these lengths, a list a prompt of ten characters."""
    return [
        Sample(f"p{p}", i, (Message("user", f"{p:010}"),), "x" * length)
        for p, row in enumerate(lengths)
        for i, length in enumerate(row)
    ]


def size_of(sample: Sample) -> int:
    """Characters of a text."""
    return 10 + len(sample.response)


@given(lengths=pools, actors=st.integers(1, 5), largest=st.integers(1, 500))
def test_every_text_is_in_one_block(lengths, actors, largest):
    """Nothing is lost and nothing is twice, whatever the lengths."""
    samples = pool_samples(lengths)
    blocks = cut_blocks(samples, actors, largest)

    assert sorted(np.concatenate([[], *blocks]).tolist()) == list(range(len(samples)))
    assert all(block.size for block in blocks)


@given(lengths=pools, actors=st.integers(1, 5), largest=st.integers(1, 500))
def test_blocks_are_no_larger_than_asked(lengths, actors, largest):
    """More than one text in a block means that together they stay below the limit."""
    samples = pool_samples(lengths)
    for block in cut_blocks(samples, actors, largest):
        assert len(block) == 1 or sum(size_of(samples[i]) for i in block) <= largest


@given(lengths=pools, actors=st.integers(1, 5), largest=st.integers(1, 500))
def test_only_prompts_larger_than_a_block_are_cut(lengths, actors, largest):
    """Responses that share a prompt share a block, so that the prompt is computed once."""
    samples = pool_samples(lengths)
    total = sum(map(size_of, samples))
    limit = max(1, min(largest, total // (8 * actors)))
    blocks = cut_blocks(samples, actors, largest)
    for prompt in {s.prompt_id for s in samples}:
        of_it = [i for i, s in enumerate(samples) if s.prompt_id == prompt]
        if sum(size_of(samples[i]) for i in of_it) <= limit:
            assert sum(bool(set(of_it) & set(block.tolist())) for block in blocks) == 1


def test_prompts_with_the_longest_texts_come_first():
    """What may not fit in memory is met at once, and a block holds texts of like length; a prompt
    with many short texts is not a long one.
    """  # noqa: D205
    samples = pool_samples([[5], [50], [20, 20, 20]])
    order = np.concatenate(cut_blocks(samples, actors=1))

    assert [samples[i].prompt_id for i in order] == ["p1", "p2", "p2", "p2", "p0"]


def test_equal_texts_make_blocks_of_equal_size():
    """Of 160 equal texts for two actors each gets eight blocks of ten."""
    blocks = cut_blocks(pool_samples([[20]] * 160), actors=2)

    assert [block.size for block in blocks] == [10] * 16


def test_an_actor_takes_the_gpus_of_its_model(monkeypatch):
    """Of 8 GPUs two actors take 4 each; where no machine has 4, what there is is told."""
    monkeypatch.setattr(ray_cluster, "_nodes", lambda: [Node("a", 16, 8), Node("b", 16, 2)])
    four = ray_cluster.shape_of(None, 1.0, None, 4)
    asked = ray_cluster.shape_of(None, 1.0, 1.0, 4)

    assert (four.actors, four.gpus) == (2, 4.0)
    assert asked.gpus == 1.0
    with pytest.raises(UsageError, match="1 actor of 1 CPU and 16 GPU do not fit"):
        ray_cluster.shape_of(None, 1.0, None, 16)


@pytest.mark.parametrize(
    ("cpus", "gpus", "room"), [(1, 0, 8), (0.5, 0, 16), (0.1, 0, 80), (1, 1, 4), (3, 0.5, 2)]
)
def test_how_many_actors_a_node_holds(cpus, gpus, room):
    """The scarcer of CPUs and GPUs decides; fractions count."""
    assert Node("n", cpus=8, gpus=4).holds(cpus, gpus) == room


# -- an actor, in this process ---------------------------------------------------------------


@pytest.fixture
def assignment(tmp_path) -> Assignment:
    """A model of lengths, and a store in which the driver has left its token."""
    (tmp_path / "lengths.py").write_text(
        "def length(prompts, responses):\n    return [float(len(r)) for r in responses]\n"
    )
    spec = "python:lengths:length?version=1"
    fingerprint = open_model(spec, base=tmp_path).fingerprint
    scores = ScoreStore(tmp_path / ".rmcheck").open(fingerprint)
    scores.check_writable()
    token = scores.folder / ".token.tmp"
    token.write_text("abc")
    return Assignment(
        spec, tmp_path, True, fingerprint, tmp_path / ".rmcheck", token, "abc", "head-node", None
    )


def test_an_actor_writes_into_the_store(assignment):
    """What it scores is found by any process that opens the store."""
    actor, samples = ScoringActor(), numbered_samples(20)

    assert actor.open(assignment) == actor.place()
    report = actor.score(samples, "error")
    model = open_model(assignment.spec, base=assignment.base)
    found = scores_of(model, samples, ScoreStore(assignment.store))

    assert isinstance(report, ScoringReport)
    assert report.scored == 20
    assert found.scores.tolist() == [len(s.response) for s in samples]


def test_an_actor_scores_equal_inputs_once(assignment):
    """A text that it has met in an earlier block is counted, not computed."""
    actor, samples = ScoringActor(), numbered_samples(20)
    actor.open(assignment)
    actor.score(samples, "error")
    report = actor.score(samples, "error")

    assert isinstance(report, ScoringReport)
    assert (report.scored, report.equal_inputs) == (0, 20)


@pytest.mark.parametrize("change", [{"token_text": "xyz"}, {"token": "missing"}])
def test_another_store_is_refused(assignment, tmp_path, change):
    """A folder of the same name that is not the driver's: says the node, the folder, the remedy."""
    if "token" in change:
        change = {"token": tmp_path / "missing"}
    fault = ScoringActor().open(replace(assignment, **change))

    assert isinstance(fault, SentError)
    assert fault.kind == StoreError.__name__
    assert fault.message.startswith("node ")
    assert f"{assignment.store}: is not the folder of that name on head-node" in fault.message
    assert "all nodes share" in fault.message


def test_another_model_is_refused(assignment):
    """Other files under the same name: says both fingerprints, and nothing is scored."""
    fault = ScoringActor().open(replace(assignment, fingerprint="ab" * 32))

    assert isinstance(fault, SentError)
    assert fault.kind == ScoringError.__name__
    assert "is another model here (fingerprint " in fault.message
    assert "than on head-node (abababababababab)" in fault.message


def test_a_model_that_cannot_be_opened_there_is_a_fault(assignment):
    """Of the class of its error, which the driver raises with the place before the text."""
    fault = ScoringActor().open(replace(assignment, spec="python:lengths:length?versio=1"))

    assert isinstance(fault, SentError)
    assert fault.kind == UsageError.__name__
    assert fault.message.startswith("node ")
    assert "versio" in fault.message


def test_an_actor_keeps_to_the_budget(assignment):
    """The driver's option holds in every process."""
    actor, samples = ScoringActor(), numbered_samples(20)
    actor.open(replace(assignment, budget=30))
    report = actor.score(samples, "error")

    assert isinstance(report, ScoringReport)
    assert report.batches > 1


def test_an_actor_that_cannot_write_scores_nothing(assignment, monkeypatch):
    """It is found out before the first text, as in one process."""

    def refuse(self):
        raise StoreError("read-only")

    monkeypatch.setattr(FolderModelScores, "check_writable", refuse)
    fault = ScoringActor().open(assignment)

    assert isinstance(fault, SentError)
    assert fault.kind == StoreError.__name__
    assert fault.message.endswith(": read-only")


def test_reports_add_up():
    """The report of a cluster is the sum of its blocks'."""
    first = ScoringReport("m", scored=3, tokens=30, padded_tokens=40, batches=1, halvings=1)
    second = ScoringReport("m", scored=2, tokens=10, padded_tokens=10, batches=2)

    assert first.plus(second) == ScoringReport(
        "m", scored=5, tokens=40, padded_tokens=50, batches=3, halvings=1
    )
