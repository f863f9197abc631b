"""The anatomy is exact: the road reproduces the pooler and its steps add up."""

import logging
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics.pairwise import paired_cosine_distances

from probing.encoding.encoder import Encoder, load_encoder, random_twin
from probing.encoding.extraction import extract
from probing.results.scores import Score
from probing.results.target import Target
from probing.similarity.contrasts import Cell, contrast_scores
from probing.similarity.cosine import cosine_similarities
from probing.similarity.pooler import (
    RANDOM_POOLERS,
    PoolerWeights,
    pooler_diagnostics,
    pooler_scores,
    replaced_pooler_scores,
    road_contrasts,
    variance_recovered,
    weight_scores,
)
from tests.conftest import FAMILIES_WITH_POOLER

SENTENCES = (
    "the cat sat on the mat",
    "a dog runs",
    "the unlikely dog is not running",
    "red and big",
    "a small red cat",
    "not a dog",
    "the mat is big",
    "cats and dogs run",
)
GOLD = np.array([0.5, 3.0, 1.0, 2.5])


def _weights(encoder: Encoder) -> PoolerWeights:
    dense = encoder.pooler_dense
    assert dense is not None
    return PoolerWeights(
        weight=dense.weight.detach().double().numpy(), bias=dense.bias.detach().double().numpy()
    )


def _random_weights(width: int, seed: int = 0, scale: float = 1.0) -> PoolerWeights:
    rng = np.random.default_rng(seed)
    weight = scale * rng.normal(size=(width, width)) / math.sqrt(width)
    return PoolerWeights(weight=weight, bias=scale * 0.1 * rng.normal(size=width))


def _cls(n: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


def _pooled(cls: np.ndarray, weights: PoolerWeights) -> dict[str, np.ndarray]:
    dense = weights.dense(cls).astype(np.float32)
    return {"mean@1": cls, "cls@1": cls, "pooler_dense@1": dense, "pooler@1": np.tanh(dense)}


@pytest.mark.parametrize("family", FAMILIES_WITH_POOLER)
@pytest.mark.parametrize("twin", ["model", "twin"])
def test_dense_and_tanh_reproduce_the_pooler(
    family: str, twin: str, tiny_encoder_folder: Callable[[str], Path]
) -> None:
    encoder = load_encoder(str(tiny_encoder_folder(family)), device="cpu")
    if twin == "twin":
        encoder = random_twin(encoder, seed=1)
    vectors = extract(encoder, SENTENCES)
    weights = _weights(encoder)
    rebuilt = np.tanh(weights.dense(vectors["cls@3"]))
    np.testing.assert_allclose(rebuilt, vectors["pooler@3"], atol=1e-6)
    assert np.abs(vectors["cls@3"] - vectors["pooler@3"]).max() > 0.01
    rows = pooler_diagnostics(vectors, Target(task="toy", seed=0), weights)
    (error,) = [row for row in rows if row.metric == "reconstruction_error"]
    assert error.value == np.abs(rebuilt - vectors["pooler@3"]).max() <= 1e-6


@pytest.mark.parametrize("best", [None, 3, 1])
def test_the_steps_add_up_to_the_whole_difference(
    best: int | None, tiny_encoder_folder: Callable[[str], Path]
) -> None:
    encoder = load_encoder(str(tiny_encoder_folder("bert")), device="cpu")
    vectors = extract(encoder, SENTENCES)
    similarities = cosine_similarities(vectors, tuple(vectors))
    cells = road_contrasts(vectors, best=best)
    rows = contrast_scores(
        {Cell(view): similarities[:, i] for i, view in enumerate(vectors)},
        Target(task="toy", gold=GOLD, seed=0, n_resamples=20),
        cells=cells,
    )
    changes = [row for row in rows if row.metric == "spearman_difference"]
    *steps, whole = changes
    assert whole.view == f"pooler@3 - mean@{best or 3}"
    assert len(steps) == (4 if best == 1 else 3)
    assert sum(step.value for step in steps) == pytest.approx(whole.value, abs=1e-12)
    # Each step ends where the next begins.
    starts = [step.view.split(" - ")[1] for step in steps]
    ends = [step.view.split(" - ")[0] for step in steps]
    assert starts[1:] == ends[:-1]
    assert ends[-2:] == ["pooler_dense@3", "pooler@3"]


def test_the_road_without_a_pooler_ends_at_cls() -> None:
    views = ["mean@0", "mean@1", "mean@2", "cls@2", "mean@0+2"]
    assert road_contrasts(views, best=1) == (
        Cell("mean@2 - mean@1"),
        Cell("cls@2 - mean@2"),
        Cell("cls@2 - mean@1"),
    )
    assert road_contrasts(views, best=2) == (Cell("cls@2 - mean@2"),)


def test_no_pooler_no_anatomy() -> None:
    vectors = {"mean@1": _cls(8, 4), "cls@1": _cls(8, 4)}
    rows = pooler_scores(vectors, Target(task="toy", gold=GOLD, seed=0, n_resamples=10), None)
    assert rows == []


def test_a_random_counterpart_has_the_scale_of_the_pooler_and_nothing_else() -> None:
    weights = _random_weights(40, seed=9, scale=3.0)
    one, same, other = (weights.random_counterpart(seed) for seed in (0, 0, 1))
    assert np.linalg.norm(one.weight) == pytest.approx(np.linalg.norm(weights.weight))
    np.testing.assert_array_equal(one.weight, same.weight)
    np.testing.assert_array_equal(one.bias, weights.bias)
    for matrix in (weights.weight, other.weight):
        assert abs(np.corrcoef(one.weight.ravel(), matrix.ravel())[0, 1]) < 0.1


def _replaced(weights: PoolerWeights, cls: np.ndarray, gold: np.ndarray) -> list[Score]:
    return replaced_pooler_scores(
        "cls@1", cls, Target(task="toy", gold=gold, seed=7, n_resamples=50), weights
    )


def test_replaced_poolers_equal_their_definition() -> None:
    cls, weights = _cls(120, 16), _random_weights(16)
    gold = np.random.default_rng(1).normal(size=60)

    def rho(vectors: np.ndarray) -> float:
        vectors = vectors.astype(np.float64)
        return float(spearmanr(-paired_cosine_distances(vectors[:60], vectors[60:]), gold)[0])

    rows = {(r.transform, r.metric, r.seed): r for r in _replaced(weights, cls, gold)}
    assert {r.view for r in rows.values()} == {"cls@1"}
    assert rows["tanh", "spearman", 7].value == pytest.approx(rho(np.tanh(cls)), abs=1e-6)
    change = rows["tanh - raw", "spearman_difference", 7]
    assert change.value == pytest.approx(rho(np.tanh(cls)) - rho(cls), abs=1e-6)
    for seed in range(7, 7 + RANDOM_POOLERS):
        dense = weights.random_counterpart(seed).dense(cls)
        steps = [
            rows["random-dense - raw", "spearman_difference", seed].value,
            rows["random-dense+tanh - random-dense", "spearman_difference", seed].value,
        ]
        assert rows["random-dense", "spearman", seed].value == pytest.approx(rho(dense), abs=1e-6)
        assert sum(steps) == pytest.approx(rho(np.tanh(dense)) - rho(cls), abs=1e-6)
    assert len({rows["random-dense", "spearman", s].value for s in range(7, 12)}) > 1


def test_an_orthogonal_pooler_of_small_scale_changes_nothing_and_a_large_one_saturates() -> None:
    """Turning the space keeps every cosine; near zero tanh is the identity."""
    cls = _cls(4000, 16)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(16, 16)))[0]
    by_scale = {}
    for scale in (1e-3, 100.0):
        weights = PoolerWeights(weight=scale * turn, bias=np.zeros(16))
        vectors = _pooled(cls, weights)
        similarities = cosine_similarities(vectors, ("cls@1", "pooler@1"))
        by_scale[scale] = np.abs(similarities[:, 0] - similarities[:, 1]).max()
        rows = pooler_diagnostics(vectors, Target(task="toy", seed=0), weights)
        found = {(row.metric, row.view): row for row in rows}
        saturated = found["saturated_share", "pooler@1"]
        assert saturated.value == np.mean(np.abs(vectors["pooler@1"]) > 0.99)
        assert saturated.lower <= saturated.value <= saturated.upper
        assert (saturated.value > 0.9) == (scale > 1)
        recovered = found["cls_variance_recovered", "pooler@1"].value
        assert (recovered > 0.999) == (scale < 1)
        assert found["cls_variance_recovered", "pooler_dense@1"].value > 0.999
    assert by_scale[1e-3] < 1e-4
    assert by_scale[100.0] > 0.1


