"""Implicit rewards of a policy against its reference."""

import gc
import json
import shutil
import weakref
from dataclasses import replace

import numpy as np
import pytest
import tiny_models
import torch
import transformers
from safetensors.torch import load_file, save_file

from rmcheck.errors import ConformanceError, ModelError, ScoringError, UsageError
from rmcheck.models.checkpoint.causal import CausalCheckpoint
from rmcheck.models.engines.torch.causal import CausalScorer
from rmcheck.models.model import Proven
from rmcheck.models.registry import open_model
from rmcheck.pool.pool import Message

# gemma2 soft-caps its logits and ties lm_head to the embeddings, as gpt2 does.
KINDS = ["llama", "qwen2", "gemma2", "gpt2"]


@pytest.fixture
def pair(policy_pair, tmp_path):
    """Policy and reference that a test may spoil."""
    folders = [tmp_path / "policy", tmp_path / "reference"]
    for source, target in zip(policy_pair.split(","), folders, strict=True):
        shutil.copytree(source, target)
    return folders


def opened(pair, query=""):
    """The model, not loaded."""
    return open_model(f"implicit:{pair[0]},{pair[1]}{query}")


def loaded(pair, query=""):
    """The model, loaded."""
    return opened(pair, query).load()


def refusal(kind, pair, query="", *, load=False):
    """The message with which a pair is refused, when opened or when loaded."""
    step = loaded if load else opened
    with pytest.raises(kind) as caught:
        step(pair, query)
    return str(caught.value)


