"""Linear and MLP probes: the optimum of sklearn, honest protocols, bad input."""

import logging
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import f1_score
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from probing.errors import InputError
from probing.probes.driver import Probes, fit_probes
from probing.probes.linear import STRENGTHS, LinearProbes
from probing.probes.logistic import LogisticPath, fit_logistic
from probing.probes.mlp import MLP, SENTEVAL_GRID, Setting, TrainedProbes
from probing.probes.predictions import (
    Predictions,
    probe_scores,
    view_difference,
)
from probing.probes.ridge import (
    PairFeatures,
    fit_regression,
    fit_ridge,
)
from probing.probes.rounds import rounds_of
from probing.probes.standardisation import Standardisation
from probing.results.names import place_of
from probing.results.scores import Score, score_table
from probing.results.target import Target
from probing.statistics import spearman
from probing.threads import over_views

Views = dict[str, NDArray[np.float32]]


def planted(
    n: int, d: int, k: int, *, seed: int, signal: float = 2.0
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Vectors (n, d) with correlated features of unlike scale, and k classes they tell of."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(d, d)) * (1 / np.arange(1, d + 1) ** 0.5)[:, None]
    vectors = rng.normal(size=(n, d)) @ mixing * rng.uniform(0.1, 10, d) + rng.normal(0, 3, d)
    logits = (vectors - vectors.mean(0)) / vectors.std(0) @ rng.normal(0, signal, (d, k))
    logits += rng.gumbel(size=(n, k)) * d**0.5
    return vectors.astype(np.float32), np.unique(logits.argmax(1), return_inverse=True)[1]


def splits_of(n: int, *, dev: bool = True) -> NDArray[np.str_]:
    names = ["train", "train", "train", "dev" if dev else "train", "test"]
    return np.array([names[i % 5] for i in range(n)])


def path_of(
    vectors: NDArray[Any], labels: NDArray[np.intp], strengths: tuple[float, ...], **how: Any
) -> LogisticPath:
    features = Standardisation.fit(vectors).apply(vectors)
    return fit_logistic(
        features,
        torch.from_numpy(labels),
        n_classes=int(labels.max()) + 1,
        strengths=strengths,
        **how,
    )


def oracle(
    vectors: NDArray[Any], labels: NDArray[np.intp], strength: float
) -> tuple[LogisticRegression, float]:
    """sklearn's optimum on standardised features, and the objective there."""
    rows = StandardScaler().fit_transform(vectors.astype(np.float64))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = LogisticRegression(C=strength, tol=1e-9, max_iter=20_000).fit(rows, labels)
    # not predict_log_proba, which takes the log of probabilities that may have come out as 0
    logits = fitted.decision_function(rows)
    if logits.ndim == 1:
        logits = np.stack([np.zeros(len(rows)), logits], axis=1)
    chosen = log_softmax(logits, axis=1)[np.arange(len(labels)), labels]
    return fitted, float(-chosen.mean() + (fitted.coef_**2).sum() / (2 * strength * len(labels)))


@pytest.mark.parametrize("k", [2, 3, 6])
@pytest.mark.parametrize("n", [40, 600])
def test_the_optimum_is_that_of_sklearn_at_every_strength(n: int, k: int) -> None:
    vectors, labels = planted(n, 30, k, seed=n + k)
    path = path_of(vectors, labels, STRENGTHS)
    assert path.converged.all()
    for i, strength in enumerate(STRENGTHS):
        fitted, loss = oracle(vectors, labels, strength)
        assert -1e-6 <= path.losses[i] / loss - 1 <= 1e-4
        features = Standardisation.fit(vectors).apply(vectors)
        ours = path.logits(i, features).softmax(0).T.numpy()
        rows = StandardScaler().fit_transform(vectors.astype(np.float64))
        assert np.abs(ours - fitted.predict_proba(rows)).max() < 0.03


def test_the_gap_bounds_the_distance_from_the_optimum() -> None:
    vectors, labels = planted(300, 20, 4, seed=0)
    for tolerance in (1e-1, 1e-2, 1e-3, 1e-5):
        path = path_of(vectors, labels, STRENGTHS, tolerance=tolerance)
        for i, strength in enumerate(STRENGTHS):
            excess = path.losses[i] - oracle(vectors, labels, strength)[1]
            assert excess <= path.gaps[i] * path.losses[i] + 1e-6
            assert path.gaps[i] <= tolerance


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(8, 60),
    d=st.integers(1, 12),
    k=st.integers(2, 5),
    strength=st.floats(1e-4, 1e2),
    seed=st.integers(0, 10_000),
)
@example(n=56, d=12, k=2, strength=28.0, seed=516)  # probabilities of 0
def test_any_small_problem_reaches_the_optimum(
    n: int, d: int, k: int, strength: float, seed: int
) -> None:
    vectors, labels = planted(n, d, k, seed=seed)
    if len(np.unique(labels)) < 2:
        return
    path = path_of(vectors, labels, (strength,))
    assert path.converged.all()
    assert path.losses[0] == pytest.approx(oracle(vectors, labels, strength)[1], rel=2e-4)


