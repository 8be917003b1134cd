"""Products of tall and narrow matrices, computed by the thread that asks for them.

Products of resample weights with sums are short of work for each number that they read, so that
threads of the linear algebra library gain nothing; on busy cores or under the CPU quota of a
container they spin while they wait for one another, and cost up to fifty times the product itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController


@lru_cache(maxsize=1)
def _libraries() -> "ThreadpoolController":
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside it numpy's products run on one thread; what was set before is set again after."""
    with _libraries().limit(limits=1, user_api="blas"):
        yield