def change_config(folder, **changes):
    """Write other values into config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def set_template(folder, template):
    """Another chat template."""
    (folder / "chat_template.jinja").write_text(template)


def by_hand(folder, samples):
    """(N,) log-probabilities in nats of responses with EOS, token by token, and (N,) tokens.

    Attention is eager, since sdpa leaves out the soft-capping of gemma2.
    """
    words = tiny_models.tokenizer(chat_template=None)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    found = []
    for sample in samples:
        turns = "".join(f"<|{m.role}|>{m.content}<|end|>\n" for m in sample.messages)
        ids = words.encode(f"<s>{turns}<|assistant|>", add_special_tokens=False)
        total, tokens = 0.0, words.encode(f"{sample.response}<|end|>", add_special_tokens=False)
        for token in tokens:
            with torch.no_grad():
                logits = model(torch.tensor([ids])).logits[0, -1]
            total += float(logits.double().log_softmax(-1)[token])
            ids.append(token)
        found.append((total, len(tokens)))
    sums, counts = zip(*found, strict=True)
    return np.array(sums), np.array(counts)


@pytest.mark.parametrize("kind", KINDS)
def test_rewards_are_those_of_a_computation_by_hand(kind, tmp_path, samples):
    """Each is beta times the difference of log-probabilities, token by token, EOS included."""
    pair = [tiny_models.causal(tmp_path / f"{i}", kind, seed=i) for i in range(2)]
    model = loaded(pair, "?beta=0.3")

    rewards = model.score(model.encode(samples))
    model.prove(model.encode(samples))

    expected = 0.3 * (by_hand(pair[0], samples)[0] - by_hand(pair[1], samples)[0])
    np.testing.assert_allclose(rewards, expected, rtol=0, atol=1e-4)
    assert np.std(expected) > 0.01


def test_length_normalised_rewards_are_means_over_tokens(pair, samples):
    """With `length_normalised=yes` the sum is divided by the number of response tokens."""
    plain, mean = loaded(pair), loaded(pair, "?length_normalised=yes")
    _, tokens = by_hand(pair[0], samples)

    found = mean.score(mean.encode(samples))

    np.testing.assert_allclose(found * tokens, plain.score(plain.encode(samples)), atol=1e-9)


def test_response_tokens_end_with_the_closing_eos(pair, samples):
    """Marked are the response and its EOS: neither the header nor the line break behind."""
    model = loaded(pair)

    for encoded in model.encode(samples):
        marked = [t for t, m in zip(encoded.ids, encoded.type_ids, strict=True) if m]
        assert model.tokenizer.text(marked) == encoded.sample.response + "<|end|>"
        assert len(encoded.ids) > len(marked) + encoded.type_ids.index(1)


def test_an_eos_that_a_response_quotes_does_not_end_it(pair, samples):
    """Where the template closes no turn, an EOS inside the response is a token like others."""
    template = tiny_models.POLICY_TEMPLATE.replace(
        "<|end|>\n{% endfor %}",
        "{% if not loop.last or add_generation_prompt %}<|end|>{% endif %}{% endfor %}",
    )
    set_template(pair[0], template)
    model = loaded(pair)
    sample = replace(samples[0], response="two<|end|>plus two")

    (encoded,) = model.encode([sample])

    marked = [t for t, m in zip(encoded.ids, encoded.type_ids, strict=True) if m]
    assert model.tokenizer.text(marked) == sample.response


def answers_to_two_prompts(samples):
    """The samples' responses behind each of two long prompts."""
    prompts = [(Message("user", f"{word} " * 24),) for word in ("fox", "dog")]
    return [
        replace(s, messages=prompt, prompt_id=prompt[0].content[:3])
        for prompt in prompts
        for s in samples
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_shared_prompts_change_nothing(kind, tmp_path, samples):
    """With each prompt computed once, in both models, rewards are those of one row at a time."""
    pair = [tiny_models.causal(tmp_path / f"{i}", kind, seed=i) for i in range(2)]
    model = loaded(pair, "?beta=1")
    encoded = model.encode(answers_to_two_prompts(samples))
    alone = np.concatenate([model.score([one]) for one in encoded])

    proven = model.prove(encoded)
    item = next(i for i in proven.items if i.name == "shared_prefix")

    assert (proven.shares_prefixes, item.status) == (True, "pass")
    assert "rewards change by up to" in item.detail
    assert proven.described == {"prefix": "shared"}
    np.testing.assert_allclose(model.scoring(proven)(encoded), alone, rtol=0, atol=1e-4)
    assert np.std(alone) > 0.01


def test_a_prompt_is_computed_once_by_each_model(pair, samples):
    """One packed row a model: fewer tokens than all rows have, and no padding."""
    model = loaded(pair, "?prefix=shared")
    encoded = model.encode(answers_to_two_prompts(samples))
    seen = []
    for scorer in model.scorer.models:
        scorer._body.register_forward_pre_hook(
            lambda _, args, named: seen.append(tuple(named["input_ids"].shape)), with_kwargs=True
        )

    model.scoring(Proven(shares_prefixes=True))(encoded)

    prompts = [e.length - sum(e.type_ids) for e in encoded]
    repeated = sum(prompts) - prompts[0] - prompts[-1]
    # One token less where the first of a response decides what the prompt's last one is.
    spared = repeated - (len(encoded) - 2)
    assert len(seen) == 2
    assert seen[0] == seen[1]
    assert seen[0][0] == 1
    assert seen[0][1] <= sum(e.length for e in encoded) - spared


@pytest.mark.parametrize(("query", "shares"), [("?prefix=off", False), ("?prefix=auto", True)])
def test_sharing_can_be_turned_off(pair, samples, query, shares):
    """`prefix=off` computes every row whole, is said on the page, and is the same model."""
    model = loaded(pair, query)

    proven = model.prove(model.encode(samples))

    assert proven.shares_prefixes is shares
    assert model.model.fingerprint == opened(pair).fingerprint
    page = {item.name: item.detail for item in proven.items}
    assert ("off, as prefix=off says" in page["shared_prefix"]) is not shares


def test_sharing_that_disagrees_falls_back_loudly(pair, samples, monkeypatch):
    """What a wrong packed row gives is never used: a warning, and rows with their whole prompts."""
    own = CausalScorer.numbers

    def wrong(self, rows, way="padded", **how):
        return [n * 1.5 + 1 if way == "packed" else n for n in own(self, rows, way, **how)]

    monkeypatch.setattr(CausalScorer, "numbers", wrong)
    model = loaded(pair, "?beta=1")
    encoded = model.encode(samples)

    proven = model.prove(encoded)

    assert not proven.shares_prefixes
    assert "prompts are not shared" in proven.described["warning"]
    with pytest.raises(ConformanceError, match="prefix=shared, but rewards with shared prompts"):
        loaded(pair, "?beta=1&prefix=shared").prove(encoded)


@pytest.mark.parametrize("way", ["padded", "packed"])
def test_few_logits_at_once_change_nothing(pair, samples, way):
    """Logits made one token at a time give the log-probabilities that all at once give."""
    model = loaded(pair)
    encoded = model.encode(samples)
    rows, marks = [e.ids for e in encoded], [e.type_ids for e in encoded]
    policy = model.scorer.policy
    at_once = policy.log_probabilities(rows, marks, way)

    policy.most_logits = 1

    found = policy.log_probabilities(rows, marks, way)
    np.testing.assert_allclose(found, at_once, rtol=0, atol=1e-4)


def test_logits_are_made_at_response_tokens_only(pair, samples):
    """The output layer never sees a prompt's token, nor more tokens at once than allowed."""
    model = loaded(pair)
    encoded = model.encode(samples)
    rows, marks = [e.ids for e in encoded], [e.type_ids for e in encoded]
    scorer, seen = model.scorer.models[0], []
    scorer._output.register_forward_hook(lambda m, i, o: seen.append(len(o)))

    scorer.most_logits = 10 * 320

    scorer.log_probabilities(rows, marks)

    assert sum(seen) == sum(map(sum, marks))
    assert max(seen) == 10


def test_closing_gives_the_memory_back(pair):
    """After close no weights of either model are alive."""
    model = loaded(pair)
    alive = [weakref.ref(scorer._model) for scorer in model.scorer.models]

    model.close()
    gc.collect()

    assert [ref() for ref in alive] == [None, None]


def test_the_page_states_what_is_scored(pair, samples):
    """Formula, vocabulary, response tokens, EOS and batches stand on the conformance page."""
    model = loaded(pair)

    proven = model.prove(model.encode(samples))

    page = {item.name: item for item in proven.items}
    assert page["reward"].detail == "0.1 * (log policy - log reference), sum over response tokens"
    assert page["vocabulary"].detail == "same tokenizer entries; 320 and 320 probabilities a token"
    assert page["response_tokens"].status == "pass"
    assert "'four<|end|>'" in page["response_tokens"].detail
    assert "8 of 8 responses end with EOS ('<|end|>')" in page["eos"].detail
    assert page["batch_invariance"].status == "pass"


def test_a_template_that_opens_no_answer_is_noted(pair, samples):
    """Where the generation prompt is empty, the assistant's header counts, and the page says so."""
    set_template(pair[0], tiny_models.CHAT_TEMPLATE)
    model = loaded(pair)

    proven = model.prove(model.encode(samples))

    (item,) = [item for item in proven.items if item.name == "response_tokens"]
    assert item.status == "note"
    assert "in 8 of 8 texts" in item.detail
    assert "'<|assistant|>four<|end|>'" in item.detail


def test_a_prompt_that_is_no_beginning_is_refused(pair, samples):
    """A template that writes the prompt otherwise before a response leaves none to find."""
    opening = "{% if add_generation_prompt %}<|assistant|>"
    other = opening.replace("assistant", "user")
    set_template(pair[0], tiny_models.POLICY_TEMPLATE.replace(opening, other))
    model = loaded(pair)

    with pytest.raises(ScoringError) as caught:
        model.encode(samples)

    message = str(caught.value)
    assert "8 of 8 responses cannot be told from their prompts" in message
    assert "prompt 'p0', response 0, token " in message
    assert "'<|user|>' without the response and '<|assistant|>four" in message


def test_an_output_layer_that_is_not_all_is_seen(pair, samples):
    """Logits that a model's own forward scales fail the page (Granite, Cohere)."""
    model = loaded(pair)
    model.scorer.models[1]._soft_cap = 0.5

    with pytest.raises(ConformanceError, match=r"fail  log_probabilities .*LlamaForCausalLM"):
        model.prove(model.encode(samples))


def test_the_same_model_twice_is_refused(pair):
    """Policy and reference with the same weights would give 0 for everything."""
    assert "are the same model" in refusal(UsageError, [pair[0], pair[0]])


def test_vocabularies_of_different_size_are_refused(pair, tmp_path):
    """Other token ids make the difference meaningless; this is seen without loading."""
    other = tiny_models.causal(tmp_path / "other", vocab_size=336)

    assert "the policy has 320 tokens and the reference 336" in refusal(
        ConformanceError, [pair[0], other]
    )


def test_other_token_ids_are_refused_at_load(pair):
    """Vocabularies of one size with other entries are refused, with the entries."""
    path = pair[1] / "tokenizer.json"
    words = json.loads(path.read_text())
    vocabulary = words["model"]["vocab"]
    a, b = sorted(vocabulary, key=vocabulary.get)[-2:]
    vocabulary[a], vocabulary[b] = vocabulary[b], vocabulary[a]
    path.write_text(json.dumps(words))

    message = refusal(ConformanceError, pair, load=True)

    assert "differ in 4 entries" in message
    assert repr(a) in message
    assert repr(b) in message


def test_a_reward_model_is_no_policy(pair, llama_folder):
    """A sequence classification checkpoint is sent to `hf:`."""
    message = refusal(ConformanceError, [llama_folder, pair[1]])

    assert "is a LlamaForSequenceClassification" in message
    assert "score it as hf:DIR" in message


def test_a_missing_lm_head_is_refused_without_loading(pair):
    """An untied output layer that is not among the weights would be random."""
    tensors = load_file(pair[1] / "model.safetensors")
    del tensors["lm_head.weight"]
    save_file(tensors, pair[1] / "model.safetensors", metadata={"format": "pt"})

    assert "has no lm_head among its" in refusal(ConformanceError, pair)


def test_other_missing_weights_are_refused_at_load(pair):
    """Any tensor that would start at random is named."""
    tensors = load_file(pair[1] / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, pair[1] / "model.safetensors", metadata={"format": "pt"})

    assert "model.norm.weight: not in the weights" in refusal(ConformanceError, pair, load=True)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?beta=0", "beta is '0'; it is a number above 0"),
        ("?beta=nan", "beta is 'nan'"),
        ("?lenght_normalised=yes", "Did you mean 'length_normalised'?"),
        ("?template=pair", "name a template"),
        ("?device=gpu", "device is 'gpu'"),
    ],
)
def test_impossible_settings_are_refused(pair, query, said):
    """Each says the value and what is valid."""
    assert said in refusal(UsageError, pair, query)


