"""Members of an ensemble are scored like any model: once, kept, and read by whoever wants them."""

import json

import numpy as np
import pytest
from counting_models import CountingModel, numbered_samples, reward_of, sample
from stored_scores import fill

from rmcheck.errors import ConformanceError, ScoringError, StoreError, UsageError
from rmcheck.models.kinds.ensemble import EnsembleRewardModel
from rmcheck.models.registry import open_model
from rmcheck.scoring.members import by_member, fill_members, read_combined
from rmcheck.scoring.request import Request
from rmcheck.store.scores import MemoryStore, ScoreStore


class Shifted(CountingModel):
    """A counting model whose rewards are `reward_of` times a factor, under a name of its own."""

    def __init__(self, name, factor=1.0, **more):
        super().__init__(fingerprint=(name * 64)[:64], **more)
        self.spec = f"counting:{name}"
        self.factor = factor

    def score(self, batch):
        """The true reward, scaled."""
        return self.factor * super().score(batch)


@pytest.fixture
def store(tmp_path) -> ScoreStore:
    """A store whose folder does not exist yet."""
    return ScoreStore(tmp_path / ".rmcheck")


def members():
    """Three models that know of each other's order."""
    return [Shifted("a"), Shifted("b", 2.0), Shifted("c", -1.0)]


def truth(samples):
    """The rewards of the first member."""
    return np.array([reward_of(s.response) for s in samples])


def test_each_member_is_loaded_and_scored_once_one_after_another(store):
    """Members need not fit together: each is closed before the next is loaded."""
    log = []
    models = members()
    for model in models:
        model.events = _Log(log, model.spec)
    samples = numbered_samples(12)
    request = Request(EnsembleRewardModel(models), tuple(samples))
    reports = fill_members([request], lambda _: store)
    loads = [(name, event) for name, event in log if event in {"load", "close"}]

    assert [report.spec for report in reports] == ["counting:a", "counting:b", "counting:c"]
    assert [report.scored for report in reports] == [12, 12, 12]
    assert loads == [(m.spec, event) for m in models for event in ("load", "close")]


class _Log(list):
    """A list of events that also goes to a shared log."""

    def __init__(self, log, name):
        super().__init__()
        self.log, self.name = log, name

    def append(self, event):
        self.log.append((self.name, event))
        super().append(event)


@pytest.mark.parametrize(
    ("combine", "by_hand"),
    [
        ("mean", lambda r: (r + 2 * r - r) / 3),
        ("worst", lambda r: np.minimum(np.minimum(r, 2 * r), -r)),
        ("uwo", lambda r: 2 * r / 3 - 0.5 * np.var([r, 2 * r, -r], axis=0)),
    ],
)
def test_what_is_read_is_what_is_combined_by_hand(store, combine, by_hand):
    """In the order of the samples, repeats included."""
    samples = (*numbered_samples(9), *numbered_samples(4))
    request = Request(EnsembleRewardModel(members(), combine=combine), samples)
    fill_members([request], lambda _: store)
    found = read_combined(request, lambda _: store)

    np.testing.assert_allclose(found.rewards, by_hand(truth(samples)), atol=1e-12)
    assert found.columns["disagreement"].shape == (13,)


def test_a_second_run_loads_no_member(store):
    """Also where the ensemble is another one, of the same members."""
    samples = tuple(numbered_samples(12))
    fill_members([Request(EnsembleRewardModel(members()), samples)], lambda _: store)
    again = members()
    other = Request(EnsembleRewardModel(again[::-1], combine="worst"), samples)
    reports = fill_members([other], lambda _: ScoreStore(store.folder))

    assert [model.events for model in again] == [[], [], []]
    assert [(r.scored, r.from_store) for r in reports] == [(0, 12)] * 3


def test_gates_on_the_members_pay_for_the_gate_on_the_ensemble(store):
    """A member's scores are the checkpoint's scores, whoever asked first, and back again."""
    samples = tuple(numbered_samples(6))
    fill(Shifted("a"), samples, store)
    models = members()
    fill_members([Request(EnsembleRewardModel(models), samples)], lambda _: store)
    report = fill(Shifted("b", 2.0), samples, store)

    assert [model.loads for model in models] == [0, 1, 1]
    assert (report.scored, report.from_store) == (0, 6)


def test_a_model_and_an_ensemble_of_it_share_one_load(store):
    """Candidate, baseline and golden RM are merged member by member; equal requests count once."""
    samples = tuple(numbered_samples(6))
    models = members()
    alone = Request(models[1], samples)
    ensemble = Request(EnsembleRewardModel(models), samples)
    parts = by_member([alone, ensemble, ensemble, alone])
    fill_members([alone, ensemble], lambda _: store)

    assert [p[0].model.spec for p in parts] == ["counting:b", "counting:a", "counting:c"]
    assert [len(p) for p in parts] == [2, 1, 1]
    assert [model.loads for model in models] == [1, 1, 1]


