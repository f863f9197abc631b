"""Cosine, its correlation with gold scores, and the lexical floor."""

import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics.pairwise import paired_cosine_distances

from probing.encoding.encoder import load_encoder
from probing.encoding.extraction import extract
from probing.encoding.representations import Representations
from probing.results.target import Target
from probing.similarity.contrasts import contrast_scores
from probing.similarity.cosine import (
    cosine_similarities,
    idf_cosines,
    similarity_scores,
    token_jaccard,
)
from probing.similarity.geometry import (
    Transform,
    TransformKind,
    fit_axes,
    transformed_similarities,
)
from probing.tasks import SentencePairs, load_task


def _vectors(n_pairs: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(2 * n_pairs, 8)).astype(np.float32)


def test_cosine_equals_sklearn() -> None:
    vectors = _vectors(50)
    views = {"mean@1": vectors, "cls@1": 2 * vectors}
    similarities = cosine_similarities(views, ["mean@1", "cls@1"])
    expected = 1 - paired_cosine_distances(vectors[:50].astype(float), vectors[50:].astype(float))
    np.testing.assert_allclose(similarities[:, 0], expected, atol=1e-12)
    np.testing.assert_allclose(similarities[:, 1], expected, atol=1e-12)


def test_a_sentence_and_itself_have_a_cosine_of_exactly_one() -> None:
    """Else the rounding of n such pairs would rank them."""
    once = np.random.default_rng(0).normal(size=(500, 384)).astype(np.float32)
    found = cosine_similarities({"mean@1": np.concatenate([once, once])}, ["mean@1"])
    assert set(found[:, 0]) == {1.0}
    texts = [f"the {word} mat {word * 2} is here" for word in "abcdefghij"]
    assert set(idf_cosines(texts, texts)) == {1.0}
    assert idf_cosines(["…", "a cat"], ["…", "a cat"]).tolist() == [0.0, 1.0]
    twice = cosine_similarities({"mean@1": np.concatenate([once, 2 * once])}, ["mean@1"])
    assert twice == pytest.approx(np.ones((500, 1)), abs=1e-12)


def test_a_constant_view_is_nan_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    constant = np.tile(_vectors(1)[:1], (20, 1))
    constant *= 1 + 1e-7 * np.random.default_rng(1).normal(size=constant.shape).astype(np.float32)
    with caplog.at_level(logging.WARNING):
        views = {"cls@0": constant, "mean@0": _vectors(10)}
        similarities = cosine_similarities(views, list(views))
    assert np.isnan(similarities[:, 0]).all()
    assert np.isfinite(similarities[:, 1]).all()
    assert "cls@0 is the same vector for every sentence" in caplog.text


def test_a_vector_without_direction_is_nan_with_its_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    vectors = _vectors(10)
    vectors[3] = 0
    vectors[15, 2] = np.nan
    with caplog.at_level(logging.WARNING):
        similarities = cosine_similarities({"mean_words@1": vectors}, ["mean_words@1"])
    assert np.flatnonzero(np.isnan(similarities[:, 0])).tolist() == [3, 5]
    assert "no direction for 2 of 10 pairs" in caplog.text


def test_scores_equal_scipy_and_carry_intervals() -> None:
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 6, size=90).astype(float)
    similarities = np.column_stack([gold + rng.normal(size=90), rng.normal(size=90)])
    subsets = ["a"] * 20 + ["b"] * 30 + ["c"] * 40
    rows = similarity_scores(
        similarities,
        Target(task="toy", gold=gold, subsets=subsets, seed=0, n_resamples=200),
        view_ids=("mean@1", "pooler@1"),
        probe="cosine",
    )
    found = {(row.view, row.metric, row.aggregation, row.subset): row for row in rows}
    assert len(found) == len(rows) == 2 * 2 * (3 + 3)
    parts = [slice(0, 20), slice(20, 50), slice(50, 90)]
    for column, view in enumerate(["mean@1", "pooler@1"]):
        for metric, oracle in (("spearman", spearmanr), ("pearson", pearsonr)):
            values = [oracle(similarities[p, column], gold[p])[0] for p in parts]
            expected = {
                ("all", "all"): oracle(similarities[:, column], gold)[0],
                ("mean", "all"): np.mean(values),
                ("wmean", "all"): np.average(values, weights=[20, 30, 40]),
                ("none", "b"): values[1],
            }
            for (aggregation, subset), value in expected.items():
                row = found[view, metric, aggregation, subset]
                assert row.value == pytest.approx(value, abs=1e-12)
                assert row.lower <= row.value <= row.upper
                assert (row.layer, row.seed) == (1, 0)
    assert found["mean@1", "spearman", "none", "b"].n == 30