def test_two_folders_are_named(pair):
    """One folder, or three, is an error that says the form."""
    for location in (f"{pair[0]}", f"{pair[0]},", f"{pair[0]},{pair[1]},{pair[0]}"):
        with pytest.raises(UsageError, match="write implicit:POLICY,REFERENCE"):
            open_model(f"implicit:{location}")


def test_the_reference_brings_its_tokenizer(pair):
    """Without one nothing says that token ids mean the same."""
    (pair[1] / "tokenizer.json").unlink()
    (pair[1] / "tokenizer_config.json").unlink()

    assert "has no tokenizer" in refusal(ModelError, pair)


def test_the_fingerprint_sees_both_models_and_beta(pair):
    """Policy, reference, their order, beta and normalisation each make another model."""
    a, b = pair
    specs = [f"{a},{b}", f"{b},{a}", f"{a},{b}?beta=0.2", f"{a},{b}?length_normalised=yes"]
    prints = [open_model(f"implicit:{spec}").fingerprint for spec in specs]
    change_config(b, rms_norm_eps=1e-5)

    prints.append(open_model(f"implicit:{specs[0]}").fingerprint)

    assert len(set(prints)) == 5
    assert opened(pair, "?beta=0.10").fingerprint == prints[-1]


def test_cutting_that_leaves_no_response_is_refused(pair, samples):
    """Cut on the right until no response token is left, a text has no reward."""
    model = loaded(pair, "?max_length=6")

    with pytest.raises(ScoringError, match=r"prompt 'p0', response 0: no response is left of"):
        model.encode(samples, "right")


