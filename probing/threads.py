"""Work shared out whole, one piece per thread: torch on all threads within one would gain less.

What is computed here comes in many small products, and torch's results then do not depend on how
many threads there are.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
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
    waiting: deque[Future[Result]] = deque()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(n_threads, initializer=_alone) as pool:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > 2 * n_threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
    finally:
        torch.set_num_threads(n_threads)


def over_views(function: Callable[[str], Result], view_ids: Sequence[str]) -> list[Result]:
    """`in_threads` of views; a single one has all threads to itself."""
    if len(view_ids) == 1:
        return [function(view_ids[0])]
    return list(in_threads(function, view_ids))


def _alone() -> None:
    """In a new thread: its matrix products would use all threads, whatever was set in another."""
    torch.set_num_threads(1)
