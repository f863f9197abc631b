"""The structural probe: a planted tree metric is found, and nothing where nothing is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from probing.errors import InputError
from probing.probes.structural import (
    METRICS,
    Tree,
    fit_structure,
    linear_chain,
    structure_scores,
)
from probing.results.target import Target

N_SENTENCES = 500
LONGEST = 12


def planted(seed: int = 0) -> tuple[list[Tree], list[str], dict[str, NDArray[np.float32]]]:
    """Random trees, and vectors in which squared distances are those of the tree, turned.

    Each arc has a direction of its own and a word is the sum of those on its way to the root. Half
    as many directions again are noise.
    """
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.standard_normal((LONGEST * 3 // 2,) * 2))[0]
    trees, rows = [], []
    for _ in range(N_SENTENCES):
        n = int(rng.integers(5, LONGEST + 1))
        order = rng.permutation(n)
        heads = np.full(n, -1)
        for place in range(1, n):
            heads[order[place]] = order[rng.integers(place)]
        trees.append(Tree.of(heads.tolist(), [False] * n))
        directions = rng.permutation(LONGEST)
        words = np.zeros((n, len(turn)))
        for word in range(n):
            at = word
            while heads[at] >= 0:
                words[word, directions[at]] = 1.0
                at = heads[at]
        words[:, LONGEST:] = rng.standard_normal((n, len(turn) - LONGEST))
        rows.append(words @ turn)
    splits = ["train"] * 400 + ["dev"] * 50 + ["test"] * 50
    vectors = np.concatenate(rows).astype(np.float32)
    blind = rng.standard_normal(vectors.shape).astype(np.float32)
    same = np.ones_like(vectors)
    return trees, splits, {"word_mean@0": blind, "word_mean@1": vectors, "word_mean@2": same}


@pytest.fixture(scope="module")
def found() -> dict[tuple[str, str], tuple[float, float, float]]:
    trees, splits, vectors = planted()
    scores = fit_structure(vectors, trees, splits, seed=0)
    assert set(scores) == {"dev", "test"}
    rows = structure_scores(scores["test"], Target(task="t", n_resamples=200))
    assert {row.n for row in rows} == {50}
    assert {row.probe for row in rows} == {"structural"}
    return {(row.view, row.metric): (row.value, row.lower, row.upper) for row in rows}


def test_a_planted_tree_metric_is_found(
    found: dict[tuple[str, str], tuple[float, float, float]],
) -> None:
    value, lower, upper = found["word_mean@1", "uuas"]
    assert value >= 0.99
    assert lower <= value <= upper
    assert found["word_mean@1", "root_accuracy"][0] >= 0.9
    assert found["word_mean@1", "distance_spearman"][0] >= 0.95


def test_vectors_that_know_nothing_find_what_chance_finds(
    found: dict[tuple[str, str], tuple[float, float, float]],
) -> None:
    assert found["word_mean@0", "uuas"][0] < 0.4
    assert found["word_mean@0", "root_accuracy"][0] < 0.4
    assert abs(found["word_mean@0", "depth_spearman"][0]) < 0.25


def test_a_constant_view_is_nan(
    found: dict[tuple[str, str], tuple[float, float, float]],
) -> None:
    assert all(np.isnan(found["word_mean@2", metric]).all() for metric in METRICS)


@given(st.integers(2, 20), st.integers(0, 2**32 - 1))
def test_the_gold_distances_are_those_of_the_paths(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    heads = [-1] + [int(rng.integers(place)) for place in range(1, n)]
    tree = Tree.of(heads, [False] * n)

    def path(word: int) -> list[int]:
        return [word] if heads[word] < 0 else [word, *path(heads[word])]

    for one in range(n):
        for other in range(n):
            assert tree.distances[one, other] == len(set(path(one)) ^ set(path(other)))
        assert tree.depths[one] == len(path(one)) - 1


def test_the_linear_chain_by_hand() -> None:
    """`the cat saw me .`: the ← cat ← saw → me, and a full stop that does not count."""
    tree = Tree.of([1, 2, -1, 2, 2], [False, False, False, False, True])
    chain = linear_chain([tree])
    assert chain.arcs.tolist() == [3]
    assert chain.found.tolist() == [[3.0]]
    assert chain.roots.tolist() == [[0.0]]
    values = chain.measured(np.ones((1, 1)))
    assert values["uuas"][0, 0] == 1.0
    expected = np.mean(
        [
            np.corrcoef(_ranks(np.abs(np.arange(5) - word)), _ranks(tree.distances[word]))[0, 1]
            for word in range(5)
        ]
    )
    assert values["distance_spearman"][0, 0] == pytest.approx(expected)


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([(values < v).sum() + ((values == v).sum() + 1) / 2 for v in values])


def test_each_length_counts_as_much_as_any_other() -> None:
    chains = [Tree.of([*range(1, n), -1], [False] * n) for n in (5, 5, 6)]
    mixed = Tree.of([-1, 0, 1, 1, 0], [False] * 5)
    scores = linear_chain([*chains, mixed])
    of_mixed = linear_chain([mixed]).measured(np.ones((1, 1)))["distance_spearman"][0, 0]
    mean = scores.measured(np.ones((1, 4)))["distance_spearman"][0, 0]
    assert mean == pytest.approx(((2 + of_mixed) / 3 + 1) / 2)


def test_sentences_for_train_and_test_are_needed() -> None:
    trees, _, vectors = planted()
    with pytest.raises(InputError, match="sentences in train and test"):
        fit_structure(vectors, trees, ["train"] * N_SENTENCES, seed=0)
    with pytest.raises(InputError, match="rows for"):
        fit_structure({"a": vectors["word_mean@0"][1:]}, trees, ["train"] * N_SENTENCES, seed=0)
