"""Transforms against the published formulas; each measure of shape against an independent one."""

import importlib
import logging
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy
from sklearn.decomposition import PCA
from sklearn.metrics.pairwise import cosine_similarity, paired_cosine_distances

from probing.results.target import Target
from probing.similarity.contrasts import Cell
from probing.similarity.geometry import (
    TRANSFORMS,
    PrincipalAxes,
    Transform,
    TransformKind,
    anisotropy,
    cka_scores,
    effective_dimension,
    fit_axes,
    geometry_scores,
    isoscore,
    linear_cka,
    transformed_similarities,
)

WHITENED = Transform(TransformKind.WHITENED)
CENTRED = Transform(TransformKind.CENTRED)
ALL_BUT_THE_TOP = Transform(TransformKind.ALL_BUT_THE_TOP)


def _vectors(n: int = 400, width: int = 12, seed: int = 0) -> np.ndarray:
    """Correlated axes of unequal spread, away from the origin, float32."""
    rng = np.random.default_rng(seed)
    mixed = (
        rng.normal(size=(n, width)) * np.geomspace(3, 0.1, width) @ rng.normal(size=(width,) * 2)
    )
    return (mixed + rng.normal(size=width)).astype(np.float32)


def _transformed(vectors: np.ndarray, axes: PrincipalAxes, transform: Transform) -> np.ndarray:
    """The vectors in the coordinates of the principal axes, scaled as the transform says."""
    return (vectors - axes.mean) @ axes.axes * axes.scales(transform)


def _published_whitening(vectors: np.ndarray, k: int | None) -> np.ndarray:
    """The formula of Su et al. (2021), section 3: x = (x - mu) W, W = U sqrt(1 / S), first k."""
    mu = vectors.mean(axis=0, keepdims=True)
    u, s, _ = np.linalg.svd(np.cov(vectors.T))
    return (vectors - mu) @ (u @ np.diag(1 / np.sqrt(s)))[:, :k]


@pytest.mark.parametrize("k", [None, 5])
def test_whitening_agrees_with_the_published_formula(k: int | None) -> None:
    vectors = _vectors()
    ours = _transformed(vectors, fit_axes(vectors), Transform(TransformKind.WHITENED, k))
    published = _published_whitening(vectors.astype(np.float64), k)
    # The sign of an axis is free; the products of all vectors are not.
    np.testing.assert_allclose(ours @ ours.T, published @ published.T, atol=1e-5)


def test_whitening_makes_the_covariance_the_identity_and_raw_is_far_from_it() -> None:
    vectors = _vectors()
    white = _transformed(vectors, fit_axes(vectors), WHITENED)
    np.testing.assert_allclose(np.cov(white.T), np.eye(12), atol=1e-6)
    assert np.abs(np.cov(vectors.T) - np.eye(12)).max() > 1


def test_all_but_the_top_equals_removing_principal_components() -> None:
    vectors = _vectors().astype(np.float64)
    pca = PCA(n_components=3).fit(vectors)
    centred = vectors - vectors.mean(axis=0)
    expected = centred - centred @ pca.components_.T @ pca.components_
    transform = Transform(TransformKind.ALL_BUT_THE_TOP, 3)
    ours = _transformed(vectors, fit_axes(vectors), transform)
    np.testing.assert_allclose(ours @ ours.T, expected @ expected.T, atol=1e-6)
    assert str(transform) == "all-but-the-top3"


def test_transformed_similarities_are_the_cosines_of_transformed_vectors() -> None:
    target, train = _vectors(80, 300, seed=1), _vectors(3000, 300, seed=2)
    axes = fit_axes(train)
    columns = transformed_similarities({"mean@1": target}, {"mean@1": axes}, fitted_on="train")
    assert [cell.transform for cell in columns] == [
        "centred:train",
        "all-but-the-top:train",
        "whitened:train",
        "whitened256:train",
    ]
    for transform, (cell, cosines) in zip(TRANSFORMS, columns.items(), strict=True):
        moved = _transformed(target, axes, transform)
        expected = 1 - paired_cosine_distances(moved[:40], moved[40:])
        np.testing.assert_allclose(cosines, expected, atol=1e-6)
        assert (cell.view, cell.probe) == ("mean@1", "cosine")
    # 3 of 300 axes: one in a hundred
    assert np.count_nonzero(axes.scales(ALL_BUT_THE_TOP) == 0) == 3


def test_a_narrow_view_has_no_whitened256() -> None:
    vectors = {"mean@1": _vectors()}
    axes = {"mean@1": fit_axes(vectors["mean@1"])}
    columns = transformed_similarities(vectors, axes, fitted_on="target")
    assert Cell("mean@1", "whitened256:target") not in columns
    assert Cell("mean@1", "whitened:target") in columns


