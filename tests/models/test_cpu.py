"""What makes torch fast on a CPU, and that it changes nothing but speed."""

import pytest
import torch

from rmcheck.models.engines.torch import cpu
from rmcheck.models.engines.torch.cpu import give_back_freed_memory, lay_out_linears


@pytest.fixture(autouse=True)
def measured_anew():
    """Nothing remembered from another test, before or after."""
    cpu._computes_linears.cache_clear()
    yield
    cpu._computes_linears.cache_clear()


def test_another_c_library_is_left_as_it_is(monkeypatch):
    """musl, macOS and Windows have no such call, and nothing fails there."""

    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(cpu.ctypes, "CDLL", missing)

    give_back_freed_memory()


class Mlp(torch.nn.Module):
    """As in a decoder; it notes how many tokens it computes at a time."""

    def __init__(self, wide=64, dtype=torch.float32):
        super().__init__()
        torch.manual_seed(4)
        self.up = torch.nn.Linear(96, wide, dtype=dtype)
        self.act = torch.nn.SiLU()
        self.down = torch.nn.Linear(wide, 96, dtype=dtype)
        self.seen = []

    def forward(self, states):
        """Token by token."""
        self.seen.append(states.shape[:-1].numel())
        return self.down(self.act(self.up(states)))


def body_of(mlp):
    """A model with one layer that has it."""
    return torch.nn.ModuleDict({"layers": torch.nn.ModuleList([torch.nn.ModuleDict({"mlp": mlp})])})


@pytest.mark.parametrize("shape", [(1, 150, 96), (3, 50, 96), (150, 96)])
@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
def test_an_mlp_in_tiles_computes_the_same(monkeypatch, shape, dtype, close):
    """Of any shape of states, the last tile shorter."""
    monkeypatch.setattr(cpu, "_TILE", 64)
    mlp = Mlp(dtype=dtype)
    states = torch.randn(shape, generator=torch.Generator().manual_seed(3)).to(dtype)
    with torch.inference_mode():
        whole = mlp(states)
        assert cpu.tile_mlps(body_of(mlp)) == 1
        tiled = mlp(states)

    assert mlp.seen == [150, 64, 64, 22]
    torch.testing.assert_close(tiled, whole, rtol=close, atol=close)


def test_an_mlp_is_whole_for_gradients_and_few_tokens(monkeypatch):
    """As it was before."""
    monkeypatch.setattr(cpu, "_TILE", 64)
    mlp = Mlp()
    cpu.tile_mlps(body_of(mlp))

    mlp(torch.ones(1, 150, 96)).sum().backward()
    with torch.inference_mode():
        mlp(torch.ones(1, 64, 96))

    assert mlp.seen == [150, 64]


def test_experts_are_left_alone():
    """Which tokens they compute is theirs to choose."""
    mlp = torch.nn.ModuleDict({"gate": torch.nn.Linear(4, 2), "experts": Mlp()})

    assert cpu.tile_mlps(body_of(mlp)) == 0


def linear(dtype=torch.float32, bias=True):
    """A layer as a trained model has them: weights that want a gradient."""
    torch.manual_seed(2)
    return torch.nn.Linear(96, 160, bias=bias, dtype=dtype)


def states_of(dtype=torch.float32, tokens=64):
    """(2, tokens, 96) states."""
    return torch.randn(2, tokens, 96, generator=torch.Generator().manual_seed(3)).to(dtype)


needs_layouts = pytest.mark.skipif(
    not cpu._computes_linears(torch.float32), reason="torch has no such products on this processor"
)


@needs_layouts
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("view", ["whole", "picked", "transposed"])
@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_layers_that_are_laid_out_compute_the_same(dtype, close, view, bias):
    """Of any shape and memory layout of states, with a bias and without."""
    if not cpu._computes_linears(dtype):
        pytest.skip(f"torch has no such products of {dtype} on this processor")
    layer, states = linear(dtype, bias), states_of(dtype)
    states = {
        "whole": states,
        "picked": states[:, ::2],
        "transposed": states.transpose(0, 1),
    }[view]
    plain = layer(states)

    assert lay_out_linears(torch.nn.Sequential(layer)) == 1
    with torch.inference_mode():
        found = layer(states)

    assert found.shape == plain.shape
    torch.testing.assert_close(found, plain.detach(), rtol=close, atol=close)


@needs_layouts
def test_what_is_no_inference_of_many_tokens_is_computed_as_before(monkeypatch):
    """Gradients, a few tokens, and states of another type go to the layer itself."""
    layer, seen = linear(), []
    own = layer.forward
    monkeypatch.setattr(
        layer, "forward", lambda states: seen.append(states.shape[1]) or own(states)
    )
    lay_out_linears(torch.nn.Sequential(layer))

    layer(states_of(tokens=70)).sum().backward()
    with torch.inference_mode():
        layer(states_of(tokens=80))
        layer(states_of(tokens=10))
        with pytest.raises(RuntimeError, match="same dtype"):
            layer(states_of(torch.bfloat16, tokens=90))

    assert seen == [70, 10, 90]
    assert layer.weight.grad is not None


def test_layers_that_are_more_than_linear_are_left_alone():
    """A subclass may do anything in its forward."""

    class Doubled(torch.nn.Linear):
        def forward(self, states):
            return 2 * super().forward(states)

    assert lay_out_linears(torch.nn.Sequential(Doubled(4, 4), torch.nn.LayerNorm(4))) == 0


def test_large_models_are_not_held_twice(monkeypatch):
    """The copy is made up to a size of all weights together."""
    layers = torch.nn.Sequential(linear(), linear())
    monkeypatch.setattr(cpu, "_MOST_BYTES", layers[0].weight.nbytes)

    assert lay_out_linears(layers) == 0
    assert "forward" not in vars(layers[0])


def fails(layer):
    """As where a version of torch or a processor lacks the product."""
    raise RuntimeError("mkldnn_linear_pointwise needs avx512")


def is_rough(layer):
    """As a processor that rounds to bfloat16 unasked."""
    own = layer.forward
    layer.forward = lambda states: own(states.bfloat16().float())


@pytest.mark.parametrize("lay_out", [fails, is_rough])
def test_where_the_product_fails_or_is_rough_nothing_is_laid_out(monkeypatch, lay_out):
    """It is tried out first, against float64."""
    monkeypatch.setattr(cpu, "_lay_out", lay_out)
    layer = linear()

    assert lay_out_linears(torch.nn.Sequential(layer)) == 0
    assert "forward" not in vars(layer)


def test_trying_out_draws_nothing_from_the_common_generator():
    """What a user seeds is not disturbed by loading a model."""
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    cpu._computes_linears(torch.float32)

    assert torch.rand(1) == expected


def test_types_that_no_layout_is_for_are_left_alone():
    """float16 is emulated on a CPU anyway."""
    assert lay_out_linears(torch.nn.Sequential(linear(torch.float16))) == 0
