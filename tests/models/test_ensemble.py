"""Several reward models as one spec: how they are named, refused, and combined."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmcheck.errors import ModelError, ScoringError, UnknownModelError, UsageError
from rmcheck.models.kinds.ensemble import EnsembleRewardModel
from rmcheck.models.kinds.fake import FakeRewardModel
from rmcheck.models.model import Combined
from rmcheck.models.registry import open_model
from rmcheck.models.sample import Sample
from rmcheck.pool.pool import Message

THREE = [FakeRewardModel("random", seed=seed) for seed in (1, 2, 3)]
# Two prompts of three and two responses, scored by three members.
PROMPTS = ("p", "p", "p", "q", "q")
SCORES = np.array(
    [[1.0, 2.0, 3.0, 10.0, 12.0], [0.0, 4.0, 2.0, -5.0, -7.0], [2.0, 0.0, 1.0, 0.0, 1.0]]
)


def PoolSamples(prompts):
    """One sample for each prompt named, numbered in its prompt."""
    return [
        Sample(p, list(prompts[:i]).count(p), (Message("user", p),), f"answer {i}")
        for i, p in enumerate(prompts)
    ]


def combined(scores=SCORES, prompts=PROMPTS, members=THREE, **settings):
    """What an ensemble makes of these scores."""
    model = EnsembleRewardModel(members, **settings)
    samples = PoolSamples(prompts)
    pairs = zip(members, np.asarray(scores, dtype=float), strict=True)
    return model.together([one.combined(row, samples) for one, row in pairs], samples)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, SCORES.mean(axis=0)),
        ({"combine": "worst"}, [0.0, 0.0, 1.0, -5.0, -7.0]),
        # Members 1, 0, 2: mean 1, population variance 2/3; Coste's code uses np.var too.
        ({"combine": "uwo"}, SCORES.mean(axis=0) - 0.5 * np.var(SCORES, axis=0)),
        ({"combine": "uwo", "penalty": 3.0}, SCORES.mean(axis=0) - 3 * np.var(SCORES, axis=0)),
        ({"combine": "uwo", "penalty": 0.0}, SCORES.mean(axis=0)),
    ],
)
def test_raw_rewards_are_combined_by_the_literal_formulas(settings, expected):
    """Mean, worst case, and mean − λ · population variance, with λ = 0.5 unless told."""
    np.testing.assert_allclose(combined(**settings).rewards, expected, atol=1e-12)


def test_by_hand():
    """Members that say 1, 0 and 2 have mean 1 and variance 2/3: 1 − 0.5 · 2/3 = 2/3."""
    assert combined(combine="uwo").rewards[0] == pytest.approx(2 / 3)


def test_prompt_scale_standardises_each_member_inside_prompts():
    """Less its mean over the prompt, over its pooled within-prompt s.d. (M − P in the divisor)."""
    centred = SCORES - np.repeat(
        [SCORES[:, :3].mean(axis=1), SCORES[:, 3:].mean(axis=1)], [3, 2], axis=0
    ).T.reshape(3, 5)
    standardised = centred / np.sqrt((centred**2).sum(axis=1, keepdims=True) / 3)

    for combine, expected in {
        "mean": standardised.mean(axis=0),
        "worst": standardised.min(axis=0),
        "uwo": standardised.mean(axis=0) - 0.5 * standardised.var(axis=0),
    }.items():
        found = combined(combine=combine, scale="prompt")
        np.testing.assert_allclose(found.rewards, expected, atol=1e-12)
        np.testing.assert_allclose(
            found.columns["disagreement"], standardised.std(axis=0), atol=1e-12
        )


def test_disagreement_is_the_spread_of_centred_members():
    """A member's offset per prompt is arbitrary and is no disagreement."""
    shifted = SCORES + np.array([[7.0, 7.0, 7.0, -4.0, -4.0], [0.0] * 5, [3.0] * 5])
    same = np.tile(SCORES[0], (3, 1)) + np.array([[0.0], [5.0], [-9.0]])

    np.testing.assert_allclose(
        combined(shifted).columns["disagreement"], combined().columns["disagreement"], atol=1e-12
    )
    np.testing.assert_allclose(combined(same).columns["disagreement"], 0, atol=1e-12)
    assert (combined().columns["disagreement"] > 0.1).all()


