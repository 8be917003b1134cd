"""Models over several devices: what vLLM and accelerate are told, and that rewards stay."""

import numpy as np
import pytest

from rmcheck.errors import UsageError
from rmcheck.models.engines.vllm import engine as vllm_engine
from rmcheck.models.registry import open_model


def scored(spec, samples):
    """Rewards of a model that proves itself, and what it says of itself."""
    model = open_model(spec).load()
    encoded = model.encode(samples)
    proven = model.prove(encoded)
    rewards, said = model.score(encoded), {**model.description, **proven.described}
    model.close()
    return rewards, said


@pytest.mark.parametrize("most", ["", "&max_memory=cpu:95KiB"])
def test_layers_on_several_devices_give_the_same_rewards(llama_folder, samples, most):
    """In memory whole, and with most layers on disk, each read when it is its turn."""
    pytest.importorskip("accelerate")
    expected, _ = scored(f"hf:{llama_folder}?device=cpu", samples)

    rewards, said = scored(f"hf:{llama_folder}?device_map=auto{most}", samples)

    np.testing.assert_allclose(rewards, expected, rtol=0, atol=1e-5)
    assert said["prefix"] == "off"
    assert ("on disk" in said.get("devices", "")) == bool(most)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("device_map=auto&device=cpu", "remove device="),
        ("device_map=auto&prefix=shared", "remove prefix=shared"),
        ("max_memory=cpu:1GiB", "add device_map=auto"),
        ("device_map=auto&max_memory=cpu:1GB", "it is DEVICE:SIZE"),
        ("device_map=auto&max_memory=gpu:1GiB", "max_memory has 'gpu:1GiB'"),
        ("device_map=two", "Values: auto, balanced, sequential"),
    ],
)
def test_what_does_not_go_together_is_refused(llama_folder, settings, message):
    """The message says what to remove or add."""
    with pytest.raises(UsageError, match=message):
        open_model(f"hf:{llama_folder}?{settings}")


def test_vllm_is_told_what_the_spec_says(llama_folder, monkeypatch):
    """Devices, quantisation and length under vLLM's names; nothing where nothing is said."""
    told = []

    class Told(Exception):
        pass

    def start(*_, **how):
        told.append(how["options"])
        raise Told

    monkeypatch.setattr(vllm_engine, "OwnProcess", start)
    monkeypatch.setattr(vllm_engine, "find_spec", lambda name: name)
    settings = "?tensor_parallel=4&pipeline_parallel=2&quantization=fp8&max_model_len=99"
    for spec in (f"vllm:{llama_folder}", f"vllm:{llama_folder}{settings}&gpu_memory=0.8"):
        with pytest.raises(Exception, match="vLLM cannot load it"):
            open_model(spec).load()

    plain, asked = told
    assert not {"tensor_parallel_size", "pipeline_parallel_size", "quantization"} & set(plain)
    assert asked["tensor_parallel_size"] == 4
    assert asked["pipeline_parallel_size"] == 2
    assert asked["quantization"] == "fp8"
    assert asked["max_model_len"] == 99
    assert asked["gpu_memory_utilization"] == 0.8


def test_quantisation_has_a_fingerprint_of_its_own_and_devices_have_not(llama_folder):
    """It changes rewards, and how many GPUs compute them does not."""
    plain = open_model(f"vllm:{llama_folder}")
    spread = open_model(f"vllm:{llama_folder}?tensor_parallel=4&pipeline_parallel=2")
    quantised = open_model(f"vllm:{llama_folder}?quantization=fp8")

    assert spread.fingerprint == plain.fingerprint != quantised.fingerprint
    assert (plain.gpus, spread.gpus) == (1, 8)
    assert spread.description["devices"] == "tensor 4 × pipeline 2"
    assert quantised.description["quantization"] == "fp8"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("tensor_parallel=0", "tensor_parallel is '0'; it is a whole number from 1 up"),
        ("quantization=FP 8", "it is a method of vLLM"),
        ("max_model_len=9&max_length=9", "give one of them"),
    ],
)
def test_impossible_values_are_refused(llama_folder, settings, message):
    """Before anything is started."""
    with pytest.raises(UsageError, match=message):
        open_model(f"vllm:{llama_folder}?{settings}")
