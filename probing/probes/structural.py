"""The structural probe: trees in the geometry of word vectors (Hewitt & Manning 2019).

A linear map of rank k is learned for each view, under which the squared distance of two words of a
sentence is to be the number of arcs between them, and another under which the squared length of a
word is to be its depth. As in the paper: the loss is L1, by sentence over the squared length or the
length; the tree is the minimum spanning tree of the distances, without punctuation marks; Spearman
is taken by word, averaged by sentence length, then over the lengths 5 to 50. Features are
standardised on train, which no linear map can tell from a change of its own, but that the depths
are then measured from the mean.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.csgraph import minimum_spanning_tree, shortest_path
from scipy.stats import rankdata
from torch import Tensor

from probing.errors import InputError
from probing.probes.rounds import usable_views
from probing.probes.standardisation import Standardisation
from probing.results.scores import Score
from probing.results.target import Target
from probing.statistics import percentile_interval
from probing.threads import over_views

logger = logging.getLogger(__name__)

FloatArray = NDArray[np.float64]

RANK: Final = 64
"""Of the maps; in the paper nothing is gained beyond."""
EPOCHS: Final = 15
"""Passes over train; dev chooses after which, for distances and for depths by itself."""
LENGTHS: Final = (5, 50)
"""Words of the sentences that Spearman is averaged over."""
METRICS: Final = ("uuas", "root_accuracy", "distance_spearman", "depth_spearman")
_LEARNING_RATE: Final = 0.005
_WORDS_PER_BATCH: Final = 600
_NEVER_ZERO: Final = 1e-9
"""Added to distances: scipy takes a zero for no edge."""


@dataclass(frozen=True, eq=False)
class Tree:
    """The gold of one sentence of n words."""

    distances: FloatArray
    """``(n, n)`` arcs between two words."""
    depths: FloatArray
    """``(n,)`` arcs from the root."""
    counted: NDArray[np.intp]
    """Places of the words that are no punctuation marks."""

    @classmethod
    def of(cls, heads: Sequence[int], punctuation: Sequence[bool]) -> "Tree":
        """From the place of each word's head, -1 for the root."""
        n = len(heads)
        arcs = np.zeros((n, n))
        for place, head in enumerate(heads):
            if head >= 0:
                arcs[place, head] = 1.0
        distances = shortest_path(arcs, directed=False, unweighted=True)
        root = list(heads).index(-1)
        return cls(distances, distances[root], np.flatnonzero(~np.array(punctuation)))


@dataclass(frozen=True, eq=False)
class StructureScores:
    """How well n sentences of one split are found, from n_views views; NaN of a faulty view."""

    view_ids: tuple[str, ...]
    lengths: NDArray[np.intp]
    """``(n,)`` words."""
    arcs: NDArray[np.intp]
    """``(n,)`` arcs between words that are no punctuation marks."""
    found: FloatArray
    """``(n, n_views)`` how many of them are in the tree that is found."""
    roots: FloatArray
    """``(n, n_views)`` one where the root is found."""
    distances: FloatArray
    """``(n, n_views)`` mean over words of Spearman of the distances to the others."""
    depths: FloatArray
    """``(n, n_views)`` Spearman of the depths."""

    def measured(self, counts: FloatArray) -> dict[str, FloatArray]:
        """Metric → ``(n_resamples, n_views)``, of sentences as often as ``counts`` says.

        Args:
            counts: ``(n_resamples, n)``.
        """
        lengths = np.arange(LENGTHS[0], LENGTHS[1] + 1)
        of_length = (self.lengths[:, np.newaxis] == lengths).astype(np.float64)
        drawn = counts @ of_length
        n_lengths = (drawn > 0).sum(axis=1)

        def by_length(values: FloatArray) -> FloatArray:
            columns = []
            for column in values.T:
                means = counts @ (of_length * column[:, np.newaxis]) / np.maximum(drawn, 1.0)
                columns.append(means.sum(axis=1) / n_lengths)
            return np.column_stack(columns)

        shares = (
            counts @ self.found / (counts @ self.arcs)[:, np.newaxis],
            counts @ self.roots / counts.sum(axis=1, keepdims=True),
            by_length(self.distances),
            by_length(self.depths),
        )
        return dict(zip(METRICS, shares, strict=True))