def test_nan_similarities_give_nan_rows() -> None:
    gold = np.arange(10.0)
    rows = similarity_scores(
        np.full((10, 1), np.nan),
        Target(task="toy", gold=gold, seed=0, n_resamples=20),
        view_ids=("cls@0",),
        probe="cosine",
    )
    assert len(rows) == 2
    assert all(np.isnan([row.value, row.lower, row.upper]).all() for row in rows)


def test_token_jaccard_by_hand() -> None:
    first = ["The cat sat.", "A dog", "same words", "…"]
    second = ["the CAT ran", "two birds", "words same", "!!"]
    np.testing.assert_allclose(token_jaccard(first, second), [2 / 4, 0, 1, 1])


@given(st.text(), st.text())
def test_token_jaccard_is_symmetric_and_bounded(one: str, two: str) -> None:
    forward, back = token_jaccard([one], [two])[0], token_jaccard([two], [one])[0]
    assert forward == back
    assert 0 <= forward <= 1
    assert token_jaccard([one], [one])[0] == 1


@pytest.fixture(scope="module")
def sts12(real_data: Path) -> SentencePairs:
    """The pairs of STS12."""
    task = load_task("sts12", real_data, protocol="mteb")
    assert isinstance(task, SentencePairs)
    return task


@pytest.fixture(scope="module")
def sts12_of_minilm(sts12: SentencePairs) -> Representations:
    """Two views of its sentences."""
    sentences = sts12.sentences1 + sts12.sentences2
    return extract(load_encoder("minilm"), sentences, views=["mean@6", "cls@6"])


def _target(pairs: SentencePairs) -> Target:
    return Target(
        task=pairs.name,
        gold=pairs.scores,
        split=pairs.split,
        subsets=pairs.subsets,
        seed=0,
        n_resamples=10,
    )


@pytest.mark.real
def test_whitening_on_sts12_parts_the_aggregations_as_published(
    sts12: SentencePairs, sts12_of_minilm: Representations
) -> None:
    """BERT-whitening reports 63.62 (``wmean``), SimCSE 42.88 (``all``) for the same vectors."""
    view = {"mean@6": sts12_of_minilm["mean@6"]}
    axes = {"mean@6": fit_axes(view["mean@6"])}
    columns = transformed_similarities(
        view, axes, fitted_on="target", transforms=(Transform(TransformKind.WHITENED),)
    )
    rows = contrast_scores(columns, _target(sts12), cells=columns)
    value = {row.aggregation: row.value for row in rows}
    assert value["wmean"] > value["all"] + 0.02


@pytest.mark.real
def test_the_aggregation_flips_a_ranking_on_sts12(
    sts12: SentencePairs, sts12_of_minilm: Representations
) -> None:
    """Concatenated, [CLS] of the last layer beats the mean; averaged over subsets, it loses."""
    rows = similarity_scores(
        cosine_similarities(sts12_of_minilm, ["mean@6", "cls@6"]),
        _target(sts12),
        view_ids=["mean@6", "cls@6"],
        probe="cosine",
    )
    found = {
        (row.view, row.aggregation): 100 * row.value
        for row in rows
        if row.metric == "spearman" and row.subset == "all"
    }
    assert found["cls@6", "all"] == pytest.approx(75.06, abs=0.1)
    assert found["mean@6", "all"] == pytest.approx(72.37, abs=0.1)
    assert found["cls@6", "wmean"] == pytest.approx(67.52, abs=0.1)
    assert found["mean@6", "wmean"] == pytest.approx(71.06, abs=0.1)


def test_shared_rare_words_count_more_than_shared_common_ones() -> None:
    one = ["the zebra", "the cat", "the dog", "the"]
    other = ["a zebra", "the cow", "dog the", "a"]
    zebra, the, same, nothing = idf_cosines(one, other)
    assert 0 < the < zebra < 1
    assert same == pytest.approx(1)  # word order is not seen
    assert nothing == 0
    np.testing.assert_array_equal(idf_cosines(["!"], ["?"]), [0])
