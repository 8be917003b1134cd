"""OpenRLHF's own server of rewards on loopback, against transformers on the same checkpoint.

On a CPU it runs with deepspeed built without operators (DS_BUILD_OPS=0), and with the Python files
of flash-attn beside an empty module `flash_attn_2_cuda`: they are imported, and never called.
"""

import numpy as np
import pytest
import tiny_models
from real_server import needs, running
from stored_scores import rewards_by

from rmcheck.models.proof.conformance import page
from rmcheck.models.registry import open_model

PYTHON = "RMCHECK_OPENRLHF_PYTHON"
# It computes in bfloat16, the head too: rewards near 16 come in steps of 1/8, near 4 of 1/32.
BFLOAT16 = 0.25
OPENING = "{% if add_generation_prompt %}<|assistant|>{% endif %}"

pytestmark = needs(PYTHON, "OpenRLHF")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A tiny Llama whose tokenizer adds a BOS to a text, and whose template writes one, too."""
    words = tiny_models.tokenizer(chat_template=tiny_models.CHAT_TEMPLATE + OPENING)
    return tiny_models.save(
        tiny_models.decoder_config("llama", hidden_size=128),
        tmp_path_factory.mktemp("openrlhf") / "rm",
        words=words,
    )


@pytest.fixture(scope="module")
def address(checkpoint, tmp_path_factory):
    """Its server."""
    log = tmp_path_factory.mktemp("openrlhf") / "server.log"
    command = ["openrlhf.cli.serve_rm", "--reward.model_name_or_path", str(checkpoint)]
    command += ["--ds.attn_implementation", "eager", "--data.max_len", "256"]
    with running(PYTHON, command, log, ready="/openapi.json") as url:
        yield url


def test_the_server_gives_the_rewards_of_transformers(address, checkpoint):
    """As rmcheck asks, and as OpenRLHF's trainer asks: one BOS, one EOS, the raw logit."""
    samples = tiny_models.samples()
    reference = rewards_by(f"hf:{checkpoint}", samples)
    ours = rewards_by(f"http:{address}?tokenizer={checkpoint}&max_length=256", samples)
    trainers = f"http:{address}/get_reward?client=openrlhf&policy={checkpoint}"

    assert np.ptp(reference) > 5
    np.testing.assert_allclose(ours, reference, rtol=0, atol=BFLOAT16)
    np.testing.assert_array_equal(rewards_by(trainers, samples), ours)


def test_the_server_proves_itself(address, checkpoint):
    """It is found by its page, reads the ids that it should, and changes nothing in batches."""
    with open_model(f"http:{address}?tokenizer={checkpoint}&max_length=256").load() as session:
        shown = page(session.prove(session.encode(tiny_models.samples())).items)

    assert "fail" not in shown
    assert "openrlhf at" in shown
    assert "gives the same ids" in shown
