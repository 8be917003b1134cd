"""The process that vLLM runs in: what fails there, how it ends, and what stays here."""

import logging
import os
import random
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from test_checkpoint import change_weights
from vllm_models import loaded, needs_vllm, refusal, rewards_of

from rmcheck.errors import (
    ConformanceError,
    ModelError,
    PartialScoringError,
    ScoringError,
)
from rmcheck.models.engines.vllm.served import check_answers
from rmcheck.models.sample import Encoded


@needs_vllm
def test_one_bad_sample_loses_no_other(model, samples):
    """Its prompt and the engine's reason are told, the others keep their rewards."""
    encoded = model.encode(samples)
    expected = model.score(encoded)
    # Llama's forward knows no type ids: a real error from inside the engine.
    bad = Encoded(b"bad", encoded[5].length, encoded[5].ids, (1,) * 3, 0, encoded[5].sample)

    with pytest.raises(PartialScoringError) as caught:
        model.score([*encoded[:5], bad, *encoded[6:]])

    message = str(caught.value)
    assert "vLLM fails on 1 of 8 samples, even one by one" in message
    assert "prompt 'p2', response 1" in message
    assert "TypeError" in message
    assert caught.value.goes_on
    assert caught.value.rewards == pytest.approx({i: expected[i] for i in (0, 1, 2, 3, 4, 6, 7)})
    np.testing.assert_allclose(model.score(encoded), expected, rtol=0, atol=1e-5)


@needs_vllm
def test_half_a_joined_tensor_is_noticed(wide_copy, wide_llama, samples):
    """Of two projections that vLLM joins, one is missing: it would start on half a matrix."""
    gone = "model.layers.1.mlp.up_proj.weight"
    change_weights(wide_copy, lambda t: {k: v for k, v in t.items() if k != gone})

    message = refusal(ConformanceError, loaded, f"vllm:{wide_copy}")

    assert "its weights leave NaN in model.layers.1.mlp.gate_up_proj.weight" in message
    assert len(rewards_of(f"vllm:{wide_llama}", samples)[0]) == len(samples)


@needs_vllm
def test_too_little_memory_says_which_settings_help(wide_llama, samples):
    """The message has vLLM's reason and the two settings; another model loads afterwards."""
    message = refusal(ModelError, loaded, f"vllm:{wide_llama}?gpu_memory=0.001")

    assert "vLLM cannot load it. ValueError: " in message
    assert "max_length=N needs less of it, and gpu_memory=SHARE" in message
    assert len(rewards_of(f"vllm:{wide_llama}", samples)[0]) == len(samples)


@needs_vllm
def test_an_engine_that_fails_on_everything_stops(samples, llama_folder):
    """Heads of 8 dimensions, which vLLM has no kernel for on a CPU, end the run in words."""
    model = loaded(f"vllm:{llama_folder}")
    if model.scorer.device != "cpu":
        pytest.skip("only vLLM's attention on a CPU has this limit")

    encoded = model.encode(samples)

    assert "vLLM cannot run it. RuntimeError: " in refusal(ScoringError, model.prove, encoded)
    with pytest.raises(PartialScoringError, match=r"fails on 8 of 8.*head_dim=8") as caught:
        model.score(encoded)
    assert not caught.value.goes_on
    model.close()


class Output:
    """What vLLM answers to a row."""

    def __init__(self, ids):
        self.prompt_token_ids = ids


def test_answers_to_other_rows_are_refused():
    """Requests left over from an interrupted call cannot shift rewards to other texts."""
    rows = [(1, 2), (3, 4)]
    check_answers(rows, [Output([1, 2]), Output([3, 4])])

    with pytest.raises(ScoringError, match="vLLM was given 2 rows and answered to others"):
        check_answers(rows, [Output([3, 4]), Output([1, 2])])


@needs_vllm
def test_two_models_stand_beside_each_other(model, wide_llama, samples):
    """Each in a process of its own: loading or closing one changes nothing of the other."""
    encoded = model.encode(samples)
    before = model.score(encoded)

    second = loaded(f"vllm:{wide_llama}?dtype=bfloat16")
    beside = second.score(encoded)
    np.testing.assert_array_equal(model.score(encoded), before)
    model.close()

    np.testing.assert_array_equal(second.score(encoded), beside)
    second.close()


@needs_vllm
def test_a_killed_process_is_one_clear_error(model, shared, samples):
    """What ended it is told once, whatever the batch, and the model loads again."""
    encoded = model.encode(samples)
    before = model.score(encoded)
    os.kill(model.scorer.process.pid, signal.SIGKILL)

    message = refusal(ScoringError, model.score, encoded)

    assert "vLLM cannot go on. its process was ended by SIGKILL" in message
    assert message.count("\n") == 0
    assert "vLLM cannot go on. its process has ended" in refusal(ScoringError, model.score, encoded)
    assert not model.alive
    np.testing.assert_array_equal(shared().score(encoded), before)


@needs_vllm
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_its_memory_is_not_ours(model, samples):
    """The gigabyte of cache is in its process, which closing ends."""
    model.close()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    model = model.model.load()
    model.score(model.encode(samples))
    more = int(Path("/proc/self/statm").read_text().split()[1]) - pages
    pid = model.scorer.process.pid

    model.close()

    assert more * os.sysconf("SC_PAGE_SIZE") < 100 * 2**20
    assert not Path(f"/proc/{pid}").exists()


@needs_vllm
def test_loading_leaves_this_process_as_it_was(model, samples, capfd):
    """VLLM is not even imported; environment, random states, logs and streams are as before."""

    def state():
        return (
            dict(os.environ),
            random.getstate(),
            np.random.get_state()[1].tolist(),  # noqa: NPY002 - what vLLM seeds
            torch.get_rng_state().tolist(),
            sys.excepthook,
            logging.root.manager.disable,
            logging.getLogger().handlers,
        )

    model.close()
    capfd.readouterr()
    before = state()
    with model.model.load() as session:
        session.score(session.encode(samples))

    assert state() == before
    assert "vllm" not in sys.modules
    assert capfd.readouterr() == ("", "")
