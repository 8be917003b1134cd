"""Attention on accelerators where no kernel takes it: a product a group, and the same rewards."""

import numpy as np
import pytest
import tiny_models
import torch

from rmcheck.models.engines.torch import group_products, shared_prefix
from rmcheck.models.engines.torch.group_products import GroupRow
from rmcheck.models.engines.torch.packing import packed_rows
from rmcheck.models.registry import open_model

CPU = torch.device("cpu")
# Rounding of float32 on rewards of about ten.
EXACT = 1e-4


def tokens(rng, count):
    """Some tokens."""
    return rng.integers(10, 300, count).tolist()


@pytest.fixture(scope="module")
def rows():
    """Three prompts with responses of 1 to 60 tokens, and a row that shares nothing."""
    rng = np.random.default_rng(0)
    asked = [tokens(rng, n) for n in (20, 45, 70)]
    return [p + tokens(rng, n) for p in asked for n in (1, 2, 9, 17, 30, 60)] + [tokens(rng, 33)]


@pytest.fixture(scope="module", params=["llama", "mistral", "qwen3", "gemma2", "gemma3", "gpt2"])
def model(request, tmp_path_factory):
    """A decoder; windows are shorter than most rows, so that one that is forgotten shows."""
    wide = {} if request.param == "gpt2" else {"initializer_range": 0.3}
    windowed = request.param in {"mistral", "gemma2", "gemma3"}
    config = tiny_models.decoder_config(
        request.param, **wide, **({"sliding_window": 24} if windowed else {})
    )
    folder = tiny_models.save(config, tmp_path_factory.mktemp("m"))
    opened = open_model(f"hf:{folder}?device=cpu").load()
    yield opened
    opened.close()


@pytest.mark.parametrize(("tile", "weights"), [(256, 1 << 22), (256, 1), (8, 1 << 22), (8, 2000)])
def test_rewards_are_those_of_a_cpu_and_of_one_row_at_a_time(
    model, rows, tile, weights, monkeypatch
):
    """Soft-capped or not, whole groups at once or a few queries of a few rows."""
    alone = np.array([model.scorer.rewards([row])[0] for row in rows])
    on_cpu = model.scorer.rewards(rows, way="packed")
    monkeypatch.setattr(group_products, "_TILE", tile)
    monkeypatch.setattr(group_products, "_MOST_WEIGHTS", weights)
    monkeypatch.setattr(
        shared_prefix, "_group_row", lambda packed, device: GroupRow(packed.segments, device)
    )

    together = model.scorer.rewards(rows, way="packed")

    assert np.std(alone) > 0.1
    np.testing.assert_allclose(together, alone, rtol=0, atol=EXACT)
    np.testing.assert_allclose(together, on_cpu, rtol=0, atol=EXACT)


def test_a_group_is_one_product_however_many_rows_it_has():
    """Prompts are one, and the responses of each another; a row at a time would be 130."""
    rng = np.random.default_rng(1)
    asked = [tokens(rng, 40), tokens(rng, 50)]
    packed = packed_rows([p + tokens(rng, 30) for p in asked for _ in range(64)], [0] * 128)

    assert len(packed.segments) == 130
    assert len(GroupRow(packed.segments, CPU)._tiles) == 3
    assert sum(len(t.into) for t in GroupRow(packed.segments, CPU)._tiles) == len(packed.ids)


def test_weights_of_a_product_stay_within_what_there_is_room_for(monkeypatch):
    """Rows are then of several products, one row at the least."""
    monkeypatch.setattr(group_products, "_MOST_WEIGHTS", 8 * 30 * 70)
    rng = np.random.default_rng(2)
    prompt = tokens(rng, 40)
    packed = packed_rows([prompt + tokens(rng, 30) for _ in range(64)], [0] * 64)

    rows = [tile.queries.shape[0] for tile in GroupRow(packed.segments, CPU)._tiles]

    assert rows == [1] + [8] * 8
