"""What makes torch fast on a CPU: products by oneDNN, and MLPs a few tokens at a time.

Rewards stay the same, up to the order of float32 sums; `benchmarks/scoring.py` shows
what they bring.
"""

import ctypes
import functools
from typing import Any

# Errors of another float32 kernel are about as large; those of bfloat16 are 1,000 times larger.
_AS_EXACT = 8
# Bytes of weights of which a second copy is made; above, memory is worth more than a tenth of time.
_MOST_BYTES = 2 << 30
# Tokens of a call: below, nothing is gained; and as many as a layout is chosen for.
_FEWEST_TOKENS, _MANY_TOKENS = 32, 2048
# Bytes of activations of all threads together; tokens of a large batch, and the numbers of hidden
# states and of the MLP's width that a layer has in memory for each of them.
_MOST_ACTIVATIONS, _TOKENS, _HIDDEN, _WIDE = 4 << 30, 8192, 8, 3
# Tokens that an MLP computes at a time: 1.02 times as fast as glibc told to keep freed memory, and
# 1.15 times as fast as neither, on texts of 1,300 tokens with 36 million parameters in float32.
_TILE = 1024


def lay_out_linears(body: Any) -> int:
    """Keep a copy of the weights of linear layers in the layout that oneDNN computes with.

    It would otherwise be made in every call, and float32 products would go to MKL. The copy is
    used in inference mode and by calls of many tokens; nothing else about a layer changes, but for
    new weights, which it would not see.

    Args:
        body: A model on the CPU, with the weights that it keeps.

    Returns:
        How many layers have such a copy; 0 where torch cannot, or their weights are too large.
    """
    import torch

    found = [m for m in body.modules() if type(m) is torch.nn.Linear]
    linears = [m for m in found if _computes_linears(m.weight.dtype)]
    if sum(m.weight.nbytes for m in linears) > _MOST_BYTES:
        return 0
    for linear in linears:
        _lay_out(linear)
    return len(linears)


def _lay_out(linear: Any) -> None:
    import torch

    own = linear.forward
    product = torch.ops.mkldnn._linear_pointwise
    weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), _MANY_TOKENS)
    fewest, dtype = _FEWEST_TOKENS * linear.in_features, linear.weight.dtype

    def forward(states: Any) -> Any:
        is_other = states.numel() < fewest or states.dtype != dtype
        if is_other or not torch.is_inference_mode_enabled():
            return own(states)
        return product(states, weight, linear.bias, "none", [], "")

    linear.forward = forward


@functools.cache
def _computes_linears(dtype: Any) -> bool:
    """Whether torch has these products for a type here, as exact as its own; tried out."""
    import torch

    if dtype not in (torch.float32, torch.bfloat16):
        return False
    random = torch.Generator().manual_seed(0)
    # Without drawing from the generator that is everybody's.
    linear = torch.nn.Linear(128, 96, dtype=dtype, device="meta").to_empty(device="cpu")
    for parameter in linear.requires_grad_(False).parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=random))
    states = torch.randn(64, 128, generator=random).to(dtype)
    exact = states.double() @ linear.weight.double().T + linear.bias.double()
    default = linear(states)
    try:
        _lay_out(linear)
        with torch.inference_mode():
            found = linear(states)
    # The names are torch's own, and a version or a processor may lack them.
    except (AttributeError, RuntimeError):
        return False
    errors = [float((one.double() - exact).abs().max()) for one in (default, found)]
    return errors[1] <= _AS_EXACT * errors[0]


def usable_cores() -> int:
    """Cores that torch would use, and no more than a container may use.

    torch heeds `OMP_NUM_THREADS` and the cores that a process is bound to; not that a container on
    a machine of many cores may use a few of them.
    """
    import joblib
    import torch

    return min(torch.get_num_threads(), int(joblib.cpu_count()))


def apply_cpu_quota() -> None:
    """Let torch start no more threads than `usable_cores`: beyond, they wait for each other."""
    import torch

    if usable_cores() < torch.get_num_threads():
        torch.set_num_threads(usable_cores())


def fitting_tokens(config: Any, room: int, itemsize: int) -> int | None:
    """Tokens of a batch whose activations fit; None where the config has no hidden size.

    Args:
        config: Of the model's text part.
        room: Bytes for them.
        itemsize: Bytes of a number.
    """
    numbers = _numbers_per_token(config)
    return max(0, room // (itemsize * numbers)) if numbers else None


def _numbers_per_token(config: Any) -> int:
    """Numbers that a layer has in memory for a token; 0 where the config does not say."""
    hidden = getattr(config, "hidden_size", None) or 0
    wide = getattr(config, "intermediate_size", None) or 4 * hidden
    return int(_HIDDEN * hidden + _WIDE * wide)


def worker_count(config: Any, scratch: int) -> int:
    """Threads that score batches at the same time: one a core, while their memory allows.

    Args:
        config: Of the model's text part; where it has no hidden size there is one.
        scratch: Bytes that a thread needs beside activations.
    """
    numbers = _numbers_per_token(config)
    if not numbers:
        return 1
    batch = 4 * _TOKENS * numbers + scratch
    return max(1, min(usable_cores(), int(_MOST_ACTIVATIONS // batch)))


def tile_mlps(body: Any) -> int:
    """Compute the MLP of a layer for some tokens at a time.

    Its inner states are the widest tensors there are. For a whole batch they are fresh memory of
    the system in every layer, and zeroing that costs more than filling it; those of some tokens are
    used again, and stay in the cache.

    Args:
        body: A model on the CPU.

    Returns:
        How many layers have an MLP of linear layers and an activation, token by token.
    """
    found = [m for name, m in body.named_modules() if name.endswith(".mlp") and _is_tokenwise(m)]
    for mlp in found:
        _tile(mlp)
    return len(found)


def _is_tokenwise(mlp: Any) -> bool:
    import torch

    children = list(mlp.children())
    plain = [isinstance(c, torch.nn.Linear) or not list(c.parameters()) for c in children]
    # Experts choose among tokens, and have layers of their own kind.
    return bool(children) and all(plain)


def _tile(mlp: Any) -> None:
    import torch

    own = mlp.forward

    def forward(states: Any) -> Any:
        tokens = states.reshape(-1, states.shape[-1])
        if len(tokens) <= _TILE or not torch.is_inference_mode_enabled():
            return own(states)
        made: Any = torch.empty_like(tokens)
        for part, room in zip(tokens.split(_TILE), made.split(_TILE), strict=True):
            room.copy_(own(part))
        return made.view(states.shape)

    mlp.forward = forward


def give_back_freed_memory() -> None:
    """Let glibc give to the system what it holds of freed memory; others do as they like."""
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:
        return
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
