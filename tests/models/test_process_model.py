"""Process reward models: rewards of steps, and the one reward made of them."""

import json
import shutil
from dataclasses import replace

import numpy as np
import process_models
import pytest
import tiny_models
import torch
import transformers
from safetensors.torch import load_file, save_file

from rmcheck.errors import ConformanceError, ModelError, ScoringError, UsageError
from rmcheck.models.kinds.process.aggregation import AGGREGATES, aggregated
from rmcheck.models.kinds.process.model import StepReward
from rmcheck.models.registry import open_model

LABELLED = r"?aggregate=min&step=\n&tag=\n"
# What a tag and its neighbours are in the texts of these tests.
CAUSAL = r"?aggregate=min&step=\n&tag=|&between=\n"


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """A model with two labels a token. Read only."""
    return process_models.labelled(tmp_path_factory.mktemp("labelled"))


@pytest.fixture(scope="module")
def causal(tmp_path_factory):
    """A language model. Read only."""
    return tiny_models.causal(tmp_path_factory.mktemp("causal"), seed=5)


@pytest.fixture
def steps():
    """Six samples of one to five steps."""
    return process_models.samples()


def opened(folder, query=LABELLED):
    """The model, not loaded."""
    return open_model(f"process:{folder}{query}")


def loaded(folder, query=LABELLED):
    """The model, loaded."""
    return opened(folder, query).load()


def refusal(kind, folder, query=LABELLED, *, load=False):
    """The message with which a folder is refused, when opened or when loaded."""
    step = loaded if load else opened
    with pytest.raises(kind) as caught:
        step(folder, query)
    return str(caught.value)


def change_config(folder, **changes):
    """Write other values into config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def statuses(proven):
    """Name of each conformance item to its status."""
    return {item.name: item.status for item in proven.items}


def ids_by_hand(sample, tag, between="", after_turn=""):
    """Token ids with the positions of the tags: pieces by themselves, one after another."""
    words = tiny_models.tokenizer(chat_template=None)

    def encode(text):
        return words.encode(text, add_special_tokens=False)

    ids = encode(f"<s><|user|>{sample.messages[0].content}<|end|>{after_turn}<|assistant|>")
    at = []
    for number, step in enumerate(sample.response.split("\n")):
        ids += encode(between * (number > 0) + step) + encode(tag)
        at.append(len(ids) - 1)
    return ids, at


def probabilities_by_hand(logits, at, good, bad):
    """(K,) softmax over two logits at the tags, in float64."""
    chosen = logits[at][:, [good, bad]].double()
    return chosen.softmax(-1)[:, 0].numpy()


def together_by_hand(p, how):
    """The log-odds of the steps' probabilities as on paper."""
    ways = {"min": p.min(), "product": p.prod(), "mean": p.mean(), "last": p[-1]}
    return float(np.log(ways[how]) - np.log1p(-ways[how]))


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("llama", "min"),
        ("qwen2", "product"),
        ("gpt2", "mean"),
        ("bert", "last"),
        ("deberta", "product"),
    ],
)
def test_labels_at_tags_agree_with_a_computation_by_hand(kind, how, tmp_path, steps):
    """Rewards are those of the plain model, one text at a time, softmax and all in float64."""
    folder = process_models.labelled(tmp_path / "model", kind)
    model = loaded(folder, rf"?aggregate={how}&step=\n&tag=\n")
    plain = transformers.AutoModelForTokenClassification.from_pretrained(folder).eval()

    encoded = model.encode(steps)
    rewards = model.score(encoded)
    proven = model.prove(encoded)

    expected = []
    for sample in steps:
        ids, at = ids_by_hand(sample, "\n")
        with torch.no_grad():
            logits = plain(torch.tensor([ids])).logits[0]
        expected.append(together_by_hand(probabilities_by_hand(logits, at, 1, 0), how))
    np.testing.assert_allclose(rewards, expected, rtol=0, atol=1e-4)
    assert np.std(expected) > 0.1
    shared = model.scoring(proven)(encoded)
    np.testing.assert_allclose(shared, rewards, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["llama", "gemma2", "gpt2"])