matrices = st.lists(
    st.lists(st.integers(-9, 9), min_size=5, max_size=5), min_size=3, max_size=3
).filter(lambda rows: all(np.ptp(row[:3]) + np.ptp(row[3:]) > 0 for row in rows))


@given(scores=matrices, order=st.permutations([0, 1, 2]), data=st.data())
@settings(max_examples=60, deadline=None)
def test_the_order_of_members_changes_no_bit(scores, order, data):
    """So the fingerprint may forget it, under every combination and scale."""
    chosen = {
        "combine": data.draw(st.sampled_from(["mean", "worst", "uwo"])),
        "scale": data.draw(st.sampled_from(["raw", "prompt"])),
    }
    rows = np.array(scores, dtype=float) / 7
    first = combined(rows, **chosen)
    other = combined(rows[order], members=[THREE[i] for i in order], **chosen)

    np.testing.assert_array_equal(first.rewards, other.rewards)
    np.testing.assert_array_equal(first.columns["disagreement"], other.columns["disagreement"])


@given(scores=matrices, scale=st.integers(1, 9), shift=st.integers(-9, 9))
@settings(max_examples=60, deadline=None)
def test_prompt_scale_forgets_offset_and_scale_of_a_member(scores, scale, shift):
    """A member that is b · r + a_i says the same as r; under `raw` it does not."""
    changed = np.array(scores, dtype=float)
    changed[0] = changed[0] * scale + shift * np.array([1, 1, 1, -2, -2])

    np.testing.assert_allclose(
        combined(changed, scale="prompt").rewards,
        combined(scores, scale="prompt").rewards,
        atol=1e-9,
    )


@given(scores=matrices)
@settings(max_examples=60, deadline=None)
def test_worst_is_below_uwo_is_below_mean(scores):
    """The penalties only take away."""
    worst, uwo, mean = (combined(scores, combine=c).rewards for c in ("worst", "uwo", "mean"))

    assert (worst <= mean + 1e-12).all()
    assert (uwo <= mean + 1e-12).all()


def test_a_warning_where_raw_members_differ_in_scale():
    """More than three times in s.d. inside prompts; offsets and `scale=prompt` need none."""
    far = SCORES * np.array([[1.0], [1.0], [20.0]])
    offset = SCORES + np.array([[0.0], [500.0], [0.0]])

    assert "fake:random?seed=3 18.3" in combined(far).warning
    assert "scale=prompt makes them equal" in combined(far).warning
    assert combined(far, scale="prompt").warning == ""
    assert combined(offset).warning == combined().warning == ""


class Doubtful(FakeRewardModel):
    """A member that says something about its scores, or refuses them."""

    def combined(self, scores, samples):
        """One more than the scores."""
        if scores.min() < -6:
            raise ScoringError(f"{self.spec}: too many texts without an answer")
        return Combined(scores + 1, warning="2 of 5 texts without an answer")


def test_what_a_member_says_of_its_own_scores_is_said_of_the_ensemble():
    """A judge's unparsed answers, a process RM's single steps: by the member's name."""
    members = [FakeRewardModel("random", seed=1), Doubtful("random", seed=2)]

    found = combined(SCORES[[0, 2]], members=members)

    assert found.warning == f"{members[1].name}: 2 of 5 texts without an answer"
    assert found.rewards.tolist() == ((SCORES[0] + SCORES[2] + 1) / 2).tolist()
    with pytest.raises(ScoringError, match="too many texts without an answer"):
        combined(SCORES[:2], members=members)


def test_prompt_scale_needs_prompts_with_two_responses():
    """Texts that a test scores one by one have nothing to be compared with."""
    with pytest.raises(UsageError, match="scale=prompt compares the responses of a prompt"):
        combined(prompts=("a", "b", "c", "d", "e"), scale="prompt")


def test_prompt_scale_refuses_a_member_that_prefers_nothing():
    """A member without spread cannot be given one; it is named."""
    flat = SCORES.copy()
    flat[1] = [0.1, 0.1, 0.1, 0.7, 0.7]

    with pytest.raises(ScoringError, match=r"spread inside prompts, and fake:random\?seed=2 gives"):
        combined(flat, scale="prompt")
    assert np.isfinite(combined(flat).rewards).all()