def test_an_axis_of_rounding_is_dropped_and_not_blown_up() -> None:
    flat = _vectors()
    flat[:, 3] = 7.0
    flat[:, 3] += np.float32(1e-6) * np.random.default_rng(0).normal(size=len(flat))
    axes = fit_axes(flat)
    assert axes.rank == 11
    without = np.delete(flat, 3, axis=1)
    ours = _transformed(flat, axes, WHITENED)
    expected = _transformed(without, fit_axes(without), WHITENED)
    np.testing.assert_allclose(ours @ ours.T, expected @ expected.T, atol=1e-3)


def test_a_constant_view_is_nan_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    constant = np.tile(_vectors(1)[:1], (20, 1))
    constant *= 1 + 1e-7 * np.random.default_rng(1).normal(size=constant.shape).astype(np.float32)
    with caplog.at_level(logging.WARNING):
        columns = transformed_similarities(
            {"cls@0": constant}, {"cls@0": fit_axes(constant)}, fitted_on="target"
        )
    assert all(np.isnan(column).all() for column in columns.values())
    assert "cls@0 is one vector for every sentence" in caplog.text


def test_whitening_on_few_sentences_is_undefined(caplog: pytest.LogCaptureFixture) -> None:
    """100 pairs in 384 dimensions gave .021 with an interval in version 0.1."""
    few = _vectors(200, 384)
    with caplog.at_level(logging.WARNING):
        columns = transformed_similarities(
            {"mean@1": few}, {"mean@1": fit_axes(few)}, fitted_on="target"
        )
    assert np.isnan(columns[Cell("mean@1", "whitened:target")]).all()
    assert np.isnan(columns[Cell("mean@1", "whitened256:target")]).all()
    assert np.isfinite(columns[Cell("mean@1", "centred:target")]).all()
    assert (
        "whitened is undefined on 200 sentences for 384 dimensions, expected at least 3840: NaN "
        "for mean@1"
    ) in caplog.text


@pytest.mark.parametrize(("n", "defined"), [(119, False), (120, True)])
def test_sentences_that_recur_are_counted_once(*, n: int, defined: bool) -> None:
    vectors = np.concatenate([_vectors(n, 12), _vectors(n, 12)])
    columns = transformed_similarities(
        {"mean@1": vectors}, {"mean@1": fit_axes(vectors)}, fitted_on="target"
    )
    assert np.isfinite(columns[Cell("mean@1", "whitened:target")]).all() == defined


def test_axes_refuse_what_is_not_finite_or_too_little() -> None:
    broken = _vectors()
    broken[3, 2] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        fit_axes(broken)
    with pytest.raises(ValueError, match="at least two"):
        fit_axes(_vectors(1))
    with pytest.raises(ValueError, match="centred does not take"):
        Transform(TransformKind.CENTRED, 3)


def test_anisotropy_is_the_mean_cosine_of_all_pairs() -> None:
    vectors = _vectors(50)
    cosines = cosine_similarity(vectors.astype(np.float64))
    expected = cosines[~np.eye(50, dtype=bool)].mean()
    value, lower, upper = anisotropy(vectors)
    assert value == pytest.approx(expected, abs=1e-12)
    assert lower < value < upper


def test_anisotropy_finds_a_common_direction_and_none_where_there_is_none() -> None:
    isotropic = np.random.default_rng(0).normal(size=(2000, 20)).astype(np.float32)
    assert anisotropy(isotropic)[0] == pytest.approx(0, abs=0.003)
    assert anisotropy(isotropic + 5)[0] > 0.9
    centred = _transformed(isotropic + 5, fit_axes(isotropic + 5), CENTRED)
    assert anisotropy(centred)[0] == pytest.approx(0, abs=0.003)


def test_the_interval_of_anisotropy_holds_the_truth() -> None:
    rng = np.random.default_rng(0)

    def drawn(n: int) -> np.ndarray:
        return rng.normal(size=(n, 10)) + np.linspace(0, 1, 10)

    truth = anisotropy(drawn(200_000))[0]
    held = [
        lower <= truth <= upper for _, lower, upper in (anisotropy(drawn(150)) for _ in range(1000))
    ]
    assert 0.93 <= np.mean(held) <= 0.97


def test_anisotropy_of_a_vector_without_direction_is_nan() -> None:
    vectors = _vectors(10)
    vectors[2] = 0
    assert all(math.isnan(number) for number in anisotropy(vectors))


def _isoscore_of_the_paper(vectors: np.ndarray) -> float:
    """Rudman et al. (2022), section 4, step by step."""
    variances = np.var(PCA().fit_transform(vectors), axis=0)
    d = len(variances)
    normalised = np.sqrt(d) * variances / np.linalg.norm(variances)
    defect = np.linalg.norm(normalised - 1) / np.sqrt(2 * (d - np.sqrt(d)))
    used = (d - defect**2 * (d - np.sqrt(d))) ** 2 / d**2
    return float((d * used - 1) / (d - 1))


