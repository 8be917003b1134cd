"""Resampling keeps to the thread that asks for it."""

import numpy as np
from threadpoolctl import threadpool_info

from rmcheck.stats.weights import draw_weights


def blas_threads():
    """Threads of each linear algebra library that is loaded."""
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def test_products_with_weights_run_on_one_thread(monkeypatch):
    """Whatever the environment says; afterwards the library has its threads back."""
    seen, before, product = [], blas_threads(), np.matmul

    def watched(*args, **kwargs):
        seen.append(blas_threads())
        return product(*args, **kwargs)

    monkeypatch.setattr(np, "matmul", watched)
    draw_weights(50, 100, 0).totals(np.ones((50, 3)))

    assert seen
    assert all(threads == [1] * len(before) for threads in seen)
    assert blas_threads() == before
