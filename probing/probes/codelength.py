"""Online codelength: how many bits the labels cost given the vectors (Voita & Titov 2020).

Labels are sent in blocks that double in size. The first block costs log2 of the number of classes
an item; each later one costs what a linear probe, fitted on the blocks before it, takes to encode
it. A view from which the labels are easy to learn makes them short, however many the rows. What
counts is what the vectors save over the code of the class frequencies, which needs no vectors: nine
labels in ten being one and the same makes any code short.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from probing.errors import InputError
from probing.probes.linear import LinearProbes
from probing.probes.rounds import usable_views
from probing.results.scores import Score
from probing.results.target import Target
from probing.threads import over_views

FRACTIONS: Final = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.0625, 0.125, 0.25, 0.5, 1.0)
"""Where the blocks end, as shares of the rows: the timesteps of Voita & Titov (2020)."""


@dataclass(frozen=True, eq=False)
class Codelengths:
    """What the labels of n_items items cost in bits, given each of n_views views."""

    view_ids: tuple[str, ...]
    n_items: int
    n_classes: int
    block_ends: NDArray[np.intp]
    """``(n_blocks,)``."""
    block_bits: NDArray[np.float64]
    """``(n_blocks, n_views)``; NaN for a view on which nothing can be measured."""
    frequency_bits: float
    """What the labels cost, block by block, from how often each class occurred before."""

    def __post_init__(self) -> None:
        if self.block_bits.shape != (len(self.block_ends), len(self.view_ids)):
            raise ValueError(f"bits {self.block_bits.shape} of {len(self.block_ends)} blocks")

    @property
    def bits(self) -> NDArray[np.float64]:
        """``(n_views,)`` the online codelength."""
        total: NDArray[np.float64] = self.block_bits.sum(axis=0)
        return total

    @property
    def uniform_bits(self) -> float:
        """What the labels cost where nothing is known of them."""
        return self.n_items * math.log2(self.n_classes)

    @property
    def compression(self) -> NDArray[np.float64]:
        """``(n_views,)`` the frequency code's length over the codelength: 1 if nothing is learned.

        Voita & Titov divide the uniform code's length (`uniform_bits`), which calls pure noise a
        compression wherever classes are unequal.
        """
        return self.frequency_bits / self.bits


def online_codelength(
    vectors: Mapping[str, NDArray[np.float32]],
    labels: ArrayLike,
    *,
    seed: int,
    probes: LinearProbes | None = None,
    device: str = "cpu",
) -> Codelengths:
    """Codelength of labels given each view, in an order that the seed draws and all views share.

    The strength for a block is the one that would have sent the blocks before it in the fewest
    bits, the strongest penalty at first: a receiver knows those blocks too, so the code can be
    read. One item's worth of each prediction is shared out evenly over all classes, ``(n p + 1/k)
    / (n + 1)`` after n items: a class not seen yet can be sent.

    Args:
        vectors: View id → ``(n, hidden_size)``; the rows of train, where there are splits.
        labels: ``(n,)`` strings or integers.
        seed: Seed of the order.
        probes: The strengths; by default those of `LinearProbes`.
        device: Where these are fitted, as torch names it.

    Raises:
        InputError: No view, rows that do not match, one class only, or more classes than rows.
    """
    names, codes = np.unique(np.asarray(labels).astype(str), return_inverse=True)
    if len(names) == 1:
        raise InputError(
            f"codelength: every label of the {len(codes)} rows to learn from is "
            f"{str(names[0])!r}, expected at least two classes"
        )
    if len(names) < 2 or len(names) > len(codes) / 2:
        raise InputError(
            f"found {len(names)} classes in {len(codes)} rows: expected at least two classes, and "
            "two rows or more for a class"
        )
    order = np.random.default_rng(seed).permutation(len(codes))
    ends = np.unique([max(1, round(share * len(codes))) for share in FRACTIONS])
    usable = list(usable_views(vectors, len(codes)))
    family = probes or LinearProbes(device=device)

    def measured(view_id: str) -> NDArray[np.float64]:
        return _block_bits(family, vectors[view_id][order], codes[order], ends, len(names), view_id)

    bits = dict(zip(usable, over_views(measured, usable), strict=True))
    undefined = np.full(len(ends), np.nan)
    return Codelengths(
        view_ids=tuple(vectors),
        n_items=len(codes),
        n_classes=len(names),
        block_ends=ends,
        block_bits=np.stack([bits.get(view_id, undefined) for view_id in vectors], axis=1),
        frequency_bits=_frequency_bits(codes[order], ends, len(names)),
    )


def codelength_scores(
    codelengths: Codelengths | Sequence[Codelengths], target: Target, *, labels: str = "real"
) -> list[Score]:
    """Rows ``bits`` and ``compression`` of every view.

    Of several codelengths, which differ only in their seeds, the mean, with Student's interval of
    the mean over orders; one code has no interval.
    """
    several = [codelengths] if isinstance(codelengths, Codelengths) else list(codelengths)
    rows = []
    for metric in ("bits", "compression"):
        values = np.array([getattr(each, metric) for each in several])
        mean, half = values.mean(axis=0), np.full(values.shape[1], np.nan)
        if len(several) > 1:
            half = stats.t.ppf(0.975, len(several) - 1) * stats.sem(values)
        named = {"probe": "codelength", "labels": labels, "metric": metric, "n": several[0].n_items}
        rows += target.scores(several[0].view_ids, mean, mean - half, mean + half, **named)
    return rows


def _block_bits(
    family: LinearProbes,
    rows: NDArray[np.float32],
    codes: NDArray[np.intp],
    ends: NDArray[np.intp],
    n_classes: int,
    view_id: str,
) -> NDArray[np.float64]:
    """``(n_blocks,)`` bits of each block of rows in their order."""
    bits = np.empty(len(ends))
    bits[0] = ends[0] * math.log2(n_classes)
    spent = np.zeros(family.n_settings)
    for block, (first, last) in enumerate(pairwise(ends), start=1):
        costs = _costs(family, rows[:last], codes[:last], first, n_classes, view_id)
        bits[block] = costs[spent.argmin()]
        spent += costs
    return bits


def _frequency_bits(codes: NDArray[np.intp], ends: NDArray[np.intp], n_classes: int) -> float:
    """Bits of all labels in the same blocks, told from the counts of the labels before a block."""
    bits = ends[0] * math.log2(n_classes)
    for first, last in pairwise(ends):
        seen = np.bincount(codes[:first], minlength=n_classes)
        # one item's worth is shared out evenly, as in the code that has the vectors
        probabilities = (seen + 1 / n_classes) / (first + 1)
        bits -= float(np.log2(probabilities)[codes[first:last]].sum())
    return float(bits)


def _costs(
    family: LinearProbes,
    rows: NDArray[np.float32],
    codes: NDArray[np.intp],
    n_known: int,
    n_classes: int,
    view_id: str,
) -> NDArray[np.float64]:
    """``(n_settings,)`` bits of the rows after the first n_known, from what these teach."""
    present, targets = np.unique(codes[:n_known], return_inverse=True)
    places = np.searchsorted(present, codes[n_known:]).clip(max=len(present) - 1)
    seen = present[places] == codes[n_known:]
    if len(present) == 1:
        learned = np.ones((family.n_settings, len(places)))
    else:
        path, standardisation = family.fit(
            rows[:n_known], targets, n_classes=len(present), name=view_id
        )
        features = standardisation.apply(rows[n_known:])
        chosen = torch.from_numpy(places).to(features.device)[None]
        learned = np.stack(
            [
                path.logits(i, features).double().softmax(0).gather(0, chosen)[0].cpu().numpy()
                for i in range(family.n_settings)
            ]
        )
    probabilities = (n_known * np.where(seen, learned, 0.0) + 1 / n_classes) / (n_known + 1)
    bits: NDArray[np.float64] = -np.log2(probabilities).sum(axis=1)
    return bits
