"""Judges that answer yes or no: log-odds by hand, what is shared, and what is refused."""

import shutil

import numpy as np
import pytest
import tiny_models
from asking import ASK, WORDS, items, log_probabilities, refusal, scored, text_of
from stored_scores import fill, scores_of

from rmcheck.errors import ConformanceError, ScoringError, UsageError
from rmcheck.models.engines.http.asking import Replies
from rmcheck.models.engines.torch.causal import CausalScorer
from rmcheck.models.kinds.judge.folder_session import FolderOdds
from rmcheck.models.kinds.judge.read import Odds, YesNo, shown_odds
from rmcheck.store.scores import ScoreStore


def test_the_reward_is_the_log_odds_of_the_next_token(folder, opened, samples):
    """Log Σ p(yes words) − log Σ p(no words) after the opened answer, by transformers' own hand."""
    model = opened()
    expected = []
    for sample in samples:
        words, logs = log_probabilities(folder, text_of(sample))
        yes, no = (
            [words.convert_tokens_to_ids(w) for w in side] for side in (("f", "Ġt"), ("w", "d"))
        )
        expected.append(np.logaddexp.reduce(logs[yes]) - np.logaddexp.reduce(logs[no]))

    rewards = model.score(model.encode(samples))

    np.testing.assert_allclose(rewards, expected, rtol=0, atol=1e-5)


RUBRIC = (
    "prompt: 'the fox jumps over the dog and the dog over the fox: {{ prompt }}? {{ response }}'"
)


@pytest.mark.parametrize(("settings", "shares"), [("", True), ("?prefix=off", False)])
def test_what_questions_begin_with_is_computed_once(opened, samples, settings, shares):
    """A rubric stands once in a batch, and no reward changes beyond rounding."""
    model = opened(f"{RUBRIC}\n{WORDS.partition(chr(10))[2]}", settings)
    encoded = model.encode(samples)
    alone = np.concatenate([model.score([one]) for one in encoded])

    proven = model.prove(encoded)
    page = {item.name: item for item in proven.items}
    seen = []
    model.asked.weights._body.register_forward_pre_hook(
        lambda _, args, named: seen.append(named["input_ids"].numel()), with_kwargs=True
    )
    together = model.scoring(proven)(encoded)

    longest = max(e.length for e in encoded)
    assert proven.shares_prefixes is shares
    assert page["shared_prefix"].status == "pass"
    assert proven.described["prefix"] == ("shared" if shares else "off")
    assert (sum(seen) < sum(e.length for e in encoded) - 60) is shares
    assert (sum(seen) == longest * len(encoded)) is not shares
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5)


def test_a_judge_whose_packed_questions_disagree_computes_them_whole(opened, samples, monkeypatch):
    """It says so where its rewards are read; `prefix=shared` refuses to go on."""
    own = CausalScorer.numbers

    def wrong(self, rows, way="padded", **how):
        return [n * 2 + 1 if way == "packed" else n for n in own(self, rows, way, **how)]

    monkeypatch.setattr(CausalScorer, "numbers", wrong)
    model, insisting = opened(), opened(settings="?prefix=shared")

    proven = model.prove(model.encode(samples))
    page = {item.name: item for item in proven.items}

    assert not proven.shares_prefixes
    assert page["shared_prefix"].status == "note"
    assert "log-odds with shared prompts differ from one by one" in page["shared_prefix"].detail
    said = refusal(ConformanceError, insisting.prove, insisting.encode(samples))
    assert "prefix=shared, but log-odds with shared prompts differ" in said


@pytest.mark.parametrize("setting", ["attention=eager", "prefix=off"])
def test_settings_of_yes_and_no_are_refused_where_a_score_is_read(opened, setting):
    """Answers are written a token at a time."""
    said = refusal(UsageError, opened, scored(8), f"?{setting}")

    assert f"{setting.partition('=')[0]} is for yes and no; remove" in said


def test_swapping_the_sides_changes_the_sign(opened, samples):
    """The reward is antisymmetric in yes and no: no offset, no squashing."""
    model, turned = opened(), opened(ASK + 'read: {no: [f, " t"], yes: [w, d]}')

    rewards = model.score(model.encode(samples))

    np.testing.assert_allclose(turned.score(turned.encode(samples)), -rewards, rtol=0, atol=1e-12)


def test_a_system_turn_comes_first(opened, samples):
    """It stands before the question, as the chat template writes it."""
    model = opened(WORDS + "system: be strict")

    ids = model.encode(samples[:1])[0].ids

    text = model.asked.tokenizer.text(ids)
    assert text == "<s><|system|>be strict<|end|>\n" + text_of(samples[0]).removeprefix("<s>")