def test_a_spec_names_members_and_settings():
    """Members between commas, settings of the ensemble after the question mark."""
    model = open_model("ensemble:fake:random,fake:length_biased?combine=uwo&penalty=2&scale=prompt")

    assert [m.spec for m in model.members] == ["fake:random", "fake:length_biased"]
    assert (model.combine, model.penalty, model.scale) == ("uwo", 2.0, "prompt")
    assert model.name == "ensemble of 2 (uwo)"
    assert model.description["combine"] == "uwo, penalty 2"
    assert "fake:length_biased (" in model.description["members"]
    assert all(isinstance(value, str) for value in model.description.values())


def test_an_ensemble_is_kept_and_reads_golden_as_its_members_do():
    """It scores nothing itself, and says so when asked."""
    fakes = open_model("ensemble:fake:random,fake:perfect")

    assert (fakes.kept, fakes.reads_golden) == (False, True)
    assert not open_model("ensemble:fake:random,fake:constant").reads_golden
    with pytest.raises(UsageError, match="is scored member by member"):
        fakes.load()


def test_a_model_without_members_is_its_own():
    """Whoever scores need not know which models are ensembles."""
    model = THREE[0]
    found = model.combined(SCORES[0], PoolSamples(PROMPTS))

    assert model.members == (model,)
    assert found.rewards.tolist() == SCORES[0].tolist()
    assert (dict(found.columns), found.warning) == ({}, "")


def test_the_fingerprint_is_of_members_and_settings():
    """Order and spelling do not count; members, combination, penalty and scale do."""

    def fingerprint(spec):
        return open_model(spec).fingerprint

    specs = [
        "ensemble:fake:random,fake:constant",
        "ensemble:fake:random,fake:reversed",
        "ensemble:fake:random,fake:constant,fake:reversed",
        "ensemble:fake:random,fake:constant?combine=worst",
        "ensemble:fake:random,fake:constant?combine=uwo",
        "ensemble:fake:random,fake:constant?combine=uwo&penalty=1",
        "ensemble:fake:random,fake:constant?scale=prompt",
    ]
    one = fingerprint(specs[0])

    assert len({fingerprint(spec) for spec in specs}) == len(specs)
    assert fingerprint("ensemble:fake:constant,fake:random?combine=mean&scale=raw") == one
    assert fingerprint(specs[4] + "&penalty=0.5") == fingerprint(specs[4])
    assert len(bytes.fromhex(one)) == 32


@pytest.mark.parametrize(
    ("spec", "error", "said"),
    [
        ("ensemble:", UsageError, "member 1: has no text"),
        ("ensemble:fake:random", UsageError, "two members or more; this one has fake:random"),
        ("ensemble:fake:random,", UsageError, "member 2: has no text"),
        ("ensemble:fake:random,fake:random", UsageError, "is the same model as fake:random"),
        ("ensemble:fake:random,fake:randm", UnknownModelError, "Did you mean 'random'?"),
        ("ensemble:fake:random,hf:no/such", UnknownModelError, "member 2: checkpoint"),
        ("ensemble:fake:random,fak:x", UnknownModelError, "no model has the scheme 'fak'"),
        ("ensemble:random,fake:constant", UnknownModelError, "'random' has no scheme"),
        ("ensemble:fake:random,ensemble:x.yaml", UsageError, "is an ensemble itself"),
        ("ensemble:fake:random,fake:nan?combine=median", UsageError, "Values: mean, worst, uwo."),
        ("ensemble:fake:random,fake:nan?penalty=1", UsageError, "penalty is for combine=uwo"),
        ("ensemble:fake:random,fake:nan?combine=uwo&penalty=x", UsageError, "'x', not a number"),
        ("ensemble:fake:random,fake:nan?combine=uwo&penalty=-1", UsageError, "a number, 0 or more"),
        ("ensemble:fake:random,fake:nan?combine=uwo&penalty=nan", UsageError, "0 or more"),
        ("ensemble:fake:random,fake:nan?scales=raw", UsageError, "Did you mean 'scale'?"),
        ("ensemble:none.yaml", UnknownModelError, "none.yaml cannot be read"),
    ],
)
def test_what_is_no_ensemble_is_refused(spec, error, said):
    """The message holds the spec, the member and what is wrong with it."""
    with pytest.raises(error) as caught:
        open_model(spec)

    assert said in str(caught.value)


