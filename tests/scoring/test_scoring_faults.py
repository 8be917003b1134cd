"""What is wrong stops scoring before it begins, or costs no other reward."""

import numpy as np
import pytest
from counting_models import CountingModel, numbered_samples, reward_of, sample
from stored_scores import fill

from rmcheck.errors import PartialScoringError, ScoringError, StoreError, UsageError
from rmcheck.store.scores import FolderModelScores, ScoreStore


@pytest.fixture
def store(tmp_path) -> ScoreStore:
    """A store whose folder does not exist yet."""
    return ScoreStore(tmp_path / ".rmcheck")


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


def test_a_store_that_takes_no_rows_is_found_out_before_the_lock(store, monkeypatch):
    """Nobody waits for hours for a disk that is full."""

    def refuse(self):
        raise StoreError("full")

    monkeypatch.setattr(FolderModelScores, "check_writable", refuse)
    monkeypatch.setattr(FolderModelScores, "lock", None)
    with pytest.raises(StoreError, match="full"):
        fill(CountingModel(), numbered_samples(5), store)


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


def test_a_model_that_truncates_unasked_is_refused(store):
    """Under `error` no token may be lost, whatever the model thinks."""

    class Cutting(CountingModel):
        def encode(self, samples, too_long="error"):
            return super().encode(samples, "left")

    with pytest.raises(ScoringError, match=r"prompt 'p0', response 0 was truncated by \d+ tokens"):
        fill(Cutting(max_tokens=1), numbered_samples(2), store)


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


def test_what_must_not_be_kept_is_refused_by_a_durable_store(tmp_path):
    """Scores whose fingerprint does not see everything never outlive the session."""
    model = CountingModel()
    model.kept = False
    samples = numbered_samples(3)

    with pytest.raises(UsageError, match="not for keeping"):
        fill(model, samples, ScoreStore(tmp_path / ".rmcheck"))

    assert fill(model, samples, ScoreStore(tmp_path / "session", durable=False)).scored == 3


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
