"""Work shared out whole, one piece per thread: torch on all threads within one would gain less.

What is computed here comes in many small products, and torch's results then do not depend on how
many threads there are.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """The function of every item, in order, with as many items at a time as torch has threads.

    torch works on one thread within each; the setting is restored at the end. Items are taken as
    they are needed, few ahead.
    """
    n_threads = torch.get_num_threads()
    if n_threads == 1:
        yield from map(function, items)
        return
    pool = _pool(n_threads)
    waiting: deque[Future[Result]] = deque()
    torch.set_num_threads(1)
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * n_threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:  # after an error, or where the caller wants no more
            future.cancel()
        wait(waiting)
        torch.set_num_threads(n_threads)


def over_views(function: Callable[[str], Result], view_ids: Sequence[str]) -> list[Result]:
    """`in_threads` of views; a single one has all threads to itself."""
    if len(view_ids) == 1:
        return [function(view_ids[0])]
    return list(in_threads(function, view_ids))


@cache
def _pool(n_threads: int) -> ThreadPoolExecutor:
    """The threads of the process, always the same ones.

    The C library keeps memory for each thread; with new threads for every shard of a store it would
    keep more and more.
    """
    return ThreadPoolExecutor(n_threads, initializer=_alone)


if hasattr(os, "register_at_fork"):  # a forked process has none of these threads
    os.register_at_fork(after_in_child=_pool.cache_clear)


def _alone() -> None:
    """In a new thread: its matrix products would use all threads, whatever was set in another."""
    torch.set_num_threads(1)
