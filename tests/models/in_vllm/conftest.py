"""Tiny checkpoints that vLLM runs on a CPU, and one that is loaded for most tests of a file."""

import shutil
from functools import partial

import pytest
import tiny_models
from vllm_models import HAS_VLLM, WIDE

from rmcheck.models.registry import open_model
from rmcheck.scoring.one_process import OneProcess


@pytest.fixture(scope="module")
def wide_llama(tmp_path_factory):
    """A tiny Llama that vLLM runs on a CPU. Read only."""
    return tiny_models.llama(tmp_path_factory.mktemp("wide-llama"), **WIDE)


@pytest.fixture
def wide_copy(wide_llama, tmp_path):
    """The same, to be spoilt."""
    return shutil.copytree(wide_llama, tmp_path / "checkpoint")


@pytest.fixture(scope="module")
def shared(wide_llama):
    """One model for most tests; whoever closes it leaves it to be loaded again."""
    if not HAS_VLLM:
        pytest.skip("vLLM is not installed")
    with OneProcess() as engine:
        yield partial(engine.session, open_model(f"vllm:{wide_llama}"))


@pytest.fixture
def model(shared):
    """The same, loaded, its prefix cache not proven."""
    session = shared()
    session.scorer.reads_cache = False
    return session
