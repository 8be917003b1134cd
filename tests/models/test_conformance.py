"""A scorer proves itself, or the run stops with the page that says why."""

from types import SimpleNamespace

import numpy as np
import pytest
import tiny_models
import torch
from test_checkpoint import change_config

from rmcheck.errors import ConformanceError, ScoringError
from rmcheck.models.model import ConformanceItem
from rmcheck.models.proof.conformance import grafted, page, spread_of_lengths
from rmcheck.models.registry import open_model
from rmcheck.models.sample import Encoded


def opened(folder, query="", change=None):
    """A loaded model; `change` may spoil what it holds."""
    model = open_model(f"hf:{folder}{query}").load()
    if change:
        change(model)
    return model


def own_reward(model, ids, types=()):
    """The reward by the model's own forward, padding and position its own."""
    scorer = model.scorer
    with torch.inference_mode():
        logits = scorer._model(**scorer._padded([ids], [types] if types else ())).logits
    return float(scorer.head.rewards(logits.float().numpy())[0])


def proved(model, samples):
    """The items of the page by name."""
    proven = model.prove(model.encode(samples))
    return {item.name: item for item in proven.items}


def failure(model, samples):
    """The message of a model that fails."""
    with pytest.raises(ConformanceError) as caught:
        proved(model, samples)
    return str(caught.value)


@pytest.fixture(scope="module")
def pad_is_eos(tmp_path_factory):
    """A model whose padding token is its EOS, which closes every conversation."""
    config = tiny_models.decoder_config("llama", pad_token_id=tiny_models.END)
    words = tiny_models.tokenizer(pad_token="<|end|>")
    return tiny_models.save(config, tmp_path_factory.mktemp("pad-is-eos"), words=words)


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2", "gemma2", "gpt2"])
def test_sound_decoders_pass(kind, tmp_path, samples):
    """Five architectures pass every check, and read what transformers' own forward reads."""
    folder = tiny_models.save(tiny_models.decoder_config(kind), tmp_path)
    model = opened(folder)

    page_items = proved(model, samples)

    assert [i.name for i in page_items.values() if i.status == "fail"] == []
    assert page_items["position"].status == "pass"
    own = [own_reward(model, e.ids) for e in model.encode(samples)]
    np.testing.assert_allclose(model.score(model.encode(samples)), own, rtol=0, atol=2e-5)


def test_the_page_names_every_convention(llama_folder, samples):
    """Fifteen lines: what was checked, and what is only stated."""
    items = proved(opened(llama_folder), samples)

    assert list(items) == [
        "head",
        "precision",
        "attention",
        "template",
        "response_kept",
        "tokenizer_file",
        "bos",
        "eos",
        "position",
        "pad_eos",
        "shared_prefix",
        "batch_invariance",
        "activation",
        "max_length",
        "normalisation",
    ]
    assert "the reward is 'LABEL_0'; computed in float32" in items["head"].detail
    assert "1 at the beginning; first ids [1, 4" in items["bos"].detail
    assert "at most 256 tokens" in items["max_length"].detail


def test_eos_is_tested_with_and_without(llama_folder, samples):
    """The page says how rewards change without the EOS (trap 4.2)."""
    model = opened(llama_folder)
    encoded = model.encode(samples)
    without = model.scorer.rewards([e.ids[:-1] for e in encoded])
    change = np.abs(without - model.score(encoded)).mean()

    item = proved(model, samples)["eos"]

    assert item.status == "note"
    assert "8 of 8 end with EOS '<|end|>'" in item.detail
    assert f"without it rewards change by {change:.3g} on average" in item.detail


def test_pad_equal_to_eos_stops_the_run(pad_is_eos, samples):
    """Transformers would read before the EOS: both tokens, the gap, the way out (trap 4.4)."""
    message = failure(opened(pad_is_eos), samples)

    assert "failed 1 of 15 conformance checks" in message
    assert "'<|end|>' (id 2); transformers reads at token" in message
    assert "rewards differ by up to" in message
    assert "position=last" in message
    assert "position=transformers" in message


