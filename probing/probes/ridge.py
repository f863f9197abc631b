"""Ridge regression for scores, and the supervised readout of similarity from pairs."""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin, clone

from probing.encoding.lazy import LazyViews
from probing.errors import InputError
from probing.probes.rounds import Round, check_rows, rounds_of
from probing.probes.standardisation import Standardisation, fault_of
from probing.statistics import spearman
from probing.statistics.gram import gram
from probing.threads import over_views

logger = logging.getLogger(__name__)

FloatArray = NDArray[np.float64]

PENALTIES: Final = (1e5, 1e4, 1e3, 1e2, 1e1, 1.0)
"""The grid of sklearn's ``alpha``, strongest first, for standardised features."""


@dataclass(frozen=True, eq=False)
class RegressionPredictions:
    """Scores that ridge regression predicts of n_items test items, from n_views views."""

    view_ids: tuple[str, ...]
    items: NDArray[np.intp]
    """``(n_items,)`` row of the task that each item is."""
    gold: FloatArray
    """``(n_items,)``."""
    predicted: FloatArray
    """``(n_items, n_views)``; NaN for a view on which nothing can be measured."""
    dev_spearman: FloatArray
    """``(n_rounds, n_views, n_penalties)`` what the penalties were chosen by; the mean over inner
    folds where there is no dev."""

    def __post_init__(self) -> None:
        if self.predicted.shape != (len(self.items), len(self.view_ids)):
            raise ValueError(f"predicted {self.predicted.shape} of {len(self.items)} items")

    @property
    def chosen(self) -> NDArray[np.intp]:
        """``(n_rounds, n_views)`` penalty chosen: the first of the best."""
        first_best: NDArray[np.intp] = np.nan_to_num(self.dev_spearman, nan=-2.0).argmax(axis=2)
        return first_best


