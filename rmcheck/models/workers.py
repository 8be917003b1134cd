"""Who calls `score`: whoever asks, or some threads that share the cores of a CPU.

In one forward pass only large products use several cores well. With a thread for each core, each
with a batch of its own, all cores are busy all the time; and where other programs run, no operation
waits for the core that they took. The weights are in memory once.
"""

from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, TypeVar

_T = TypeVar("_T")


class Workers(Executor):
    """Calls of a model.

    Attributes:
        count: How many are worth making at the same time.
    """

    count = 1

    def submit(self, call: Callable[..., _T], /, *args: Any, **kwargs: Any) -> "Future[_T]":
        """A call at once, in the thread that asks; what it gave, as a future that is done."""
        future: Future[_T] = Future()
        try:
            future.set_result(call(*args, **kwargs))
        # As an executor does it; being interrupted is not an answer.
        except Exception as error:
            future.set_exception(error)
        return future


class CpuWorkers(Workers):
    """A thread for each worker, in which torch has its share of the cores.

    Args:
        count: Threads.
        cores: All that they share.
    """

    def __init__(self, count: int, cores: int) -> None:
        import torch

        self.count = count
        self._before = torch.get_num_threads()
        self._threads = ThreadPoolExecutor(
            count, "score", initializer=torch.set_num_threads, initargs=(max(1, cores // count),)
        )

    def submit(self, call: Callable[..., _T], /, *args: Any, **kwargs: Any) -> "Future[_T]":
        """A call in the next thread that is free."""
        return self._threads.submit(call, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """See `Executor.shutdown`."""
        import torch

        self._threads.shutdown(wait, cancel_futures=cancel_futures)
        # What a thread is given is what later threads of this process begin with.
        torch.set_num_threads(self._before)