@pytest.mark.parametrize(("position", "back"), [("last", 1), ("transformers", 2)])
def test_a_stated_position_is_read(pad_is_eos, samples, position, back):
    """With `position` the reward is read where it says, which transformers confirms (4.4)."""
    model = opened(pad_is_eos, f"?position={position}")
    (encoded,) = model.encode(samples[:1])
    body, head = model.scorer._model.model, model.scorer._model.score
    with torch.inference_mode():
        hidden = body(torch.tensor([encoded.ids])).last_hidden_state[0]
        expected = float(head(hidden)[-back, 0])

    items = proved(model, samples)

    assert model.score([encoded])[0] == pytest.approx(expected, abs=1e-5)
    assert items["pad_eos"].status == "note"
    assert items["position"].status == ("note" if position == "last" else "pass")
    own = own_reward(model, encoded.ids)
    assert (abs(own - expected) < 1e-5) == (position == "transformers")


def test_left_padding_would_be_noticed(tmp_path, samples):
    """GPT-2 counts positions from the left edge; a scorer that pads there fails (trap 4.5)."""
    folder = tiny_models.save(tiny_models.decoder_config("gpt2"), tmp_path)

    def pad_left(model):
        scorer = model.scorer
        right = scorer._padded

        def left(rows, types):
            inputs = right(rows, types)
            turned = [
                {n: torch.roll(v[i : i + 1], v.shape[1] - len(row), 1) for n, v in inputs.items()}
                for i, row in enumerate(rows)
            ]
            return {n: torch.cat([t[n] for t in turned]) for n in inputs}

        scorer._padded = left
        rewards = scorer.rewards

        def last_column(rows, types=(), *way, **how):
            longest = max(map(len, rows))
            scorer.reward_position = lambda row: longest - 1
            return rewards(rows, types, *way, **how)

        scorer.rewards = last_column

    message = failure(opened(folder, change=pad_left), samples)

    assert "fail  batch_invariance" in message


def test_a_mask_that_is_ignored_is_noticed(bert_folder, samples):
    """An encoder that attends to padding changes with the batch (trap 4.6)."""

    def no_mask(model):
        padded = model.scorer._padded

        def ones(rows, types):
            inputs = padded(rows, types)
            inputs["attention_mask"] = torch.ones_like(inputs["attention_mask"])
            return inputs

        model.scorer._padded = ones

    message = failure(opened(bert_folder, "?template=pair", no_mask), samples)

    assert "fail  batch_invariance" in message


def test_batch_invariance_reports_the_largest_change(llama_folder, samples):
    """The page has the change, what is allowed, and the pairs that flip (trap 4.6)."""

    def drifting(model):
        rewards = model.scorer.rewards
        model.scorer.rewards = lambda rows, types=(), way="padded", **how: (
            rewards(rows, types, way, **how) * (-1 if way == "padded" and len(rows) > 1 else 1)
        )

    message = failure(opened(llama_folder, change=drifting), samples)

    assert "6 of 6 pairs flip" in message


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_passes_with_its_own_tolerance(llama_folder, samples, dtype):
    """Half types are stated on the page and held to a wider tolerance."""
    items = proved(opened(llama_folder, f"?dtype={dtype}"), samples)

    assert items["precision"].status == "note"
    assert items["precision"].detail.startswith(f"{dtype} on cpu")
    assert "allowed 0.25" in items["batch_invariance"].detail


def test_the_head_keeps_float32_weights_in_bfloat16(llama_folder):
    """The head's weights come from the file, unrounded, in float32 (trap 4.7)."""
    exact = opened(llama_folder).scorer._last_layer.weight
    half = opened(llama_folder, "?dtype=bfloat16")

    weight = half.scorer._last_layer.weight

    assert weight.dtype == torch.float32
    assert torch.equal(weight, exact)
    assert half.scorer._body.embed_tokens.weight.dtype == torch.bfloat16


def test_bfloat16_makes_no_ties(llama_copy, samples):
    """Rewards around 10 do not fall on bfloat16's grid of 1/16 (trap 4.7)."""
    from test_checkpoint import change_weights

    change_weights(llama_copy, lambda t: t | {"score.weight": t["score.weight"] * 3})
    model = opened(llama_copy, "?dtype=bfloat16")

    rewards = model.score(model.encode(samples))

    assert np.abs(rewards).max() > 8
    assert len(set(rewards.tolist())) == len(samples)
    assert not np.allclose(rewards * 32, np.round(rewards * 32))


def test_soft_capped_attention_runs_eager(tmp_path, samples):
    """Gemma 2 gets eager attention; sdpa, which drops soft-capping, fails (trap G3)."""
    folder = tiny_models.save(tiny_models.decoder_config("gemma2"), tmp_path)

    item = proved(opened(folder), samples)["attention"]

    assert item.status == "pass"
    assert item.detail.startswith("eager, since config.json soft-caps attention")

    message = failure(opened(folder, "?attention=sdpa"), samples)

    assert "fail  attention" in message
    assert "use attention=eager" in message


