"""Probes of all layers: planted layers get the weight, and the label is dated to where it is."""

import numpy as np
import pytest
from numpy.typing import NDArray

from probing.probes.driver import fit_probes
from probing.probes.mixing import (
    REFITS,
    AttentionPooling,
    ScalarMix,
    expected_layer,
    layer_stacks,
    mix_name,
    mix_scores,
    mix_weights,
)
from probing.results.scores import Score
from probing.results.target import Target

N, D, LAST = 700, 12, 3
SPLITS = ["train"] * 400 + ["dev"] * 100 + ["test"] * 200
PLANTED = 2


def planted() -> tuple[dict[str, NDArray[np.float32]], NDArray[np.intp]]:
    """The label is in layer 2 only."""
    rng = np.random.default_rng(0)
    codes = rng.integers(2, size=N)
    layers = rng.standard_normal((LAST + 1, N, D)).astype(np.float32)
    layers[PLANTED, :, 0] += 3 * codes
    return {f"mean@{layer}": rows for layer, rows in enumerate(layers)}, codes


@pytest.fixture(scope="module")
def rows() -> list[Score]:
    vectors, codes = planted()
    stacks = layer_stacks(vectors, "mean", LAST)
    assert tuple(stacks) == ("mean@0..0", "mean@0..1", "mean@0..2", "mean@0..3")
    assert stacks["mean@0..2"].shape == (N, 3, D)
    predictions = fit_probes(stacks, codes, SPLITS, probe=ScalarMix(), seed=0)
    by_layer = predictions.correct.mean(axis=0)
    assert by_layer[1] < 0.65
    assert by_layer[2] > 0.85
    assert by_layer[3] > 0.85
    weights = mix_weights(stacks[mix_name("mean", LAST)][:400], codes[:400], strength=0.1, seed=0)
    assert weights.shape == (1 + REFITS, LAST + 1)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
    return mix_scores(predictions, weights, Target(task="t", n_resamples=200))


def of(rows: list[Score], metric: str) -> list[Score]:
    return [row for row in rows if row.metric == metric]


def test_the_planted_layer_has_the_weight(rows: list[Score]) -> None:
    weights = {row.layer: row for row in of(rows, "layer_weight")}
    assert set(weights) == {0, 1, 2, 3}
    assert max(weights, key=lambda layer: weights[layer].value) == PLANTED
    assert weights[PLANTED].lower > 0.5
    (centre,) = of(rows, "centre_of_gravity")
    assert centre.view == "mean@0..3"
    assert centre.layer is None
    assert centre.lower < centre.value < centre.upper
    assert abs(centre.value - PLANTED) < 0.2
    assert centre.upper - centre.lower < 1


def test_the_label_is_dated_to_the_planted_layer(rows: list[Score]) -> None:
    (expected,) = of(rows, "expected_layer")
    assert expected.n == 200
    assert expected.lower <= expected.value <= expected.upper
    assert abs(expected.value - PLANTED) < 0.5


def test_the_expected_layer_by_hand() -> None:
    accuracies = np.array([[0.5, 0.6, 0.9, 0.9], [0.5, 0.5, 0.4, 0.5]])
    found = expected_layer(accuracies)
    assert found[0] == pytest.approx((1 * 0.1 + 2 * 0.3) / 0.4)
    assert np.isnan(found[1])  # nothing is gained


@pytest.mark.slow
def test_attention_finds_the_one_word_that_matters() -> None:
    """The label is in one marked word of each text, at layer 1; the mean over words drowns it."""
    rng = np.random.default_rng(0)
    codes, lengths = rng.integers(2, size=N), rng.integers(6, 14, size=N)
    ends = np.cumsum(lengths)
    layers = rng.standard_normal((2, ends[-1], D)).astype(np.float32)
    marked = ends - lengths + rng.integers(lengths)
    layers[1, marked, 0] += 6
    layers[1, marked, 1] += 6 * codes - 3
    family = AttentionPooling(lambda layer: layers[layer], 2, ends)
    numbers = {"attention@0..1": np.arange(N)[:, np.newaxis]}
    found = fit_probes(numbers, codes, SPLITS, probe=family, seed=0)
    means = np.add.reduceat(layers[1], np.concatenate([[0], ends[:-1]])) / lengths[:, np.newaxis]
    mean = fit_probes({"mean@1": means.astype(np.float32)}, codes, SPLITS, seed=0)
    assert found.correct.mean() > 0.9
    assert found.correct.mean() > mean.correct.mean() + 0.05
    shuffled = fit_probes(numbers, rng.permutation(codes), SPLITS, probe=family, seed=0)
    assert shuffled.correct.mean() < 0.62
