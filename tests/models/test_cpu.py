"""What makes torch fast on a CPU, and that it changes nothing but speed."""

import platform
import subprocess
import sys

import numpy as np
import pytest
import torch

from rmcheck.models import cpu
from rmcheck.models.cpu import float32_by_onednn, keep_freed_memory, release_freed_memory

IS_GLIBC = platform.libc_ver()[0] == "glibc"


@pytest.fixture(autouse=True)
def measured_anew():
    """Nothing remembered from another test, before or after."""
    cpu._is_exact.cache_clear()
    yield
    cpu._is_exact.cache_clear()


def product(rows=64):
    """A product and the same in float64."""
    random = torch.Generator().manual_seed(1)
    left, right = torch.randn(rows, 300, generator=random), torch.randn(300, 200, generator=random)
    return left @ right, left.double() @ right.double()


def test_products_stay_float32_on_this_machine():
    """Inside, a product is as exact as float32 is, whatever this processor can do."""
    with float32_by_onednn():
        found, exact = product()

    assert float((found - exact).abs().max()) < 1e-3


def test_the_setting_is_as_it_was_afterwards():
    """Also when what runs inside fails; and the precision that users read is untouched."""
    before = torch.backends.mkldnn.matmul.fp32_precision

    with pytest.raises(KeyError), float32_by_onednn():
        raise KeyError("stop")

    assert torch.backends.mkldnn.matmul.fp32_precision == before
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize("error", [1e-1, 1e-6])
def test_a_processor_that_rounds_to_bfloat16_is_left_with_torch_s_own_products(monkeypatch, error):
    """The choice is made by a measurement: products off as bfloat16's are refused."""
    matmul = torch.backends.mkldnn.matmul
    exact = torch.nn.functional.linear

    def rounding(left, right):
        found = exact(left, right)
        return found + error if matmul.fp32_precision == "bf16" else found

    monkeypatch.setattr(torch.nn.functional, "linear", rounding)
    before = matmul.fp32_precision
    with float32_by_onednn():
        inside = matmul.fp32_precision

    assert (inside == "bf16") == (error < 1e-3 and torch.backends.mkldnn.is_available())
    assert matmul.fp32_precision == before


@pytest.mark.parametrize("missing", ["matmul", "onednn"])
def test_a_torch_without_the_choice_is_left_alone(monkeypatch, missing):
    """An older torch, or one that was built without oneDNN, computes as it always does."""
    if missing == "matmul":
        monkeypatch.setattr(torch.backends.mkldnn, "matmul", object(), raising=False)
    else:
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)

    with float32_by_onednn():
        found, exact = product()

    np.testing.assert_allclose(found, exact, atol=1e-3)


KEEPS = """
import sys
from rmcheck.models.cpu import keep_freed_memory, release_freed_memory
import numpy as np

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20

if sys.argv[1] == "keep":
    keep_freed_memory()
before = resident()
np.ones(100 * 2**20, np.uint8)
kept = resident() - before
release_freed_memory()
print(kept, resident() - before)
"""


@pytest.mark.skipif(not IS_GLIBC or sys.platform != "linux", reason="only glibc can be told")
@pytest.mark.parametrize("how", ["keep", "usual"])
def test_freed_memory_is_kept_until_it_is_released(how):
    """100 MiB that were freed stay with the process when asked for, and go when told to."""
    done = subprocess.run(
        [sys.executable, "-c", KEEPS, how], capture_output=True, text=True, check=True
    )
    kept, left = map(float, done.stdout.split())

    assert kept > 90 if how == "keep" else kept < 10
    assert left < 10


def test_another_c_library_is_left_as_it_is(monkeypatch):
    """musl, macOS and Windows have no such switch, and nothing fails there."""
    monkeypatch.setattr(cpu, "_glibc", lambda: None)

    keep_freed_memory()
    release_freed_memory()