def test_answer_tokens_at_tags_agree_with_a_computation_by_hand(kind, tmp_path, steps):
    """`+` against `-` behind each tag, soft-capping and tied embeddings included."""
    folder = tiny_models.causal(tmp_path / "model", kind, seed=5)
    model = loaded(folder, CAUSAL)
    plain = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    words = tiny_models.tokenizer()
    good, bad = (words.encode(text, add_special_tokens=False)[0] for text in "+-")

    encoded = model.encode(steps)
    rewards = model.score(encoded)
    proven = model.prove(encoded)

    expected = []
    for sample in steps:
        ids, at = ids_by_hand(sample, "|", between="\n", after_turn="\n")
        with torch.no_grad():
            logits = plain(torch.tensor([ids])).logits[0]
        expected.append(together_by_hand(probabilities_by_hand(logits, at, good, bad), "min"))
    np.testing.assert_allclose(rewards, expected, rtol=0, atol=1e-4)
    assert np.std(expected) > 0.05
    assert set(statuses(proven).values()) <= {"pass", "note"}


def test_qwen2_process_models_need_no_code_of_their_own(tmp_path, steps):
    """Qwen2.5-Math-PRM's layout, its two linear layers and ReLU, is read without remote code."""
    folder = process_models.qwen2_process(tmp_path / "model")
    model = loaded(folder, r"?aggregate=last&step=\n&tag=<|end|>")
    body = transformers.Qwen2Model.from_pretrained(folder, key_mapping={"^model.": ""}).eval()
    tensors = load_file(folder / "model.safetensors")

    encoded = model.encode(steps)
    rewards = model.score(encoded)
    proven = model.prove(encoded)

    expected = []
    for sample in steps:
        ids, at = ids_by_hand(sample, "<|end|>")
        with torch.no_grad():
            states = body(torch.tensor([ids])).last_hidden_state[0]
        inner = (states @ tensors["score.0.weight"].T + tensors["score.0.bias"]).clamp(min=0)
        logits = inner @ tensors["score.2.weight"].T + tensors["score.2.bias"]
        expected.append(together_by_hand(probabilities_by_hand(logits, at, 1, 0), "last"))
    np.testing.assert_allclose(rewards, expected, rtol=0, atol=1e-5)
    assert np.std(expected) > 0.01
    assert proven.shares_prefixes


@pytest.mark.parametrize("query", [LABELLED, CAUSAL])
def test_shared_prompts_and_steps_change_nothing(query, labelled, causal, steps):
    """Rewards with common beginnings computed once, tags in them included, are those of one row."""
    model = loaded(labelled if query == LABELLED else causal, query + "&prefix=shared")
    longer = [replace(s, response=f"{steps[2].response}\n{s.response}") for s in steps]
    encoded = model.encode([replace(s, messages=steps[2].messages) for s in longer])

    together = model.step_log_odds(encoded, "packed")

    for one, values in zip(encoded, together, strict=True):
        alone = model.scorer.log_odds([one.ids], [one.type_ids])[0]
        np.testing.assert_allclose(values, alone, rtol=0, atol=1e-5)


def test_step_rewards_are_what_the_reward_is_made_of(labelled, steps):
    """Users see each step with its text, log-odds and probability; the least is the reward."""
    model = loaded(labelled)

    found = model.step_rewards(steps)

    rewards = model.score(model.encode(steps))
    for sample, reward, parts in zip(steps, rewards, found, strict=True):
        assert [part.text for part in parts] == sample.response.split("\n")
        worst = min(parts, key=lambda step: step.log_odds)
        assert worst.log_odds == pytest.approx(reward, abs=1e-5)
        assert aggregated(np.array([p.log_odds for p in parts]), "min") == worst.log_odds


@pytest.mark.parametrize(("log_odds", "probability"), [(0.0, 0.5), (1e4, 1.0), (-1e4, 0.0)])
def test_probability_of_a_step(log_odds, probability):
    """Log-odds of any size have a probability."""
    assert StepReward("two", log_odds).probability == probability


def test_number_of_steps_is_a_column(labelled, steps):
    """Metrics can see how many steps each response has, without the model being loaded."""
    combined = opened(labelled).combined(np.zeros(6), steps)

    assert combined.columns["steps"].tolist() == [2, 1, 5, 3, 3, 4]
    assert combined.warning == ""


def test_one_step_everywhere_is_a_warning(labelled, steps):
    """A separator that no response holds is a warning of the rewards and a note of the page."""
    model = loaded(labelled, r"?aggregate=min&tag=\n")

    proven = model.prove(model.encode(steps))

    assert "is step=\\n\\n what separates" in model.model.combined(np.zeros(6), steps).warning
    assert statuses(proven)["steps"] == "note"


