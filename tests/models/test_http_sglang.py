"""SGLang's own server on loopback, against transformers on the same checkpoint.

Its engine for CPUs wants kernels that are in no package (`sgl_kernel`). Where nothing calls them a
module of that name will do whose functions raise; then attention is torch's.
"""

import numpy as np
import pytest
import tiny_models
from real_server import needs, running
from stored_scores import rewards_by

from rmcheck.models.proof.conformance import page
from rmcheck.models.registry import open_model

PYTHON = "RMCHECK_SGLANG_PYTHON"
FLOAT32 = 1e-4

pytestmark = needs(PYTHON, "SGLang")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A tiny Llama."""
    return tiny_models.llama(tmp_path_factory.mktemp("sglang") / "rm", hidden_size=128)


@pytest.fixture(scope="module")
def address(checkpoint, tmp_path_factory):
    """Its server, in float32 and without a GPU."""
    log = tmp_path_factory.mktemp("sglang") / "server.log"
    command = ["sglang.launch_server", "--model-path", str(checkpoint), "--is-embedding"]
    command += ["--device", "cpu", "--dtype", "float32", "--attention-backend", "torch_native"]
    command += ["--disable-radix-cache", "--mem-fraction-static", "0.1", "--skip-server-warmup"]
    command += ["--max-total-tokens", "4096"]
    with running(PYTHON, command, log, SGLANG_USE_CPU_ENGINE="1") as url:
        yield url


def test_the_server_gives_the_rewards_of_transformers(address, checkpoint):
    """As rmcheck asks, by token ids, and as verl asks, by a text that the server tokenises."""
    reference = rewards_by(f"hf:{checkpoint}", tiny_models.samples())

    for client in ("", "&client=verl"):
        served = rewards_by(f"http:{address}?tokenizer={checkpoint}{client}", tiny_models.samples())
        np.testing.assert_allclose(served, reference, rtol=0, atol=FLOAT32)


def test_the_server_proves_itself(address):
    """It is found by its page, which tells the folder of the weights and the longest text."""
    model = open_model(f"http:{address}")
    with model.load() as session:
        shown = page(session.prove(session.encode(tiny_models.samples())).items)

    assert "fail" not in shown
    assert "sglang" in shown
    assert model.max_length == 256