def test_each_member_has_the_store_that_is_right_for_it(store):
    """A member whose scores must not be kept goes to the session's store, the others stay."""
    models = members()
    models[0].kept = False
    session = MemoryStore()
    samples = tuple(numbered_samples(5))

    def store_of(model):
        return store if model.kept else session

    request = Request(EnsembleRewardModel(models), samples)
    fill_members([request], store_of)

    assert not request.model.kept
    assert len(session.open(models[0].fingerprint)) == 5
    assert len(store.open(models[1].fingerprint)) == 5
    assert len(read_combined(request, store_of).rewards) == 5


def test_a_run_killed_between_members_goes_on_where_it_was(store):
    """What a dead run scored is kept: finished members whole, the one in flight up to its batch."""

    class Dying(Shifted):
        def score(self, batch):
            if len(self.batches) == 2:
                raise KeyboardInterrupt
            return super().score(batch)

    samples = tuple(numbered_samples(20))
    fill(Shifted("a"), samples, store)

    with pytest.raises(KeyboardInterrupt):
        fill(Dying("b", 2.0), samples, store, budget=40)

    models = members()
    request = Request(EnsembleRewardModel(models), samples)
    reports = fill_members([request], lambda _: ScoreStore(store.folder))

    assert reports[0].scored == 0
    assert 0 < reports[1].from_store < 20
    assert reports[2].scored == 20
    np.testing.assert_allclose(
        read_combined(request, lambda _: store).rewards, 2 * truth(samples) / 3, atol=1e-12
    )


def test_a_member_that_gives_nan_is_named(store):
    """NaN is no low score, also not the worst of several."""

    class Broken(Shifted):
        def score(self, batch):
            return np.full(len(batch), np.nan)

    ensemble = EnsembleRewardModel([Shifted("a"), Broken("b")], combine="worst")

    with pytest.raises(ScoringError, match=r"counting:b: the reward of prompt 'p\d+'.* is nan"):
        fill_members([Request(ensemble, tuple(numbered_samples(4)))], lambda _: store)


def test_a_member_that_fails_its_proof_is_named(store):
    """The error is the member's own; what was scored before it is kept."""

    class Unproved(Shifted):
        def prove(self, encoded):
            raise ConformanceError(f"{self.spec} failed 1 of 9 conformance checks")

    ensemble = EnsembleRewardModel([Shifted("a"), Unproved("b")])

    with pytest.raises(ConformanceError, match="counting:b failed"):
        fill_members([Request(ensemble, tuple(numbered_samples(4)))], lambda _: store)
    assert len(store.open(ensemble.members[0].fingerprint)) == 4


def test_a_sample_that_a_file_of_scores_lacks_is_named(tmp_path):
    """A member read from a file must have every response; there is no default."""
    rows = [{"prompt_id": f"p{i}", "response": 0, "score": float(i)} for i in range(3)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    model = open_model("ensemble:scores:a.jsonl,fake:random", base=tmp_path)
    request = Request(model, tuple(numbered_samples(5)))

    with pytest.raises(ScoringError, match=r"a\.jsonl has no score for 2 of 5 .*'p3', 'p4'"):
        fill_members([request], lambda _: MemoryStore())


def test_reading_before_filling_is_an_error(store):
    """A member without scores is named; nothing is combined from what is there."""
    samples = tuple(numbered_samples(4))
    request = Request(EnsembleRewardModel(members()), samples)
    fill(Shifted("a"), samples, store)

    with pytest.raises(StoreError, match="4 of 4 samples have no score of counting:b"):
        read_combined(request, lambda _: store)


def test_an_ensemble_itself_has_no_scores(store):
    """Whoever scores it as if it were one model is told to score its members."""
    ensemble = EnsembleRewardModel(members())

    with pytest.raises(UsageError, match="scored member by member"):
        fill(ensemble, numbered_samples(3), store)


def test_only_members_that_read_golden_see_it(store):
    """A fake among the members is keyed by golden, the others by text alone."""
    session = MemoryStore()
    models = [Shifted("a"), open_model("fake:perfect")]
    samples = (sample("same", "p1", golden=1.0), sample("same", "p2", golden=2.0))
    request = Request(EnsembleRewardModel(models), samples)

    def store_of(model):
        return store if model.kept else session

    reports = fill_members([request], store_of)

    assert [report.scored for report in reports] == [1, 2]
    assert np.diff(read_combined(request, store_of).rewards).tolist() == [0.5]


def test_long_conversations_are_cut_as_each_member_needs(store):
    """Members differ in their longest input; what is read is each one's own cut text."""
    long = sample("one end " + "x" * 8 + " other end")
    models = [Shifted("a", max_tokens=3), Shifted("b")]
    request = Request(EnsembleRewardModel(models), (long,), "left")
    reports = fill_members([request], lambda _: store)
    expected = (reward_of("xx other end") + reward_of(long.response)) / 2

    assert [report.cut_left for report in reports] == [1, 0]
    assert read_combined(request, lambda _: store).rewards == pytest.approx([expected])