def fit_structure(
    vectors: Mapping[str, NDArray[np.float32]],
    trees: Sequence[Tree],
    splits: Sequence[str],
    *,
    seed: int,
    rank: int = RANK,
) -> dict[str, StructureScores]:
    """Fit both maps to every view on train; what they find in dev and in test.

    Args:
        vectors: View id → ``(n_words, d)`` float32, the words of all sentences in order.
        trees: Of each sentence.
        splits: Of each sentence, ``train``, ``dev`` or ``test``.
        seed: Of the start and of the order of the sentences.
        rank: Of the maps, at most d.

    Raises:
        InputError: No view, rows that do not match, or no sentence for train or test.
    """
    ends = np.cumsum([len(tree.depths) for tree in trees])
    usable = usable_views(vectors, int(ends[-1]))
    parts = {
        split: [row for row, found in enumerate(splits) if found == split]
        for split in ("train", "dev", "test")
    }
    if not parts["train"] or not parts["test"]:
        raise InputError("expected sentences in train and test")
    starts = ends - np.array([len(tree.depths) for tree in trees])
    batches = {split: _batches(rows, starts, trees) for split, rows in parts.items()}
    judged = [split for split in ("dev", "test") if parts[split]]

    def judge(view_id: str) -> dict[str, FloatArray]:
        features = _standardised(vectors[view_id], batches["train"])
        maps = _fitted(features, batches["train"], batches["dev"], rank, seed)
        return {split: _judged(features, maps, batches[split], trees) for split in judged}

    results = dict(zip(usable, over_views(judge, list(usable)), strict=True))
    scores = {}
    for split in judged:
        rows = [row for batch in batches[split] for row in batch.rows]
        of_views = np.full((4, len(rows), len(vectors)), np.nan)
        for column, view_id in enumerate(vectors):
            if view_id in results:
                of_views[:, :, column] = results[view_id][split]
        scores[split] = _scores(tuple(vectors), [trees[row] for row in rows], of_views)
    return scores


def linear_chain(trees: Sequence[Tree]) -> StructureScores:
    """What is found where every word hangs on its neighbour and the first word is the root."""
    found = []
    for tree in trees:
        places = np.arange(len(tree.depths), dtype=np.float64)
        found.append(_judge(np.abs(places[:, np.newaxis] - places), places, tree))
    return _scores(("none",), trees, np.array(found).T[:, :, np.newaxis])


def structure_scores(
    scores: StructureScores, target: Target, *, probe: str = "structural"
) -> list[Score]:
    """The `METRICS` of every view, with 95 % intervals of the bootstrap over sentences."""
    n = len(scores.lengths)
    counts = target.rng().multinomial(n, np.full(n, 1 / n), size=target.n_resamples)
    values = scores.measured(np.ones((1, n)))
    samples = scores.measured(counts.astype(np.float64))
    rows = []
    for metric in METRICS:
        ends = percentile_interval(samples[metric])
        rows += target.scores(
            scores.view_ids, values[metric][0], *ends, probe=probe, metric=metric, n=n
        )
    return rows


@dataclass(frozen=True, eq=False)
class _Batch:
    """b sentences of n words each."""

    rows: list[int]
    words: Tensor
    """(b, n) rows of the vectors."""
    distances: Tensor
    """(b, n, n)."""
    depths: Tensor
    """(b, n)."""


