"""Who calls `score`: whoever asks, threads that share the cores of a CPU, or one thread ahead.

In one forward pass only large products use several cores well. With a thread for each core, each
with a batch of its own, all cores are busy all the time; and where other programs run, no operation
waits for the core that they took. The weights are in memory once. An accelerator computes one batch
at a time, and should not wait while the last is stored and the next is laid out.
"""

from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, TypeVar

_T = TypeVar("_T")


class Workers(Executor):
    """Calls of a model.

    Attributes:
        count: How many are computed at the same time.
        ahead: How many more are worth making, which get ready and wait for their turn.
    """

    count = 1
    ahead = 0

    def submit(self, call: Callable[..., _T], /, *args: Any, **kwargs: Any) -> "Future[_T]":
        """A call at once, in the thread that asks; what it gave, as a future that is done."""
        future: Future[_T] = Future()
        try:
            future.set_result(call(*args, **kwargs))
        # As an executor does it; being interrupted is not an answer.
        except Exception as error:
            future.set_exception(error)
        return future


class Threads(Workers):
    """Calls in threads of their own.

    Args:
        count: How many are computed at the same time.
        ahead: How many more get ready meanwhile.
        **prepared: How threads begin; see `ThreadPoolExecutor`.
    """

    def __init__(self, count: int = 1, ahead: int = 0, **prepared: Any) -> None:
        self.count, self.ahead = count, ahead
        self._threads = ThreadPoolExecutor(count + ahead, "score", **prepared)

    def submit(self, call: Callable[..., _T], /, *args: Any, **kwargs: Any) -> "Future[_T]":
        """A call in the next thread that is free."""
        return self._threads.submit(call, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """See `Executor.shutdown`."""
        self._threads.shutdown(wait, cancel_futures=cancel_futures)


class CpuWorkers(Threads):
    """A thread for each worker, in which torch has its share of the cores.

    Args:
        count: Threads.
        cores: All that they share.
    """

    def __init__(self, count: int, cores: int) -> None:
        import torch

        self._before = torch.get_num_threads()
        share = max(1, cores // count)
        super().__init__(count, initializer=torch.set_num_threads, initargs=(share,))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """See `Executor.shutdown`."""
        import torch

        super().shutdown(wait, cancel_futures=cancel_futures)
        # What a thread is given is what later threads of this process begin with.
        torch.set_num_threads(self._before)
