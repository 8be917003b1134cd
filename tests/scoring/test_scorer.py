"""Scoring fills the store with what is missing, and with nothing that is wrong."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
from counting_models import CountingModel, numbered_samples, reward_of, sample
from hypothesis import given, settings
from hypothesis import strategies as st

from rmcheck.errors import PartialScoringError, ScoringError, StoreError, UsageError
from rmcheck.models.model import ConformanceItem, Encoded, EngineFacts
from rmcheck.scoring.request import Request, scores_of
from rmcheck.scoring.scorer import fill, fill_requests
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


class Refusing(CountingModel):
    """Has a reward for every text but those that end in an even digit."""

    def score(self, batch):
        """See `RewardModel`; the others are handed over with the error."""
        texts = [encoded.sample.response for encoded in batch]
        rewards = {i: reward_of(text) for i, text in enumerate(texts) if text[-1] not in "02468"}
        if len(rewards) == len(batch):
            return np.array(list(rewards.values()))
        raise PartialScoringError(
            f"counting:model: {len(batch) - len(rewards)} of {len(batch)} refused",
            rewards,
            goes_on=True,
        )


@pytest.mark.parametrize(("batch", "shown", "more"), [(1, 3, 7), (10, 2, 0), (20, 1, 0)])
def test_many_faulty_batches_are_one_short_message(store, batch, shown, more):
    """How many texts of all have no reward, what three batches say, how many more there are."""
    samples = [sample(f"answer {i:03d}", f"p{i}") for i in range(20)]
    with pytest.raises(ScoringError) as caught:
        fill(Refusing(), samples, store, budget=2 * batch)
    lines = str(caught.value).splitlines()

    assert sum("refused" in line for line in lines) == shown
    assert ("counting:model: 10 of 20 texts have no reward" in lines) == (shown > 1)
    assert (f"and {more} more batches with such texts" in lines) == (more > 0)


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


def test_a_store_that_takes_no_rows_is_found_out_before_the_lock(store, monkeypatch):
    """Nobody waits for hours for a disk that is full."""

    def refuse(self):
        raise StoreError("full")

    monkeypatch.setattr(FolderModelScores, "check_writable", refuse)
    monkeypatch.setattr(FolderModelScores, "lock", None)
    with pytest.raises(StoreError, match="full"):
        fill(CountingModel(), numbered_samples(5), store)


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
            self.conformance = (ConformanceItem("batch_invariance", "pass", "2e-07"),)

    fill(Proving(), numbered_samples(3), store)
    provenance = ScoreStore(store.folder).open(CountingModel().fingerprint).provenance

    assert provenance.conformance == (ConformanceItem("batch_invariance", "pass", "2e-07"),)
    assert provenance.spec == "counting:model"


def test_a_proof_on_few_texts_leaves_the_page_of_many(store):
    """A test that scores one text of its own does not weaken what the report shows."""

    class Proving(CountingModel):
        def prove(self, encoded):
            self.conformance = (ConformanceItem("proof", "pass", f"{len(encoded)} samples"),)

    fill(Proving(), numbered_samples(20), store)
    again = Proving()
    fill(again, [sample("one text more")], store)
    kept = store.open(again.fingerprint).provenance

    assert again.conformance[0].detail == "1 samples"
    assert (kept.conformance[0].detail, kept.proved_on) == ("8 samples", 8)


def test_too_long_is_refused_before_any_forward_pass(store):
    """Encoding comes first for all samples, so an hour of scoring is not lost to the last one."""

    class Strict(CountingModel):
        def encode(self, samples, too_long="error"):
            raise ScoringError("prompt 'p7' is too long")

    model = Strict()

    with pytest.raises(ScoringError, match="p7"):
        fill(model, numbered_samples(20), store)
    assert model.batches == []
    assert model.events[-1] == "close"


def test_a_model_that_cuts_without_leave_is_refused(store):
    """Under `error` no token may be lost, whatever the model thinks."""

    class Cutting(CountingModel):
        def encode(self, samples, too_long="error"):
            return super().encode(samples, "left")

    with pytest.raises(ScoringError, match=r"prompt 'p0' response 0 lost \d+ tokens"):
        fill(Cutting(max_tokens=1), numbered_samples(2), store)


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


class Broken(CountingModel):
    """Returns what `spoil` makes of the rewards of the batch that holds the text `bad`."""

    def __init__(self, spoil):
        super().__init__()
        self.spoil = spoil

    def score(self, batch):
        """Rewards, spoiled."""
        rewards = super().score(batch)
        return self.spoil(rewards) if "bad" in self.batches[-1] else rewards


@pytest.mark.parametrize(
    ("spoil", "says", "lost"),
    [
        (
            lambda r: np.where(np.arange(len(r)) == 1, np.nan, r),
            r"prompt 'pb', response 3 is nan",
            ["bad"],
        ),
        (
            lambda r: np.where(np.arange(len(r)) == 1, -np.inf, r),
            r"response 3 is -inf",
            ["bad"],
        ),
        (lambda r: r[:-1], r"2 samples, but rewards of shape \(1,\)", ["bad", "ok"]),
        (lambda r: r[:, None], r"2 samples, but rewards of shape \(2, 1\)", ["bad", "ok"]),
    ],
)
def test_a_bad_reward_stops_and_loses_no_other(store, spoil, says, lost):
    """NaN, infinite or too few: prompt, response and value are named; what is sound is kept."""
    samples = [
        *[sample("long enough " + "x" * i, f"p{i}") for i in (20, 19, 18)],
        sample("ok", "pa"),
        sample("bad", "pb", 3),
    ]
    with pytest.raises(ScoringError, match=says):
        fill(Broken(spoil), samples, store, budget=2)
    kept = ScoreStore(store.folder).open(CountingModel().fingerprint)
    sound = CountingModel()
    report = fill(sound, samples, ScoreStore(store.folder), budget=2)

    assert len(kept) == report.from_store == 5 - len(lost)
    assert sorted(t for batch in sound.batches for t in batch) == lost


class Faulty(CountingModel):
    """Has no reward for texts with `bad` in them, and says whether it can go on."""

    def __init__(self, goes_on):
        super().__init__()
        self.goes_on = goes_on

    def score(self, batch):
        """Rewards of the others."""
        rewards = super().score(batch)
        texts = self.batches[-1]
        sound = {i: rewards[i] for i, text in enumerate(texts) if "bad" not in text}
        if len(sound) < len(texts):
            raise PartialScoringError(f"no reward: {texts}", sound, goes_on=self.goes_on)
        return rewards


@pytest.mark.parametrize(("goes_on", "batches"), [(True, 3), (False, 1)])
def test_texts_without_a_reward_are_told_once_the_others_are_scored(store, goes_on, batches):
    """The batches after theirs are scored where the model can go on; a batch of them alone stores
    nothing, and every fault is in the message.
    """  # noqa: D205
    texts = ["bad 1 " + "x" * 40, "good " + "x" * 41, "bad 2 " + "x" * 80, "good"]
    model = Faulty(goes_on)
    with pytest.raises(ScoringError) as caught:
        fill(model, [sample(text) for text in texts], store, budget=22)

    assert len(model.batches) == batches
    assert str(caught.value).count("no reward: ['bad") == (2 if goes_on else 1)
    assert len(store.open(model.fingerprint)) == (2 if goes_on else 0)
    assert len(list(store.folder.rglob("*.parquet"))) == (2 if goes_on else 0)


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

    shares_prefixes = True

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
        shares_prefixes = packed
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
            super().prove(encoded)
            if len(encoded) > 2:
                raise MemoryError

    model = SmallProof()
    fill(model, numbered_samples(60), MemoryStore())

    assert [len(proof) for proof in model.proofs] == [8, 4, 2]
    assert model.proofs[2] == model.proofs[0][:2] == sorted(model.proofs[0])[:2]


def test_what_must_not_be_kept_is_refused_by_a_durable_store(tmp_path):
    """Scores whose fingerprint does not see everything never outlive the session."""
    model = CountingModel()
    model.kept = False
    samples = numbered_samples(3)

    with pytest.raises(UsageError, match="not for keeping"):
        fill(model, samples, ScoreStore(tmp_path / ".rmcheck"))

    assert fill(model, samples, ScoreStore(tmp_path / "session", durable=False)).scored == 3


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


def test_a_wrong_count_of_encoded_samples_is_refused(store):
    """A model that drops samples is found out before it scores."""

    class Dropping(CountingModel):
        def encode(self, samples, too_long="error"):
            return super().encode(samples, too_long)[1:]

    with pytest.raises(ScoringError, match="3 samples, but 2 encoded"):
        fill(Dropping(), numbered_samples(3), store)


def test_an_unwritable_store_is_found_out_before_the_model_is_loaded(tmp_path):
    """Nobody waits for a 70B model to learn that the folder takes no files."""
    (tmp_path / ".rmcheck").write_text("a file")
    model = CountingModel()
    store = ScoreStore(tmp_path / "fine")
    scores = store.open(model.fingerprint)
    # Reading worked, then somebody put a file there.
    (tmp_path / "fine").write_text("a file")

    with pytest.raises(StoreError, match="a file stands where the folder"):
        fill(model, numbered_samples(3), ScoreStore(tmp_path / ".rmcheck"))
    with pytest.raises(StoreError, match="a file stands where the folder"):
        scores.check_writable()
    assert model.events == []


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


def test_a_model_may_stay_loaded():
    """With `release=False` whoever called closes the model."""
    model = CountingModel()
    fill_requests([Request(model, tuple(numbered_samples(3)))], MemoryStore(), release=False)

    assert "close" not in model.events


def test_nothing_to_score_is_no_waste():
    """A report of a warm run has a waste of zero, not a division by zero."""
    assert fill(CountingModel(), [], MemoryStore()).padding_waste == 0.0