def _batches(rows: Sequence[int], starts: NDArray[np.intp], trees: Sequence[Tree]) -> list[_Batch]:
    """Sentences of one length together: nothing is padded."""
    by_length: dict[int, list[int]] = {}
    for row in rows:
        by_length.setdefault(len(trees[row].depths), []).append(row)
    found = []
    for length, alike in sorted(by_length.items()):
        size = max(1, _WORDS_PER_BATCH // length)
        for first in range(0, len(alike), size):
            here = alike[first : first + size]
            words = starts[here][:, np.newaxis] + np.arange(length)
            distances = np.stack([trees[row].distances for row in here])
            depths = np.stack([trees[row].depths for row in here])
            found.append(
                _Batch(
                    here,
                    torch.from_numpy(words),
                    torch.from_numpy(distances).float(),
                    torch.from_numpy(depths).float(),
                )
            )
    return found


def _standardised(rows: NDArray[np.float32], train: Sequence[_Batch]) -> Tensor:
    """(n_words, d) float32, of mean zero and variance one on the words of train."""
    words = torch.cat([batch.words.flatten() for batch in train]).numpy()
    return Standardisation.fit(rows[words]).apply(rows)[:-1].T.contiguous()


def _fitted(
    features: Tensor, train: Sequence[_Batch], dev: Sequence[_Batch], rank: int, seed: int
) -> Tensor:
    """(2, d, rank) the map for distances and that for depths, each the best on dev."""
    generator = torch.Generator().manual_seed(seed)
    d, rank = features.shape[1], min(rank, features.shape[1])
    start = torch.randn(2, d, rank, generator=generator) * (2 / (d * rank)) ** 0.5
    maps: Tensor = start.requires_grad_()
    optimiser = torch.optim.Adam([maps], lr=_LEARNING_RATE)
    n_steps = EPOCHS * len(train)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / n_steps)
    best, lowest = maps.detach().clone(), torch.full((2,), torch.inf)
    for _ in range(EPOCHS):
        for place in torch.randperm(len(train), generator=generator).tolist():
            optimiser.zero_grad()
            _losses(features, maps, train[place]).sum().backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
        with torch.no_grad():
            sums = [_losses(features, maps, batch) * len(batch.rows) for batch in dev or train]
        losses = torch.stack(sums).sum(0)
        better = losses < lowest
        best[better], lowest[better] = maps.detach()[better], losses[better]
    return best


def _mapped(features: Tensor, maps: Tensor, batch: _Batch) -> tuple[Tensor, Tensor]:
    """Squared distances (b, n, n) and squared lengths (b, n) under the two maps."""
    words = features[batch.words]
    near, deep = words @ maps[0], words @ maps[1]
    lengths = near.square().sum(-1)
    distances = lengths[:, :, None] + lengths[:, None] - 2 * near @ near.transpose(1, 2)
    return distances, deep.square().sum(-1)


def _losses(features: Tensor, maps: Tensor, batch: _Batch) -> Tensor:
    """(2,) mean over the sentences of a batch."""
    distances, depths = _mapped(features, maps, batch)
    return torch.stack(
        [(distances - batch.distances).abs().mean(), (depths - batch.depths).abs().mean()]
    )


def _judged(
    features: Tensor, maps: Tensor, batches: Sequence[_Batch], trees: Sequence[Tree]
) -> FloatArray:
    """(4, n): what `_judge` says of the sentences of the batches, in their order."""

    def each() -> Iterator[tuple[float, ...]]:
        for batch in batches:
            distances, depths = (found.double().numpy() for found in _mapped(features, maps, batch))
            for place, row in enumerate(batch.rows):
                yield _judge(distances[place], depths[place], trees[row])

    with torch.no_grad():
        values: FloatArray = np.array(list(each())).T
    return values


def _judge(distances: FloatArray, depths: FloatArray, tree: Tree) -> tuple[float, ...]:
    """Arcs found, whether the root is, and Spearman of distances and depths."""
    kept = tree.counted
    among = np.maximum(distances[np.ix_(kept, kept)], 0.0) + _NEVER_ZERO
    one, other = minimum_spanning_tree(among).nonzero()
    found = float((tree.distances[kept[one], kept[other]] == 1).sum())
    root = float(tree.depths[kept[depths[kept].argmin()]] == 0)
    return (
        found,
        root,
        float(_spearman_rows(distances, tree.distances).mean()),
        float(_spearman_rows(depths[np.newaxis], tree.depths[np.newaxis])[0]),
    )


def _spearman_rows(one: FloatArray, other: FloatArray) -> FloatArray:
    """(n_rows,) Spearman of each row with the same row of the other; NaN where one is constant."""
    ranks = [rankdata(values, axis=1) for values in (one, other)]
    a, b = (values - values.mean(axis=1, keepdims=True) for values in ranks)
    scale = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    found = np.full(len(a), np.nan)
    np.divide((a * b).sum(axis=1), scale, out=found, where=scale > 0)
    return found


def _scores(
    view_ids: tuple[str, ...], trees: Sequence[Tree], values: FloatArray
) -> StructureScores:
    """From the values (4, n, n_views) of `_judge`."""
    arcs = [int((tree.distances[np.ix_(tree.counted, tree.counted)] == 1).sum()) for tree in trees]
    lengths = np.array([len(tree.depths) for tree in trees])
    return StructureScores(view_ids, lengths, np.array(arcs) // 2, *values)
