"""Attention as accelerators compute it: one call of a kernel a layer, and the same rewards."""

from itertools import pairwise

import numpy as np
import pytest
import tiny_models
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from rmcheck.models.engines.torch import shared_prefix, variable_length
from rmcheck.models.engines.torch.group_products import GroupRow
from rmcheck.models.engines.torch.packing import packed_rows
from rmcheck.models.engines.torch.variable_length import KernelRow
from rmcheck.models.registry import open_model

CPU = torch.device("cpu")
# Rounding of float32 on rewards of about ten.
EXACT = 1e-4


def one_sequence_at_a_time(
    query, key, value, queries, keys, max_q, max_k, *, scale, window_size, enable_gqa=True
):
    """What torch's variable-length attention computes, by its definition and in float32.

    The last query of a sequence sees its last key; a window reaches so far to the left.
    """
    left, right = window_size
    out = torch.empty_like(query)
    spans = list(zip(pairwise(queries.tolist()), pairwise(keys.tolist()), strict=True))
    assert max_q == max(stop - start for (start, stop), _ in spans)
    assert max_k == max(stop - start for _, (start, stop) in spans)
    for (start, stop), (first, after) in spans:
        place = torch.arange(stop - start)[:, None] + (after - first) - (stop - start)
        column = torch.arange(after - first)
        seen = (column <= place + right) & (column >= place - left if left >= 0 else column >= 0)
        sharing = query.shape[1] // key.shape[1]
        k, v = (x[first:after].repeat_interleave(sharing, 1) for x in (key, value))
        weights = torch.einsum("qhd,khd->hqk", query[start:stop], k) * scale
        weights = weights.masked_fill(~seen, float("-inf")).softmax(-1)
        out[start:stop] = torch.einsum("hqk,khd->qhd", weights, v)
    return out


@pytest.fixture
def on_an_accelerator(monkeypatch):
    """What a GPU would compute, on this machine; the calls that it takes are counted."""
    calls = []

    def counting(query, *args, **kwargs):
        calls.append(query.shape)
        return one_sequence_at_a_time(query, *args, **kwargs)

    monkeypatch.setattr(variable_length, "kernel", lambda: counting)
    monkeypatch.setattr(KernelRow, "takes", staticmethod(lambda query, value: True))
    monkeypatch.setattr(
        shared_prefix, "_kernel_row", lambda packed, device: KernelRow(packed.segments, device)
    )
    monkeypatch.setattr(
        shared_prefix, "_group_row", lambda packed, device: GroupRow(packed.segments, device)
    )
    return calls


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
    folder = tiny_models.save(config, tmp_path_factory.mktemp("model"))
    opened = open_model(f"hf:{folder}?device=cpu").load()
    yield opened
    opened.close()


def test_the_rewards_are_those_of_one_row_at_a_time(model, rows, on_an_accelerator):
    """Whatever the architecture; soft-capped attention, which no kernel has, by products."""
    alone = [float(model.scorer.rewards([row])[0]) for row in rows]

    together = model.scorer.rewards(rows, way="packed")

    assert np.std(alone) > 0.1
    np.testing.assert_allclose(together, alone, rtol=0, atol=EXACT)
    config = model.scorer._model.config
    soft_capped = getattr(config, "attn_logit_softcapping", None) is not None
    assert len(on_an_accelerator) == (0 if soft_capped else config.num_hidden_layers)


class Queued(TorchDispatchMode):
    """Refuses what would make a GPU's host wait: looking at a number, or counting what is true."""

    WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Compute it, unless it waits."""
        assert func.overloadpacket.__name__ not in self.WAITING, f"{func} waits for the device"
        places = args[1] if func.overloadpacket.__name__ in ("index", "index_put_") else ()
        masks = [p for p in places if torch.is_tensor(p) and p.dtype is torch.bool]
        assert not masks, f"{func} by a mask waits for the device"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("attention", ["by the kernel", "by products"])
def test_no_forward_looks_at_what_it_computes(model, rows, on_an_accelerator, attention, request):
    """Kernels are queued one after another; on a GPU every look at a number would stop that."""
    patch = request.getfixturevalue("monkeypatch")
    patch.setattr(variable_length, "kernel", lambda: lambda query, *_, **__: query)
    if attention == "by products":
        patch.setattr(shared_prefix, "_kernel_row", lambda packed, device: None)
    queued, body = Queued(), model.scorer._body
    hooks = [
        body.register_forward_pre_hook(lambda *_: queued.__enter__() and None),
        body.register_forward_hook(lambda *_: queued.__exit__(None, None, None), always_call=True),
    ]
    try:
        assert len(model.scorer.rewards(rows, way="packed")) == len(rows)
    finally:
        for hook in hooks:
            hook.remove()


def test_rows_that_share_nothing_copy_no_keys():
    """Without prefixes keys are read where they stand."""
    packed = packed_rows([[1, 2, 3], [4, 5]], [2, 1])

    assert KernelRow(packed.segments, CPU)._seen is None


@pytest.mark.parametrize(
    ("size", "dtype", "taken"),
    [
        (64, torch.bfloat16, True),
        (256, torch.float16, True),
        (64, torch.float32, False),
        (36, torch.bfloat16, False),
        (264, torch.bfloat16, False),
    ],
)
def test_heads_that_no_kernel_has_are_left_to_products(size, dtype, taken):
    """Float32, heads of odd sizes, large ones, and values of another size than keys."""
    query = torch.zeros(1, 2, 3, size, dtype=dtype)

    assert KernelRow.takes(query, query) is taken
    assert not KernelRow.takes(query, query[..., :8])


@pytest.mark.parametrize(
    ("signature", "found"),
    [
        (lambda q, *, window_size=(-1, -1): window_size, True),
        (lambda q, *, window_size=(-1, -1), enable_gqa=False: (window_size, enable_gqa), True),
        (lambda q, *, is_causal=False: is_causal, False),
    ],
)
def test_the_kernel_is_called_as_this_torch_has_it(signature, found, monkeypatch):
    """Without windows, as in torch 2.10, it is not used; grouped keys are said where known."""
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", signature)
    run = variable_length.kernel.__wrapped__()

    assert (run is not None) is found
    if run is not None:
        assert run(0, window_size=(3, 0)) in [(3, 0), ((3, 0), True)]


@given(st.lists(st.tuples(st.integers(0, 20), st.lists(st.integers(1, 9), min_size=1, max_size=4))))
def test_each_row_sees_exactly_its_own_tokens(prompts):
    """Whatever is packed: the keys of a segment are its row up to the segment's end."""
    rows, token = [], 1
    for length, answers in prompts:
        prompt = list(range(token, token + length))
        token += length
        for answer in answers:
            rows.append([*prompt, *range(token, token + answer)])
            token += answer
    if not rows:
        return
    packed = packed_rows(rows, [len(row) - 1 for row in rows], least=1)
    row = KernelRow(packed.segments, CPU)
    queries, keys, longest, most = row._lengths
    seen = packed.ids if row._seen is None else packed.ids[row._seen]

    assert queries.tolist() == [0, *(s.stop for s in packed.segments)]
    found = [seen[a:b].tolist() for a, b in pairwise(keys.tolist())]
    assert (longest, most) == (max(s.length for s in packed.segments), max(map(len, found)))
    assert [one for one in found if one in rows] == sorted(rows)
    assert all(any(row[: len(one)] == one for row in rows) for one in found)
