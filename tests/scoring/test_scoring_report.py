"""What a report of scoring counts, and how it is told."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
from counting_models import CountingModel, numbered_samples, reward_of, sample
from stored_scores import fill, scores_of

from rmcheck.errors import StoreError
from rmcheck.models.model import EngineFacts
from rmcheck.store.scores import MemoryStore, ScoreStore


@pytest.fixture
def store(tmp_path) -> ScoreStore:
    """A store whose folder does not exist yet."""
    return ScoreStore(tmp_path / ".rmcheck")


def test_cut_conversations_are_counted_and_kept_apart(store):
    """Each mode has its own rewards for cut texts and shares those of whole ones."""
    model = CountingModel(max_tokens=3)
    samples = [sample("short text"), sample("one end " + "x" * 8 + " other end")]
    left = fill(model, samples, store, too_long="left")
    right = fill(model, samples, store, too_long="right")

    assert (left.scored, left.cut_left, left.cut_right) == (2, 1, 0)
    assert (right.scored, right.from_store, right.cut_right) == (1, 1, 1)
    for too_long, text in (("left", "xx other end"), ("right", "one end xxxx")):
        found = scores_of(model, samples, store, too_long=too_long)

        assert found.scores.tolist() == [reward_of("short text"), reward_of(text)]
        assert found.cuts.tolist() == [0, 3]
        assert found.lengths.tolist() == [2, 3]
    with pytest.raises(StoreError, match="1 of 2 samples have no score"):
        scores_of(model, samples, store)


def test_progress_is_told_in_tokens(store, monkeypatch):
    """The bar's total is what is scored, and batch by batch it is reached."""
    seen = []

    class Bar(nullcontext):
        def update(self, tokens):
            seen.append(tokens)

    def bar(spec, texts, tokens, stream):
        assert texts == 20
        seen.append(-tokens)
        return Bar(Bar())

    monkeypatch.setattr("rmcheck.scoring.one_process.progress_of", bar)
    report = fill(CountingModel(), numbered_samples(20), store, budget=40)

    assert sum(seen) == 0
    assert len(seen) == 1 + report.batches > 2


def test_the_report_counts_tokens_and_padding():
    """Padding waste is the share of computed tokens that are padding."""
    model = CountingModel()
    report = fill(model, [sample("x" * 40), sample("y" * 20)], MemoryStore(), budget=20)

    assert (report.tokens, report.padded_tokens, report.batches) == (15, 20, 1)
    assert report.padding_waste == 0.25
    assert report.seconds > 0


def test_models_of_text_pad_nothing():
    """A model without token ids computes no padding, and its report says so."""

    class OfText(CountingModel):
        def encode(self, samples, too_long="error"):
            return [replace(e, ids=()) for e in super().encode(samples, too_long)]

        def score(self, batch):
            return np.zeros(len(batch))

    report = fill(OfText(), numbered_samples(20), MemoryStore(), budget=200)

    assert report.batches < report.scored == 20
    assert report.padding_waste == 0.0
    assert "padding" not in str(report)


def test_a_server_does_not_tell_what_it_pads():
    """Its tokens are counted as they are sent, though the batches have texts of many lengths."""

    class Served(CountingModel):
        facts = EngineFacts("server")

    report = fill(Served(), numbered_samples(20), MemoryStore(), budget=40)

    assert report.padded_tokens == report.tokens


def test_the_report_as_a_line():
    """What was done at a glance, and nothing that did not happen."""
    model, store = CountingModel(max_tokens=3), MemoryStore()
    samples = [sample("yes"), sample("Yes"), sample("yes"), sample("x" * 40)]
    cold = fill(model, samples, store, too_long="left")
    warm = fill(model, samples, store, too_long="left")

    assert str(replace(cold, seconds=1.25)) == (
        "counting:model: 2 scored in 1.2 s, padding 33.3%, 1 duplicates, 1 with equal token ids, "
        "1 cut on the left"
    )
    assert str(warm) == ("counting:model: 3 from the store, 1 duplicates, 1 cut on the left")


def test_nothing_to_score_is_no_waste():
    """A report of a warm run has a waste of zero, not a division by zero."""
    assert fill(CountingModel(), [], MemoryStore()).padding_waste == 0.0
