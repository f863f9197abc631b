"""Spearman's correlation of many resamples at once, on a GPU.

The same numbers as `probing.statistics.weighted` has on the CPU, where sums of ranks are arranged
for the cache instead.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def device_spearman(
    views: FloatArray, gold: FloatArray, device: str
) -> Callable[[FloatArray], tuple[FloatArray, FloatArray, FloatArray]]:
    """A function from counts to the three sums that Spearman's rho is made of.

    Args:
        views: ``(n_items, n_views)`` without NaN.
        gold: ``(n_items,)`` without NaN.
        device: Name of a torch device.

    Returns:
        Counts ``(n_items, n_block)``, how often each resample has each item, to the sums of
        products ``(n_block, n_views)``, of squares of the views' ranks ``(n_block, n_views)`` and
        of the gold's ``(n_block, 1)``; ranks are twice mid-ranks without their mean, exact in
        float64.
    """
    groups = [_groups(column, device) for column in (gold, *views.T)]

    def sums(counts: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        drawn = torch.from_numpy(counts).to(device)
        gold_ranks, gold_squares = _ranks(drawn, groups[0])
        weighted = drawn * gold_ranks
        products, squares = [], []
        for group in groups[1:]:
            ranks, square = _ranks(drawn, group)
            products.append((weighted * ranks).sum(0))
            squares.append(square)
        shared, spread = torch.stack(products, 1), torch.stack(squares, 1)
        return shared.cpu().numpy(), spread.cpu().numpy(), gold_squares[:, None].cpu().numpy()

    return sums


def _groups(values: FloatArray, device: str) -> torch.Tensor:
    """``(n_items,)`` number of the group of ties that each value is in, in ascending order."""
    return torch.from_numpy(np.unique(values, return_inverse=True)[1]).to(device)


def _ranks(drawn: torch.Tensor, group: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of ``(n_items, n_block)`` counts the ranks of the items, and their squares added up."""
    together = drawn.new_zeros(int(group.max()) + 1, drawn.shape[1]).index_add_(0, group, drawn)
    ranks = 2 * together.cumsum(0) - together - drawn.sum(0)
    return ranks[group], (together * ranks.square()).sum(0)
