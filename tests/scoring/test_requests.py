"""What several suites want of one model is merged, and scores travel as a bundle."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from counting_models import CountingModel, numbered_samples, reward_of, sample

from rmcheck.errors import ScoringError, StoreError
from rmcheck.models.registry import open_model
from rmcheck.models.sample import Sample
from rmcheck.pool.pool import Message, Pool, Prompt
from rmcheck.scoring.bundle import write_bundle
from rmcheck.scoring.members import choose_store, fill_members, read_combined
from rmcheck.scoring.request import PoolSamples, Request, named_responses, read_scores
from rmcheck.scoring.scorer import fill_requests
from rmcheck.store.parts import Provenance
from rmcheck.store.scores import MemoryStore, ScoreStore


def test_suites_that_share_texts_score_them_once(tmp_path):
    """Two suites, one model: one load, each text once, each request its own order."""
    store = ScoreStore(tmp_path / ".rmcheck")
    model, samples = CountingModel(), numbered_samples(12)
    first = Request(model, tuple(samples[:8]))
    second = Request(model, tuple(samples[:3:-1]))
    report = fill_requests([first, second], store)

    assert model.loads == 1
    assert sum(map(len, model.batches)) == 12
    assert (report.requested, report.duplicates, report.scored) == (16, 4, 12)
    for request in (first, second):
        assert read_scores(request, store).scores.tolist() == [
            reward_of(s.response) for s in request.samples
        ]


def test_modes_are_merged_into_one_load(tmp_path):
    """Suites that cut on different sides share the load, the proof, and the whole texts."""
    store = ScoreStore(tmp_path / ".rmcheck")
    model = CountingModel(max_tokens=3)
    samples = [sample("short text"), sample("one end " + "x" * 8 + " other end")]
    requests = [Request(model, tuple(samples), too_long) for too_long in ("left", "right")]
    report = fill_requests(requests, store)

    assert (model.loads, len(model.proofs)) == (1, 1)
    assert (report.scored, report.cut_left, report.cut_right) == (3, 1, 1)
    assert (report.requested, report.duplicates, report.from_store) == (4, 1, 0)
    assert [read_scores(r, store).scores[1] for r in requests] == [
        reward_of("xx other end"),
        reward_of("one end xxxx"),
    ]


def test_reading_before_filling_is_an_error():
    """A request that was not scored is never read as an empty one."""
    request = Request(CountingModel(), tuple(numbered_samples(4)))

    with pytest.raises(StoreError, match="4 of 4 samples have no score of counting:model"):
        read_scores(request, MemoryStore())


def test_a_bundle_holds_scores_and_where_they_came_from(tmp_path):
    """Columns and metadata are as documented, so that `scores:FILE` can read them."""
    samples = [sample("one", "p1", 0), sample("two", "p1", 1)]
    provenance = Provenance("ab" * 32, "hf:rm", {"dtype": "float32"})
    path = tmp_path / "out" / "scores.parquet"
    write_bundle(path, samples, np.array([0.5, -1.0]), provenance)
    table = pq.read_table(path)

    assert table.to_pydict() == {
        "prompt_id": ["p1", "p1"],
        "response": [0, 1],
        "score": [0.5, -1.0],
        "text_key": [s.text_key for s in samples],
    }
    assert [str(t) for t in table.schema.types] == [
        "string",
        "int32",
        "double",
        "fixed_size_binary[16]",
    ]
    assert Provenance.from_metadata(table.schema.metadata) == provenance
    assert table.schema.metadata[b"rmcheck.bundle"] == b"1"


def test_a_bundle_is_a_model_on_the_next_machine(tmp_path):
    """Scores written here are what `scores:FILE` gives there."""
    samples = numbered_samples(10)
    rewards = np.array([reward_of(s.response) for s in samples])
    write_bundle(tmp_path / "rm.parquet", samples, rewards, Provenance("ab" * 32, "hf:rm"))
    store = MemoryStore()
    request = Request(open_model(f"scores:{tmp_path / 'rm.parquet'}"), tuple(samples[::-1]))
    fill_requests([request], store)

    assert read_scores(request, store).scores.tolist() == rewards[::-1].tolist()


def test_a_bundle_is_read_and_not_scored(tmp_path):
    """Where it was scored steers nothing, and no store keeps a second copy."""
    samples = [sample("one", "p1", 0), sample("one", "p1", 1)]
    provenance = Provenance("ab" * 32, "hf:rm", {"device": "cpu"})
    write_bundle(tmp_path / "rm.parquet", samples, np.array([0.5, -1.0]), provenance)
    model = open_model(f"scores:{tmp_path / 'rm.parquet'}")
    store_of = choose_store(ScoreStore(tmp_path / "kept"), ScoreStore(tmp_path / "passing"))
    request = Request(model, tuple(samples))

    (report,) = fill_members([request], store_of)

    assert read_combined(request, store_of).rewards.tolist() == [0.5, -1.0]
    assert (report.looked_up, report.scored, report.batches) == (2, 0, 0)
    told = store_of(model).open(model.fingerprint).provenance.description
    assert told["scored on"] == "cpu"
    assert [path.name for path in tmp_path.iterdir()] == ["rm.parquet"]


@pytest.mark.parametrize("scores", [[0.5], [0.5, np.nan]])
def test_a_bundle_takes_one_finite_score_a_sample(tmp_path, scores):
    """Nothing that a gate could stumble over travels to another machine."""
    samples = [sample("one"), sample("two")]

    with pytest.raises(ScoringError, match="one finite score for each of 2 samples"):
        write_bundle(tmp_path / "b.parquet", samples, np.array(scores), Provenance("ab" * 32))

    assert list(tmp_path.iterdir()) == []


def test_a_bundle_that_cannot_be_written(tmp_path):
    """The file is named."""
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreError, match=r"b\.parquet: the bundle cannot be written"):
        write_bundle(tmp_path / "file" / "b.parquet", [], np.zeros(0), Provenance("ab" * 32))


def test_samples_of_a_pool_are_made_when_they_are_asked_for():
    """In any order and by slice they are those of a list; their keys need none of them."""
    prompts = [
        Prompt(str(number), (Message("user", f"{number}?"),), tuple("abc"[: number + 1]), {})
        for number in range(3)
    ]
    listed = [
        Sample(prompt.prompt_id, i, prompt.messages, response)
        for prompt in prompts
        for i, response in enumerate(prompt.responses)
    ]
    samples = PoolSamples(Pool(Path("p"), "native", tuple(prompts)))

    assert len(samples) == 6
    assert list(samples) == listed
    assert [samples[i] for i in (5, 0, 3, -1, 2)] == [listed[i] for i in (5, 0, 3, -1, 2)]
    assert samples[1:4] == listed[1:4]
    assert samples.text_keys.tolist() == [sample.text_key for sample in listed]
    assert samples.named.row_keys.tolist() == named_responses(listed).row_keys.tolist()
    assert len(set(samples.named.row_keys.tolist())) == 6
    assert len(PoolSamples(Pool(Path("p"), "native", ()))) == 0
    with pytest.raises(IndexError):
        samples[6]
