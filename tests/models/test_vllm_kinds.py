"""Process and implicit rewards that vLLM runs: the numbers of transformers, and its own page."""

import os
import signal
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import process_models
import pytest
import tiny_models

from rmcheck.errors import ScoringError, UsageError
from rmcheck.models.registry import open_model

needs_vllm = pytest.mark.skipif(
    find_spec("vllm") is None, reason="vLLM is not installed; .ci/vllm runs these tests where it is"
)
# vLLM's attention on a CPU takes heads of 32 dimensions and more.
WIDE = {"hidden_size": 128, "max_position_embeddings": 1024}
LABELS = r"?aggregate=min&step=\n&tag=\n"
QUERY = r"?aggregate=min&step=\n&tag=|&between=\n&good=f&bad=w"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A language model that answers behind each step. Read only."""
    return tiny_models.causal(tmp_path_factory.mktemp("process") / "model", **WIDE)


@pytest.fixture(scope="module")
def pair(folder, tmp_path_factory):
    """The same policy with a reference that it could be trained from. Read only."""
    reference = tiny_models.causal(tmp_path_factory.mktemp("reference") / "model", seed=7, **WIDE)
    return f"implicit:{folder},{reference}?beta=1"


def opened(folder, settings=""):
    """The model, not loaded."""
    return open_model(f"process:{folder}{QUERY}{settings}")


def test_the_engine_is_part_of_the_fingerprint_and_its_memory_is_not(folder):
    """Scores of vLLM and transformers never stand for each other; `engine=hf` is the default."""
    plain = opened(folder)
    on_vllm = opened(folder, "&engine=vllm")

    assert opened(folder, "&engine=hf").fingerprint == plain.fingerprint
    assert on_vllm.fingerprint != plain.fingerprint
    assert opened(folder, "&engine=vllm&gpu_memory=0.5").fingerprint == on_vllm.fingerprint
    assert on_vllm.description["engine"] == "vllm"
    assert not {"engine", "vllm"} & set(plain.description)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("&engine=vllm&device=cpu&prefix=off", "device is for engine=hf; remove device="),
        ("&engine=vllm&device=cpu&prefix=off", "prefix is for engine=hf; remove prefix="),
        ("&gpu_memory=0.5", "gpu_memory is for engine=vllm; remove gpu_memory="),
        ("&engine=vllm&gpu_memory=2", "gpu_memory is '2'"),
        ("&engine=vlm", "engine is 'vlm'"),
    ],
)
def test_settings_of_another_engine_are_refused(folder, settings, message):
    """A setting that would do nothing is a mistake; all of them are named."""
    with pytest.raises(UsageError, match=message):
        opened(folder, settings)


def test_labels_of_an_encoder_are_not_read_by_vllm(tmp_path):
    """The message says what to remove."""
    folder = process_models.labelled(tmp_path / "labels", "bert")

    with pytest.raises(UsageError, match=r"BertForTokenClassification has none; remove engine"):
        open_model(f"process:{folder}{LABELS}&engine=vllm")


@needs_vllm
@pytest.mark.parametrize("build", [process_models.labelled, process_models.qwen2_process])
def test_steps_by_labels_are_those_of_transformers(build, tmp_path):
    """To 5e-5 in float32: vLLM runs the decoder, and the head, of one layer or two, is ours."""
    folder = build(tmp_path / "labels", **WIDE)
    there = open_model(f"process:{folder}{LABELS}").load()
    expected = there.step_log_odds(there.encode(process_models.samples()))
    there.close()
    here = open_model(f"process:{folder}{LABELS}&engine=vllm").load()
    encoded = here.encode(process_models.samples())
    proven = here.prove(encoded)

    found = here.step_log_odds(encoded)
    page = {item.name: item for item in proven.items}
    here.close()

    assert np.concatenate(expected).std() > 0.1
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=5e-5)
    assert not proven.shares_prefixes
    assert page["prefix_cache"].detail.startswith("off: vLLM gives no states")
    assert page["answers"].status == "pass"


@needs_vllm
def test_steps_are_those_of_transformers_with_and_without_the_cache(folder):
    """To 5e-5 in float32, on the same ids; a batch of all gives what one by one gives."""
    # Long enough to fill a block of the cache.
    steps = [
        replace(s, response=f"{'four is two ' * 40}\n{s.response}")
        for s in process_models.samples()
    ]
    there, here = opened(folder).load(), opened(folder, "&engine=vllm").load()
    expected = there.step_log_odds(there.encode(steps))
    encoded = here.encode(steps)
    proven = here.prove(encoded)

    found = here.step_log_odds(encoded)
    rewards = here.score(encoded)
    page = {item.name: item for item in proven.items}
    here.close()

    assert [e.ids for e in encoded] == [e.ids for e in there.encode(steps)]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=5e-5)
    np.testing.assert_allclose(rewards, [one.min() for one in expected], rtol=0, atol=5e-5)
    assert proven.shares_prefixes
    assert page["prefix_cache"].detail.startswith("on: ")
    assert "attention" not in page
    assert "shared_prefix" not in page


@needs_vllm
def test_a_failing_engine_is_closed_and_says_so(folder):
    """Its process has ended, and it answers nothing more."""
    model = opened(folder, "&engine=vllm").load()
    encoded = model.encode(process_models.samples())
    os.kill(model.scorer.process.pid, signal.SIGKILL)

    with pytest.raises(ScoringError, match=r"vLLM cannot answer\. its process was ended by SIGK"):
        model.score(encoded)
    with pytest.raises(ScoringError, match=r"vLLM cannot answer\. its process has ended"):
        model.score(encoded)
    assert not model.alive


def test_implicit_rewards_have_the_same_setting(pair):
    """Its own fingerprint, and the same refusals."""
    on_vllm = open_model(f"{pair}&engine=vllm")

    assert on_vllm.fingerprint != open_model(pair).fingerprint
    assert on_vllm.description["engine"] == "vllm"
    with pytest.raises(UsageError, match="attention is for engine=hf; remove attention="):
        open_model(f"{pair}&engine=vllm&attention=eager")


@needs_vllm
def test_implicit_rewards_are_those_of_transformers(pair, samples):
    """Both models are loaded beside each other; what they say agrees to 2e-4 nats in float32."""
    there, here = open_model(pair).load(), open_model(f"{pair}&engine=vllm").load()
    expected = there.score(there.encode(samples))
    encoded = here.encode(samples)
    proven = here.prove(encoded)

    rewards = here.score(encoded)
    again = here.score(encoded[::-1])
    page = {item.name: item for item in proven.items}
    here.close()
    with here.model.load() as again_loaded:
        reloaded = again_loaded.score(encoded)

    assert expected.std() > 1
    np.testing.assert_allclose(rewards, expected, rtol=0, atol=2e-4)
    np.testing.assert_allclose(again[::-1], rewards, rtol=0, atol=2e-4)
    np.testing.assert_allclose(reloaded, rewards, rtol=0, atol=2e-4)
    assert page["prefix_cache"].status == "note"
    assert "log_probabilities" not in page