def test_words_are_one_token_or_refused_with_their_pieces(opened):
    """All such words are named, with what would be one token."""
    message = refusal(ConformanceError, opened, ASK + "read: {yes: [four, Good], no: [w]}")

    assert "'four' is 3 tokens here ('f', 'ou', 'r'); one token: 'f', ' f'" in message
    assert "'Good' is 4 tokens here ('G', 'o', 'o', 'd')" in message


def test_gemma_caps_its_logits(opened, tmp_path, samples):
    """Log-odds of an architecture that caps its last logits are those of its own forward."""
    other = tiny_models.causal(tmp_path / "gemma", "gemma2")
    model = opened(model=other)

    item = items(model, samples)["position"]

    assert item.status == "pass"
    assert "nats from the model's own forward" in item.detail


def test_logits_that_are_not_the_output_layers_fail_the_proof(opened, samples, monkeypatch):
    """An architecture that does more after its output layer cannot be read, and is refused."""
    own = CausalScorer.whole
    monkeypatch.setattr(CausalScorer, "whole", lambda self, row: own(self, row) + 0.01)

    message = refusal(ConformanceError, items, opened(), samples)

    assert "fail  position" in message
    assert "rmcheck cannot read this architecture (LlamaForCausalLM)" in message


def test_a_judge_that_does_not_depend_on_the_response_fails_its_proof(opened, samples, monkeypatch):
    """One reward for different questions is no reward."""
    model = opened()
    monkeypatch.setattr(
        FolderOdds,
        "odds",
        lambda self, batch, *_, **__: Replies({i: Odds(-1.0, -2.0) for i in range(len(batch))}),
    )

    message = refusal(ConformanceError, items, model, samples)

    assert "fail  depends_on_response" in message
    assert "different responses, one reward. Does the judge read the response?" in message


def test_a_template_that_hides_the_response_is_refused_over_the_pool(opened, samples, tmp_path):
    """All questions are one then, which is scored once: the pool's rewards tell."""
    blind = opened("prompt: 'is it {% if response %}good{% endif %}?'\nread: {yes: f, no: w}\n")
    store = ScoreStore(tmp_path / "store")

    report = fill(blind, samples, store)
    rewards = scores_of(blind, samples, store).scores
    message = refusal(ScoringError, blind.model.combined, rewards, samples)

    assert report.scored == 1
    assert "all 8 texts have the reward" in message
    assert "does the judge read the response?" in message


def test_the_page_says_what_the_judge_would_rather_say(opened, samples):
    """A random model puts little on two letters, and that is a warning of page and description."""
    model = opened()

    proven = model.prove(model.encode(samples))
    page = {item.name: item for item in proven.items}

    assert list(page) == [
        "reward",
        "precision",
        "question",
        "special_tokens",
        "words",
        "position",
        "mass",
        "batch_invariance",
        "shared_prefix",
        "depends_on_response",
    ]
    assert page["mass"].detail.startswith("warning: p(yes) + p(no) is 0.0")
    assert "let the template ask for these words" in proven.described["warning"]
    assert "'f' 76" in page["words"].detail
    assert page["question"].detail.endswith("<|end|>\\n<|assistant|>'")


def test_a_template_without_an_opened_answer_is_noted(folder, opened, tmp_path, samples):
    """Some chat templates write nothing where an answer is wanted; the page shows the end."""
    other = shutil.copytree(folder, tmp_path / "closed")
    tiny_models.tokenizer().save_pretrained(other)

    item = items(opened(model=other), samples)["question"]

    assert item.status == "note"
    assert "writes nothing where add_generation_prompt is true" in item.detail


def test_an_unseen_word_of_a_seen_side_is_left_out():
    """A side is the sum of its shown words; a side unseen stands at the least shown."""
    read = YesNo(("Y", "y"), ("N", "n"))
    logs = {"Y": np.log(0.5), "N": np.log(0.2), "x": np.log(0.1)}

    both = shown_odds(read, logs)
    one = shown_odds(read, {"y": np.log(0.5), "x": np.log(0.1)})

    assert both.reward == pytest.approx(np.log(0.5 / 0.2))
    assert both.mass == pytest.approx(0.7)
    assert not both.censored
    assert one == Odds(np.log(0.5), np.log(0.1), True)


@pytest.mark.parametrize("value", [0.7, float("nan"), float("-inf")])
def test_log_probabilities_above_zero_or_not_finite_are_refused(value):
    """A server that shows probabilities, or nothing, cannot be read."""
    message = refusal(ScoringError, shown_odds, YesNo(("Y",), ("N",)), {"Y": value, "N": -1.0})

    assert "log-probabilities that cannot be" in message