def test_separable_classes_converge_under_a_weak_penalty() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 3
    vectors = rng.normal(size=(200, 50)).astype(np.float32)
    vectors[:, :3] += 20 * np.eye(3)[labels]
    strengths = (1e2, 1e4, 1e6)
    path = path_of(vectors, labels, strengths)
    assert path.converged.all()
    for i, strength in enumerate(strengths):
        assert path.losses[i] <= oracle(vectors, labels, strength)[1] * (1 + 1e-4)


def test_strengths_come_back_in_the_order_given() -> None:
    vectors, labels = planted(100, 5, 3, seed=1)
    one = path_of(vectors, labels, (1.0, 1e-3, 0.1))
    other = path_of(vectors, labels, (1e-3, 0.1, 1.0))
    assert one.losses == pytest.approx(other.losses[[2, 0, 1]])
    assert one.losses[0] < one.losses[2] < one.losses[1]


def test_strengths_fitted_after_each_other_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, labels = planted(200, 8, 5, seed=2)
    together = path_of(vectors, labels, STRENGTHS)
    monkeypatch.setattr("probing.probes.logistic._MAX_LOGITS", 1)
    apart = path_of(vectors, labels, STRENGTHS)
    assert apart.converged.all()
    assert apart.losses == pytest.approx(together.losses, rel=1e-4)


def test_a_fit_that_is_cut_short_says_so(caplog: pytest.LogCaptureFixture) -> None:
    vectors, labels = planted(300, 20, 4, seed=0)
    path = path_of(vectors, labels, (1.0,), max_iterations=2)
    assert not path.converged.any()
    assert path.gaps[0] > 1e-4
    probes = LinearProbes(strengths=(1.0,), tolerance=1e-30)
    probes.fit(vectors, labels, n_classes=4, name="mean@6")
    assert "mean@6 at C = 1: no convergence" in caplog.text


def test_the_solver_works_in_float64() -> None:
    vectors, labels = planted(100, 5, 3, seed=1)
    path = path_of(vectors.astype(np.float64), labels, (0.1,), tolerance=1e-12)
    assert path.weights.dtype == torch.float64
    fitted, loss = oracle(vectors, labels, 0.1)
    assert path.losses[0] == pytest.approx(loss, rel=1e-9)
    assert path.weights[0, :, :-1].numpy() == pytest.approx(fitted.coef_, abs=1e-4)


def test_a_thousand_classes() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(3000) % 1000
    centres = rng.normal(size=(1000, 64))
    vectors = (centres[labels] + 0.3 * rng.normal(size=(3000, 64))).astype(np.float32)
    path = path_of(vectors, labels, (0.1,))
    assert path.converged.all()
    features = Standardisation.fit(vectors).apply(vectors)
    assert (path.logits(0, features).argmax(0).numpy() == labels).mean() > 0.99


def test_a_strength_must_be_above_zero() -> None:
    with pytest.raises(InputError, match="above 0"):
        LinearProbes(strengths=(1.0, -1.0))


# the protocol


def two_views(n: int, *, k: int = 3, seed: int = 0) -> tuple[Views, NDArray[np.str_]]:
    """A view that tells of the labels and one that does not."""
    vectors, labels = planted(n, 12, k, seed=seed, signal=6.0)
    noise = np.random.default_rng(seed + 1).normal(size=vectors.shape).astype(np.float32)
    return {"mean@2": vectors, "cls@0": noise}, np.array([f"class {c}" for c in labels])


