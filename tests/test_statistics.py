"""Each number against an independent one; each test and interval against simulated truth."""

import itertools
import math
import time
from types import MappingProxyType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from probing.statistics import (
    Aggregation,
    ErrorPart,
    Metric,
    PairedDifference,
    accuracy_interval,
    aggregate_correlations,
    bootstrap,
    bootstrap_accuracies,
    bootstrap_correlations,
    bootstrap_with_subsets,
    effect_over_seeds,
    holm,
    margin,
    paired_difference,
    pearson,
    percentile_interval,
    permutation_test,
    random_effects,
    spearman,
    tail_beyond,
    williams_test,
)

ORACLE = MappingProxyType({Metric.SPEARMAN: stats.spearmanr, Metric.PEARSON: stats.pearsonr})
FUNCTION = MappingProxyType({Metric.SPEARMAN: spearman, Metric.PEARSON: pearson})


def rng_of(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def example_task(n: int = 120, n_views: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Similarities with and without ties, a gold full of ties, three subsets of unequal size."""
    rng = rng_of(7)
    gold = np.round(rng.random(n) * 5)
    similarities = rng.standard_normal((n, n_views)) + 0.5 * gold[:, None]
    similarities[:, 1] = np.round(similarities[:, 1])
    return similarities, gold, rng.choice([3, 8, 5], size=n, p=[0.5, 0.3, 0.2])


def drawn_rows(sizes: np.ndarray, n_resamples: int, seed: int) -> list[np.ndarray]:
    """The rows of each resample, one after another, as the bootstrap draws them."""
    blocks = bootstrap._resampled_counts(sizes, n_resamples, rng_of(seed), 7)
    return [
        np.repeat(np.arange(sizes.sum()), times.astype(int))
        for _, counts in blocks
        for times in counts.T
    ]


# --- Correlations -------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", Metric)
@given(
    table=arrays(np.float64, (12, 4), elements=st.integers(-4, 4).map(float)),
)
def test_a_correlation_is_that_of_scipy(metric: Metric, table: np.ndarray) -> None:
    gold, views = table[:, 0], table[:, 1:]
    found = FUNCTION[metric](views, gold)
    for value, view in zip(found, views.T, strict=True):
        if np.ptp(view) == 0 or np.ptp(gold) == 0:
            assert np.isnan(value)
        else:
            assert value == pytest.approx(ORACLE[metric](view, gold)[0], abs=1e-13)


@pytest.mark.parametrize("metric", Metric)
def test_float32_similarities_at_any_scale(metric: Metric) -> None:
    similarities, gold, _ = example_task()
    expected = FUNCTION[metric](similarities.astype(np.float32), gold)
    for scale in (1e-180, 1e180):
        found = FUNCTION[metric](similarities.astype(np.float32).astype(float) * scale, gold)
        np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("metric", Metric)
def test_an_undefined_view_is_nan_and_leaves_the_others(metric: Metric) -> None:
    similarities, gold, subsets = example_task()
    spoilt = similarities.copy()
    spoilt[:, 0] = 0.3
    spoilt[17, 2] = np.nan
    expected = FUNCTION[metric](similarities, gold)
    expected[[0, 2]] = np.nan
    np.testing.assert_allclose(FUNCTION[metric](spoilt, gold), expected, atol=1e-14)
    samples = bootstrap_correlations(
        spoilt, gold, subsets=subsets, aggregations=tuple(Aggregation), rng=rng_of(0), metric=metric
    )
    for sample in samples.values():
        assert np.isnan(sample[:, [0, 2]]).all()
        assert not np.isnan(sample[:, [1, 3]]).any()
    assert np.isnan(FUNCTION[metric](similarities, np.ones_like(gold))).all()


def test_aggregation_by_hand() -> None:
    similarities, gold, subsets = example_task()
    found = aggregate_correlations(similarities, gold, subsets)
    codes, sizes = np.unique(subsets, return_counts=True)
    parts = [spearman(similarities[subsets == code], gold[subsets == code]) for code in codes]
    np.testing.assert_array_equal(found[Aggregation.ALL], spearman(similarities, gold))
    np.testing.assert_allclose(found[Aggregation.MEAN], np.mean(parts, axis=0))
    np.testing.assert_allclose(found[Aggregation.WMEAN], np.average(parts, axis=0, weights=sizes))
    assert not np.allclose(found[Aggregation.MEAN], found[Aggregation.WMEAN], atol=1e-4)


@pytest.mark.parametrize(
    ("similarities", "gold", "message"),
    [
        (np.ones(3), np.ones(3), r"found \(3,\) and \(3,\)"),
        (np.ones((3, 2)), np.ones(2), r"found \(3, 2\) and \(2,\)"),
        (np.ones((0, 2)), np.ones(0), "n_pairs > 0"),
        (np.ones((3, 2)), np.array([1, np.nan, 2]), "gold holds 1 NaN"),
    ],
)
def test_arrays_that_do_not_fit(similarities: np.ndarray, gold: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        spearman(similarities, gold)
    with pytest.raises(ValueError, match=message):
        bootstrap_correlations(similarities, gold, rng=rng_of(0))


@pytest.mark.parametrize("subsets", [np.zeros(119, int), np.zeros(120)])
def test_subsets_are_integer_codes(subsets: np.ndarray) -> None:
    similarities, gold, _ = example_task()
    with pytest.raises(ValueError, match="expected integer subset codes"):
        aggregate_correlations(similarities, gold, subsets)


# --- The bootstrap ------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", Metric)
def test_bootstrap_equals_the_correlation_of_the_drawn_rows(metric: Metric) -> None:
    similarities, gold, subsets = example_task()
    rounding = 1e-7 if metric is Metric.SPEARMAN else 1e-12  # ranks are float32
    order, sizes = np.argsort(subsets, kind="stable"), np.unique(subsets, return_counts=True)[1]
    samples, alone = bootstrap_with_subsets(
        similarities,
        gold,
        subsets,
        rng=rng_of(3),
        metric=metric,
        n_resamples=40,
    )
    for i, drawn in enumerate(drawn_rows(sizes, 40, seed=3)):
        rows = order[drawn]
        np.testing.assert_array_equal(np.unique(subsets[rows], return_counts=True)[1], sizes)
        for view in range(similarities.shape[1]):
            whole = ORACLE[metric](similarities[rows, view], gold[rows])[0]
            parts = [
                ORACLE[metric](similarities[part, view], gold[part])[0]
                for part in (rows[subsets[rows] == code] for code in (3, 5, 8))
            ]
            assert samples[Aggregation.ALL][i, view] == pytest.approx(whole, abs=rounding)
            assert samples[Aggregation.MEAN][i, view] == pytest.approx(np.mean(parts), abs=rounding)
            np.testing.assert_allclose(alone[:, i, view], parts, atol=rounding)
            wmean = np.average(parts, weights=sizes)
            assert samples[Aggregation.WMEAN][i, view] == pytest.approx(wmean, abs=rounding)


@pytest.mark.parametrize(
    "device",
    [
        "cpu:0",  # what runs on a GPU, here
        pytest.param(
            "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
        ),
    ],
)
def test_bootstrap_on_a_device_is_that_of_the_cpu(device: str) -> None:
    similarities, gold, subsets = example_task(n_views=5)
    similarities[3, 2], similarities[:, 4] = np.nan, 0.5
    clusters = np.arange(len(gold)) // 2
    here, there = (
        bootstrap_with_subsets(
            similarities,
            gold,
            subsets,
            clusters=clusters,
            rng=rng_of(3),
            n_resamples=40,
            device=where,
        )
        for where in ("cpu", device)
    )
    for aggregation in Aggregation:
        np.testing.assert_allclose(there[0][aggregation], here[0][aggregation], atol=1e-7)
        assert np.isfinite(there[0][aggregation]).all(axis=0).tolist() == [1, 1, 0, 1, 0]
    np.testing.assert_allclose(there[1], here[1], atol=1e-7)


def test_every_view_and_every_call_sees_the_same_resamples() -> None:
    similarities, gold, subsets = example_task()
    both = np.concatenate([similarities, np.exp(similarities[:, :1])], axis=1)

    def samples(columns: list[int], seed: int, chosen: np.ndarray | None = subsets) -> np.ndarray:
        found = bootstrap_correlations(both[:, columns], gold, subsets=chosen, rng=rng_of(seed))
        return found[Aggregation.ALL]

    together = samples([0, 1, 2, 3, 4], seed=1)
    np.testing.assert_array_equal(together[:, 0], together[:, 4])  # a monotone change of view 0
    np.testing.assert_array_equal(together[:, [2, 1]], samples([2, 1], seed=1))
    assert not np.array_equal(together[:, [2, 1]], samples([2, 1], seed=2))
    assert not np.array_equal(together[:, [2, 1]], samples([2, 1], seed=1, chosen=None))


def test_the_block_size_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    similarities, gold, subsets = example_task()
    expected = bootstrap_correlations(similarities, gold, subsets=subsets, rng=rng_of(1))
    monkeypatch.setattr(bootstrap, "_BLOCK_ELEMENTS", 700)
    found = bootstrap_correlations(similarities, gold, subsets=subsets, rng=rng_of(1))
    np.testing.assert_array_equal(found[Aggregation.ALL], expected[Aggregation.ALL])


@pytest.mark.parametrize("metric", Metric)
def test_whole_clusters_are_drawn(metric: Metric) -> None:
    """Against scipy on the rows: as many clusters of each subset as it has, all rows of each."""
    similarities, gold, subsets = example_task()
    clusters = rng_of(5).integers(0, 25, size=len(gold))
    rounding = 1e-7 if metric is Metric.SPEARMAN else 1e-12
    samples, alone = bootstrap_with_subsets(
        similarities, gold, subsets, clusters=clusters, rng=rng_of(3), metric=metric, n_resamples=30
    )
    members = {
        code: [
            np.flatnonzero((subsets == code) & (clusters == cluster))
            # numbered as they occur in the subset
            for cluster in dict.fromkeys(clusters[subsets == code].tolist())
        ]
        for code in (3, 5, 8)
    }
    rng = rng_of(3)
    sizes = [len(members[code]) for code in (3, 5, 8)]
    lengths = set()
    for i in range(30):
        draws = np.split(rng.random(sum(sizes)), np.cumsum(sizes)[:-1])
        parts = [
            np.concatenate([members[code][int(u * len(members[code]))] for u in uniform])
            for code, uniform in zip((3, 5, 8), draws, strict=True)
        ]
        rows = np.concatenate(parts)
        lengths.add(len(rows))
        for view in range(similarities.shape[1]):
            whole = ORACLE[metric](similarities[rows, view], gold[rows])[0]
            assert samples[Aggregation.ALL][i, view] == pytest.approx(whole, abs=rounding)
            each = [ORACLE[metric](similarities[part, view], gold[part])[0] for part in parts]
            np.testing.assert_allclose(alone[:, i, view], each, atol=rounding)
    assert len(lengths) > 5  # clusters differ in size, and so do resamples


def test_clusters_of_one_pair_change_nothing() -> None:
    similarities, gold, subsets = example_task()
    expected, found = (
        bootstrap_correlations(
            similarities, gold, subsets=subsets, clusters=clusters, rng=rng_of(1)
        )
        for clusters in (None, np.arange(len(gold))[::-1])
    )
    np.testing.assert_array_equal(found[Aggregation.ALL], expected[Aggregation.ALL])
    with pytest.raises(ValueError, match="integer cluster codes"):
        bootstrap_correlations(similarities, gold, clusters=np.zeros(3, int), rng=rng_of(1))


def test_draws_are_uniform_within_subsets() -> None:
    sizes = np.array([3, 1, 6])
    counts = np.concatenate(
        [c for _, c in bootstrap._resampled_counts(sizes, 20_000, rng_of(0), 500)], axis=1
    )
    np.testing.assert_array_equal(counts[3], 1)
    np.testing.assert_allclose(counts.mean(axis=1), 1, atol=0.03)
    # A count is binomial with n draws of probability 1/n.
    np.testing.assert_allclose(counts.var(axis=1), 1 - 1 / np.repeat(sizes, sizes), atol=0.05)


def test_a_resample_that_comes_out_constant_is_left_out_of_the_interval() -> None:
    similarities = np.array([[0.1], [0.4], [0.2], [0.9]])
    samples = bootstrap_correlations(similarities, np.array([1.0, 2, 3, 5]), rng=rng_of(0))
    undefined = np.isnan(samples[Aggregation.ALL])
    assert 0 < undefined.mean() < 0.05  # all four draws equal: 4 * 4**-4 of the resamples
    lower, upper = percentile_interval(samples[Aggregation.ALL])
    assert -1 <= lower[0] < upper[0] <= 1


def test_bootstrap_accuracies_are_those_of_the_drawn_items() -> None:
    rng = rng_of(5)
    correct = rng.random((60, 3)) < [0.5, 0.8, 1.0]
    samples = bootstrap_accuracies(correct, rng=rng_of(3), n_resamples=50)
    for i, rows in enumerate(drawn_rows(np.array([60]), 50, seed=3)):
        np.testing.assert_allclose(samples[i], correct[rows].mean(axis=0))
    groups = rng.integers(0, 12, 60)
    codes = np.unique(groups)
    samples = bootstrap_accuracies(correct, rng=rng_of(3), groups=groups, n_resamples=50)
    for i, drawn in enumerate(drawn_rows(np.array([len(codes)]), 50, seed=3)):
        rows = np.concatenate([np.flatnonzero(groups == code) for code in codes[drawn]])
        np.testing.assert_allclose(samples[i], correct[rows].mean(axis=0))
    with pytest.raises(ValueError, match="found \\(60,\\)"):
        bootstrap_accuracies(correct[:, 0], rng=rng_of(0))


@pytest.mark.slow
def test_a_thousand_resamples_of_thirty_views_in_time() -> None:
    """The share of STS16 (1186 of 18,850 pairs) in 60 s of one core for all seven STS tasks."""
    rng = rng_of(0)
    gold = np.round(rng.random(1186) * 5, 1)
    similarities = rng.standard_normal((1186, 30)) + gold[:, None]
    subsets = rng.integers(0, 5, 1186)
    start = time.process_time()
    bootstrap_correlations(
        similarities, gold, subsets=subsets, aggregations=tuple(Aggregation), rng=rng
    )
    assert time.process_time() - start < 60 * 1186 / 18_850


# --- Intervals and differences ------------------------------------------------------------------


def test_percentile_interval_by_hand() -> None:
    samples = np.stack([np.arange(101.0), np.full(101, np.nan)], axis=1)
    lower, upper = percentile_interval(samples, level=0.9)
    np.testing.assert_allclose(lower, [5, np.nan])
    np.testing.assert_allclose(upper, [95, np.nan])
    with pytest.raises(ValueError, match="level must lie between 0 and 1, found 95"):
        percentile_interval(samples, level=95)


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_accuracy_interval_is_wilsons(level: float) -> None:
    right = np.array([0, 1, 37, 50])
    correct = np.arange(50)[:, None] < right
    lower, upper = accuracy_interval(correct, level=level)
    for i, count in enumerate(right):
        expected = stats.binomtest(int(count), 50).proportion_ci(level, method="wilson")
        assert (lower[i], upper[i]) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert np.isnan(accuracy_interval(np.array([[1.0], [np.nan]])).lower).all()
    with pytest.raises(ValueError, match="expected correct"):
        accuracy_interval(np.ones(3))


def test_paired_difference_by_hand() -> None:
    samples_b = np.linspace(0.3, 0.7, 99)
    samples_a = samples_b + np.linspace(-0.1, 0.9, 99)
    found = paired_difference(samples_a, samples_b, estimate_a=0.9, estimate_b=0.5)
    differences = samples_a - samples_b
    assert found.difference == pytest.approx(0.4)
    np.testing.assert_allclose((found.lower, found.upper), np.quantile(differences, [0.025, 0.975]))
    assert found.standard_error == pytest.approx(differences.std(ddof=1))
    below = int((differences <= 0).sum())
    assert 0 < below < 15
    assert found.p == pytest.approx(2 * (below + 1) / 100)
    assert found.p_normal == pytest.approx(2 * stats.norm.sf(0.4 / differences.std(ddof=1)))


def test_paired_difference_of_equal_opposite_and_undefined_views() -> None:
    samples = rng_of(0).normal(0.5, 0.05, (1000, 3))
    samples[:, 2] = np.nan
    other = samples[:, [0, 0, 0]]
    first = paired_difference(samples, other, estimate_a=[0.5, 0.6, np.nan], estimate_b=[0.5] * 3)
    second = paired_difference(other, samples, estimate_a=[0.5] * 3, estimate_b=[0.5, 0.6, np.nan])
    assert (first.difference[0], first.p[0], first.p_normal[0]) == (0, 1, 1)
    assert (first.lower[0], first.upper[0], first.standard_error[0]) == (0, 0, 0)
    np.testing.assert_allclose(first.difference, -second.difference)
    np.testing.assert_allclose(first.lower, -second.upper)
    np.testing.assert_array_equal(first.p, second.p)
    for value in vars(first).values():
        assert np.isnan(value[2])
    with pytest.raises(ValueError, match="expected samples"):
        paired_difference(samples, other[:, :2], estimate_a=0, estimate_b=0)


# --- Tests --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("r_ag", "r_bg", "r_ab", "n", "t", "p"),
    [
        # Output of R's psych::paired.r, printed at jeromyanglim.blogspot.com (November 2008); its
        # p had 98 degrees of freedom, later corrected to 97.
        (0.2, 0.3, 0.93, 100, -2.832009, None),
        # From the examples of psych::r.test, which print p = 0.1000759.
        (0.693458895410494, 0.695966022434845, 0.988475791500198, 5105, None, 0.1000759),
        # From the examples of bruceR::cor_diff, which print t(97) = -4.56.
        (0.20, 0.45, 0.80, 100, -4.56, None),
    ],
)
def test_williams_test_as_published(
    r_ag: float, r_bg: float, r_ab: float, n: int, t: float | None, p: float | None
) -> None:
    found = williams_test(r_ag, r_bg, r_ab, n, metric=Metric.PEARSON)
    if t is not None:
        assert found.t == pytest.approx(t, abs=10 ** -len(str(t).split(".")[1]) * 0.6)
    if p is not None:
        assert found.p == pytest.approx(p, abs=6e-8)
    assert found.p == pytest.approx(2 * stats.t.sf(abs(found.t), n - 3))
    mirrored = williams_test(r_bg, r_ag, r_ab, n, metric=Metric.PEARSON)
    assert (mirrored.t, mirrored.p) == (-found.t, found.p)
    ranked = williams_test(r_ag, r_bg, r_ab, n, metric=Metric.SPEARMAN)
    assert found.t / ranked.t == pytest.approx(np.sqrt(1 + (r_ag + r_bg) ** 2 / 8))


def test_williams_test_at_its_edges() -> None:
    found = williams_test(
        [0.5, 0.5, np.nan], [0.5, 0.4, 0.1], [1.0, 0.5, 0.2], 50, metric=Metric.SPEARMAN
    )
    assert (found.t[0], found.p[0]) == (0, 1)
    assert found.t[1] > 0
    assert np.isnan([found.t[2], found.p[2]]).all()
    with pytest.raises(ValueError, match="at least 4 pairs, found 3"):
        williams_test(0.1, 0.2, 0.3, 3, metric=Metric.PEARSON)


@pytest.mark.parametrize("metric", Metric)
def test_permutation_test_comes_near_all_permutations(metric: Metric) -> None:
    a = np.array([0.9, 0.1, 0.4, 0.35, 0.8, 0.6, 0.95, 0.2])
    b = np.array([0.3, 0.2, 0.8, 0.10, 0.5, 0.9, 0.40, 0.7])
    gold = np.array([5.0, 0, 2, 1, 4, 3, 5, 1])
    found = permutation_test(
        a[:, None], b[:, None], gold, rng=rng_of(0), metric=metric, n_permutations=20_000
    )
    scaled_a, scaled_b = (
        stats.rankdata(x) if metric is Metric.SPEARMAN else stats.zscore(x) for x in (a, b)
    )
    target = stats.rankdata(gold) if metric is Metric.SPEARMAN else gold

    def difference(first: np.ndarray, second: np.ndarray) -> float:
        return float(np.corrcoef(first, target)[0, 1] - np.corrcoef(second, target)[0, 1])

    observed = difference(scaled_a, scaled_b)
    swaps = [np.array(swap) for swap in itertools.product([False, True], repeat=8)]
    permuted = [
        difference(np.where(swap, scaled_b, scaled_a), np.where(swap, scaled_a, scaled_b))
        for swap in swaps
    ]
    assert found.difference[0] == pytest.approx(observed)
    exact = np.mean(np.abs(permuted) >= abs(observed) - 1e-9)
    assert found.p[0] == pytest.approx(exact, abs=0.015)


def test_permutation_test_of_equal_and_undefined_views() -> None:
    similarities, gold, _ = example_task()
    other = similarities.copy()
    other[:, 1], other[3, 2] = 0.5, np.nan
    found = permutation_test(similarities, other, gold, rng=rng_of(0), n_permutations=99)
    np.testing.assert_array_equal(found.p, [1, np.nan, np.nan, 1])
    nothing = permutation_test(similarities, other, np.ones(120), rng=rng_of(0))
    assert np.isnan(nothing.p).all()
    with pytest.raises(ValueError, match="two views of one shape"):
        permutation_test(similarities, other[:, :2], gold, rng=rng_of(0))


def test_holm_by_hand() -> None:
    # Four tests: 4 * 0.005, 3 * 0.01, 2 * 0.03, and 0.04 raised to the one before it.
    np.testing.assert_allclose(
        holm([0.01, 0.04, 0.03, np.nan, 0.005]), [0.03, 0.06, 0.06, np.nan, 0.02]
    )
    assert holm([]).shape == (0,)
    assert holm([[0.6, np.nan], [0.7, 0.2]]).tolist()[1] == pytest.approx([1.0, 0.6])
    with pytest.raises(ValueError, match=r"found -0.1 to 0.5"):
        holm([-0.1, 0.5])


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_the_closed_test_of_bonferroni(p_values: list[float]) -> None:
    """A null falls if every intersection with it does (Marcus, Peritz & Gabriel 1976)."""
    found = holm(p_values)
    for i, value in enumerate(found):
        others = [p for j, p in enumerate(p_values) if j != i]
        families = itertools.chain.from_iterable(
            itertools.combinations(others, k) for k in range(len(others) + 1)
        )
        local = [(len(f) + 1) * min([p_values[i], *f]) for f in families]
        assert value == pytest.approx(min(max(local), 1.0))


def test_random_effects_of_the_bcg_trials() -> None:
    """Thirteen trials of the BCG vaccine (Colditz et al. 1994), log risk ratios.

    DerSimonian & Laird's analysis in R's metafor: estimate -0.7141, tau² 0.3088, I² 92.12 %.
    """
    trials = np.array(
        [
            [4, 119, 11, 128],
            [6, 300, 29, 274],
            [3, 228, 11, 209],
            [62, 13536, 248, 12619],
            [33, 5036, 47, 5761],
            [180, 1361, 372, 1079],
            [8, 2537, 10, 619],
            [505, 87886, 499, 87892],
            [29, 7470, 45, 7232],
            [17, 1699, 65, 1600],
            [186, 50448, 141, 27197],
            [5, 2493, 3, 2338],
            [27, 16886, 29, 17825],
        ]
    )
    ill, well, control_ill, control_well = trials.T
    treated, controls = ill + well, control_ill + control_well
    effects = np.log(ill / treated) - np.log(control_ill / controls)
    variances = 1 / ill - 1 / treated + 1 / control_ill - 1 / controls
    found = random_effects(effects, np.sqrt(variances))
    assert found.effect == pytest.approx(-0.7141, abs=5e-5)
    assert found.tau_squared == pytest.approx(0.3088, abs=5e-5)
    assert found.i_squared == pytest.approx(0.9212, abs=5e-5)
    # Hartung & Knapp's interval is the weighted t interval.
    weights = 1 / (variances + found.tau_squared)
    error = np.sqrt(np.average((effects - found.effect) ** 2, weights=weights) / 12)
    assert found.upper - found.effect == pytest.approx(stats.t.ppf(0.975, 12) * error)
    assert found.p == pytest.approx(2 * stats.t.sf(-found.effect / error, 12))


def test_random_effects_of_equal_errors_is_the_t_test() -> None:
    effects = np.array([0.02, 0.05, 0.03, 0.11, -0.01])
    expected = stats.ttest_1samp(effects, 0)
    for error in (0.0, 0.01):
        found = random_effects(effects, np.full(5, error))
        interval = expected.confidence_interval(0.95)
        assert found.p == pytest.approx(expected.pvalue)
        assert (found.lower, found.upper) == pytest.approx((interval.low, interval.high))
    # Where tasks spread less than their errors allow, the errors are what counts.
    wide = random_effects(effects, np.full(5, 0.5))
    assert (wide.tau_squared, wide.standard_error) == (0, pytest.approx(0.5 / 5**0.5))
    assert random_effects(effects, np.zeros(5)).tau_squared == pytest.approx(effects.var(ddof=1))


def test_random_effects_of_few_tasks() -> None:
    one = random_effects([0.1, np.nan], [0.02, 0.01])
    assert one.n_effects == 1
    assert (one.lower, one.upper) == pytest.approx((0.1 - 1.96 * 0.02, 0.1 + 1.96 * 0.02), abs=1e-5)
    assert one.p == pytest.approx(2 * stats.norm.sf(5))
    assert np.isnan([one.tau_squared, one.i_squared]).all()
    none = random_effects([np.nan], [0.1])
    assert none.n_effects == 0
    assert np.isnan([none.effect, none.lower, none.upper, none.p]).all()
    same = random_effects([0.0, 0.0], [0.0, 0.0])
    assert (same.effect, same.lower, same.upper, same.p) == (0, 0, 0, 1)
    assert np.isnan([one.prediction_lower, none.prediction_upper]).all()
    for effects, errors in (([0.1], [0.1, 0.2]), ([0.1], [-0.1])):
        with pytest.raises(ValueError, match="expected"):
            random_effects(effects, errors)


def test_two_effects_that_happen_to_agree_are_no_certainty() -> None:
    """Without a guard Hartung & Knapp's interval is [-9.57, -9.44] points here."""
    found = random_effects([-0.095, -0.0951], [0.02, 0.02])
    assert found.standard_error == pytest.approx(0.02 / 2**0.5)
    assert found.lower < -0.25 < 0 < found.upper


def test_one_more_task_is_predicted_less_surely_than_the_mean() -> None:
    effects, errors = np.array([0.02, 0.09, -0.05, 0.11, 0.04]), np.full(5, 0.01)
    found = random_effects(effects, errors)
    half = stats.t.ppf(0.975, 3) * np.hypot(found.tau_squared**0.5, found.standard_error)
    assert found.prediction_upper == pytest.approx(found.effect + half)
    assert found.prediction_lower == pytest.approx(found.effect - half)
    assert found.prediction_lower < found.lower < found.upper < found.prediction_upper
    assert np.isnan(random_effects(effects[:2], errors[:2]).prediction_lower)


# --- Several seeds ------------------------------------------------------------------------------


def test_seeds_are_counted_once_however_many_the_tasks() -> None:
    """Two pairs of encoders, +9 and +2 points on each of seven tasks: two numbers, not 14."""
    found = effect_over_seeds([[0.09] * 7, [0.02] * 7], [0.003] * 7)
    assert (found.effect, found.seeds.freedom) == (pytest.approx(0.055), 1)
    assert (found.lower, found.upper) == (
        pytest.approx(-0.39, abs=0.01),
        pytest.approx(0.5, abs=0.01),
    )
    assert found.p > 0.3


def test_seeds_that_agree_leave_the_error_of_the_items() -> None:
    found = effect_over_seeds([[0.02, 0.02]] * 4, [0.003, 0.004])
    assert found.standard_error == pytest.approx(0.0025)
    assert (found.seeds, found.items.freedom) == ((0.0, 3), math.inf)
    # with nothing from the seeds the error is that of the items, and the test is normal
    assert found.p == pytest.approx(2 * stats.norm.sf(0.02 / 0.0025))
    few = effect_over_seeds([[0.02, 0.02]] * 4, [0.003, 0.004], item_freedom=5)
    assert few.p == pytest.approx(2 * stats.t(5).sf(0.02 / 0.0025))
    # and tasks that differ by more than their items explain count as drawn from more of them
    spread = effect_over_seeds([[0.00, 0.04]] * 4, [0.003, 0.004])
    assert spread.standard_error == pytest.approx(0.02)
    assert spread.items.freedom == 1
    assert spread.p == pytest.approx(2 * stats.t(1).sf(1))
    assert effect_over_seeds([[0.0], [0.0]], [0.0]).p == 1


def test_seeds_on_one_task_are_the_paired_t_test_where_items_are_many() -> None:
    effects = np.array([0.02, 0.05, 0.03, 0.11, -0.01])
    expected = stats.ttest_1samp(effects, 0)
    found = effect_over_seeds(effects[:, None], [0.0])
    assert (found.p, found.seeds.freedom) == (pytest.approx(expected.pvalue), 4)
    assert np.isnan(effect_over_seeds([[0.1], [np.nan]], [0.1]).lower)
    for wrong in ([[0.1]], [0.1, 0.2], np.zeros((2, 0)), np.zeros((2, 2))):
        with pytest.raises(ValueError, match="two seeds or more"):
            effect_over_seeds(wrong, [0.1])
    with pytest.raises(ValueError, match="level"):
        effect_over_seeds([[0.1], [0.1]], [0.1], level=1)


@pytest.mark.parametrize("of_seeds", [0.1, 1.0, 10.0])
def test_two_parts_of_an_error_lie_between_their_own_tests(of_seeds: float) -> None:
    parts = (ErrorPart(of_seeds, 2), ErrorPart(1.0, math.inf))
    for tail in (0.4, 0.025, 1e-4, 1e-9):
        half = margin(parts, tail)
        assert half == pytest.approx(
            math.hypot(stats.t(2).isf(tail) * of_seeds, stats.norm.isf(tail))
        )
        assert tail_beyond(parts, half) == pytest.approx(tail, rel=1e-6)
        assert tail_beyond(parts, -half) == pytest.approx(1 - tail, rel=1e-6)
    assert tail_beyond(parts, 0.0) == pytest.approx(0.5)
    # a part that is only rounding leaves the test of the other
    rounding = (ErrorPart(1e-18, 1), ErrorPart(1.0, math.inf))
    assert tail_beyond(rounding, 1.96) == pytest.approx(stats.norm.sf(1.96))


@pytest.mark.parametrize("n_seeds", [2, 3, 5])
@pytest.mark.parametrize("of_seeds", [0.0, 1.0, 3.0, 30.0])
def test_a_mean_over_seeds_keeps_its_level_far_out_too(n_seeds: int, of_seeds: float) -> None:
    """Satterthwaite's test rejects up to ten times too often at the levels that Holm asks for.

    The margins are exact where one part is all there is, and never too narrow.
    """
    rng = np.random.default_rng(0)
    n = 40_000
    means = of_seeds * rng.normal(size=(n, n_seeds)) + rng.normal(size=(n, 1))
    errors = means.std(axis=1, ddof=1) / math.sqrt(n_seeds)
    for level in (0.05, 0.005):
        halves = np.hypot(stats.t(n_seeds - 1).isf(level / 2) * errors, stats.norm.isf(level / 2))
        rejected = float((np.abs(means.mean(axis=1)) > halves).mean())
        assert rejected < level + 4 * math.sqrt(level / n)
    one = effect_over_seeds(means[0][:, None], [1.0])
    assert one.upper - one.effect == pytest.approx(
        math.hypot(stats.t(n_seeds - 1).isf(0.025) * errors[0], stats.norm.isf(0.025))
    )


# --- Validity by simulation ---------------------------------------------------------------------
#
# Spearman's rho sees ranks only, so the pairs of every repetition can be put in the order of their
# gold: then all repetitions share one gold, 0 … n - 1, and are the views of a single call.


def normal_similarities(
    rng: np.random.Generator, n: int, repetitions: int, rho_ag: float, rho_bg: float, rho_ab: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Views A and B (n, repetitions) and the gold (n,), normal with these Spearman correlations."""
    ag, bg, ab = (2 * np.sin(np.pi * rho / 6) for rho in (rho_ag, rho_bg, rho_ab))
    covariance = np.array([[1, ag, bg], [ag, 1, ab], [bg, ab, 1]])
    drawn = rng.standard_normal((repetitions, n, 3)) @ np.linalg.cholesky(covariance).T
    order = np.argsort(drawn[:, :, 0], axis=1)
    a, b = (np.take_along_axis(drawn[:, :, i], order, axis=1).T for i in (1, 2))
    return a, b, np.arange(n, dtype=float)


def paired_bootstrap(
    a: np.ndarray, b: np.ndarray, gold: np.ndarray, n_resamples: int, rng: np.random.Generator
) -> PairedDifference:
    both = np.concatenate([a, b], axis=1)
    k = a.shape[1]
    samples = bootstrap_correlations(both, gold, rng=rng, n_resamples=n_resamples)
    values, samples = spearman(both, gold), samples[Aggregation.ALL]
    return paired_difference(
        samples[:, :k], samples[:, k:], estimate_a=values[:k], estimate_b=values[k:]
    )


def williams_p(a: np.ndarray, b: np.ndarray, gold: np.ndarray) -> np.ndarray:
    between = np.array([spearman(x[:, None], y)[0] for x, y in zip(a.T, b.T, strict=True)])
    found = williams_test(
        spearman(a, gold), spearman(b, gold), between, len(gold), metric=Metric.SPEARMAN
    )
    return found.p


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "rho", "n_resamples"),
    [(100, 0.0, 1000), (100, 0.9, 1000), (250, 0.6, 1000), (1379, 0.75, 400)],
)
def test_spearman_intervals_hold_the_truth(n: int, rho: float, n_resamples: int) -> None:
    rng = rng_of(11)
    views, _, gold = normal_similarities(rng, n, 1000, rho, rho, 0.9)
    samples = bootstrap_correlations(views, gold, rng=rng, n_resamples=n_resamples)
    lower, upper = percentile_interval(samples[Aggregation.ALL])
    assert 0.93 <= np.mean((lower <= rho) & (rho <= upper)) <= 0.97


@pytest.mark.slow
def test_intervals_of_aggregated_subsets_hold_the_truth() -> None:
    rng = rng_of(12)
    rhos, sizes = np.array([0.8, 0.3]), np.array([120, 60])
    parts = [
        normal_similarities(rng, size, 1000, rho, rho, 0.9)
        for size, rho in zip(sizes, rhos, strict=True)
    ]
    views = np.concatenate([part[0] for part in parts])
    gold = np.concatenate([part[2] for part in parts])
    weights = {Aggregation.MEAN: [1, 1], Aggregation.WMEAN: sizes}
    samples = bootstrap_correlations(
        views, gold, subsets=np.repeat([0, 1], sizes), aggregations=tuple(weights), rng=rng
    )
    for aggregation, sample in samples.items():
        truth = np.average(rhos, weights=weights[aggregation])
        lower, upper = percentile_interval(sample)
        assert 0.93 <= np.mean((lower <= truth) & (truth <= upper)) <= 0.97, aggregation


@pytest.mark.slow
@pytest.mark.parametrize(("n", "rho", "between"), [(120, 0.7, 0.8), (200, 0.4, 0.8)])
def test_each_test_keeps_its_level_between_equal_views(n: int, rho: float, between: float) -> None:
    rng = rng_of(13)
    a, b, gold = normal_similarities(rng, n, 1000, rho, rho, between)
    differences = paired_bootstrap(a, b, gold, 1000, rng)
    p_values = {
        "paired bootstrap": differences.p,
        "paired bootstrap, normal": differences.p_normal,
        "Williams": williams_p(a, b, gold),
        "permutation": permutation_test(a, b, gold, rng=rng).p,
    }
    for name, p in p_values.items():
        assert 0.03 <= np.mean(p <= 0.05) <= 0.07, name
    assert 0.93 <= np.mean((differences.lower <= 0) & (differences.upper >= 0)) <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("rho", [0.3, 0.7])
def test_each_test_finds_a_difference_of_five_points(rho: float) -> None:
    rng = rng_of(14)
    a, b, gold = normal_similarities(rng, 1379, 150, rho + 0.05, rho, 0.8)
    p_values = {
        "paired bootstrap": paired_bootstrap(a, b, gold, 400, rng).p,
        "Williams": williams_p(a, b, gold),
        "permutation": permutation_test(a, b, gold, rng=rng).p,
    }
    for name, p in p_values.items():
        assert np.mean(p <= 0.05) >= 0.8, name


@pytest.mark.slow
@pytest.mark.parametrize("metric", Metric)
def test_williams_test_keeps_its_level_for_both_metrics(metric: Metric) -> None:
    """And Spearman's without its factor does not: the plain t is too often large."""
    rng = rng_of(15)
    covariance = np.full((3, 3), 0.9) + 0.1 * np.eye(3)
    drawn = rng.standard_normal((4000, 200, 3)) @ np.linalg.cholesky(covariance).T
    if metric is Metric.SPEARMAN:
        drawn = stats.rankdata(drawn, axis=1)
    scaled = (drawn - drawn.mean(axis=1, keepdims=True)) / drawn.std(axis=1, keepdims=True)
    ag, bg, ab = (
        np.mean(scaled[:, :, i] * scaled[:, :, j], axis=1) for i, j in [(0, 1), (0, 2), (1, 2)]
    )
    rejected = np.mean(williams_test(ag, bg, ab, 200, metric=metric).p <= 0.05)
    assert 0.03 <= rejected <= 0.07
    if metric is Metric.SPEARMAN:
        assert np.mean(williams_test(ag, bg, ab, 200, metric=Metric.PEARSON).p <= 0.05) > 0.07


@pytest.mark.slow
@pytest.mark.parametrize("n_real", [0, 3])
def test_holm_keeps_the_family_wise_rate(n_real: int) -> None:
    """Seven tasks, the views really differing on the first few; without Holm it is broken."""
    rng = rng_of(16)
    p_values = np.stack(
        [
            permutation_test(
                *normal_similarities(rng, 150, 1000, 0.8 if task < n_real else 0.6, 0.6, 0.8),
                rng=rng,
                n_permutations=500,
            ).p
            for task in range(7)
        ],
        axis=1,
    )
    adjusted = np.stack([holm(family) for family in p_values])
    assert np.mean((adjusted[:, n_real:] <= 0.05).any(axis=1)) <= 0.06
    assert np.mean((p_values[:, n_real:] <= 0.05).any(axis=1)) > 0.1
    assert n_real == 0 or np.mean(adjusted[:, :n_real] <= 0.05) > 0.9


@pytest.mark.parametrize("n", [200, 500, 1379])
@pytest.mark.parametrize("accuracy", [0.5, 0.7, 0.9, 0.97])
def test_accuracy_intervals_hold_the_truth(n: int, accuracy: float) -> None:
    """Exactly, by summing over every possible number of right answers."""
    right = np.arange(n + 1)
    lower, upper = accuracy_interval(np.arange(n)[:, None] < right)
    holds = (lower <= accuracy) & (accuracy <= upper)
    assert 0.93 <= stats.binom.pmf(right[holds], n, accuracy).sum() <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("n", [100, 500])
def test_bootstrap_of_accuracies_holds_the_truth(n: int) -> None:
    """The percentile interval of one accuracy and of the difference between two views."""
    rng = rng_of(17)
    easy = rng.random((n, 1000))
    a, b = (np.where(rng.random((n, 1000)) < 0.6, easy, rng.random((n, 1000))) < 0.8 for _ in "ab")
    samples = bootstrap_accuracies(np.concatenate([a, b], axis=1), rng=rng)
    found = paired_difference(
        samples[:, :1000], samples[:, 1000:], estimate_a=a.mean(axis=0), estimate_b=b.mean(axis=0)
    )
    lower, upper = percentile_interval(samples[:, :1000])
    assert 0.93 <= np.mean((lower <= 0.8) & (upper >= 0.8)) <= 0.97
    assert 0.93 <= np.mean((found.lower <= 0) & (found.upper >= 0)) <= 0.97
    assert 0.03 <= np.mean(found.p_normal <= 0.05) <= 0.07


@pytest.mark.slow
def test_words_of_one_sentence_are_drawn_together() -> None:
    """Drawn one by one they promise more than they hold."""
    rng = rng_of(18)
    sentences = np.repeat(np.arange(150), rng.integers(5, 25, 150))
    of_sentence = rng.random((150, 1000))[sentences]
    shared = rng.random((len(sentences), 1000)) < 0.2
    correct = np.where(shared, of_sentence, rng.random(shared.shape)) < 0.85
    for groups, holds in ((sentences, True), (None, False)):
        lower, upper = percentile_interval(
            bootstrap_accuracies(correct, rng=rng, groups=groups, n_resamples=500)
        )
        assert bool(0.93 <= np.mean((lower <= 0.85) & (upper >= 0.85)) <= 0.97) is holds


@pytest.mark.slow
@pytest.mark.parametrize(("n_tasks", "between"), [(4, 0.0), (4, 0.03), (7, 0.0), (7, 0.03)])
def test_random_effects_intervals_hold_the_truth(n_tasks: int, between: float) -> None:
    rng = rng_of(19)
    errors = rng.uniform(0.006, 0.02, (1000, n_tasks))
    effects = rng.normal(0.05, between, errors.shape) + rng.normal(0, errors)
    found = [random_effects(y, e) for y, e in zip(effects, errors, strict=True)]
    held = np.mean([each.lower <= 0.05 <= each.upper for each in found])
    # where tasks do not differ the guard makes the interval too wide
    assert 0.93 <= held <= (0.97 if between else 1)
