"""Agreement of cosine similarity with human judgements of similarity (STS)."""

import logging
import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from probing.encoding.views import View
from probing.results.scores import Score
from probing.statistics import (
    Aggregation,
    Metric,
    aggregate_correlations,
    bootstrap_with_subsets,
    correlation,
    percentile_interval,
)
from probing.threads import over_views

logger = logging.getLogger(__name__)

FloatArray = NDArray[np.float64]

# Rounding differs in the last bits of float32 with the place in a batch; a view that moves by no
# more than this share of its own size is the same vector for every sentence.
_CONSTANT = 1e-5


def cosine_similarities(
    vectors: Mapping[str, NDArray[np.float32]], view_ids: Sequence[str]
) -> FloatArray:
    """Cosine of the two sentences of n pairs under several views.

    Args:
        vectors: View id → ``(2 * n_pairs, hidden_size)``: the first sentences of all pairs, then
            the second ones.
        view_ids: The n_views ids that are wanted.

    Returns:
        ``(n_pairs, n_views)`` float64 in [-1, 1]. A view that is the same vector
        for every sentence has no similarity to speak of: NaN in every row, the reason in the log.
        So has a pair with a vector that is not finite or has no length.
    """
    columns = over_views(lambda view_id: _cosines(vectors[view_id]), view_ids)
    for view_id, cosines in zip(view_ids, columns, strict=True):
        lost = int(np.isnan(cosines).sum())
        if not lost:
            continue
        if _is_constant(vectors[view_id]):
            logger.warning("%s is the same vector for every sentence: its scores are NaN", view_id)
        else:
            logger.warning(
                "%s has no direction for %d of %d pairs (a vector of length zero or not finite): "
                "its scores are NaN",
                view_id,
                lost,
                len(cosines),
            )
    return np.column_stack(columns)


def _cosines(both: NDArray[np.float32]) -> FloatArray:
    """``(n_pairs,)``; NaN in every row of a constant view, and where a vector has no direction."""
    n_pairs = len(both) // 2
    cosines = np.full(n_pairs, np.nan)
    if _is_constant(both):
        return cosines
    exact = both.astype(np.float64)
    left, right = exact[:n_pairs], exact[n_pairs:]
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    defined = np.isfinite(lengths) & (lengths > 0)
    np.divide(np.einsum("nd,nd->n", left, right), lengths, out=cosines, where=defined)
    clipped: FloatArray = np.clip(cosines, -1.0, 1.0)
    return clipped


def token_jaccard(sentences1: Sequence[str], sentences2: Sequence[str]) -> FloatArray:
    r"""Share of common words of n pairs, ``(n_pairs,)`` float64 in [0, 1]: the lexical floor.

    Words are the lower-cased matches of ``\w+``; two sentences without a word share everything.
    """
    words1 = [set(re.findall(r"\w+", sentence.lower())) for sentence in sentences1]
    words2 = [set(re.findall(r"\w+", sentence.lower())) for sentence in sentences2]
    return np.array(
        [len(a & b) / len(a | b) if a | b else 1.0 for a, b in zip(words1, words2, strict=True)]
    )


def coded_subsets(
    subsets: Sequence[str] | None, n_pairs: int
) -> tuple[NDArray[np.str_], NDArray[np.intp], tuple[Aggregation, ...]]:
    """Sorted names of the subsets, the number of each pair's ``(n_pairs,)``, and what to compute.

    ``subsets`` are n_pairs names, or None for a task that has none: one subset, aggregation ``all``
    alone.
    """
    names, codes = np.unique(
        np.array(subsets if subsets is not None else ["all"] * n_pairs), return_inverse=True
    )
    return names, codes, tuple(Aggregation) if len(names) > 1 else (Aggregation.ALL,)


def similarity_scores(
    similarities: FloatArray,
    gold: FloatArray,
    *,
    view_ids: Sequence[str],
    task: str,
    split: str,
    subsets: Sequence[str] | None,
    probe: str,
    seed: int,
    n_resamples: int,
) -> list[Score]:
    """Spearman and Pearson of each column of similarities with the gold scores.

    Args:
        similarities: ``(n_pairs, n_views)`` float64.
        gold: ``(n_pairs,)`` float64 without NaN.
        view_ids: n_views ids, or ``none`` for a floor that has no vectors.
        task: Name for the rows.
        split: Name for the rows.
        subsets: n_pairs names, or None. With subsets there are rows for each subset alone
            (``aggregation`` ``none``) and for the three aggregations; without, for ``all``.
        probe: Name of the similarity, such as ``cosine``.
        seed: Of the bootstrap.
        n_resamples: Of the bootstrap; intervals are 95 % percentile intervals, within subsets.

    Returns:
        One row per view, metric and aggregation or subset; a column with a NaN gives NaN rows.
    """
    names, codes, aggregations = coded_subsets(subsets, len(gold))
    rows: list[Score] = []
    for metric in Metric:
        whole = aggregate_correlations(
            similarities, gold, codes, aggregations=aggregations, metric=metric
        )
        samples, alone = bootstrap_with_subsets(
            similarities,
            gold,
            codes,
            rng=np.random.default_rng(seed),
            aggregations=aggregations,
            metric=metric,
            n_resamples=n_resamples,
        )
        measured = [
            ("all", str(key), len(gold), whole[key], percentile_interval(samples[key]))
            for key in aggregations
        ]
        for code, resampled in enumerate(alone):
            part = np.flatnonzero(codes == code)
            values = correlation(similarities[part], gold[part], metric)
            interval = percentile_interval(resampled)
            measured.append((str(names[code]), "none", len(part), values, interval))
        for subset, aggregation, n, values, interval in measured:
            for column, view_id in enumerate(view_ids):
                view = None if view_id == "none" else View.parse(view_id)
                rows.append(
                    Score(
                        task=task,
                        subset=subset,
                        split=split,
                        aggregation=aggregation,
                        view=view_id,
                        layer=None if view is None else view.layer,
                        pooling="none" if view is None else str(view.pooling),
                        probe=probe,
                        metric=str(metric),
                        value=float(values[column]),
                        lower=float(interval.lower[column]),
                        upper=float(interval.upper[column]),
                        n=n,
                        seed=seed,
                    )
                )
    return rows


def _is_constant(vectors: NDArray[np.float32]) -> bool:
    return bool(np.abs(vectors - vectors[0]).max() <= _CONSTANT * np.abs(vectors[0]).max())