def sklearns_probe(strength: float) -> Pipeline:
    return make_pipeline(
        StandardScaler(), LogisticRegression(C=strength, tol=1e-9, max_iter=20_000)
    )


def test_settings_are_chosen_on_dev_and_tested_once() -> None:
    views, labels = two_views(500)
    splits = splits_of(500)
    predictions = fit_probes(views, labels, splits, seed=0)
    train, dev, test = (splits == split for split in ("train", "dev", "test"))
    assert predictions.items.tolist() == np.flatnonzero(test).tolist()
    for column, vectors in enumerate(views.values()):
        accuracies = []
        for strength in STRENGTHS:
            probe = sklearns_probe(strength).fit(vectors[train], labels[train])
            accuracies.append(probe.score(vectors[dev], labels[dev]))
        best = sklearns_probe(STRENGTHS[int(np.argmax(accuracies))])
        best.fit(vectors[train], labels[train])
        assert predictions.dev_accuracies[0, column] == pytest.approx(accuracies, abs=0.011)
        assert predictions.chosen[0, column] == np.argmax(accuracies)
        expected = best.predict(vectors[test])
        found = np.array(predictions.classes)[predictions.predicted[:, column]]
        assert (found == expected).mean() > 0.99


def test_neither_dev_nor_test_reaches_the_fit() -> None:
    views, labels = two_views(300)
    splits = splits_of(300)
    moved = {k: v.copy() for k, v in views.items()}
    for vectors in moved.values():
        vectors[splits == "test"] *= 100
    kept = fit_probes(views, labels, splits, seed=0)
    other = fit_probes(moved, labels, splits, seed=0)
    assert (kept.dev_accuracies == other.dev_accuracies).all()
    swapped = labels.copy()
    swapped[splits == "test"] = labels[splits == "test"][::-1]
    assert (fit_probes(views, swapped, splits, seed=0).predicted == kept.predicted).all()


@pytest.mark.parametrize("name", ["folds", "no dev"])
def test_without_splits_or_dev_there_are_folds(name: str) -> None:
    views, labels = two_views(300)
    splits = np.array([""] * 300) if name == "folds" else splits_of(300, dev=False)
    predictions = fit_probes(views, labels, splits, seed=0)
    tested = np.arange(300) if name == "folds" else np.flatnonzero(splits == "test")
    assert predictions.items.tolist() == tested.tolist()
    assert predictions.dev_accuracies.shape == (10 if name == "folds" else 1, 2, len(STRENGTHS))
    told, untold = predictions.correct.mean(axis=0)
    assert told > 0.6
    assert untold < 0.5


