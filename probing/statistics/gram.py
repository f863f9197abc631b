"""The product of a matrix with itself, ``XᵀX``: covariances, normal equations."""

from typing import Final

import torch

_BLOCK: Final = 96


def gram(matrix: torch.Tensor) -> torch.Tensor:
    """``XᵀX`` of ``(n, n_features)``: ``(n_features, n_features)``.

    What stands below the blocks of the diagonal is copied, not computed: three quarters of the time
    of the plain product, which PyTorch has no routine for.
    """
    width = matrix.shape[1]
    product = matrix.new_empty(width, width)
    for start in range(0, width, _BLOCK):
        end = min(start + _BLOCK, width)
        product[start:end, start:] = matrix[:, start:end].T @ matrix[:, start:]
        product[end:, start:end] = product[start:end, end:].T
    return product
