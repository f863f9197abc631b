"""Agreement of cosine similarity with human judgements of similarity (STS)."""

import logging
import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer

from probing.results.scores import Score
from probing.results.target import Target
from probing.statistics import (
    Interval,
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
_WORD = r"\w+"


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

    >>> pairs = {"mean@1": np.array([[1, 0], [1, 1], [1, 0], [1, -1]], dtype=np.float32)}
    >>> probing.cosine_similarities(pairs, ["mean@1"]).round(2).tolist()
    [[1.0], [0.0]]
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
    near = np.flatnonzero(clipped > 1 - 1e-9)
    same = near[(left[near] == right[near]).all(axis=1)]
    clipped[same] = 1.0  # not 1 less its rounding, which would rank such pairs among themselves
    return clipped


def token_jaccard(sentences1: Sequence[str], sentences2: Sequence[str]) -> FloatArray:
    r"""Share of common words of n pairs, ``(n_pairs,)`` float64 in [0, 1]: the lexical floor.

    Words are the lower-cased matches of ``\w+``; two sentences without a word share everything.
    """
    words1 = [set(re.findall(_WORD, sentence.lower())) for sentence in sentences1]
    words2 = [set(re.findall(_WORD, sentence.lower())) for sentence in sentences2]
    return np.array(
        [len(a & b) / len(a | b) if a | b else 1.0 for a, b in zip(words1, words2, strict=True)]
    )


def idf_cosines(sentences1: Sequence[str], sentences2: Sequence[str]) -> FloatArray:
    """Cosine of the two sentences of n pairs as bags of words weighted by their rarity.

    ``(n_pairs,)`` float64 in [0, 1]. Words are those of `token_jaccard`; the inverse document
    frequency is that among the distinct sentences of the task itself, which needs no gold scores.
    Two sentences that share no word, or of which one has none, have 0.
    """
    counts = TfidfVectorizer(token_pattern=_WORD)
    try:
        counts.fit(dict.fromkeys([*sentences1, *sentences2]))
    except ValueError:  # no sentence has a word
        return np.zeros(len(sentences1))
    one, other = (counts.transform(column) for column in (sentences1, sentences2))
    cosines = np.asarray(one.multiply(other).sum(axis=1), dtype=np.float64).ravel()
    same = np.asarray(abs(one - other).sum(axis=1)).ravel() == 0
    cosines[same & (cosines > 0)] = 1.0  # as in `_cosines`; without a word it stays 0
    return cosines


def similarity_scores(
    similarities: FloatArray, target: Target, *, view_ids: Sequence[str], probe: str
) -> list[Score]:
    """Spearman and Pearson of each column of similarities with the gold scores.

    Args:
        similarities: ``(n_pairs, n_views)`` float64.
        target: n_pairs gold scores. With subsets there are rows for each subset (``aggregation``
            ``none``) and for the three aggregations; without, for ``all``.
        view_ids: n_views ids, or ``none`` for a floor, which has no vectors.
        probe: Name of the similarity, such as ``cosine``.

    Returns:
        One row per view, metric and aggregation or subset, with 95 % percentile intervals of the
        bootstrap of clusters within subsets; a column with a NaN gives NaN rows.
    """
    names, codes, aggregations = target.coded_subsets()
    rows: list[Score] = []
    for metric in Metric:
        whole = aggregate_correlations(
            similarities, target.gold, codes, aggregations=aggregations, metric=metric
        )
        samples, alone = bootstrap_with_subsets(
            similarities,
            target.gold,
            codes,
            clusters=target.clusters,
            rng=target.rng(),
            aggregations=aggregations,
            metric=metric,
            n_resamples=target.n_resamples,
            device=target.device,
        )
        measured: list[tuple[str, str, NDArray[np.intp] | None, FloatArray, Interval]] = [
            ("all", str(key), None, whole[key], percentile_interval(samples[key]))
            for key in aggregations
        ]
        for code, resampled in enumerate(alone):
            part = np.flatnonzero(codes == code)
            values = correlation(similarities[part], target.gold[part], metric)
            interval = percentile_interval(resampled)
            measured.append((str(names[code]), "none", part, values, interval))
        for subset, aggregation, items, values, interval in measured:
            rows += target.scores(
                view_ids,
                values,
                *interval,
                probe=probe,
                metric=str(metric),
                n=None if items is None else len(items),
                clustering=None if items is None else target.clustering(items),
                subset=subset,
                aggregation=aggregation,
            )
    return rows


def _is_constant(vectors: NDArray[np.float32]) -> bool:
    return bool(np.abs(vectors - vectors[0]).max() <= _CONSTANT * np.abs(vectors[0]).max())