@given(sizes=st.lists(st.integers(1, 30), min_size=2, max_size=5), seed=st.integers(0, 99))
def test_folds_share_classes_out_and_test_everything_once(sizes: list[int], seed: int) -> None:
    codes = np.repeat(np.arange(len(sizes)), sizes)
    if len(codes) < 10:
        return
    rounds = rounds_of([""] * len(codes), strata=codes, seed=seed)
    assert sorted(np.concatenate([part.test for part in rounds])) == list(range(len(codes)))
    for part in rounds:
        ((train, dev),) = part.choices
        assert not set(part.train) & set(part.test)
        assert set(train) | set(dev) == set(part.train)
        assert not set(train) & set(dev)
    for code, size in enumerate(sizes):
        per_fold = [int((codes[part.test] == code).sum()) for part in rounds]
        assert size // 10 <= min(per_fold)
        assert max(per_fold) <= -(-size // 10)


@pytest.mark.parametrize(
    ("name", "probe"),
    [
        ("linear", "linear"),
        ("mlp", TrainedProbes("mlp", (Setting(10),), standardise=True)),
        ("senteval", TrainedProbes("senteval", (Setting(0),), standardise=False)),
        ("pipeline", make_pipeline(StandardScaler(), LogisticRegression())),
        ("naive Bayes", GaussianNB()),
    ],
)
def test_any_probe_reads_what_is_there_and_nothing_else(name: str, probe: Any) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(2000) // 5 % 2
    vectors = rng.normal(size=(2000, 8)).astype(np.float32)
    told = vectors.copy()
    told[:, 3] += 4 * labels
    views = {"mean@1": told, "mean@0": vectors}
    predictions = fit_probes(views, labels, splits_of(2000), probe=probe, seed=0)
    scores = probe_scores(predictions, Target(task="planted", seed=0))
    accuracies = {score.view: score for score in scores if score.metric == "accuracy"}
    assert accuracies["mean@1"].value > 0.9
    assert accuracies["mean@0"].lower <= 0.5 <= accuracies["mean@0"].upper
    expected = {"pipeline": "Pipeline", "naive Bayes": "GaussianNB"}
    assert scores[0].probe == expected.get(name, name)


def test_an_mlp_reads_what_is_not_linear() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.choice([-1.0, 1.0], size=(3000, 2)) + 0.2 * rng.normal(size=(3000, 2))
    views = {"mean@0": vectors.astype(np.float32)}
    labels = vectors[:, 0] * vectors[:, 1] > 0
    mlp = TrainedProbes("mlp", (Setting(50, dropout=0.1),), standardise=True)
    assert fit_probes(views, labels, splits_of(3000), probe=mlp, seed=0).correct.mean() > 0.95
    assert fit_probes(views, labels, splits_of(3000), seed=0).correct.mean() < 0.7


def test_training_depends_on_the_seed_alone() -> None:
    views, labels = two_views(200)
    torch.manual_seed(1)
    one = fit_probes(views, labels, splits_of(200), probe=MLP, seed=7)
    torch.manual_seed(2)
    assert (
        fit_probes(views, labels, splits_of(200), probe=MLP, seed=7).predicted == one.predicted
    ).all()
    assert len(SENTEVAL_GRID) == 9


def test_views_share_the_threads_and_give_them_back() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        inside = over_views(lambda _: torch.get_num_threads(), ["a", "b", "c"])
        assert inside == [1, 1, 1]
        assert torch.get_num_threads() == 2
        with pytest.raises(ZeroDivisionError):
            over_views(lambda _: 1 // 0, ["a", "b"])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


# planted and erased


def test_a_planted_direction_is_read_and_an_erased_one_is_not() -> None:
    rng = np.random.default_rng(0)
    n, d, k = 6000, 64, 4
    labels = rng.integers(k, size=n)
    direction = rng.normal(size=d) / d**0.5
    vectors = rng.normal(size=(n, d)) - np.outer(rng.normal(size=(n, d)) @ direction, direction)
    vectors += 60 * np.outer(labels, direction)
    splits = splits_of(n)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it scripts with torch.jit
        from concept_erasure import LeaceFitter
    # fitted on train only: an eraser that has seen test makes the two lie on opposite sides
    train, hot = torch.tensor(splits == "train"), torch.eye(k)[labels]
    x = torch.tensor(vectors)
    erased = LeaceFitter.fit(x[train], hot[train]).eraser(x).numpy()
    views = {"mean@1": vectors.astype(np.float32), "mean@2": erased.astype(np.float32)}
    scores = probe_scores(fit_probes(views, labels, splits, seed=0), Target(task="planted", seed=0))
    planted_score, erased_score = (s for s in scores if s.metric == "accuracy")
    assert planted_score.value >= 0.99
    assert erased_score.lower <= 1 / k <= erased_score.upper


# rows


def made(gold: NDArray[np.intp], predicted: NDArray[np.intp], n_classes: int) -> Predictions:
    return Predictions(
        probe="linear",
        view_ids=tuple(f"mean@{i}" for i in range(predicted.shape[1])),
        classes=tuple(map(str, range(n_classes))),
        items=np.arange(len(gold)),
        gold=gold,
        predicted=predicted,
        dev_accuracies=np.zeros((1, predicted.shape[1], 1)),
    )


def rows_of(scores: list[Score], metric: str) -> list[Score]:
    return [score for score in scores if score.metric == metric]


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_macro_f1_is_that_of_sklearn(data: st.DataObject) -> None:
    n, k = data.draw(st.integers(1, 30)), data.draw(st.integers(2, 6))
    codes = st.lists(st.integers(0, k - 1), min_size=n, max_size=n)
    gold, found = np.array(data.draw(codes)), np.array(data.draw(codes))
    scores = probe_scores(made(gold, found[:, None], k), Target(task="t", seed=0, n_resamples=10))
    (row,) = rows_of(scores, "macro_f1")
    assert row.value == pytest.approx(f1_score(gold, found, average="macro", zero_division=0))
    (row,) = rows_of(scores, "accuracy")
    assert row.value == pytest.approx((gold == found).mean())


def test_rows_say_what_they_are_of() -> None:
    gold = np.array([0, 1] * 20)
    predictions = made(gold, np.stack([gold, np.full(40, -1)], axis=1), 2)
    scores = probe_scores(predictions, Target(task="t", seed=3, n_resamples=50), labels="control")
    assert len(score_table(scores)) == 4
    first, second = rows_of(scores, "accuracy")
    assert (first.view, first.layer, first.pooling) == ("mean@0", 0, "mean")
    assert (first.labels, first.n, first.seed, first.split) == ("control", 40, 3, "test")
    assert first.value == first.upper == 1.0
    assert first.lower < 1.0
    assert all(np.isnan([s.value, s.lower, s.upper]).all() for s in scores if s.view == "mean@1")
    assert second.view == "mean@1"


def test_groups_widen_the_intervals() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 10)
    right = rng.random(40)[groups] < 0.7
    gold = np.zeros(400, dtype=np.intp)
    predictions = made(gold, (~right).astype(np.intp)[:, None], 2)
    alone = probe_scores(predictions, Target(task="t", seed=0))
    together = probe_scores(predictions, Target(task="t", seed=0), groups=groups)
    for one, other in zip(alone, together, strict=True):
        assert one.value == other.value
        assert other.upper - other.lower > 2 * (one.upper - one.lower)


def test_several_seeds_are_averaged() -> None:
    gold = np.array([0, 1] * 50)
    one, other = gold.copy(), gold.copy()
    one[:20], other[:40] = 1 - one[:20], 1 - other[:40]
    seeds = [made(gold, found[:, None], 2) for found in (one, other)]
    for metric in ("accuracy", "macro_f1"):
        apart = [rows_of(probe_scores(each, Target(task="t", seed=0)), metric)[0] for each in seeds]
        (row,) = rows_of(probe_scores(seeds, Target(task="t", seed=0)), metric)
        assert row.value == pytest.approx((apart[0].value + apart[1].value) / 2)
        assert row.lower < row.value < row.upper
        assert row.lower > apart[1].lower
    fewer = made(gold[:90], one[:90, None], 2)
    moved = Predictions(**{**vars(seeds[0]), "items": seeds[0].items + 1})
    for wrong in (fewer, moved):
        with pytest.raises(ValueError, match="same items"):
            probe_scores([seeds[0], wrong], Target(task="t", seed=0))


def test_views_are_compared_on_the_same_items() -> None:
    rng = np.random.default_rng(0)
    gold = np.zeros(400, dtype=np.intp)
    wrong = rng.random(400) < 0.3
    better = wrong & (rng.random(400) < 0.8)
    columns = np.stack([better, wrong, wrong], axis=1).astype(np.intp)
    columns = np.column_stack([columns, np.full(400, -1)])
    predictions = made(gold, columns, 2)
    found = view_difference(predictions, "mean@0", "mean@1", seed=0)
    assert found.difference == pytest.approx(wrong.mean() - better.mean())
    assert 0 < found.lower < found.difference < found.upper
    first, second = rows_of(probe_scores(predictions, Target(task="t", seed=0)), "accuracy")[:2]
    assert first.lower < second.upper  # apart, the two would not be told from each other
    assert found.p < 0.01
    assert view_difference(predictions, "mean@1", "mean@2", seed=0).p == 1
    grouped = view_difference(
        predictions, "mean@0", "mean@1", seed=0, groups=np.repeat(np.arange(20), 20)
    )
    assert grouped.difference == found.difference
    assert grouped.lower != found.lower
    assert np.isnan(view_difference(predictions, "mean@0", "mean@3", seed=0).difference)
    with pytest.raises(InputError, match="no view 'mean@9'"):
        view_difference(predictions, "mean@0", "mean@9", seed=0)


@pytest.mark.parametrize(
    ("view_id", "place"),
    [
        ("mean@6", (6, "mean")),
        ("mean@1+12", (None, "mean")),
        ("word_first@3", (3, "word_first")),
        ("cls@9,10", (None, "cls")),
        ("none", (None, "none")),
        ("mean@6 - cls@6", (6, "mean - cls")),
        ("mean@6 - mean@5", (None, "mean")),
        ("cls@6 & mean@6", (6, "cls & mean")),
    ],
)
def test_the_place_of_a_view(view_id: str, place: tuple[int | None, str]) -> None:
    assert place_of(view_id) == place


# bad input


def refused(views: Mapping[str, Any], labels: Any, splits: Any, match: str, **how: Any) -> None:
    with pytest.raises(InputError, match=match) as caught:
        fit_probes(views, labels, splits, seed=0, **how)
    assert "\n" not in str(caught.value)


def test_bad_labels_and_splits_are_refused() -> None:
    views, labels = two_views(100)
    splits = splits_of(100)
    refused(views, ["one"] * 100, splits, "every label is 'one'")
    refused(views, np.arange(100), splits, "100 classes in 60 rows")
    refused(views, labels[:-1], splits, "100 rows for 99 labels")
    refused(views, labels, splits[:-1], "99 splits")
    refused(views, labels, ["train"] * 100, "expected train, test and perhaps dev")
    refused(views, labels, np.where(splits == "dev", "", splits), "expected train, test")
    refused(views, labels, np.where(splits == "dev", "valid", splits), "'valid'")
    refused({}, labels, splits, "no view")
    refused(views, labels, splits, "unknown probe 'forest'", probe="forest")
    refused({"mean@0": views["mean@2"][:8]}, labels[:8], [""] * 8, "8 rows")


@pytest.mark.parametrize("split", ["train", "dev"])
def test_a_class_absent_from_a_split_is_refused_or_accepted_aloud(
    split: str, caplog: pytest.LogCaptureFixture
) -> None:
    views, labels = two_views(200)
    splits = splits_of(200)
    odd = labels.copy()
    odd[np.flatnonzero(splits == "test")[:5]] = "rare"
    if split == "dev":
        odd[np.flatnonzero(splits == "train")[:5]] = "rare"
    refused(views, odd, splits, f"1 of 4 classes have no row in {split}, such as 'rare'")
    with caplog.at_level(logging.WARNING):
        predictions = fit_probes(views, odd, splits, seed=0, missing_classes="accept")
    assert f"no row in {split}" in caplog.text
    assert predictions.classes[-1] == "rare"
    if split == "train":
        rare = predictions.gold == 3
        assert rare.sum() == 5
        assert (predictions.correct[rare] == 0).all()
        assert not (predictions.predicted == 3).any()


@pytest.mark.parametrize(
    ("fault", "reason"), [("nan", "1 of 200 vectors are not finite"), ("constant", "same vector")]
)
@pytest.mark.parametrize("probe", ["linear", MLP])
def test_a_view_without_anything_to_measure_is_nan(
    fault: str, reason: str, probe: str | Probes, caplog: pytest.LogCaptureFixture
) -> None:
    views, labels = two_views(200)
    bad = views["mean@2"].copy()
    if fault == "nan":
        bad[17, 3] = np.nan
    else:
        # as the last bits of one vector differ with its place in a batch
        bad[:] = bad[0] * (1 + 1e-7 * (np.arange(200) % 3))[:, None]
    views = {"max@1": bad, **views}
    with caplog.at_level(logging.WARNING):
        predictions = fit_probes(views, labels, splits_of(200), probe=probe, seed=0)
    assert f"max@1: {'it is the ' if fault == 'constant' else ''}{reason}" in caplog.text
    scores = rows_of(probe_scores(predictions, Target(task="t", seed=0)), "accuracy")
    assert np.isnan([scores[0].value, scores[0].lower, scores[0].upper]).all()
    assert not np.isnan(scores[1].value)
    only_bad = fit_probes({"max@1": bad}, labels, splits_of(200), seed=0)
    assert np.isnan(only_bad.correct).all()


def test_a_constant_feature_carries_nothing() -> None:
    vectors, labels = planted(200, 6, 3, seed=0)
    wider = np.column_stack([vectors, np.full(200, 1000.0, dtype=np.float32)])
    wider[::2, -1] = np.nextafter(np.float32(1000), np.float32(1001))
    one, other = (path_of(v, labels, (1.0,)) for v in (vectors, wider))
    assert other.losses == pytest.approx(one.losses, rel=1e-4)
    assert (other.weights[0, :, -2] == 0).all()


# scores


def test_ridge_is_that_of_sklearn_at_every_penalty() -> None:
    vectors, _ = planted(120, 10, 2, seed=3)
    targets = np.random.default_rng(0).normal(size=120) + vectors[:, 0]
    penalties = (1e3, 1.0, 1e-2)
    weights = fit_ridge(vectors, targets, penalties)
    for row, penalty in zip(weights, penalties, strict=True):
        model = make_pipeline(StandardScaler(), Ridge(alpha=penalty)).fit(
            vectors.astype(np.float64), targets
        )
        expected = model.predict(vectors.astype(np.float64))
        assert vectors @ row[:-1] + row[-1] == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_the_readout_of_pairs_sees_what_cosine_does_not() -> None:
    rng = np.random.default_rng(0)
    n = 900
    u, v = rng.normal(size=(2, n, 16)).astype(np.float32)
    gold = 5 - np.abs(u[:, 4] - v[:, 4]) + 0.1 * rng.normal(size=n)
    # one coordinate tells, the others drown the cosine
    views = {"mean@1": np.concatenate([u, v]), "mean@0": rng.normal(size=(2 * n, 16))}
    predictions = fit_regression(PairFeatures(views), gold, splits_of(n), seed=0)
    told, untold = spearman(predictions.predicted, predictions.gold)
    assert told > 0.95
    assert abs(untold) <= 0.2
    assert predictions.predicted.shape == (180, 2)


@pytest.mark.parametrize("splits", [[""] * 200, list(splits_of(200, dev=False))])
def test_regression_without_dev_uses_folds(splits: list[str]) -> None:
    vectors, _ = planted(200, 6, 2, seed=0)
    gold = vectors[:, 0].astype(np.float64)
    predictions = fit_regression({"mean@0": vectors}, gold, splits, seed=0)
    assert np.corrcoef(predictions.predicted[:, 0], predictions.gold)[0, 1] > 0.99
    assert predictions.items.tolist() == sorted(predictions.items)
    assert predictions.chosen.shape == (10 if not splits[0] else 1, 1)


def test_bad_scores_are_refused(caplog: pytest.LogCaptureFixture) -> None:
    vectors, _ = planted(50, 4, 2, seed=0)
    splits = splits_of(50)
    gold = np.arange(50.0)
    for scores, penalties, match in (
        (np.where(gold == 3, np.nan, gold), (1.0,), "without NaN"),
        (np.ones(50), (1.0,), "every score of train is 1.0"),
        (gold, (0.0,), "penalties above 0"),
    ):
        with pytest.raises(InputError, match=match):
            fit_regression({"mean@0": vectors}, scores, splits, seed=0, penalties=penalties)
    with pytest.raises(InputError, match="two for each pair"):
        PairFeatures({"mean@0": vectors[:3]})
    constant = np.ones_like(vectors)
    predictions = fit_regression({"cls@0": constant}, gold, splits, seed=0)
    assert np.isnan(predictions.predicted).all()
    assert "same vector" in caplog.text


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("probe", ["linear", "mlp", "senteval"])
def test_probes_on_a_gpu_learn_what_they_learn_on_the_cpu(probe: str) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=900)
    vectors = {"mean@1": (rng.standard_normal((900, 20)) + labels[:, None]).astype(np.float32)}
    splits = np.repeat(["train", "dev", "test"], 300)
    here, there = (
        fit_probes(vectors, labels, splits, probe=probe, seed=0, device=device)
        for device in ("cpu", "cuda")
    )
    # the MLP draws other dropout there; the optimum of the linear probe is one
    assert abs(here.correct.mean() - there.correct.mean()) <= (0.004 if probe == "linear" else 0.03)