def test_probabilities_are_suspicious(llama_folder, samples):
    """Rewards that all lie in (0, 1) are noted: a squashed logit cannot rank (trap 4.8)."""

    def squashed(model):
        model.scorer._last_layer.register_forward_hook(lambda *passed: passed[-1].sigmoid())

    item = proved(opened(llama_folder, change=squashed), samples)["activation"]

    assert item.status == "note"
    assert "all lie in (0, 1), as probabilities would" in item.detail


def test_regression_and_raw_logits_are_stated(llama_copy, samples):
    """The config's problem_type is on the page; it changes nothing."""
    before = opened(llama_copy)
    plain = before.score(before.encode(samples))
    change_config(llama_copy, problem_type="regression")
    model = opened(llama_copy)

    items = proved(model, samples)

    assert "problem_type regression" in items["activation"].detail
    np.testing.assert_allclose(model.score(model.encode(samples)), plain, rtol=0, atol=1e-5)


def test_a_padding_id_below_0_is_none(llama_copy, samples):
    """Llama 1 and its children say -1: rows are filled with what is masked anyway."""
    before = opened(llama_copy)
    plain = before.score(before.encode(samples))
    change_config(llama_copy, pad_token_id=-1)
    model = opened(llama_copy)
    proved(model, samples)

    np.testing.assert_allclose(model.score(model.encode(samples)), plain, rtol=0, atol=1e-5)


def test_a_tokenizer_that_outgrew_the_model_is_refused(llama_copy, samples):
    """Ids without an embedding are told by their prompts, before a GPU is lost to them."""
    from transformers import AutoTokenizer

    words = AutoTokenizer.from_pretrained(llama_copy)
    words.add_tokens(["fox"])
    words.save_pretrained(llama_copy)

    with pytest.raises(ScoringError, match=r"ids up to 320, but the model has 320 embeddings"):
        opened(llama_copy).encode(samples)


def test_normalisation_in_training_is_stated(llama_copy, samples):
    """A mean and a standard deviation in the config are reported, never applied (trap 4.26)."""
    change_config(llama_copy, mean=1.5, std=2.0)

    item = proved(opened(llama_copy), samples)["normalisation"]

    assert item.status == "note"
    assert "mean 1.5, std 2.0" in item.detail


def test_a_template_that_drops_part_of_a_response_is_noted(llama_folder, samples, tmp_path):
    """Templates that rewrite the answer are seen: different answers would read alike."""
    (tmp_path / "t.jinja").write_text(
        "{% for m in messages %}{{ m.content[:8] }}{% endfor %}<|end|>"
    )

    items = proved(opened(llama_folder, f"?template={tmp_path / 't.jinja'}"), samples)

    assert items["response_kept"].status == "note"
    assert "are not in their text word for word" in items["response_kept"].detail


def test_qwen2_folders_with_another_tokenizer_are_noted(tmp_path, samples):
    """Version 5 of transformers builds Qwen's tokenizer whatever tokenizer.json says (trap G1)."""
    from tokenizers import Tokenizer, pre_tokenizers

    folder = tiny_models.save(tiny_models.decoder_config("qwen2"), tmp_path)
    core = Tokenizer.from_file(str(folder / "tokenizer.json"))
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split("o", "isolated"), core.pre_tokenizer]
    )
    core.save(str(folder / "tokenizer.json"))

    item = proved(opened(folder), samples)["tokenizer_file"]

    assert item.status == "note"
    assert "Qwen2Tokenizer" in item.detail


def test_cut_samples_are_counted(llama_folder, samples):
    """Samples that were cut are on the page (trap 4.11)."""
    model = opened(llama_folder, "?max_length=20")

    proven = model.prove(model.encode(samples, "left"))

    item = {i.name: i for i in proven.items}["max_length"]
    assert item.status == "note"
    assert "of these samples were cut" in item.detail


def test_nan_rewards_are_an_error(llama_folder, samples):
    """NaN is never a low score (trap 4.14)."""

    def poisoned(model):
        with torch.no_grad():
            model.scorer._last_layer.weight.fill_(float("nan"))

    model = opened(llama_folder, change=poisoned)

    with pytest.raises(ScoringError, match=r"is nan; 8 of 8 rewards"):
        model.score(model.encode(samples))


