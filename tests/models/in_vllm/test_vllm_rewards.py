"""Rewards by vLLM: the contract of every model, and the numbers of transformers."""

import json
import subprocess
import sys
import tempfile
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_models
from test_model_contract import (  # noqa: F401 - the contract, once more with this file's `model`
    test_batch_size_does_not_matter,
    test_each_load_gives_a_session_of_its_own,
    test_fingerprint_is_64_hex_digits_and_stable,
    test_n_samples_give_n_finite_rewards,
    test_names_and_descriptions_are_texts,
    test_order_does_not_matter,
    test_proves_itself,
    test_rewards_differ_between_texts,
    test_same_text_same_reward,
)
from vllm_models import LONG, WIDE, loaded, needs_vllm, proved, refusal, rewards_of

from rmcheck.errors import (
    ScoringError,
)
from rmcheck.models.sample import Encoded, Sample
from rmcheck.pool.pool import Message


@pytest.fixture
def tolerance():
    """Largest change by batch composition."""
    return 1e-5


@pytest.fixture
def workplace(tmp_path):
    """What relative paths are relative to."""
    return tmp_path


@needs_vllm
def test_llama_gives_the_rewards_of_transformers(model, wide_llama, samples):
    """To 5e-5 in float32, on the same ids."""
    expected, ids = rewards_of(f"hf:{wide_llama}", samples + LONG)

    encoded = model.encode(samples + LONG)

    assert [e.ids for e in encoded] == [e.ids for e in ids]
    np.testing.assert_allclose(model.score(encoded), expected, rtol=0, atol=5e-5)


@needs_vllm
def test_qwen2_gives_the_rewards_of_transformers(tmp_path, samples):
    """To 5e-5 in float32. The ids are those of transformers' own Qwen tokenizer."""
    folder = tiny_models.save(tiny_models.decoder_config("qwen2", **WIDE), tmp_path)
    expected, ids = rewards_of(f"hf:{folder}", samples)

    rewards, encoded = rewards_of(f"vllm:{folder}", samples)

    assert [e.ids for e in encoded] == [e.ids for e in ids]
    np.testing.assert_allclose(rewards, expected, rtol=0, atol=5e-5)


@needs_vllm
def test_bert_gives_the_rewards_of_transformers_with_type_ids(tmp_path, samples):
    """A text pair keeps its type ids, which vLLM drops unless it is told; the page is complete."""
    config = tiny_models.bert_config(hidden_size=128, initializer_range=0.2)
    words = tiny_models.tokenizer(chat_template=None)
    folder = tiny_models.save(config, tmp_path, words=words)
    expected, _ = rewards_of(f"hf:{folder}?template=pair", samples)
    model = loaded(f"vllm:{folder}?template=pair")

    items = proved(model, samples)
    rewards = model.score(model.encode(samples))

    np.testing.assert_allclose(rewards, expected, rtol=0, atol=5e-5)
    untyped = model.scorer.rewards([e.ids for e in model.encode(samples)])
    assert np.abs(untyped - expected).max() > 1e-2
    assert items["position"].detail == "pooled by the model itself (CLS)"
    assert items["prefix_cache"].detail == "off: vLLM has none for CLS pooling"
    odd = Encoded(b"odd", 3, (1, 2, 3), (1, 0, 1), 0, samples[0])
    assert "use hf: instead" in refusal(ScoringError, model.score, [odd])
    model.close()


@needs_vllm
def test_a_named_head_of_several(tmp_path, samples):
    """`head` picks the logit that transformers has there; raw logits are proven by the softmax."""
    folder = tiny_models.llama(tmp_path, num_labels=3, **WIDE)
    expected, _ = rewards_of(f"hf:{folder}?head=2", samples)
    model = loaded(f"vllm:{folder}?head=2")

    items = proved(model, samples)

    np.testing.assert_allclose(model.score(model.encode(samples)), expected, rtol=0, atol=5e-5)
    assert items["activation"].detail.startswith("raw logits, the softmax of which vLLM gives")
    model.close()


