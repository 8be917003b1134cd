"""Which type a checkpoint runs in when nobody says."""

import pytest
import tiny_models
import torch
from safetensors.torch import load_file, save_file

from rmcheck.models.checkpoint import settings as checkpoint_settings
from rmcheck.models.checkpoint.folder import Checkpoint
from rmcheck.models.registry import open_model
from rmcheck.policies.registry import open_policy


@pytest.fixture
def half(llama_copy):
    """A checkpoint whose weights are bfloat16, its head float32."""
    file = llama_copy / "model.safetensors"
    weights = {
        name: tensor if name == "score.weight" else tensor.to(torch.bfloat16)
        for name, tensor in load_file(file).items()
    }
    save_file(weights, file, {"format": "pt"})
    return llama_copy


@pytest.fixture
def on_a_gpu(monkeypatch):
    """A machine with a GPU, as far as choosing a type goes."""
    monkeypatch.setattr(checkpoint_settings, "has_gpu", lambda: True)


def dtype(spec):
    """The type that a model is opened with."""
    return open_model(spec).description["dtype"]


def test_on_a_cpu_it_is_float32(half, monkeypatch):
    """Whatever the weights are stored in; scores that were kept before keep their key."""
    monkeypatch.setattr(checkpoint_settings, "has_gpu", lambda: False)
    plain = open_model(f"hf:{half}")

    assert plain.dtype == "float32"
    assert plain.fingerprint == open_model(f"hf:{half}?dtype=float32").fingerprint


def test_on_a_gpu_it_is_that_of_the_weights(half, llama_folder, on_a_gpu):
    """Unless the spec says one, or a device that is none; scores are kept under the type."""
    assert dtype(f"hf:{half}") == dtype(f"vllm:{half}") == dtype(f"hf:{half}?device=cuda:1")
    assert dtype(f"hf:{half}") == "bfloat16"
    assert dtype(f"hf:{llama_folder}") == "float32"
    assert dtype(f"hf:{half}?device=cpu") == "float32"
    assert dtype(f"hf:{half}?dtype=float16") == "float16"
    spoken = open_model(f"hf:{half}?dtype=bfloat16")
    assert open_model(f"hf:{half}").fingerprint == spoken.fingerprint


def test_other_kinds_choose_alike(policy_pair, tmp_path, on_a_gpu):
    """Implicit rewards, judges and policies of language models."""
    first, _, second = policy_pair.partition(",")
    folder = tiny_models.causal(tmp_path / "half", seed=1)
    file = folder / "model.safetensors"
    weights = {name: tensor.half() for name, tensor in load_file(file).items()}
    save_file(weights, file, {"format": "pt"})
    judge = tmp_path / "judge.yaml"
    judge.write_text(
        f"engine: hf:{folder}\nprompt: '{{{{ response }}}}'\nread: {{yes: [f], no: [w]}}\n"
    )

    assert dtype(f"implicit:{folder},{second}") == "float16"
    assert dtype(f"implicit:{first},{second}") == "float32"
    assert dtype(f"judge:{judge}") == "float16"
    policies = [open_policy(f"hf:{folder}{dtype}") for dtype in ("", "?dtype=float16")]
    assert policies[0].fingerprint == policies[1].fingerprint


def test_other_machines_are_told_what_was_chosen(half, on_a_gpu, monkeypatch):
    """So that a node without a GPU opens the same model."""
    chosen = open_model(f"hf:{half}?eos=keep")
    spoken = open_model(f"hf:{half}?dtype=bfloat16")
    monkeypatch.setattr(checkpoint_settings, "has_gpu", lambda: False)

    assert chosen.spec == f"hf:{half}?eos=keep"
    assert open_model(chosen.spec_anywhere).fingerprint == chosen.fingerprint
    assert spoken.spec_anywhere == spoken.spec


def test_weights_of_no_usual_type_run_in_bfloat16(tmp_path):
    """As those that a quantised checkpoint holds."""
    folder = tiny_models.llama(tmp_path)
    save_file({"score.weight": torch.zeros(1, 4, dtype=torch.int8)}, folder / "model.safetensors")

    assert Checkpoint(folder).dtype == "bfloat16"


@pytest.mark.parametrize("driver", [True, False])
def test_torch_is_asked_only_where_there_is_a_driver(driver, monkeypatch):
    """A gate that finds all scores stored imports no torch on a machine without a GPU."""
    asked = []
    monkeypatch.setattr(checkpoint_settings, "_has_driver", lambda: driver)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: asked.append(1) or True)

    assert checkpoint_settings.has_gpu.__wrapped__() is driver
    assert bool(asked) is driver