def test_no_samples_prove_nothing(llama_folder):
    """A proof on no samples is an error, not a pass."""
    with pytest.raises(ScoringError, match="no samples to prove the model on"):
        opened(llama_folder).prove([])


def encoded_of(length, samples):
    """An encoded row of some length."""
    ids = (1,) * length
    return Encoded(bytes([length]) * 16, length, ids, (), 0, samples[0])


def test_a_proof_takes_few_samples_of_different_lengths(samples):
    """At most eight, from the shortest to the longest, each input once."""
    rows = [encoded_of(length, samples) for length in [*range(1, 60), 7, 7]]

    chosen = spread_of_lengths(rows)

    assert [c.length for c in chosen] == [1, 9, 18, 26, 34, 42, 51, 59]
    assert [c.length for c in spread_of_lengths(rows[:3])] == [1, 2, 3]


@pytest.mark.parametrize(
    ("longest", "window", "most"), [(40, 0, 40), (900, 0, 512), (900, 150, 812)]
)
def test_rows_that_are_made_up_share_most_and_are_short(longest, window, most, samples):
    """Three quarters are shared, more than a window; with one sample there is such a row too."""
    lengths = (5, longest // 2, longest)
    rows = [
        Encoded(bytes([i]) * 16, n, tuple(range(1000 * i, 1000 * i + n)), (), 0, samples[0])
        for i, n in enumerate(lengths)
    ]

    made_up = grafted(rows, window)

    shared = most * 3 // 4
    assert {row.ids[:shared] for row in made_up} == {rows[-1].ids[:shared]}
    assert len({row.ids[shared:] for row in made_up}) == 3
    assert max(row.length for row in made_up) == most
    assert shared > window
    assert [len(row.ids) for row in grafted(rows[-1:], window)] == [most]


def test_failures_come_first_on_the_page():
    """The page is read from the top."""
    items = [ConformanceItem(f"n-{s}", s, "why") for s in ("pass", "note", "fail")]

    assert page(items) == "  fail  n-fail  why\n  note  n-note  why\n  pass  n-pass  why"


def test_memory_errors_are_memory_errors(llama_folder, samples, monkeypatch):
    """What torch says about memory, on either device, is a MemoryError; the rest is not."""
    model = opened(llama_folder)
    encoded = model.encode(samples)
    errors = [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    ]

    for error in errors:
        monkeypatch.setattr(model.scorer, "_body", SimpleNamespace())
        monkeypatch.setattr(model.scorer, "_padded", lambda *_, e=error: (_ for _ in ()).throw(e))
        with pytest.raises(MemoryError, match=r"memory"):
            model.score(encoded)

    monkeypatch.setattr(
        model.scorer, "_padded", lambda *_: (_ for _ in ()).throw(RuntimeError("shape"))
    )
    with pytest.raises(RuntimeError, match="shape"):
        model.score(encoded)


def test_missing_template_file_setting_is_used(llama_copy, samples, tmp_path):
    """`template=FILE.jinja` replaces the tokenizer's own (trap 4.25)."""
    (llama_copy / "chat_template.jinja").unlink()
    (tmp_path / "own.jinja").write_text("{{ bos_token }}{{ messages[-1].content }}<|end|>")
    model = opened(llama_copy, f"?template={tmp_path / 'own.jinja'}")

    (row,) = model.encode(samples[:1])

    assert model.tokenizer.text(row.ids) == "<s>four<|end|>"
    assert model.description["template"].endswith("own.jinja")


def test_encoders_use_their_type_ids(tmp_path, samples):
    """BERT's rewards are those of transformers with the pair's type ids."""
    folder = tiny_models.bert(tmp_path)
    model = opened(folder, "?template=pair")
    encoded = model.encode(samples)

    rewards = model.score(encoded)

    own = [own_reward(model, e.ids, e.type_ids) for e in encoded]
    np.testing.assert_allclose(rewards, own, rtol=0, atol=2e-5)
    without = [own_reward(model, e.ids) for e in encoded]
    assert np.abs(rewards - without).max() > 1e-3


def test_decoders_read_pairs_without_type_ids(tmp_path, samples):
    """GPT-2, which would embed type ids as tokens, is not given any."""
    folder = tiny_models.save(tiny_models.decoder_config("gpt2"), tmp_path)
    model = opened(folder, "?template=pair")

    items = proved(model, samples)

    assert items["position"].status == "pass"
    assert {e.type_ids for e in model.encode(samples)} == {()}