@given(st.integers(0, 1000), st.integers(2, 9))
@settings(max_examples=25, deadline=None)
def test_isoscore_equals_the_steps_of_the_paper(seed: int, width: int) -> None:
    vectors = _vectors(60, width, seed).astype(np.float64)
    ours = isoscore(fit_axes(vectors).variances)
    assert ours == pytest.approx(_isoscore_of_the_paper(vectors), abs=1e-8)
    assert 0 <= ours <= 1


def test_isoscore_equals_the_package() -> None:
    pytest.importorskip("IsoScore", reason="the package IsoScore is not installed")
    package = importlib.import_module("IsoScore.IsoScore")
    vectors = _vectors().astype(np.float64)
    expected = float(package.IsoScore(vectors))
    assert isoscore(fit_axes(vectors).variances) == pytest.approx(expected, abs=1e-6)


def test_isoscore_and_effective_dimension_at_their_ends() -> None:
    even, line, nothing = np.ones(8), np.array([3.0, 0, 0, 0]), np.zeros(4)
    assert isoscore(even) == pytest.approx(1)
    assert isoscore(line) == pytest.approx(0)
    assert effective_dimension(even) == pytest.approx(8)
    assert effective_dimension(line) == pytest.approx(1)
    assert math.isnan(isoscore(nothing))
    assert math.isnan(effective_dimension(nothing))


def test_effective_dimension_is_e_to_the_entropy() -> None:
    variances = np.random.default_rng(0).random(9)
    assert effective_dimension(variances) == pytest.approx(np.exp(entropy(variances)))


def _unbiased_hsic(k: np.ndarray, m: np.ndarray) -> float:
    """Song et al. (2012), equation 5."""
    n = len(k)
    k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
    one = np.ones(n)
    middle = (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
    return float((np.trace(k @ m) + middle - 2 / (n - 2) * one @ k @ m @ one) / (n * (n - 3)))


def test_cka_equals_the_formula_written_out() -> None:
    a, b = _vectors(300, 6, 1).astype(np.float64), _vectors(300, 9, 2).astype(np.float64)
    b[:, :6] += a
    k, m = a @ a.T, b @ b.T
    expected = _unbiased_hsic(k, m) / np.sqrt(_unbiased_hsic(k, k) * _unbiased_hsic(m, m))
    alignment = linear_cka([a, b])
    assert alignment[0, 1] == pytest.approx(expected, abs=1e-5)
    np.testing.assert_allclose(alignment, alignment.T, atol=1e-12)
    np.testing.assert_array_equal(np.diag(alignment), [1, 1])


def test_cka_is_one_for_a_turned_view_and_none_for_an_independent_one() -> None:
    rng = np.random.default_rng(0)
    view, other = rng.normal(size=(2, 100, 60)).astype(np.float32)
    turn = np.linalg.qr(rng.normal(size=(60, 60)))[0]
    alignment = linear_cka([view, 3 * view @ turn + 1, other, np.ones_like(view)])
    assert alignment[0, 1] == pytest.approx(1, abs=1e-4)
    # The biased estimate would be above 0.3 here.
    assert abs(alignment[0, 2]) < 0.1
    assert np.isnan(alignment[3]).all()


def test_geometry_rows() -> None:
    vectors = {"mean@1": _vectors(), "cls@0": np.ones((400, 12), np.float32)}
    rows = geometry_scores(vectors, Target(task="toy", seed=0))
    found = {(row.view, row.metric): row for row in rows}
    assert len(found) == len(rows) == 6
    assert found["cls@0", "anisotropy"].value == pytest.approx(1)
    assert math.isnan(found["cls@0", "isoscore"].value)
    row = found["mean@1", "anisotropy"]
    assert (row.probe, row.layer, row.pooling, row.n) == ("none", 1, "mean", 400)
    assert row.lower < row.value < row.upper


def test_cka_rows_cover_every_pair_once() -> None:
    vectors = {view: _vectors(seed=i) for i, view in enumerate(["cls@1", "mean@1", "mean@0+1"])}
    rows = cka_scores(vectors, Target(task="toy", split="dev", seed=0), n_sentences=100)
    assert [row.view for row in rows] == [
        "cls@1 & mean@1",
        "cls@1 & mean@0+1",
        "mean@1 & mean@0+1",
    ]
    assert {row.n for row in rows} == {100}
    assert [(row.layer, row.pooling) for row in rows[::2]] == [(1, "cls & mean"), (None, "mean")]