@needs_vllm
def test_bfloat16_is_near_and_its_head_is_float32(wide_llama, samples):
    """bfloat16 changes rewards, by less than a tenth of their spread; the head stays float32."""
    exact, _ = rewards_of(f"hf:{wide_llama}", samples)
    model = loaded(f"vllm:{wide_llama}?dtype=bfloat16")

    rewards = model.score(model.encode(samples))

    assert model.scorer.head_dtype == "float32"
    assert 0 < np.abs(rewards - exact).max() < 0.1 * exact.std()
    model.close()


@needs_vllm
def test_lengths_are_checked_before_the_engine(model, samples):
    """As long as the limit is scored, one token more is refused, and nothing is cut by vLLM."""
    words = " four" * 2000
    text = Sample("long", 0, samples[0].messages, words)

    message = refusal(ScoringError, model.encode, [text])
    (cut,) = model.encode([text], "left")

    assert "longer than the 1024 tokens" in message
    assert cut.length == 1024
    assert np.isfinite(model.score([cut])).all()


@needs_vllm
def test_ids_beyond_the_embeddings_are_refused(model, samples, monkeypatch):
    """A tokenizer that grew after training is told by its prompts, before the engine."""
    monkeypatch.setattr(model.model, "checkpoint", SimpleNamespace(vocabulary_size=90))

    message = refusal(ScoringError, model.encode, samples)

    assert "but the model has 90 embeddings" in message
    assert "(prompts 'p0', 'p1', 'p2', 'p3')" in message


GATE = """\
rmcheck: 1
name: vllm
resamples: 200
pool: {path: pool.jsonl}
checks:
  - {name: order, metric: accuracy, at_least: 0.90}
"""


@needs_vllm
def test_the_gate_with_vllm(wide_llama, tmp_path):
    """`pytest --rmcheck` on rewards of transformers as golden: every pair is in their order."""
    prompts = [f"what is {text}" for text in tiny_models.TEXTS] * 5
    rows = [(f"{prompt} {i}", tiny_models.TEXTS[:4]) for i, prompt in enumerate(prompts)]
    samples = [
        Sample(f"p{i}", j, (Message("user", prompt),), response)
        for i, (prompt, responses) in enumerate(rows)
        for j, response in enumerate(responses)
    ]
    golden = rewards_of(f"hf:{wide_llama}", samples)[0].reshape(-1, 4).tolist()
    lines = [
        {"prompt_id": f"p{i}", "prompt": prompt, "responses": responses, "golden": golden[i]}
        for i, (prompt, responses) in enumerate(rows)
    ]
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "gate.yaml").write_text(GATE)
    installed = [] if entry_points(group="pytest11", name="rmcheck") else ["rmcheck.pytest_plugin"]
    plugins = [part for name in installed for part in ("-p", name)]
    command = [sys.executable, "-m", "pytest", *plugins, "gate.yaml", "--rmcheck"]

    done = subprocess.run(
        [*command, f"--rmcheck-model=vllm:{wide_llama}", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    assert f"vllm:{wide_llama}: 160 scored in" in done.stdout
    assert "Warning" not in done.stdout + done.stderr


@needs_vllm
def test_an_adapter_gives_the_rewards_of_transformers(tmp_path, samples):
    """VLLM is given base and adapter as one folder, which is gone once it is loaded."""
    adapters = pytest.importorskip("adapters")
    base = tiny_models.causal(tmp_path / "base", **WIDE)
    folder = adapters.reward_adapter(base, tmp_path / "adapter")
    tiny_models.tokenizer().save_pretrained(folder)
    expected, _ = rewards_of(f"hf:{folder}", samples)

    rewards, _ = rewards_of(f"vllm:{folder}", samples)

    assert expected.std() > 0.1
    np.testing.assert_allclose(rewards, expected, rtol=0, atol=5e-5)
    assert not list(Path(tempfile.gettempdir()).glob("rmcheck-merged-*"))
