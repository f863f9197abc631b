"""What probes predict of the test items, and the score rows that follow from it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from probing.errors import InputError
from probing.results.names import sides
from probing.results.scores import Score
from probing.results.target import Target
from probing.statistics import (
    PairedDifference,
    accuracy_interval,
    bootstrap_accuracies,
    paired_difference,
    percentile_interval,
)

FloatArray = NDArray[np.float64]

_BLOCK = 100
"""Resamples drawn at once."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """Classes that one family of probes predicts of n_items test items, from n_views views."""

    probe: str
    """Name of the family for the ``probe`` column."""
    view_ids: tuple[str, ...]
    classes: tuple[str, ...]
    """n_classes labels, sorted; `gold` and `predicted` are places in them."""
    items: NDArray[np.intp]
    """``(n_items,)`` row of the task that each item is."""
    gold: NDArray[np.intp]
    """``(n_items,)``."""
    predicted: NDArray[np.intp]
    """``(n_items, n_views)``; -1 in every row of a view on which nothing can be measured."""
    dev_accuracies: FloatArray
    """``(n_rounds, n_views, n_settings)`` accuracies that the settings were chosen by; one round,
    or ten with ten-fold cross-validation. NaN for a view on which nothing can be measured."""

    def __post_init__(self) -> None:
        if self.predicted.shape != (len(self.items), len(self.view_ids)):
            raise ValueError(f"predicted {self.predicted.shape} of {len(self.items)} items")
        if self.gold.shape != self.items.shape:
            raise ValueError(f"gold {self.gold.shape} of {len(self.items)} items")

    @property
    def chosen(self) -> NDArray[np.intp]:
        """``(n_rounds, n_views)`` setting chosen on dev: the first of the best."""
        first_best: NDArray[np.intp] = np.nan_to_num(self.dev_accuracies).argmax(axis=2)
        return first_best

    @property
    def correct(self) -> FloatArray:
        """``(n_items, n_views)`` 1 where right, 0 where wrong, NaN where nothing was measured."""
        right = (self.predicted == self.gold[:, None]).astype(np.float64)
        return np.where(self.predicted < 0, np.nan, right)

    def of_view(self, view_id: str) -> "Predictions":
        """Those from one view."""
        at = [self.view_ids.index(view_id)]
        return replace(
            self,
            view_ids=(view_id,),
            predicted=self.predicted[:, at],
            dev_accuracies=self.dev_accuracies[:, at],
        )


def probe_scores(
    predictions: Predictions | Sequence[Predictions],
    target: Target,
    *,
    labels: str = "real",
    groups: ArrayLike | None = None,
) -> list[Score]:
    """Accuracy and macro F1 of every view over the test items, each with a 95 % interval.

    The interval of the accuracy is Wilson's where items are independent, see `accuracy_interval`;
    with groups, and for macro F1, it is the percentile interval of the bootstrap over items.

    Args:
        predictions: From `fit_probes`; several that differ in their seeds alone (or in the draw of
            the control labels) are averaged, the interval then being that of one seed.
        target: Whose gold is that of the predictions; its seed is that of the bootstrap, and the
            first of the probes where they are random.
        labels: ``real`` or ``control``.
        groups: ``(n_items,)`` integer code of the group each item is of, such as the sentence of a
            word; whole groups are then drawn. None: every item by itself.

    Returns:
        Two rows per view; NaN for one on which nothing can be measured.
    """
    several = _of_all_seeds(predictions)
    first, correct = several[0], _mean_correct(several)
    if groups is None:
        accuracy = accuracy_interval(correct)
    else:
        samples = bootstrap_accuracies(
            correct, rng=target.rng(), groups=groups, n_resamples=target.n_resamples
        )
        accuracy = percentile_interval(samples)
    n_items = len(first.gold)
    whole, resampled = [], []
    for each in several:
        whole.append(next(_macro_f1(each, [np.ones((n_items, 1))]))[0])
        # the same resamples for every seed
        counts = _resamples(n_items, groups, target.rng(), target.n_resamples)
        resampled.append(np.concatenate(list(_macro_f1(each, counts))))
    measured = {
        "accuracy": (correct.mean(axis=0), accuracy),
        "macro_f1": (np.mean(whole, axis=0), percentile_interval(_varied(resampled, groups))),
    }
    named: dict[str, Any] = {"probe": first.probe, "labels": labels, "n": n_items}
    named["clustering"] = clustering_of(groups)
    return [
        row
        for metric, (values, interval) in measured.items()
        for row in target.scores(first.view_ids, values, *interval, metric=metric, **named)
    ]


def clustering_of(groups: ArrayLike | None) -> tuple[int | None, int | None]:
    """Number of groups and items of the largest; both None where every item is by itself."""
    if groups is None:
        return None, None
    sizes = np.unique(np.asarray(groups), return_counts=True)[1]
    return len(sizes), int(sizes.max())


def view_difference(
    predictions: Predictions | Sequence[Predictions],
    view: str,
    other: str,
    *,
    seed: int,
    groups: ArrayLike | None = None,
    n_resamples: int = 1000,
) -> PairedDifference:
    """How much more accurate one view is than another on the same test items, by paired bootstrap.

    Args:
        predictions: From `fit_probes`; several are averaged, as for `probe_scores`.
        view: A view of them.
        other: Another one.
        seed: Seed of the bootstrap.
        groups: ``(n_items,)`` as for `probe_scores`.
        n_resamples: Resamples of the bootstrap.

    Returns:
        Scalars; NaN where nothing can be measured on one of the two.

    Raises:
        InputError: There is no such view.
    """
    several = _of_all_seeds(predictions)
    view_ids = several[0].view_ids
    for wanted in (view, other):
        if wanted not in view_ids:
            raise InputError(f"no view {wanted!r} here: expected one of {', '.join(view_ids)}")
    columns = [view_ids.index(wanted) for wanted in (view, other)]
    correct = _mean_correct(several)[:, columns]
    samples = bootstrap_accuracies(
        correct, rng=np.random.default_rng(seed), groups=groups, n_resamples=n_resamples
    )
    one, two = correct.mean(axis=0)
    return paired_difference(samples[:, 0], samples[:, 1], estimate_a=one, estimate_b=two)


def view_difference_scores(
    predictions: Predictions | Sequence[Predictions],
    view: str,
    target: Target,
    *,
    groups: ArrayLike | None = None,
) -> list[Score]:
    """The rows of a difference ``ONE - OTHER`` of accuracies, and of its standard error."""
    one, other = sides(view)
    first = _of_all_seeds(predictions)[0]
    found = view_difference(
        predictions, one, other, seed=target.seed, groups=groups, n_resamples=target.n_resamples
    )
    named: dict[str, Any] = {
        "view": view,
        "probe": first.probe,
        "aggregation": "all",
        "n": len(first.gold),
        "clustering": clustering_of(groups),
    }
    return [
        target.score(
            **named,
            metric="accuracy_difference",
            value=found.difference,
            lower=found.lower,
            upper=found.upper,
        ),
        target.score(**named, metric="standard_error", value=found.standard_error),
    ]


def _of_all_seeds(predictions: Predictions | Sequence[Predictions]) -> list[Predictions]:
    several = [predictions] if isinstance(predictions, Predictions) else list(predictions)
    if not all(np.array_equal(each.items, several[0].items) for each in several):
        raise ValueError("expected predictions of the same items from every seed")
    return several


def _mean_correct(several: Sequence[Predictions]) -> FloatArray:
    """``(n_items, n_views)`` share of the seeds that are right; NaN as in `Predictions.correct`."""
    mean: FloatArray = np.mean([each.correct for each in several], axis=0)
    return mean


def _resamples(
    n_items: int, groups: ArrayLike | None, rng: np.random.Generator, n_resamples: int
) -> Iterator[FloatArray]:
    """Blocks ``(n_items, n_block)``: how often each item is drawn."""
    codes = np.arange(n_items)
    if groups is not None:
        codes = np.unique(np.asarray(groups), return_inverse=True)[1]
    n_groups = int(codes.max()) + 1
    for first in range(0, n_resamples, _BLOCK):
        n_block = min(_BLOCK, n_resamples - first)
        draws = rng.integers(n_groups, size=(n_block, n_groups))
        counts = np.stack([np.bincount(draw, minlength=n_groups) for draw in draws], axis=1)
        yield counts[codes].astype(np.float64)


def _varied(resampled: Sequence[FloatArray], groups: ArrayLike | None) -> FloatArray:
    """The mean over seeds; NaN where all items are one group: how they vary is then unknown."""
    mean: FloatArray = np.mean(resampled, axis=0)
    return mean * np.nan if clustering_of(groups)[0] == 1 else mean


def _macro_f1(
    predictions: Predictions, counts: Sequence[FloatArray] | Iterator[FloatArray]
) -> Iterator[FloatArray]:
    """Macro F1 ``(n_block, n_views)`` of items drawn as often as each block of counts says.

    As in sklearn, the mean is over the classes that are gold or predicted for an item drawn.
    """
    n_classes = len(predictions.classes)
    gold = _members(predictions.gold, n_classes)
    hits = np.where(predictions.correct == 1, predictions.gold[:, None], -1)
    members = {
        view: (
            _members(predictions.predicted[:, view], n_classes),
            _members(hits[:, view], n_classes),
        )
        for view in np.flatnonzero((predictions.predicted >= 0).all(axis=0))
    }
    for block in counts:
        true = gold @ block
        scores = np.full((block.shape[1], len(predictions.view_ids)), np.nan)
        for view, (predicted, hit) in members.items():
            found, both = predicted @ block, hit @ block
            present = true + found > 0
            shares = np.divide(2 * both, true + found, out=np.zeros_like(both), where=present)
            scores[:, view] = shares.sum(axis=0) / present.sum(axis=0)
        yield scores


def _members(classes: NDArray[np.intp], n_classes: int) -> sparse.csr_array:
    """``(n_classes, n_items)`` one where an item is of a class; -1 is of none."""
    items = np.flatnonzero(classes >= 0)
    cells = (np.ones(len(items)), (classes[items], items))
    return sparse.csr_array(cells, shape=(n_classes, len(classes)))
