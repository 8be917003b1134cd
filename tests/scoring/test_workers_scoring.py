"""Several batches at the same time: every text once, and nothing lost when one of them fails."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from counting_models import CountingModel, numbered_samples, reward_of, sample
from hypothesis import given, settings
from hypothesis import strategies as st
from stored_scores import fill, scores_of

from rmcheck.errors import PartialScoringError, ScoringError, StoreError
from rmcheck.models.model import Proven
from rmcheck.models.workers import Workers
from rmcheck.scoring.batches import PackedOrder, PaddedOrder, fair_share
from rmcheck.store.scores import MemoryStore, ModelScores


class Threads(Workers):
    """As workers on a CPU are, without torch."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._threads = ThreadPoolExecutor(count)

    def submit(self, call, /, *args, **kwargs):
        """See `Workers`."""
        return self._threads.submit(call, *args, **kwargs)

    def shutdown(self, wait=True, *, cancel_futures=False):
        """See `Executor`."""
        self._threads.shutdown(wait, cancel_futures=cancel_futures)


class ThreadedModel(CountingModel):
    """Is called by several threads.

    Attributes:
        together: Most calls of `score` that ran at the same time.
        calls: Texts of each call, also of those that failed.
        beside: How many calls ran when each of them began, itself included.
    """

    def __init__(self, count: int = 2) -> None:
        super().__init__()
        self.count = count
        self.together = self._running = 0
        self.calls: list[list[str]] = []
        self.beside: list[int] = []
        self.lock = threading.Lock()

    def workers(self):
        """See `RewardModel`."""
        return Threads(self.count)

    def score(self, batch):
        """See `RewardModel`."""
        texts = [bytes(e.ids).decode() for e in batch]
        with self.lock:
            self._running += 1
            self.together = max(self.together, self._running)
            self.calls.append(texts)
            self.beside.append(self._running)
        try:
            self.meet(texts)
            with self.lock:
                return super().score(batch)
        finally:
            with self.lock:
                self._running -= 1

    def meet(self, texts):
        """What a test lets happen in a call."""


def stored(model, samples, store):
    """The texts that have their score."""
    found = store.open(model.fingerprint).lookup([s.text_key for s in samples], "error")
    return [s.response for s, missing in zip(samples, found.missing, strict=True) if not missing]


