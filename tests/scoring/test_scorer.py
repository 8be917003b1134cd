"""Scoring fills the store with what is missing, once."""

from functools import partial

import numpy as np
import pytest
from counting_models import CountingModel, numbered_samples, reward_of, sample
from hypothesis import given, settings
from hypothesis import strategies as st
from stored_scores import fill, scores_of

from rmcheck.models.model import ConformanceItem, Proven
from rmcheck.models.sample import Encoded
from rmcheck.scoring.one_process import OneProcess
from rmcheck.scoring.request import Request
from rmcheck.scoring.scorer import fill_requests
from rmcheck.store.scores import FolderModelScores, MemoryStore, ScoreStore


@pytest.fixture
def store(tmp_path) -> ScoreStore:
    """A store whose folder does not exist yet."""
    return ScoreStore(tmp_path / ".rmcheck")


@given(
    texts=st.lists(st.text("aAbB ", min_size=1, max_size=60), max_size=40),
    budget=st.integers(1, 60),
    known=st.integers(0, 40),
)
@settings(deadline=None, max_examples=100)
def test_every_sample_gets_its_own_reward(texts, budget, known):
    """Whatever is repeated, already stored or batched how, sample i gets the reward of text i."""
    store, model = MemoryStore(), CountingModel()
    samples = [sample(text, f"p{i}") for i, text in enumerate(texts)]
    fill(model, samples[:known], store, budget=budget)
    report = fill(model, samples, store, budget=budget)

    expected = [reward_of(text.lower()) for text in texts]
    scored = [text for batch in model.batches for text in batch]
    parts = report.duplicates + report.from_store + report.equal_inputs + report.scored

    assert expected == scores_of(model, samples, store).scores.tolist()
    assert sorted(scored) == sorted({text.lower() for text in texts})
    assert parts == report.requested == len(texts)


def test_a_second_run_loads_nothing(store):
    """When all is stored the model is not loaded, and nothing is encoded or written."""
    samples = numbered_samples(20)
    fill(CountingModel(), samples, store)
    parts = [path.name for path in (store.folder / "scores").rglob("*.parquet")]
    warm = CountingModel()
    report = fill(warm, samples, ScoreStore(store.folder))

    assert warm.events == []
    assert (report.scored, report.from_store) == (0, 20)
    assert len(parts) == 1
    assert parts == [path.name for path in (store.folder / "scores").rglob("*.parquet")]


def test_what_another_process_scored_meanwhile_is_read(store, monkeypatch):
    """While this one waited for the lock: it looks again, and loads nothing."""
    samples, lock = numbered_samples(5), FolderModelScores.lock

    def waited(self):
        monkeypatch.setattr(FolderModelScores, "lock", lock)
        fill(CountingModel(), samples, ScoreStore(store.folder))
        return lock(self)

    monkeypatch.setattr(FolderModelScores, "lock", waited)
    model = CountingModel()
    report = fill(model, samples, store)

    assert model.loads == 0
    assert (report.scored, report.from_store) == (0, 5)


def test_the_order_of_events(store):
    """Loaded once, encoded before and proved once before the first batch, closed at the end."""
    model = CountingModel()
    fill(model, numbered_samples(20), store, budget=40)

    assert model.events[:3] == ["load", "encode", "prove"]
    assert set(model.events[3:-1]) == {"score"}
    assert model.events[-1] == "close"


def test_the_proof_is_on_samples_of_different_lengths(store):
    """At most eight, the shortest and the longest among them."""
    model = CountingModel()
    fill(model, numbered_samples(60), store)
    lengths = [max(1, len(s.response) // 4) for s in numbered_samples(60)]
    (proof,) = model.proofs

    assert len(proof) == 8
    assert proof == sorted(set(proof))
    assert (proof[0], proof[-1]) == (min(lengths), max(lengths))


def test_the_conformance_page_is_stored_with_the_scores(store):
    """A later session that scores nothing can still show how the scorer proved itself."""

    class Proving(CountingModel):
        def prove(self, encoded):
            return Proven((ConformanceItem("batch_invariance", "pass", "2e-07"),))

    fill(Proving(), numbered_samples(3), store)
    provenance = ScoreStore(store.folder).open(CountingModel().fingerprint).provenance

    assert provenance.conformance == (ConformanceItem("batch_invariance", "pass", "2e-07"),)
    assert provenance.spec == "counting:model"


def test_a_proof_on_few_texts_leaves_the_page_of_many(store):
    """A test that scores one text of its own does not weaken what the report shows."""

    class Proving(CountingModel):
        def prove(self, encoded):
            return Proven((ConformanceItem("proof", "pass", f"{len(encoded)} samples"),))

    fill(Proving(), numbered_samples(20), store)
    again = Proving()
    fill(again, [sample("one text more")], store)
    kept = store.open(again.fingerprint).provenance

    assert (kept.conformance[0].detail, kept.proved_on) == ("8 samples", 8)


def test_equal_token_ids_are_scored_once(store):
    """Texts that differ only in what the tokenizer drops share one forward pass, now and later."""
    model = CountingModel()
    first = fill(model, [sample("Yes"), sample("yes")], store)
    second = fill(model, [sample("YES")], store)

    assert model.batches == [["yes"]]
    assert (first.scored, first.equal_inputs) == (1, 1)
    assert (second.scored, second.equal_inputs) == (0, 1)
    assert len(model.proofs) == 1
    assert scores_of(model, [sample("YES")], store).scores.tolist() == [reward_of("yes")]


def test_a_fake_that_reads_the_golden_reward_is_asked_for_each(store):
    """One text with two golden rewards is two samples for a model that looks at them."""

    class Golden(CountingModel):
        reads_golden = True
        kept = False

        def score(self, batch: list[Encoded]) -> np.ndarray:
            return np.array([e.sample.golden for e in batch])

    samples = [sample("same", "p1", golden=1.0), sample("same", "p2", golden=2.0)]
    session = MemoryStore()
    fill(Golden(), samples, session)

    assert scores_of(Golden(), samples, session).scores.tolist() == [1.0, 2.0]


def test_a_model_is_loaded_once_for_all_that_an_engine_scores():
    """It stays loaded until the engine is closed, and is proved anew on more texts only."""
    model, store = CountingModel(), MemoryStore()
    with OneProcess() as engine:
        for count in (3, 6, 7, 20, 40):
            request = Request(model, numbered_samples(count))
            fill_requests([request], store, engine=engine)
        assert "close" not in model.events

    assert (model.loads, model.events.count("close")) == (1, 1)
    assert [len(lengths) for lengths in model.proofs] == [3, 8]


def test_an_engine_holds_one_model_at_a_time():
    """Two are never loaded together; one whose scores are known is not loaded at all."""
    events: list[str] = []
    store, models = MemoryStore(), {name: CountingModel(fingerprint=name * 64) for name in "ab"}
    for name, model in models.items():
        model.load = lambda name=name, model=model: events.append(f"load {name}") or model
        model.close = partial(events.append, f"close {name}")
    with OneProcess() as engine:
        reports = [
            fill_requests([Request(models[name], [sample(text)])], store, engine=engine)
            for name, text in [("a", "1"), ("a", "2"), ("b", "1"), ("a", "1"), ("b", "2")]
        ]

    assert events == ["load a", "close a", "load b", "close b"]
    assert [report.scored for report in reports] == [1, 1, 1, 0, 1]