def test_cutting_on_the_left_keeps_the_response(pair, samples):
    """Cut on the left, the response is scored behind a shorter prompt."""
    model = loaded(pair)
    full = model.encode(samples[:1])[0]
    cutting = loaded(pair, f"?max_length={full.length - 3}")

    (cut,) = cutting.encode(samples[:1], "left")

    assert cut.cut == 3
    assert sum(cut.type_ids) == sum(full.type_ids)
    assert np.isfinite(cutting.score([cut])).all()


def test_half_precision_keeps_a_float32_log_softmax(pair, samples):
    """In bfloat16 rewards stay within rounding of float32 ones, and the page passes."""
    exact, half = loaded(pair), loaded(pair, "?dtype=bfloat16")
    expected = exact.score(exact.encode(samples))

    half.prove(half.encode(samples))

    found = half.score(half.encode(samples))
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.25 * np.std(expected))


def test_a_scorer_reads_the_ids_it_is_given(pair):
    """A row of one prompt token and one response token has that token's log-probability."""
    checkpoint = CausalCheckpoint(pair[0])
    scorer = CausalScorer(checkpoint, dtype="float32", device="cpu", attention="auto")

    every = [scorer.log_probabilities([[1, token]], [[0, 1]])[0] for token in range(320)]

    assert np.exp(every).sum() == pytest.approx(1.0, abs=1e-5)
