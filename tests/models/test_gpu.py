"""On a GPU: the rewards of a CPU, whatever is packed, and nothing that waits inside a forward."""

import gc
from dataclasses import replace

import numpy as np
import process_models
import pytest
import tiny_models
import torch
from stored_scores import fill, scores_of

from rmcheck.models.engines.torch.variable_length import kernel
from rmcheck.models.model import Proven
from rmcheck.models.registry import open_model
from rmcheck.store.scores import MemoryStore

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU; there is none"),
]
# As shares of the rewards' spread: float32 sums in another order; half precision rounds at every
# layer, and these weights are wide.
APART = {"float32": 1e-3, "bfloat16": 0.15, "float16": 0.05}
KINDS = ["llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "gpt2"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Builds each architecture once; windows are shorter than most rows."""
    built = {}

    def folder(kind):
        if kind not in built:
            wide = {} if kind == "gpt2" else {"initializer_range": 0.3}
            windowed = kind in {"mistral", "gemma2", "gemma3"}
            wide |= {"sliding_window": 24} if windowed else {}
            config = tiny_models.decoder_config(kind, **wide)
            built[kind] = tiny_models.save(config, tmp_path_factory.mktemp(kind))
        return built[kind]

    return folder


@pytest.fixture(scope="module")
def many():
    """96 conversations with 12 prompts."""
    return [
        type(s)(f"{s.prompt_id}{again}", s.index, s.messages, f"{s.response} {'so ' * again}")
        for again in range(12)
        for s in tiny_models.samples()
    ]


def loaded(spec):
    """A loaded model."""
    return open_model(spec).load()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_gpu_gives_the_rewards_of_a_cpu(kind, dtype, folders, many):
    """One by one, padded and packed, in every type, against float32 on the CPU."""
    exact = loaded(f"hf:{folders(kind)}?device=cpu&dtype=float32")
    encoded = exact.encode(many)
    rows = [e.ids for e in encoded]
    expected = np.concatenate([exact.scorer.rewards([row]) for row in rows])
    scorer = loaded(f"hf:{folders(kind)}?device=cuda&dtype={dtype}").scorer
    found = {
        "one by one": np.concatenate([scorer.rewards([row]) for row in rows]),
        "padded": scorer.rewards(rows),
        "packed": scorer.rewards(rows, way="packed", least=1),
    }
    apart = {name: np.abs(one - expected).max() / expected.std() for name, one in found.items()}

    assert expected.std() > 0.1
    assert max(apart.values()) < APART[dtype], apart


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_proves_itself_and_shares_prompts(kind, folders, many):
    """In half precision, by the kernel where there is one; the page has no warning."""
    model = loaded(f"hf:{folders(kind)}?device=cuda&dtype=bfloat16")
    proven = model.prove(model.encode(many[:8]))

    assert proven.shares_prefixes
    assert not [item.detail for item in proven.items if "WARNING" in item.detail]


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_no_forward_waits_for_the_gpu(folders, many):
    """Once the row is there, kernels are queued without looking at what they find."""
    assert kernel() is not None
    scorer = loaded(f"hf:{folders('llama')}?device=cuda&dtype=bfloat16").scorer
    rows = [e.ids for e in loaded(f"hf:{folders('llama')}?device=cpu").encode(many)]
    scorer.rewards(rows, way="packed")
    scorer._body.register_forward_pre_hook(lambda *_: torch.cuda.set_sync_debug_mode("error"))
    scorer._body.register_forward_hook(lambda *_: torch.cuda.set_sync_debug_mode("default"))

    assert np.isfinite(scorer.rewards(rows, way="packed")).all()


def test_kinds_of_models_give_what_they_give_on_a_cpu(policy_pair, many, tmp_path):
    """Implicit rewards, process reward models and judges, from end to end."""
    labelled = process_models.labelled(tmp_path / "labelled")
    judge = tmp_path / "judge.yaml"
    judge.write_text(
        f"engine: hf:{policy_pair.partition(',')[0]}?dtype=float32&device=DEVICE\n"
        "prompt: '{{ prompt }}? {{ response }}'\nread: {yes: [f], no: [w]}\n"
    )
    other = tmp_path / "judge_cpu.yaml"
    other.write_text(judge.read_text().replace("device=DEVICE", "device=cpu"))
    judge.write_text(judge.read_text().replace("device=DEVICE", "device=cuda"))
    end = "dtype=float32&device"
    specs = {
        f"implicit:{policy_pair}?{end}=cuda": f"implicit:{policy_pair}?{end}=cpu",
        f"process:{labelled}?aggregate=min&tag=%0A%0A&{end}=cuda": (
            f"process:{labelled}?aggregate=min&tag=%0A%0A&{end}=cpu"
        ),
        f"judge:{judge}": f"judge:{other}",
    }
    for on_gpu, on_cpu in specs.items():
        found = []
        for spec in (on_gpu, on_cpu):
            model, store = open_model(spec), MemoryStore()
            fill(model, many, store, budget=512)
            found.append(scores_of(model, many, store).scores)
        np.testing.assert_allclose(*found, rtol=0, atol=1e-3 * max(1.0, found[1].std()))


def test_scores_do_not_depend_on_what_is_computed_ahead(folders, many):
    """Many small batches, each laid out while another runs, are those of one batch."""
    spec = f"hf:{folders('llama')}?device=cuda&dtype=float32"
    found = []
    for budget in (300, 100_000):
        model, store = open_model(spec), MemoryStore()
        report = fill(model, many, store, budget=budget)
        found.append(scores_of(model, many, store).scores)
    assert report.batches == 1

    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-3)


def test_what_does_not_fit_is_halved(folders, many):
    """With hardly any memory left all texts are scored, in smaller batches."""
    spec = f"hf:{folders('llama')}?device=cuda&dtype=float32&prefix=off"
    longer = [replace(s, response=" ".join([s.response] * 5)) for s in many]
    model, store = open_model(spec), MemoryStore()
    fill(model, longer, store, too_long="right")
    expected = scores_of(model, longer, store, too_long="right").scores
    model, store = open_model(spec), MemoryStore()
    model = model.load()
    model.prove = lambda encoded: Proven()
    gc.collect()
    torch.cuda.empty_cache()
    room = torch.cuda.memory_reserved() + (8 << 20)
    total = torch.cuda.get_device_properties(0).total_memory
    try:
        torch.cuda.set_per_process_memory_fraction(room / total)
        report = fill(model, longer, store, too_long="right")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)

    assert report.halvings > 0
    found = scores_of(model, longer, store, too_long="right").scores
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)


def test_a_checkpoint_runs_in_its_own_type(folders, tmp_path):
    """Without `dtype`, on a GPU: bfloat16 where the weights are, and the page says so."""
    half = tmp_path / "half"
    source = loaded(f"hf:{folders('llama')}?device=cpu")
    source.scorer._model.to(torch.bfloat16).save_pretrained(half)
    for name in folders("llama").iterdir():
        if "token" in name.name or "template" in name.name:
            (half / name.name).write_bytes(name.read_bytes())
    model = loaded(f"hf:{half}")
    proven = model.prove(model.encode(tiny_models.samples()))
    (said,) = [item.detail for item in proven.items if item.name == "precision"]

    assert model.model.dtype == "bfloat16"
    assert said.startswith("bfloat16 on cuda")
    assert model.model.fingerprint == open_model(f"hf:{half}?dtype=bfloat16").fingerprint
    assert open_model(f"hf:{half}?device=cpu").dtype == "float32"