def test_the_page_names_tag_answers_and_the_worst_step(causal, steps):
    """The page shows what is read and where, so that a person can judge it."""
    model = loaded(causal, CAUSAL)

    proven = model.prove(model.encode(steps))

    details = {item.name: item.detail for item in proven.items}
    assert "right step '+' (id " in details["answers"]
    assert details["tag"].startswith("one token, '|'")
    assert details["tags"].startswith("18 tags for as many steps, read at '|'")
    assert "1 to 5 a response" in details["steps"]
    assert "the worst of 5 is" in details["steps"]


def test_a_model_that_would_rather_say_something_else_is_a_warning(labelled, causal, steps):
    """A policy is no process reward model: its `+` and `-` hold little of the probability."""
    policy, judge = loaded(causal, CAUSAL), loaded(labelled)
    proven = {model: model.prove(model.encode(steps)) for model in (policy, judge)}
    answers = {m: next(i for i in p.items if i.name == "answers") for m, p in proven.items()}

    assert "WARNING" in answers[policy].detail
    assert "is it a process reward model" in proven[policy].described["warning"]
    assert answers[judge].status == "pass"
    assert "together 1 of the probability" in answers[judge].detail
    assert "warning" not in proven[judge].described


def test_a_tag_of_several_tokens_is_a_note(labelled, steps):
    """Published models have tags of one token; more may be right, and is told."""
    model = loaded(labelled, r"?aggregate=min&step=\n&tag=<<")

    proven = model.prove(model.encode(steps))

    assert statuses(proven)["tag"] == "note"


def test_a_head_that_does_more_than_its_last_layer_is_refused(tmp_path, steps):
    """ModernBERT has a layer before the one that is read, which its own forward shows."""
    model = loaded(process_models.labelled(tmp_path / "model", "modernbert"))

    with pytest.raises(ConformanceError, match=r"logits .*more than its last layer"):
        model.prove(model.encode(steps))


def test_bfloat16_agrees_to_its_rounding(labelled, steps):
    """Half precision passes its proof and stays near float32; the head's rows are float32."""
    exact, half = loaded(labelled), loaded(labelled, LABELLED + "&dtype=bfloat16")

    rewards = half.score(half.encode(steps))
    half.prove(half.encode(steps))

    np.testing.assert_allclose(rewards, exact.score(exact.encode(steps)), rtol=0, atol=0.25)
    stored = load_file(labelled / "model.safetensors")["score.weight"]
    np.testing.assert_array_equal(half.scorer._weight.numpy(), stored[[1, 0]].numpy())


@pytest.mark.parametrize(
    ("good", "first", "second"),
    [("good=right", 0, 1), ("bad=1", 0, 1), ("good=wrong&bad=right", 1, 0)],
)
def test_labels_by_name_and_index(good, first, second, labelled, tmp_path):
    """With two labels one is enough, by name or index."""
    folder = shutil.copytree(labelled, tmp_path / "model")
    change_config(folder, id2label={"0": "right", "1": "wrong"})

    assert loaded(folder, f"{LABELLED}&{good}").scorer.answers == (first, second)


def test_labels_that_do_not_say_which_is_right_are_asked_for(labelled, tmp_path):
    """Named labels, or more than two, are never guessed."""
    folder = shutil.copytree(labelled, tmp_path / "model")
    change_config(folder, id2label={"0": "right", "1": "wrong"})

    assert "0 right, 1 wrong; say which one is a right step" in refusal(ConformanceError, folder)
    assert "no head 'rihgt'. Did you mean 'right'?" in refusal(
        UsageError, folder, LABELLED + "&good=rihgt"
    )
    assert "one label, 'right'" in refusal(UsageError, folder, LABELLED + "&good=0&bad=right")


def test_single_labels_are_refused(tmp_path):
    """A probability is read from two labels."""
    folder = process_models.labelled(tmp_path / "model", num_labels=1)

    assert "has one label (0 LABEL_0)" in refusal(ConformanceError, folder)


def test_aggregate_and_tag_have_no_default(labelled):
    """Both are asked for at once, with what each way means and what known models are tagged by."""
    said = refusal(UsageError, labelled, "")

    for how, meaning in AGGREGATES.items():
        assert f"{how:<8} {meaning}" in said
    assert "<extra_0> for Qwen2.5-Math-PRM" in said