@given(
    texts=st.lists(st.text("aAbB ", min_size=1, max_size=60), max_size=40),
    budget=st.integers(1, 60),
    count=st.integers(1, 4),
    shared=st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_every_sample_gets_its_own_reward_whoever_scores_it(texts, budget, count, shared):
    """However many workers, and whether batches are padded or packed; each text once."""
    store, model = MemoryStore(), ThreadedModel(count)
    model.proven = Proven(shares_prefixes=shared)
    samples = [sample(text, f"p{i}") for i, text in enumerate(texts)]
    report = fill(model, samples, store, budget=budget)
    scored = sorted(text for batch in model.batches for text in batch)

    expected = [reward_of(text.lower()) for text in texts]
    assert scores_of(model, samples, store).scores.tolist() == expected
    assert scored == sorted({text.lower() for text in texts})
    assert report.scored == len(scored)
    assert report.batches == len(model.batches)
    assert model.together <= count


def test_as_many_batches_at_once_as_there_are_workers():
    """Three calls that wait for each other all come back."""
    model = ThreadedModel(3)
    meeting = threading.Barrier(3)
    model.meet = lambda texts: meeting.wait(20)
    fill(model, numbered_samples(6), MemoryStore(), budget=1)

    assert model.together == 3
    assert len(model.calls) == 6


def test_what_is_scored_beside_a_batch_that_fails_is_stored():
    """The other batch was begun: it ends and is stored; soon nothing more is begun."""
    model, store, samples = ThreadedModel(2), MemoryStore(), numbered_samples(12)
    both = threading.Barrier(2)

    def meet(texts):
        first = len(model.calls) <= 2
        if first and both.wait(20) == 0:
            raise ScoringError(f"broken at {texts[0]}")

    model.meet = meet
    with pytest.raises(ScoringError, match="broken at"):
        fill(model, samples, store, budget=1)

    assert len(stored(model, samples, store)) == len(model.calls) - 1
    assert len(model.calls) < len(samples)


def test_an_error_of_no_kind_of_ours_is_told_as_it_is():
    """A fault in a model's code has its own class and place, and others' scores are kept."""
    model, store, samples = ThreadedModel(2), MemoryStore(), numbered_samples(3)
    longest = max(samples, key=lambda s: len(s.response))

    def meet(texts):
        if texts == [longest.response]:
            raise ZeroDivisionError("of the model")

    model.meet = meet
    with pytest.raises(ZeroDivisionError, match="of the model"):
        fill(model, samples, store, budget=1)

    kept = stored(model, samples, store)
    assert len(kept) == len(model.calls) - 1 >= 1
    assert longest.response not in kept


def test_a_batch_that_does_not_fit_is_halved_and_from_then_on_scored_alone():
    """Memory that two batches do not have together, one at a time may have."""
    model, samples = ThreadedModel(2), numbered_samples(40)
    store = MemoryStore()

    def meet(texts):
        if len(texts) > 3:
            raise MemoryError("too many")

    model.meet = meet
    report = fill(model, samples, store, budget=100)
    failed = [at for at, texts in enumerate(model.calls) if len(texts) > 3]

    assert stored(model, samples, store) == [s.response for s in samples]
    assert report.halvings == len(failed) >= 2
    assert sorted(t for batch in model.batches for t in batch) == sorted(
        s.response for s in samples
    )
    assert set(model.beside[failed[1] + 1 :]) == {1}


def test_one_text_that_does_not_fit_beside_another_is_tried_alone():
    """Only what does not fit alone is an error."""
    model, store, samples = ThreadedModel(2), MemoryStore(), numbered_samples(4)
    both, failed = threading.Barrier(2), []

    def meet(texts):
        if len(model.calls) <= 2 and both.wait(20) == 0:
            failed.extend(texts)
            raise MemoryError("both at once")

    model.meet = meet
    report = fill(model, samples, store, budget=1)

    assert len(failed) == report.halvings == 1
    assert stored(model, samples, store) == [s.response for s in samples]


def test_a_text_that_does_not_fit_alone_is_named_and_the_others_kept():
    """Tried again by itself first; what was scored beside it stays."""
    model, store, samples = ThreadedModel(2), MemoryStore(), numbered_samples(4)
    longest = max(samples, key=lambda s: len(s.response))

    def meet(texts):
        if texts == [longest.response]:
            raise MemoryError("never")

    model.meet = meet
    with pytest.raises(ScoringError, match=rf"'{longest.prompt_id}'.*does not fit in memory even"):
        fill(model, samples, store, budget=1)

    assert model.calls.count([longest.response]) == 2
    kept = stored(model, samples, store)
    assert kept
    assert longest.response not in kept


def test_faults_are_told_in_the_order_of_the_batches():
    """Which batch ended first does not change what a person reads."""
    samples = numbered_samples(8)
    order = sorted(samples, key=lambda s: -max(1, len(s.response) // 4))

    class Refusing(ThreadedModel):
        def score(self, batch):
            text = bytes(batch[0].ids).decode()
            if text == order[0].response:
                late.wait(20)
            if text == order[1].response:
                late.set()
            raise PartialScoringError(f"no reward for {text}", {}, goes_on=True)

    messages = []
    for _ in range(2):
        late = threading.Event()
        with pytest.raises(ScoringError) as caught:
            fill(Refusing(), samples, MemoryStore(), budget=1)
        messages.append(str(caught.value))

    first = [f"no reward for {s.response}" for s in order[:3]]
    assert messages[0].splitlines()[1:4] == first
    assert messages[0] == messages[1]


def test_a_store_that_fails_ends_the_run_at_once(monkeypatch):
    """Nothing is gained by scoring what cannot be kept."""
    model = ThreadedModel(2)

    def full(self, rows, provenance):
        raise StoreError("disk full")

    monkeypatch.setattr(ModelScores, "append", full)
    with pytest.raises(StoreError, match="disk full"):
        fill(model, numbered_samples(20), MemoryStore(), budget=1)

    assert len(model.calls) <= 2


def test_ctrl_c_ends_the_run_after_the_batches_that_were_begun(monkeypatch):
    """Threads cannot be interrupted; nothing new is begun, and the model is closed."""
    model = ThreadedModel(2)

    def interrupted(self, rows, provenance):
        raise KeyboardInterrupt

    monkeypatch.setattr(ModelScores, "append", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fill(model, numbered_samples(20), MemoryStore(), budget=1)

    assert len(model.calls) <= 2
    assert model.events[-1] == "close"


rows_of_prompts = st.lists(
    st.tuples(st.integers(0, 40), st.lists(st.integers(1, 30), min_size=1, max_size=6)),
    min_size=1,
    max_size=12,
)


@given(rows_of_prompts, st.integers(1, 4), st.integers(8, 400))
def test_workers_share_what_is_left(prompts, workers, budget):
    """A batch is at most half of a worker's share, at least an eighth of the budget."""
    rows = [
        [1000 + p] * asked + list(range(1, n + 1))
        for p, (asked, answers) in enumerate(prompts)
        for n in answers
    ]
    for order in (PackedOrder(rows), PaddedOrder([len(row) for row in rows])):
        left = [order.left(at) for at in range(len(rows))]
        shares = [fair_share(tokens, workers, budget) for tokens in left]

        assert left == sorted(left, reverse=True)
        assert left[-1] >= 1
        if workers == 1:
            assert set(shares) == {budget}
        for tokens, share in zip(left, shares, strict=True):
            assert share in {budget, budget // 8, tokens // (2 * workers)}
            assert budget // 8 <= share <= budget
    assert PackedOrder(rows).left(0) == PackedOrder(rows).computed(0, len(rows))
    assert PaddedOrder([len(row) for row in rows]).left(0) == sum(map(len, rows))


def test_the_last_batches_are_small_and_tear_no_prompt_apart():
    """Two workers end at about the same time; a prompt's responses stay together."""
    model = ThreadedModel(2)
    model.proven = Proven(shares_prefixes=True)
    texts = [f"{p:02d} a beginning of thirty letters {r * 20}" for p in range(20) for r in "abcd"]
    fill(model, [sample(text) for text in texts], MemoryStore(), budget=600)
    sizes = [len(call) for call in model.calls]

    assert sizes[0] > 4
    assert sizes[-1] == 4
    assert sizes == sorted(sizes, reverse=True)
    assert all(len(call) == 4 * len({text[:2] for text in call}) for call in model.calls)
