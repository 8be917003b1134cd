"""Batches that do not fit in memory are halved, and a budget follows from the machine."""

import pytest
from counting_models import CountingModel, numbered_samples, reward_of, sample
from hypothesis import given, settings
from hypothesis import strategies as st
from stored_scores import fill, scores_of

from rmcheck.errors import ScoringError
from rmcheck.models.model import EngineFacts, Proven
from rmcheck.store.scores import MemoryStore, ScoreStore


@pytest.fixture
def store(tmp_path) -> ScoreStore:
    """A store whose folder does not exist yet."""
    return ScoreStore(tmp_path / ".rmcheck")


class Small(CountingModel):
    """Has memory for `most` padded tokens."""

    def __init__(self, most):
        super().__init__()
        self.most = most
        self.attempts: list[int] = []

    def score(self, batch):
        """Rewards, or MemoryError."""
        self.attempts.append(len(batch) * max(e.length for e in batch))
        if self.attempts[-1] > self.most:
            raise MemoryError("out of memory")
        return super().score(batch)


@given(most=st.integers(15, 400), budget=st.integers(1, 400))
@settings(deadline=None, max_examples=50)
def test_a_batch_that_does_not_fit_is_halved(most, budget):
    """All is scored once and right, and after a failure no batch is as large as the failed one."""
    store, model, samples = MemoryStore(), Small(most), numbered_samples(50)
    report = fill(model, samples, store, budget=budget)
    failed = [i for i, tokens in enumerate(model.attempts) if tokens > most]

    assert sorted(t for batch in model.batches for t in batch) == sorted(
        s.response for s in samples
    )
    assert scores_of(model, samples, store).scores.tolist() == [
        reward_of(s.response) for s in samples
    ]
    assert report.halvings == len(failed)
    for i in failed:
        assert all(
            tokens <= model.attempts[i] / 2 or tokens <= 15 for tokens in model.attempts[i + 1 :]
        )


class Packed(CountingModel):
    """Computes a common beginning once, and fails on more than `most` tokens."""

    proven = Proven(shares_prefixes=True)

    def __init__(self, most):
        super().__init__()
        self.most = most

    def score(self, batch):
        """One byte is one token; all samples share their first 50."""
        if 50 + sum(len(e.ids) - 50 for e in batch) > self.most:
            raise MemoryError
        return super().score(batch)


@pytest.mark.parametrize(("most", "batches"), [(88, [19]), (87, [9, 9, 1])])
def test_a_prompt_is_completed_unless_memory_is_short(most, batches):
    """The budget of 71 is passed by 17 tokens to complete a prompt; once a batch of 88 did not
    fit, its half of 68 tokens is not passed by any.
    """  # noqa: D205
    model = Packed(most)
    fill(model, [sample("q" * 50 + f"{i:02}") for i in range(19)], MemoryStore(), budget=71)

    assert [len(batch) for batch in model.batches] == batches


@pytest.mark.parametrize(
    ("durable", "device", "packed", "batches"),
    [(True, "", False, 2), (False, "", False, 1), (True, "cpu", False, 40), (True, "cpu", True, 3)],
)
def test_the_budget_follows_from_model_device_and_store(tmp_path, durable, device, packed, batches):
    """20,000 tokens: 16,384 a batch for a function, all at once where nothing is kept; on a CPU
    512, and 8,192 for a model that pads nothing.
    """  # noqa: D205

    class Placed(CountingModel):
        proven = Proven(shares_prefixes=packed)
        facts = EngineFacts(device)

    size = 500 if packed else 2000
    samples = [sample(f"{i:04}" + "x" * (size - 4)) for i in range(40)]
    store = ScoreStore(tmp_path / ".rmcheck", durable=durable)

    assert fill(Placed(), samples, store).batches == batches


def test_a_sample_that_does_not_fit_alone_is_named(store):
    """No endless halving: prompt, response and length are in the message."""
    with pytest.raises(ScoringError, match=r"prompt 'p12', response 0 does not fit .* \(14 tokens"):
        fill(Small(10), numbered_samples(20), store)


def test_a_proof_that_does_not_fit_is_made_on_fewer_samples():
    """Eight long samples at once may be more than the budget was made for."""

    class SmallProof(CountingModel):
        def prove(self, encoded):
            proven = super().prove(encoded)
            if len(encoded) > 2:
                raise MemoryError
            return proven

    model = SmallProof()
    fill(model, numbered_samples(60), MemoryStore())

    assert [len(proof) for proof in model.proofs] == [8, 4, 2]
    assert model.proofs[2] == model.proofs[0][:2] == sorted(model.proofs[0])[:2]