def test_all_members_that_cannot_be_opened_are_named():
    """Not only the first."""
    with pytest.raises(UnknownModelError) as caught:
        open_model("ensemble:fake:randm,fake:random,hf:no/such")

    assert "member 1: there is no fake 'randm'" in str(caught.value)
    assert "member 3: checkpoint" in str(caught.value)


def test_a_wrong_checkpoint_among_the_members_keeps_its_kind_of_error(tmp_path):
    """Weights that are no safetensors are a ModelError, as they are alone."""
    (tmp_path / "config.json").write_text('{"architectures": ["LlamaForSequenceClassification"]}')
    (tmp_path / "pytorch_model.bin").write_bytes(b"")

    with pytest.raises(ModelError, match=r"member 2: .*pickled weights only"):
        open_model(f"ensemble:fake:random,hf:{tmp_path}")


FILE = """\
# an ensemble
members:
  - fake:random?seed=1
  - "fake:random?seed=2&noise=0.5"
combine: uwo
penalty: 0.25
"""


def test_a_file_names_members_with_settings(tmp_path):
    """Found relative to the current directory like any file; the spec's settings win."""
    (tmp_path / "rms.yaml").write_text(FILE)
    model = open_model("ensemble:rms.yaml", base=tmp_path)
    other = open_model("ensemble:rms.yaml?combine=worst&scale=prompt", base=tmp_path / ".")

    assert [m.spec for m in model.members] == ["fake:random?seed=1", "fake:random?seed=2&noise=0.5"]
    assert (model.combine, model.penalty, model.scale) == ("uwo", 0.25, "raw")
    assert model.spec == "ensemble:rms.yaml"
    assert other.scale == "prompt"


def test_a_penalty_of_the_file_is_idle_where_the_spec_combines_otherwise(tmp_path):
    """One file serves the comparison of combinations."""
    (tmp_path / "rms.yaml").write_text(FILE)
    model = open_model("ensemble:rms.yaml?combine=worst", base=tmp_path)
    inline = "members: ['fake:random?seed=1', 'fake:random?seed=2&noise=0.5']\ncombine: worst\n"
    (tmp_path / "worst.yaml").write_text(inline)

    assert model.fingerprint == open_model("ensemble:worst.yaml", base=tmp_path).fingerprint


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (FILE.replace("uwo", "mean"), ["penalty is for combine=uwo, and combine is mean"]),
        (FILE.replace("0.25", "much"), ["penalty is 'much', not a number"]),
        (FILE.replace("seed=1", "seed=x"), ["rms.yaml:3: fake:random?seed=x: seed is 'x'"]),
        (FILE.replace("fake:random?seed=1", "ensemble:rms.yaml"), ["yaml:3: ensemble:rms.yaml is"]),
    ],
)
def test_a_wrong_file_is_refused_with_its_lines(tmp_path, text, said):
    """All problems at once, each where it stands."""
    (tmp_path / "rms.yaml").write_text(text)

    with pytest.raises(UsageError) as caught:
        open_model("ensemble:rms.yaml", base=tmp_path)
    for part in said:
        assert part in str(caught.value)


def test_a_file_that_is_no_text_is_refused(tmp_path):
    """Bytes that are not UTF-8 are an error that names the file."""
    (tmp_path / "rms.yaml").write_bytes(b"members: [\xff]")

    with pytest.raises(UsageError, match=r"rms\.yaml:1:11: not UTF-8"):
        open_model("ensemble:rms.yaml", base=tmp_path)


def test_opening_imports_nothing_heavy(llama_folder):
    """Members are opened like any model: headers and hashes only."""
    spec = f"ensemble:hf:{llama_folder},fake:random"
    code = (
        f"import sys; from rmcheck.models.registry import open_model; open_model({spec!r}); "
        "print([m for m in ('torch', 'transformers', 'pyarrow', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