def test_variance_recovered_is_the_share_that_a_pooler_keeps() -> None:
    cls = _cls(6000, 12)
    half = cls.copy()
    half[:, 6:] = 0
    value, lower, upper = variance_recovered(cls, half, seed=0)
    assert value == pytest.approx(0.5, abs=0.02)
    assert lower < 0.5 < upper
    assert variance_recovered(cls, _cls(6000, 12, seed=1), seed=0)[0] == pytest.approx(0, abs=0.01)


def test_variance_recovered_says_when_it_cannot_tell(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        few = variance_recovered(_cls(40, 12), _cls(40, 12), seed=0)
        still = variance_recovered(_cls(100, 12), np.ones((100, 12), np.float32), seed=0)
    assert all(math.isnan(number) for number in (*few, *still))
    assert "expected at least 48 for 12 dimensions" in caplog.text
    assert "do not vary" in caplog.text


def test_repeated_sentences_count_once() -> None:
    cls, weights = _cls(60, 4), _random_weights(4)
    once = pooler_diagnostics(_pooled(cls, weights), Target(task="t", seed=0), weights)
    twice = pooler_diagnostics(
        _pooled(np.concatenate([cls, cls[:30]]), weights), Target(task="t", seed=0), weights
    )
    assert once == twice


def test_weight_scores_equal_numpy() -> None:
    weights = _random_weights(16)
    rows = {row.metric: row for row in weight_scores(weights, layer=6, seed=0)}
    values = np.linalg.svd(weights.weight, compute_uv=False)
    shares = values / values.sum()
    assert rows["singular_value_largest"].value == pytest.approx(np.linalg.norm(weights.weight, 2))
    assert rows["singular_value_smallest"].value == pytest.approx(values.min())
    assert rows["effective_rank"].value == pytest.approx(np.exp(-(shares @ np.log(shares))))
    assert rows["bias_largest"].value == np.abs(weights.bias).max()
    assert {(row.view, row.task) for row in rows.values()} == {("pooler_dense@6", "none")}
    identity = PoolerWeights(weight=np.eye(16), bias=np.zeros(16))
    untouched = {row.metric: row.value for row in weight_scores(identity, layer=6, seed=0)}
    assert untouched["effective_rank"] == pytest.approx(16)
    assert untouched["bias_largest"] == 0


def test_weights_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        PoolerWeights(weight=np.eye(4), bias=np.zeros(3))
