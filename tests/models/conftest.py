"""Tiny checkpoints, each built once a session."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_models

Copy = Callable[[Path], Path]


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory):
    """A sound tiny Llama reward model. Read only: copy it before changing anything."""
    return tiny_models.llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory):
    """A sound tiny BERT reward model without a chat template. Read only."""
    return tiny_models.bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="session")
def policy_pair(tmp_path_factory):
    """`POLICY,REFERENCE`: two tiny language models with one tokenizer. Read only."""
    folder = tmp_path_factory.mktemp("pair")
    policy = tiny_models.causal(folder / "policy", seed=1)
    return f"{policy},{tiny_models.causal(folder / 'reference', seed=2)}"


@pytest.fixture
def llama_copy(llama_folder, tmp_path):
    """A Llama checkpoint that a test may spoil."""
    return shutil.copytree(llama_folder, tmp_path / "checkpoint")


@pytest.fixture
def samples():
    """Eight samples of different lengths."""
    return tiny_models.samples()
