"""One view per thread: products with the vectors of one view are too thin to share out."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Result = TypeVar("Result")


def over_views(function: Callable[[str], Result], view_ids: Sequence[str]) -> list[Result]:
    """The function of every view, in order, with as many views at a time as torch has threads.

    torch works on one thread within each; the setting is restored at the end.
    """
    n_threads = torch.get_num_threads()
    if len(view_ids) == 1 or n_threads == 1:
        return [function(view_id) for view_id in view_ids]
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(min(n_threads, len(view_ids))) as pool:
            return list(pool.map(function, view_ids))
    finally:
        torch.set_num_threads(n_threads)
