"""Dynamic masking: 15 % of the tokens, of these 80 % ``[MASK]``, 10 % random, 10 % as they were."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class MaskedIds:
    """Ids with some replaced, and what stood there.

    Attributes:
        ids: (n_pairs, length) int64.
        rows: (n_masked,) int64, sequence of each masked token, ascending.
        columns: (n_masked,) int64, position of each masked token.
        targets: (n_masked,) int64, the original ids.
    """

    ids: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        if not len(self.rows) == len(self.columns) == len(self.targets):
            raise ValueError("one row, column and target a masked token")


def mask_tokens(
    ids: npt.NDArray[np.int64],
    maskable: npt.NDArray[np.bool_],
    *,
    share: float,
    mask_id: int,
    vocabulary_size: int,
    rng: np.random.Generator,
) -> MaskedIds:
    """Mask `share` of each sequence's tokens, special ones counted but never masked, at least one.

    Devlin et al. (2019): the number is fixed for each sequence (rounded), the places are random.

    Args:
        ids: (n_pairs, length) int64.
        maskable: (n_pairs, length) bool.
        share: of the sequence's tokens, in (0, 1).
        mask_id: of ``[MASK]``.
        vocabulary_size: random replacements are drawn from the whole vocabulary.
        rng: source of the choice; equal generators give equal masks.
    """
    available = maskable.sum(axis=1)
    wanted = np.rint(share * (available + 3)).astype(np.int64)
    wanted = np.minimum(np.maximum(wanted, 1), available)
    keys = np.where(maskable, rng.random(ids.shape), np.inf)
    rank = keys.argsort(axis=1).argsort(axis=1)
    rows, columns = map(np.ascontiguousarray, np.nonzero(rank < wanted[:, None]))
    targets = ids[rows, columns]
    kind = rng.random(len(rows))
    random_ids = rng.integers(0, vocabulary_size, size=len(rows))
    masked = ids.copy()
    masked[rows, columns] = np.where(kind < 0.8, mask_id, np.where(kind < 0.9, random_ids, targets))
    return MaskedIds(ids=masked, rows=rows, columns=columns, targets=targets)
