"""What makes torch fast on a CPU: float32 products by oneDNN, and freed memory that is kept.

Neither changes what is computed beyond the order of float32 sums; `benchmarks/scoring.py` shows
what they bring.
"""

import ctypes
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Errors of another float32 kernel are about as large; those of bfloat16 are 1,000 times larger.
_AS_EXACT = 8
# Numbers of `mallopt` in glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


@contextmanager
def float32_by_onednn() -> Iterator[None]:
    """Float32 products on the CPU through oneDNN, where it computes them in float32.

    torch gives them to MKL, which on processors of other makers does not use all they can do. It
    hands them to oneDNN when it may round to bfloat16; processors without instructions for that
    still compute in float32, and a measurement decides.
    """
    matmul = _onednn()
    if matmul is None or not _is_exact():
        yield
        return
    before = matmul.fp32_precision
    matmul.fp32_precision = "bf16"
    try:
        yield
    finally:
        matmul.fp32_precision = before


def _onednn() -> Any:
    """The choice that torch leaves for products through oneDNN; None where it leaves none."""
    import torch

    onednn: Any = torch.backends.mkldnn
    matmul = getattr(onednn, "matmul", None)
    return matmul if onednn.is_available() and hasattr(matmul, "fp32_precision") else None


@functools.cache
def _is_exact() -> bool:
    """Whether products through oneDNN are as exact as those of torch's default, measured."""
    import torch

    matmul = _onednn()
    random = torch.Generator().manual_seed(0)
    before = matmul.fp32_precision
    errors = {"ieee": 0.0, "bf16": 0.0}
    try:
        # oneDNN chooses its kernel by shape: a single row, a small batch, many tokens.
        for rows in (1, 64, 1024):
            left = torch.randn(rows, 512, generator=random)
            right = torch.randn(384, 512, generator=random)
            exact = left.double() @ right.double().T
            for precision, largest in errors.items():
                matmul.fp32_precision = precision
                found = torch.nn.functional.linear(left, right)
                errors[precision] = max(largest, float((found - exact).abs().max()))
    finally:
        matmul.fp32_precision = before
    return errors["bf16"] <= _AS_EXACT * errors["ieee"]


def keep_freed_memory() -> None:
    """Let glibc keep what is freed: zeroing fresh pages costs more than filling them.

    Every layer allocates and frees tensors of many MiB. Other C libraries are left as they are.
    """
    libc = _glibc()
    if libc is not None:
        libc.mallopt(_MMAP_THRESHOLD, 2**31 - 1)
        libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)


def release_freed_memory() -> None:
    """Give back to the system what `keep_freed_memory` kept."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    try:
        libc = ctypes.CDLL("libc.so.6")
        return libc if hasattr(libc, "gnu_get_libc_version") else None
    except OSError:
        return None