def test_unknown_escapes_and_values_are_refused(labelled):
    """All wrong escapes are named, and a misspelt way with the near one."""
    said = refusal(UsageError, labelled, r"?aggregate=min&step=\d&tag=\x")

    assert r"step holds \d" in said
    assert r"tag holds \x" in said
    assert "Did you mean 'product'?" in refusal(UsageError, labelled, "?aggregate=prodct&tag=x")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("&template=pair", "a text pair has no place for tags"),
        ("&device=tpu", "device is 'tpu'"),
        ("&max_length=999", "gives the model 256 positions"),
    ],
)
def test_impossible_settings_are_refused(query, words, labelled):
    """Settings are refused on opening."""
    assert words in refusal(UsageError, labelled, LABELLED + query)


def test_answers_of_several_tokens_are_refused(causal):
    """An answer is one token of its own; the pieces are shown."""
    said = refusal(ConformanceError, causal, CAUSAL + "&good=two plus", load=True)

    assert "good is 'two plus', which is" in said
    assert "are one token" in refusal(ConformanceError, causal, CAUSAL + "&bad=%2B", load=True)


def test_reward_models_of_other_kinds_are_refused(llama_folder, labelled, tmp_path):
    """One reward a response is for hf:, and code of a checkpoint's own is never run unasked."""
    assert "score it as hf:DIR" in refusal(ConformanceError, llama_folder)
    folder = shutil.copytree(labelled, tmp_path / "model")
    change_config(folder, architectures=["LlamaForSomething"])
    assert "rewards of steps are read from" in refusal(ConformanceError, folder)
    change_config(
        folder,
        architectures=["OwnForTokenClassification"],
        auto_map={"AutoModelForTokenClassification": "own.Own"},
    )
    assert "its own code would be run" in refusal(ConformanceError, folder)


def test_heads_that_would_be_random_are_refused(labelled, tmp_path):
    """A folder without the head's weights is no process reward model."""
    folder = shutil.copytree(labelled, tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    save_file({n: t for n, t in tensors.items() if n != "score.bias"}, folder / "model.safetensors")

    assert "newly initialised" in refusal(ConformanceError, folder, load=True)
    save_file({n: t for n, t in tensors.items() if "score" not in n}, folder / "model.safetensors")
    assert "no reward head" in refusal(ConformanceError, folder)


def test_encoders_share_no_prompts(tmp_path, steps):
    """A model that reads in both directions pads, and prefix=shared is refused."""
    folder = process_models.labelled(tmp_path / "model", "bert")
    model = loaded(folder)

    proven = model.prove(model.encode(steps))

    assert not proven.shares_prefixes
    said = refusal(ConformanceError, folder, LABELLED + "&prefix=shared", load=True)
    assert "both directions" in said


def test_every_setting_that_changes_rewards_changes_the_fingerprint(labelled, tmp_path):
    """Two models that may score differently never share scores."""
    template = tmp_path / "template.jinja"
    template.write_text(tiny_models.CHAT_TEMPLATE + " ")
    others = ["aggregate=mean", "tag=x", "step=x", "between=x", "join=text", "good=0"]
    others += ["dtype=bfloat16", "attention=eager", "max_length=99", f"template={template}"]
    base = {"aggregate": "min", "tag": r"\n"}
    found = {opened(labelled, r"?aggregate=min&tag=\n").fingerprint}

    for setting in others:
        name, _, value = setting.partition("=")
        query = "&".join(f"{n}={v}" for n, v in (base | {name: value}).items())
        found.add(opened(labelled, f"?{query}").fingerprint)

    assert len(found) == len(others) + 1
    assert opened(labelled, r"?aggregate=min&tag=\n&prefix=off&good=1").fingerprint in found


def test_scores_that_are_not_numbers_are_refused(labelled, tmp_path, steps):
    """A head of NaN is found by the proof."""
    folder = shutil.copytree(labelled, tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    tensors["score.weight"][0, 0] = float("nan")
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    model = loaded(folder)

    with pytest.raises(ScoringError, match="NaN or infinite"):
        model.prove(model.encode(steps))


def test_folders_without_tokenizer_are_refused(labelled, tmp_path):
    """Ids need the tokenizer beside the weights."""
    folder = shutil.copytree(labelled, tmp_path / "model")
    for path in folder.glob("tokenizer*"):
        path.unlink()

    assert "has no tokenizer" in refusal(ModelError, folder)
