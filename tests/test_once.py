"""Probes that are fitted once, whichever encoder has the vectors."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsClassifier

from probing.errors import InputError
from probing.probes import once
from probing.probes.driver import fit_probes
from probing.probes.once import FitOnce

N = 120
RNG = np.random.default_rng(0)
LABELS = RNG.choice(["a", "b", "c"], size=N).tolist()
SPLITS = [("train", "train", "dev", "test")[row % 4] for row in range(N)]

Views = dict[str, NDArray[np.float32]]


def view(*shift: float) -> NDArray[np.float32]:
    rows = RNG.standard_normal((N, 8)).astype(np.float32)
    rows[:, 0] += np.unique(LABELS, return_inverse=True)[1] + sum(shift)
    return rows


BODY = {"mean@0": view(), "cls@0": np.ones((N, 8), dtype=np.float32), "mean@1": view()}
ONE = BODY | {"pooler@1": view()}
OTHER = BODY | {"pooler@1": view()}


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which views were fitted, in order."""
    seen: list[str] = []

    def fit(vectors: Views, *given: Any, **options: Any) -> Any:
        seen.extend(vectors)
        return fit_probes(vectors, *given, **options)

    monkeypatch.setattr(once, "fit_probes", fit)
    return seen


def same(fit: FitOnce, views: Views, **changed: Any) -> None:
    options = {"labels": LABELS, "splits": SPLITS, "probe": "linear", "seed": 0} | changed
    found, alone = fit(views, **options), fit_probes(views, **options)
    assert (found.probe, found.view_ids, found.classes) == (
        alone.probe,
        alone.view_ids,
        alone.classes,
    )
    for name in ("items", "gold", "predicted", "dev_accuracies"):
        np.testing.assert_array_equal(getattr(found, name), getattr(alone, name))


@pytest.mark.parametrize("splits", [SPLITS, [""] * N], ids=["split", "folds"])
def test_two_encoders_that_share_views_get_the_numbers_of_separate_fits(
    fitted: list[str], splits: list[str]
) -> None:
    fit = FitOnce()
    same(fit, ONE, splits=splits)
    same(fit, OTHER, splits=splits)
    # of the second encoder its own pooler, and what gives its reason each time
    assert fitted == [*ONE, "cls@0", "pooler@1"]
    same(fit, {"mean@0": BODY["mean@0"]}, splits=splits)
    assert len(fitted) == len(ONE) + 2


@pytest.mark.parametrize(
    "changed",
    [
        {"labels": LABELS[::-1]},
        {"splits": [{"dev": "test", "test": "dev"}.get(each, each) for each in SPLITS]},
        {"seed": 1, "probe": "mlp"},
        {"probe": "mlp"},
        {"missing_classes": "accept"},
    ],
    ids=["labels", "splits", "seed", "probe", "missing classes"],
)
def test_another_question_is_another_fit(fitted: list[str], changed: dict[str, Any]) -> None:
    fit, views = FitOnce(), {"mean@0": BODY["mean@0"]}
    same(fit, views, probe=changed.get("probe", "linear"))
    same(fit, views, **changed)
    n_same = changed == {"probe": "mlp"}  # the first fit asked the same
    assert len(fitted) == 2 - n_same
    same(fit, {"other": BODY["mean@0"]}, **changed)
    assert len(fitted) == 2 - n_same


def test_one_value_changed_is_another_matrix(fitted: list[str]) -> None:
    fit, changed = FitOnce(), BODY["mean@0"].copy()
    same(fit, {"mean@0": BODY["mean@0"]})
    changed[-1, -1] += 1
    same(fit, {"mean@0": changed})
    same(fit, {"mean@0": changed.astype(np.float64)})
    assert len(fitted) == 3


@pytest.mark.parametrize("make", [KNeighborsClassifier], ids=["knn"])
def test_a_classifier_of_ones_own_is_fitted_each_time(
    fitted: list[str], make: Callable[[], Any]
) -> None:
    fit, views = FitOnce(), {"mean@0": BODY["mean@0"]}
    same(fit, views, probe=make())
    same(fit, views, probe=make())
    assert len(fitted) == 2


def test_a_fault_is_a_fault_the_second_time_too() -> None:
    fit = FitOnce()
    same(fit, ONE)
    with pytest.raises(InputError, match="at least one"):
        fit({}, LABELS, SPLITS, seed=0)
    with pytest.raises(InputError, match="rows for"):
        fit({"mean@0": BODY["mean@0"][1:]}, LABELS, SPLITS, seed=0)
