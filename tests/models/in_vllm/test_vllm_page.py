"""What a model in vLLM proves, and what is warned of or refused."""

import random
from dataclasses import replace

import numpy as np
import pytest
import tiny_models
from test_checkpoint import change_config
from vllm_models import LONG, WIDE, loaded, needs_vllm, proved, refusal, rewards_of

from rmcheck.errors import (
    ConformanceError,
)


@needs_vllm
def test_the_page_names_every_convention(model, samples):
    """Fourteen lines, those of `hf:` except attention, and the prefix cache."""
    items = proved(model, samples)

    assert list(items) == [
        "head",
        "precision",
        "template",
        "response_kept",
        "tokenizer_file",
        "bos",
        "eos",
        "position",
        "pad_eos",
        "prefix_cache",
        "batch_invariance",
        "activation",
        "max_length",
        "normalisation",
    ]
    assert "computed in float32" in items["head"].detail
    assert items["bos"].detail.startswith("1 at the beginning")
    assert "at most 1024 tokens" in items["max_length"].detail


@needs_vllm
def test_raw_logits_are_proven_by_the_sigmoid(model, samples):
    """One text is scored with and without activation; the page shows both."""
    detail = proved(model, samples)["activation"].detail

    raw = model.score(model.encode(samples))
    nearest = raw[np.abs(raw).argmin()]

    assert f"{nearest:.4g} without activation and {1 / (1 + np.exp(-nearest)):.4g} with" in detail


@needs_vllm
def test_squashed_rewards_stop_the_run(model, samples, monkeypatch):
    """An engine that gives probabilities either way fails its proof."""
    logits = model.scorer.logits
    monkeypatch.setattr(
        model.scorer, "logits", lambda rows, types=(), **_: logits(rows, types, activated=True)
    )

    message = refusal(ConformanceError, proved, model, samples)

    assert "fail  activation" in message
    assert "nothing shows that rewards are raw" in message


@needs_vllm
def test_the_prefix_cache_is_used_once_it_is_proven(model, wide_llama):
    """Prompts of several blocks come from the cache, and rewards stay those of transformers."""
    expected, _ = rewards_of(f"hf:{wide_llama}", LONG)
    encoded = model.encode(LONG)
    before = model.scorer.cached_tokens
    model.score(encoded)
    unproven = model.scorer.cached_tokens - before

    proven = model.prove(encoded)
    (item,) = [item for item in proven.items if item.name == "prefix_cache"]
    before = model.scorer.cached_tokens
    shuffled = random.Random(1).sample(range(len(encoded)), len(encoded))
    rewards = model.score([encoded[i] for i in shuffled])

    assert unproven == 0
    assert item.status == "pass"
    assert item.detail.startswith("on: 4 texts with a common beginning, ")
    assert (proven.shares_prefixes, proven.prefix_block) == (True, model.scorer.block_size)
    assert model.scorer.cached_tokens - before >= 9 * model.scorer.block_size
    np.testing.assert_allclose(rewards, expected[shuffled], rtol=0, atol=5e-5)


@needs_vllm
@pytest.mark.parametrize("setting", ["auto", "on"])
def test_a_prefix_cache_that_changes_rewards_is_not_used(model, samples, monkeypatch, setting):
    """`auto` does without it and says so; `on` stops the run."""
    logits = model.scorer.logits
    monkeypatch.setattr(
        model.scorer,
        "logits",
        lambda rows, types=(), **k: logits(rows, types, **k) + model.scorer.reads_cache,
    )
    settings = replace(model.model._set, prefix_cache=setting)
    monkeypatch.setattr(model.model, "_set", settings)

    if setting == "on":
        message = refusal(ConformanceError, proved, model, samples)
        assert "fail  prefix_cache" in message
        assert "use prefix_cache=off" in message
    else:
        item = proved(model, samples)["prefix_cache"]
        assert item.status == "note"
        assert item.detail.startswith("off, because the check failed")
        assert "rewards change by up to 1 (allowed" in item.detail
    assert not model.scorer.reads_cache


@needs_vllm
def test_longrope_is_warned_of_where_short_texts_would_differ(tmp_path, samples):
    """Long factors for all beyond the original context; within it both engines agree."""
    rope = {
        "rope_type": "longrope",
        "rope_theta": 10_000.0,
        "factor": 4.0,
        "short_factor": [1.0] * 16,
        "long_factor": [4.0 + i for i in range(16)],
        "original_max_position_embeddings": 256,
    }
    folder = tiny_models.llama(tmp_path / "rm", **WIDE, rope_parameters=rope)
    transformers = rewards_of(f"hf:{folder}", samples)[0]
    said, rewards = {}, {}
    for settings in ("", "?max_length=256"):
        opened = loaded(f"vllm:{folder}{settings}")
        encoded = opened.encode(samples)
        said[settings] = opened.prove(encoded).described.get("warning", "")
        rewards[settings] = opened.score(encoded)
        opened.close()

    assert "shorter texts get other rewards there. max_length=256 makes both alike" in said[""]
    assert np.abs(rewards[""] - transformers).max() > 0.01
    assert said["?max_length=256"] == ""
    np.testing.assert_allclose(rewards["?max_length=256"], transformers, atol=1e-4)


@needs_vllm
def test_a_checkpoint_that_states_no_activation_is_raw(wide_copy, samples):
    """With problem_type regression vLLM applies none; logits outside [0, 1] are proof enough."""
    change_config(wide_copy, problem_type="regression")
    model = loaded(f"vllm:{wide_copy}")

    item = proved(model, samples)["activation"]

    assert item.status == "pass"
    assert "the checkpoint states none" in item.detail
    model.close()


@needs_vllm
def test_texts_too_short_for_a_block_have_no_cache(wide_llama, samples):
    """Within one block nothing can be shared, and the page says so."""
    model = loaded(f"vllm:{wide_llama}?max_length=100")

    item = proved(model, samples)["prefix_cache"]

    assert item.detail == (
        "off: no common beginning fills a block of 128 tokens in texts of at most 100"
    )
    model.close()


@needs_vllm
def test_prefix_cache_off_keeps_none(wide_llama, samples):
    """With `prefix_cache=off` vLLM is started without it."""
    model = loaded(f"vllm:{wide_llama}?prefix_cache=off")

    assert proved(model, samples)["prefix_cache"].detail == "off"
    assert not model.scorer.keeps_cache
    model.close()


@needs_vllm
def test_pad_equal_to_eos_needs_a_position(tmp_path, samples):
    """Reading the closing EOS (vLLM) or before it (transformers): say which, and get that."""
    config = tiny_models.decoder_config("llama", pad_token_id=tiny_models.END, **WIDE)
    words = tiny_models.tokenizer(pad_token="<|end|>")
    folder = tiny_models.save(config, tmp_path, words=words)
    model = loaded(f"vllm:{folder}")

    message = refusal(ConformanceError, proved, model, samples)

    assert "fail  position" in message
    assert "8 of 8 texts end with the padding token" in message
    for position in ("last", "transformers"):
        expected, _ = rewards_of(f"hf:{folder}?position={position}", samples)
        model.scorer.position = position
        np.testing.assert_allclose(model.score(model.encode(samples)), expected, rtol=0, atol=5e-5)
        assert proved(model, samples)["position"].detail.startswith(f"position={position}: 8 of 8")
    model.close()
