"""Features of mean zero and variance one on the training rows only."""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# A float32 feature that varies by less than this share of its mean varies by rounding.
_ROUNDING: Final = 1e-6

# The same for a whole view: rounding differs in the last bits with the place in a batch.
_CONSTANT: Final = 1e-5


@dataclass(frozen=True)
class Standardisation:
    """Mean and scale of n_features features on the rows it was fitted to.

    A feature that is constant there carries nothing and becomes zero everywhere.
    """

    mean: Tensor
    """(n_features,) float64."""
    scale: Tensor
    """(n_features,) float64 standard deviation, infinite where the feature is constant."""

    @classmethod
    def fit(cls, rows: NDArray[np.floating], *, device: str = "cpu") -> Self:
        """From (n_rows, n_features) finite float32 or float64."""
        values = _tensor(rows).to(device)
        # products with a vector of shares: a third of the time of sums down the columns
        shares = torch.full((len(values),), 1 / len(values), dtype=torch.float64, device=device)
        mean = shares @ values.double()
        centred = values - mean.to(values.dtype)
        scale = (shares @ centred.double().square_()).sqrt()
        varies = scale > _ROUNDING * mean.abs()
        return cls(mean, torch.where(varies, scale, torch.inf))

    def apply(self, rows: NDArray[np.floating]) -> Tensor:
        """(n_features + 1, n_rows) of the type of the rows: features in rows, the last one ones."""
        values = _tensor(rows).to(self.mean.device)
        features = values.new_empty(len(self.mean) + 1, len(values))
        torch.sub(values.T, self.mean.to(values.dtype)[:, None], out=features[:-1])
        features[:-1] /= self.scale.to(values.dtype)[:, None]
        features[-1] = 1.0
        return features

    def undo(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """(k, n_features + 1) weights for raw features, from those for standardised ones."""
        mean, scale = self.mean.cpu().numpy(), self.scale.cpu().numpy()
        raw = weights[:, :-1] / scale
        return np.column_stack([raw, weights[:, -1] - raw @ mean])


def fault_of(vectors: NDArray[np.floating]) -> str | None:
    """Why nothing can be measured on vectors (n, n_features); None where something can."""
    if not np.isfinite(vectors).all():
        bad = int((~np.isfinite(vectors).all(axis=1)).sum())
        return f"{bad} of {len(vectors)} vectors are not finite"
    if np.abs(vectors - vectors[0]).max() <= _CONSTANT * np.abs(vectors[0]).max():
        return "it is the same vector for every item"
    return None


def _tensor(rows: NDArray[np.floating]) -> Tensor:
    # torch warns about arrays that cannot be written to
    return torch.from_numpy(np.require(rows, requirements=["C", "W"]))
