"""The product of a matrix with itself, against the plain one."""

import pytest
import torch

from probing.statistics.gram import gram


@pytest.mark.parametrize("width", [1, 95, 96, 97, 250])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_the_plain_product(width: int, dtype: torch.dtype) -> None:
    matrix = torch.randn(70, width, dtype=dtype, generator=torch.Generator().manual_seed(width))
    product = gram(matrix)
    torch.testing.assert_close(product, matrix.T @ matrix)
    torch.testing.assert_close(gram(matrix.T.contiguous().T), product)  # whatever the strides
