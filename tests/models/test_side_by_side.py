"""Attention as accelerators compute it: segments side by side, and the same rewards."""

from itertools import pairwise

import numpy as np
import pytest
import tiny_models
import torch
from hypothesis import given
from hypothesis import strategies as st

from rmcheck.models import shared_prefix, side_by_side
from rmcheck.models.packing import Segment, packed_rows
from rmcheck.models.registry import open_model
from rmcheck.models.side_by_side import Arrangement

CPU = torch.device("cpu")
# Rounding of float32 on rewards of about ten.
EXACT = 1e-4


@pytest.fixture(scope="module")
def rows():
    """Three prompts with responses of 1 to 60 tokens, and a row that shares nothing."""
    rng = np.random.default_rng(0)

    def tokens(count):
        return rng.integers(10, 300, count).tolist()

    asked = [tokens(n) for n in (20, 45, 70)]
    answers = (1, 2, 9, 17, 30, 60)
    return [prompt + tokens(n) for prompt in asked for n in answers] + [tokens(33)]


@pytest.fixture(scope="module", params=["llama", "mistral", "qwen3", "gemma2", "gemma3", "gpt2"])
def model(request, tmp_path_factory):
    """A decoder; windows are shorter than most rows, so that one that is forgotten shows."""
    wide = {} if request.param == "gpt2" else {"initializer_range": 0.3}
    windowed = request.param in {"mistral", "gemma2", "gemma3"}
    config = tiny_models.decoder_config(
        request.param, **wide, **({"sliding_window": 24} if windowed else {})
    )
    opened = open_model(f"hf:{tiny_models.save(config, tmp_path_factory.mktemp('model'))}")
    opened.load()
    yield opened
    opened.close()


@pytest.fixture
def on_an_accelerator(monkeypatch):
    """What a GPU would compute, on this machine; the calls that it takes are counted."""
    monkeypatch.setattr(
        shared_prefix, "_arrangement", lambda packed, device: Arrangement(packed.segments, device)
    )
    calls = []
    kernel = torch.nn.functional.scaled_dot_product_attention

    def counting(*args, **kwargs):
        calls.append(args[0].shape)
        return kernel(*args, **kwargs)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", counting)
    return calls


@pytest.mark.parametrize(("tile", "numbers"), [(2048, 1 << 28), (7, 1 << 28), (2048, 1 << 14)])
def test_the_rewards_are_those_of_one_row_at_a_time(
    model, rows, tile, numbers, on_an_accelerator, monkeypatch
):
    """Whatever the architecture, in tiles of 7 queries, and where few rows fit one call."""
    monkeypatch.setattr(side_by_side, "TILE", tile)
    monkeypatch.setattr(shared_prefix, "TILE", tile)
    monkeypatch.setattr(side_by_side, "_MOST_NUMBERS", numbers)
    alone = [float(model.scorer.rewards([row])[0]) for row in rows]

    together = model.scorer.packed_rewards(rows)

    assert np.std(alone) > 0.1
    np.testing.assert_allclose(together, alone, rtol=0, atol=EXACT)


def test_a_layer_takes_few_calls(tmp_path, on_an_accelerator):
    """Two prompts of one length with 16 responses each: one call for both, one for each's."""
    opened = open_model(f"hf:{tiny_models.save(tiny_models.decoder_config('llama'), tmp_path)}")
    opened.load()
    layers = opened.scorer._model.config.num_hidden_layers
    many = [[p] * 30 + [5 + r] * (20 + r) for p in (3, 4) for r in range(16)]

    opened.scorer.packed_rewards(many)

    assert len(packed_rows(many, [0] * len(many)).segments) == 2 + 2 * 16
    assert len(on_an_accelerator) == 3 * layers


lengths = st.lists(st.integers(1, 50), min_size=1, max_size=30)


@given(lengths, st.lists(st.integers(0, 3), min_size=30, max_size=30), st.integers(1, 400))
def test_every_segment_is_laid_once_beside_others_of_its_prefix(counts, behind, most_keys):
    """None is lost or repeated, prefixes do not mix, and padding at most doubles a row."""
    segments, at = [], 40
    for count, prefix in zip(counts, behind, strict=False):
        segments.append(Segment(at, at + count, 10 * prefix, 10 * prefix + (8 if prefix else 0)))
        at += count
    pieces = list(side_by_side._alike(segments, most_keys))

    assert sorted(s.start for piece in pieces for s in piece) == [s.start for s in segments]
    for piece in pieces:
        longest = piece[0].prefix + piece[0].length
        assert len({(s.prefix_start, s.prefix_stop) for s in piece}) == 1
        assert all(piece[0].length >= s.length >= piece[0].length / 2 for s in piece)
        assert len(piece) == 1 or longest * len(piece) <= most_keys


@given(lengths)
def test_what_is_laid_side_by_side_is_put_back_in_its_place(counts):
    """The places that are no padding hold each token of the packed row once."""
    starts = np.concatenate([[0], np.cumsum(counts)])
    segments = [Segment(int(a), int(b), 0, 0) for a, b in pairwise(starts)]
    pieces = Arrangement(segments, CPU).for_keys(1)
    tokens = torch.cat([piece.tokens for piece in pieces])

    assert sorted(tokens.tolist()) == list(range(sum(counts)))
    for piece in pieces:
        assert torch.equal(piece.rows.flatten()[piece.filled], piece.tokens)
