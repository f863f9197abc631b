"""What is erased cannot be read any more, and nothing else is taken."""

import numpy as np
import pytest
from numpy.typing import NDArray

from probing.probes.driver import fit_probes
from probing.probes.erasing import METHODS, Eraser, erased, fit_erasers
from probing.statistics import accuracy_interval

N, D, CLASSES = 1400, 24, 3
SPLITS = ["train"] * 900 + ["dev"] * 200 + ["test"] * 300
Views = dict[str, NDArray[np.float32]]


def planted() -> tuple[Views, list[str], list[str]]:
    """Labels in directions of their own, beside another binary label; one feature is tiny."""
    rng = np.random.default_rng(0)
    codes, others = rng.integers(CLASSES, size=N), rng.integers(2, size=N)
    turn = rng.standard_normal((D, D))
    rows = rng.standard_normal((N, D))
    rows[:, :CLASSES] += 3 * np.eye(CLASSES)[codes]
    rows[:, -1] += 3 * others
    tiny = rows @ turn
    tiny[:, 0] = 1e-17 * (codes + 0.1 * rng.standard_normal(N))
    views = {"mean@1": rows @ turn, "mean@2": tiny}
    return (
        {view_id: matrix.astype(np.float32) for view_id, matrix in views.items()},
        [f"class {code}" for code in codes],
        [f"other {code}" for code in others],
    )


@pytest.fixture(scope="module")
def erasers() -> dict[str, dict[str, Eraser]]:
    views, labels, _ = planted()
    return fit_erasers(views, labels, SPLITS, seed=0)


def accuracies(views: Views, labels: list[str]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = fit_probes(views, labels, SPLITS, seed=0).correct
    return found


def test_a_linear_probe_reads_the_label_before_and_not_after(
    erasers: dict[str, dict[str, Eraser]],
) -> None:
    views, labels, others = planted()
    assert set(erasers) == set(METHODS)
    assert (accuracies(views, labels).mean(axis=0) > 0.9).all()
    for method in ("leace", "inlp"):
        left = dict(erased(views, erasers, "own")[method])
        interval = accuracy_interval(accuracies(left, labels))
        assert (interval.lower <= 1 / CLASSES + 0.03).all(), method
        assert (accuracies(left, others).mean(axis=0) > 0.85).all(), method


def test_the_random_subspace_is_as_large_and_takes_neither(
    erasers: dict[str, dict[str, Eraser]],
) -> None:
    views, labels, _ = planted()
    for view_id in views:
        ranks = {method: erasers[method][view_id].rank for method in METHODS}
        assert ranks["leace"] == ranks["random"] == CLASSES - 1
        assert ranks["inlp"] >= CLASSES - 1
    left = {"mean@1": erasers["random"]["mean@1"](views["mean@1"])}
    assert accuracies(left, labels).mean() > 0.8


def test_erasing_twice_is_erasing_once_and_leaves_the_mean(
    erasers: dict[str, dict[str, Eraser]],
) -> None:
    views, _, _ = planted()
    for method in METHODS:
        eraser = erasers[method]["mean@1"]
        once = eraser(views["mean@1"])
        np.testing.assert_allclose(eraser(once), once, atol=1e-4)
        np.testing.assert_allclose(once[:900].mean(0), views["mean@1"][:900].mean(0), atol=1e-4)


def test_nothing_of_test_is_fitted_on(erasers: dict[str, dict[str, Eraser]]) -> None:
    views, labels, _ = planted()
    changed = {view_id: matrix.copy() for view_id, matrix in views.items()}
    for matrix in changed.values():
        matrix[1100:] *= 7
    again = fit_erasers(changed, labels[:1100] + ["class 0"] * 300, SPLITS, seed=0)
    for method in METHODS:
        for view_id in views:
            np.testing.assert_array_equal(
                again[method][view_id].read, erasers[method][view_id].read
            )


def test_a_view_that_is_the_same_everywhere_has_no_eraser() -> None:
    views, labels, _ = planted()
    found = fit_erasers({**views, "cls@0": np.ones((N, D), np.float32)}, labels, SPLITS, seed=0)
    assert set(found["leace"]) == set(views)
    assert set(erased({**views, "other": views["mean@1"]}, found, "own")["leace"]) == set(views)


def test_what_cannot_be_measured_without_a_label_is_said(
    erasers: dict[str, dict[str, Eraser]], caplog: pytest.LogCaptureFixture
) -> None:
    views, _, _ = planted()
    named = {f"{method}:ewt:upos": by_view for method, by_view in erasers.items()}
    assert set(erased(views, named, "stsb")) == set(named)
    assert not caplog.messages
    assert not erased({"word_first@1": views["mean@1"]}, named, "ewt:arc")
    assert caplog.messages == [
        "ewt:arc is not measured without ewt:upos: one is of words, the other of sentences"
    ]
