"""What every model that transformers has in memory does alike, whatever is read from it."""

from pathlib import Path

import numpy as np
import process_models
import pytest
import tiny_models
import torch
from safetensors.torch import load_file, save_file

from rmcheck.errors import ConformanceError
from rmcheck.models.checkpoint.causal import CausalCheckpoint
from rmcheck.models.checkpoint.folder import Checkpoint
from rmcheck.models.engines.torch import weights as torch_weights
from rmcheck.models.engines.torch.causal import CausalScorer
from rmcheck.models.engines.torch.classifier import TorchScorer
from rmcheck.models.engines.torch.sampler import TorchSampler
from rmcheck.models.kinds.process.checkpoint import ProcessCheckpoint
from rmcheck.models.kinds.process.scorer import ProcessScorer
from rmcheck.models.model import EngineFacts

CPU = {"dtype": "float32", "device": "cpu"}


def scorer(path):
    """A loaded classifier."""
    checkpoint = Checkpoint(tiny_models.llama(path))
    head = checkpoint.head("", "hf:x")
    return TorchScorer(checkpoint, attention="auto", head=head, position="auto", **CPU)


def causal(path):
    """A loaded language model that is scored by."""
    return CausalScorer(CausalCheckpoint(tiny_models.causal(path)), attention="auto", **CPU)


def process(path):
    """A loaded process reward model."""
    checkpoint = ProcessCheckpoint(process_models.labelled(path))
    return ProcessScorer(checkpoint, attention="auto", good=1, bad=0, **CPU)


def sampler(path):
    """A loaded language model that is sampled from."""
    ends = [tiny_models.END]
    return TorchSampler(CausalCheckpoint(tiny_models.causal(path)), eos_ids=ends, **CPU)


@pytest.fixture(params=[scorer, causal, process, sampler], ids=lambda build: build.__name__)
def build(request):
    """A function that loads one kind of model."""
    return request.param


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_a_model_changes_nothing_of_how_memory_is_freed(build, tmp_path):
    """100 MiB that somebody else frees go back to the system while a model is loaded."""

    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

    model = build(tmp_path)
    before = resident()
    np.ones(100 * 2**20, np.uint8)
    after = resident()
    model.close()

    assert after - before < 10


def test_a_batch_on_a_gpu_is_sized_by_its_free_memory(build, tmp_path, monkeypatch):
    """Activations of as many tokens fit as there are bytes for; on a CPU nothing says how many."""
    model = build(tmp_path)
    numbers = 8 * model._config.hidden_size + 3 * model._config.intermediate_size
    on_cpu = model.facts
    monkeypatch.setattr(model, "device", torch.device("cuda:1"))
    monkeypatch.setattr(torch_weights, "free_memory", lambda device: model.scratch + 4000 * numbers)

    assert on_cpu == EngineFacts("cpu")
    assert model.facts == EngineFacts("cuda", fits=1000)


def test_rows_are_padded_on_either_side(build, tmp_path):
    """A mask is 1 where a row's own ids stand, and the filler is a token that the model knows."""
    model = build(tmp_path)
    rows = [[5, 6, 7], [8]]

    right, left = model._padded(rows), model._padded(rows, side="left")

    assert right["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert left["attention_mask"].tolist() == [[1, 1, 1], [0, 0, 1]]
    for inputs in (right, left):
        ids, mask = inputs["input_ids"], inputs["attention_mask"].bool()
        assert ids.dtype == torch.int64
        assert [line[own].tolist() for line, own in zip(ids, mask, strict=True)] == rows
        assert np.isin(ids[~mask], range(320)).all()


def test_what_samples_may_leave_tensors_unread_and_what_scores_may_not(tmp_path):
    """A value head beside a language model changes no response; rewards may have hung on it."""
    folder = tiny_models.causal(tmp_path / "policy")
    weights = load_file(folder / "model.safetensors") | {"v_head.weight": torch.zeros(1, 32)}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    checkpoint = CausalCheckpoint(folder)

    TorchSampler(checkpoint, eos_ids=[tiny_models.END], **CPU).close()

    with pytest.raises(ConformanceError, match=r"v_head.weight: in the weights, but nowhere"):
        CausalScorer(checkpoint, attention="auto", **CPU)