class PairFeatures(LazyViews[NDArray[np.float32]]):
    """View id → ``(n_pairs, 2 * hidden_size)`` float32: ``|u - v|`` beside ``u * v``.

    The features of SentEval for SICK-R and STS-B (Tai et al. 2015). Made when asked for.
    """

    def __init__(self, vectors: Mapping[str, NDArray[np.float32]]) -> None:
        """From ``(2 * n_pairs, hidden_size)``: the first sentences of all pairs, then the second.

        Raises:
            InputError: A view has an odd number of rows.
        """
        for view_id in vectors:
            if len(vectors[view_id]) % 2:
                raise InputError(
                    f"{view_id} has {len(vectors[view_id])} rows, expected two for each pair"
                )

        def features(view_id: str) -> NDArray[np.float32]:
            both = vectors[view_id]
            left, right = both[: len(both) // 2], both[len(both) // 2 :]
            return np.concatenate([np.abs(left - right), left * right], axis=1)

        super().__init__(vectors, features)


def fit_ridge(
    rows: NDArray[np.floating], targets: FloatArray, penalties: tuple[float, ...]
) -> FloatArray:
    """Ridge regression on standardised features at every penalty, from one matrix of moments.

    The objective is that of `sklearn.linear_model.Ridge`, ``|y - Xw - b|² + alpha |w|²``.

    Args:
        rows: ``(n, n_features)`` float32 or float64; standardised here.
        targets: ``(n,)``.
        penalties: n_penalties values of ``alpha``, all above 0.

    Returns:
        ``(n_penalties, n_features + 1)`` float64 weights for the raw features, the intercept last.
    """
    standardisation = Standardisation.fit(rows)
    features = standardisation.apply(rows.astype(np.float64))[:-1]
    mean = float(targets.mean())
    moments = gram(features.T)
    agreement = (features @ torch.from_numpy(targets - mean))[:, None]
    alone, diagonal = moments.diagonal().clone(), moments.diagonal()
    weights = []
    for penalty in penalties:
        torch.add(alone, penalty, out=diagonal)
        weights.append(torch.cholesky_solve(agreement, torch.linalg.cholesky(moments))[:, 0])
    intercepts = np.full(len(penalties), mean)
    return standardisation.undo(np.column_stack([torch.stack(weights).numpy(), intercepts]))


def fit_regression(
    vectors: Mapping[str, NDArray[np.float32]],
    scores: ArrayLike,
    splits: ArrayLike,
    *,
    seed: int,
    penalties: tuple[float, ...] = PENALTIES,
    regressor: RegressorMixin | None = None,
) -> RegressionPredictions:
    """Predict scores from every view, the penalty of each chosen by Spearman on dev, tested once.

    Splits are used as by `fit_probes`. For pairs give `PairFeatures`.

    Args:
        vectors: View id → ``(n, n_features)``.
        scores: ``(n,)`` finite numbers.
        splits: ``(n,)`` of ``train``, ``dev`` and ``test``, or the empty string in every entry.
        seed: Seed of the folds.
        penalties: sklearn's ``alpha``, strongest first.
        regressor: A scikit-learn regressor in the place of ridge regression: fitted on train as
            it is, with nothing to choose on dev.

    Raises:
        InputError: No view, rows that do not match, splits that do not serve, a score that is not
            finite, scores of train that are all equal, or a penalty that is not above 0.
    """
    gold = np.asarray(scores, dtype=np.float64)
    if gold.ndim != 1 or not np.isfinite(gold).all():
        raise InputError(f"expected scores (n,) without NaN, found {gold.shape}")
    if not penalties or min(penalties) <= 0:
        raise InputError(f"expected penalties above 0, found {penalties}")
    if not vectors:
        raise InputError("found no view, expected vectors of at least one")
    rounds = rounds_of(splits, strata=np.zeros(len(gold), dtype=np.intp), seed=seed)
    if any(np.ptp(gold[part.train]) == 0 for part in rounds):
        raise InputError(f"every score of train is {gold[rounds[0].train[0]]}: nothing to learn")

    def played(view_id: str) -> list[tuple[FloatArray, FloatArray]] | str:
        rows = vectors[view_id]
        check_rows(view_id, rows, len(gold))
        fault = fault_of(rows)
        if fault is not None:
            return fault
        if regressor is not None:
            return [_play_own(regressor, part, rows, gold) for part in rounds]
        return [_play(part, rows, gold, penalties) for part in rounds]

    penalties = penalties if regressor is None else (math.nan,)
    results = over_views(played, tuple(vectors))
    items = np.concatenate([part.test for part in rounds])
    predicted = np.full((len(items), len(vectors)), np.nan)
    dev_spearman = np.full((len(rounds), len(vectors), len(penalties)), np.nan)
    for column, (view_id, parts) in enumerate(zip(vectors, results, strict=True)):
        if isinstance(parts, str):
            logger.warning("%s: %s, its scores are NaN", view_id, parts)
            continue
        predicted[:, column] = np.concatenate([tested for tested, _ in parts])
        dev_spearman[:, column] = [agreement for _, agreement in parts]
    order = np.argsort(items, kind="stable")
    return RegressionPredictions(
        view_ids=tuple(vectors),
        items=items[order],
        gold=gold[items][order],
        predicted=predicted[order],
        dev_spearman=dev_spearman,
    )


def _play(
    part: Round, rows: NDArray[np.float32], gold: FloatArray, penalties: tuple[float, ...]
) -> tuple[FloatArray, FloatArray]:
    """Test predictions ``(n_test,)`` and what the penalties reach on dev ``(n_penalties,)``."""
    agreements = []
    for train, dev in part.choices:
        weights = fit_ridge(rows[train], gold[train], penalties)
        agreements.append(spearman(_predict(rows[dev], weights), gold[dev]))
    agreement = np.mean(agreements, axis=0)
    best = int(np.nan_to_num(agreement, nan=-2.0).argmax())
    if not np.array_equal(train, part.train):  # with a dev split they are the same
        weights = fit_ridge(rows[part.train], gold[part.train], penalties)
    return _predict(rows[part.test], weights[best : best + 1])[:, 0], agreement


def _play_own(
    regressor: RegressorMixin, part: Round, rows: NDArray[np.float32], gold: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """As `_play`, by a scikit-learn regressor with one setting."""
    name = type(regressor).__name__
    try:
        fitted = clone(regressor).fit(rows[part.train], gold[part.train])
        predicted = np.asarray(fitted.predict(rows[part.test]), dtype=np.float64)
    except Exception as error:  # a researcher's regressor may raise anything
        raise InputError(f"probe {name} failed ({type(error).__name__}: {error})") from error
    if predicted.shape != part.test.shape or not np.isfinite(predicted).all():
        raise InputError(
            f"probe {name} predicts {predicted.shape}: expected {part.test.shape} finite numbers"
        )
    return predicted, np.full(1, np.nan)


def _predict(rows: NDArray[np.float32], weights: FloatArray) -> FloatArray:
    """``(n, n_penalties)`` from weights ``(n_penalties, n_features + 1)``."""
    predicted: FloatArray = rows.astype(np.float64) @ weights[:, :-1].T + weights[:, -1]
    return predicted
