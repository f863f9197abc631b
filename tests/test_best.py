"""The confidence set of the best view: what it holds, what it costs, and how often it is right."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from probing.claims.choice import choose_view, usual_views
from probing.errors import InputError
from probing.results.items import Items, read_items
from probing.results.target import Target
from probing.statistics import best_set

VIEWS = ("mean@2", "cls@2", "pooler@2", "mean@1", "cls@0")


def _samples(estimates: np.ndarray, errors: float, seed: int = 0) -> np.ndarray:
    return estimates + errors * np.random.default_rng(seed).normal(size=(4000, len(estimates)))


def test_a_clear_winner_is_alone_and_equals_stay_together() -> None:
    estimates = np.array([0.8, 0.79, 0.5])
    clear = best_set(estimates, _samples(estimates, 1e-4))
    assert clear.may_be_best.tolist() == [True, False, False]
    assert clear.at_least[1] == pytest.approx(0.01, abs=1e-3)
    assert clear.at_most[0] == 0
    assert clear.items_factor() == 1
    vague = best_set(estimates, _samples(estimates, 0.01))
    assert vague.may_be_best.tolist() == [True, True, False]
    assert vague.at_least[1] == 0 < vague.at_least[2]
    assert vague.at_most[0] > 0


def test_two_views_are_compared_as_student_would() -> None:
    """With two views the margin is the one-sided 95 % point of the normal."""
    estimates = np.array([0.8, 0.79])
    found = best_set(estimates, _samples(estimates, 0.01))
    assert found.margins[1, 0] == pytest.approx(1.645 * 0.01 * np.sqrt(2), rel=0.05)
    # a difference of .01 needs a margin of .01
    assert found.items_factor() == pytest.approx((found.margins[1, 0] / 0.01) ** 2)
    assert found.items_factor(0.01) == pytest.approx((found.margins[1, 0] / 0.02) ** 2)


def test_what_all_views_share_cancels() -> None:
    """Views whose errors are one and the same are told apart however large these are."""
    estimates = np.array([0.8, 0.79])
    shared = np.random.default_rng(1).normal(size=(4000, 1))
    samples = _samples(estimates, 1e-4) + shared
    assert best_set(estimates, samples).may_be_best.tolist() == [True, False]


def test_copies_of_a_view_are_best_together() -> None:
    estimates = np.array([0.8, 0.8, 0.1])
    samples = _samples(estimates, 0.01)
    samples[:, 1] = samples[:, 0]
    found = best_set(estimates, samples)
    assert found.may_be_best.tolist() == [True, True, False]
    assert found.items_factor() == np.inf  # no number of items parts them
    assert found.items_factor(0.01) == 1


def test_an_undefined_resample_is_left_out_and_nothing_else_is_taken() -> None:
    estimates = np.array([0.8, 0.79])
    samples = _samples(estimates, 0.01)
    samples[0, 1] = np.nan
    expected = best_set(estimates, samples[1:])
    np.testing.assert_array_equal(best_set(estimates, samples).margins, expected.margins)
    with pytest.raises(ValueError, match="two resamples"):
        best_set(estimates, np.full((5, 2), np.nan))
    with pytest.raises(ValueError, match="without NaN"):
        best_set(np.array([np.nan, 1.0]), samples)


def test_the_best_of_ten_is_in_the_set_and_its_costs_are_bounded() -> None:
    """Draws from a normal whose best mean is known: 95 % hold it, equal views included."""
    rng = np.random.default_rng(2)
    truth = np.array([0.5, 0.5, 0.49, 0.48, *[0.4] * 6])
    held, bounded, sizes = [], [], []
    for _ in range(400):
        items = truth + rng.normal(size=(200, 10)) * 0.1
        estimates = items.mean(axis=0)
        drawn = rng.multinomial(200, np.full(200, 1 / 200), size=400) / 200
        found = best_set(estimates, drawn @ items)
        held.append(found.may_be_best[0])
        bounded.append((found.at_most >= truth.max() - truth).all())
        sizes.append(found.may_be_best.sum())
    assert np.mean(held) >= 0.93
    assert np.mean(bounded) >= 0.93
    assert np.mean(sizes) < 5


def _items(probe: str, *, n: int = 300, clusters: np.ndarray | None = None) -> Items:
    rng = np.random.default_rng(3)
    gold = rng.normal(size=n)
    noise = np.array([0.3, 1.0, 1.2, 0.31])
    columns = gold[:, None] + noise * rng.normal(size=(n, 4))
    if probe != "cosine":
        columns = (columns > 0).astype(float)
        columns = (columns == (gold > 0)[:, None]).astype(float)
    target = Target(
        task="mine.tsv",
        gold=gold if probe == "cosine" else np.empty(0),
        clusters=clusters,
        n_resamples=300,
    )
    undefined = np.full((n, 1), np.nan)
    return Items(
        model="m", probe=probe, views=VIEWS, columns=np.hstack([columns, undefined]), target=target
    )


@pytest.mark.parametrize("probe", ["cosine", "linear"])
def test_a_choice_names_the_set_and_what_the_usual_views_cost(probe: str) -> None:
    choice = choose_view(_items(probe), usual=usual_views(2, "mean@2"))
    assert choice.best in choice.views
    assert set(choice.views) <= {"mean@2", "mean@1"}
    assert choice.usual == ("mean@2", "cls@2", "pooler@2")
    assert choice.undefined == ("cls@0",)
    words = str(choice)
    assert words.startswith(f"Use `{choice.best}`: ")
    for view in ("cls@2", "pooler@2"):
        row = choice.table.set_index("view").loc[view]
        assert 0 < row["at_least"] <= choice.table["value"].max() - row["value"] <= row["at_most"]
        assert (
            f"`{view}` is {100 * (choice.table['value'].max() - row['value']):.1f} points" in words
        )


@pytest.mark.parametrize("n_groups", [1, 9])
def test_items_that_hang_together_are_refused_in_one_line(n_groups: int) -> None:
    together = np.arange(300) % n_groups
    with pytest.raises(InputError, match=f"300 items in {n_groups} groups?, expected at least 10"):
        choose_view(_items("cosine", clusters=together), usual=())


@pytest.mark.parametrize("probe", ["cosine", "linear"])
def test_nothing_is_chosen_on_a_handful_of_items(probe: str) -> None:
    with pytest.raises(InputError, match="found 9 items, expected at least 10"):
        choose_view(_items(probe, n=9), usual=())


def test_a_view_is_called_the_best_only_where_the_set_has_no_other() -> None:
    same = _items("cosine")
    same = replace(same, columns=same.columns[:, [0, 0, 0, 0]], views=("a@0", "b@0", "c@0", "d@0"))
    assert "none of the other 3 views is higher" in str(choose_view(same, usual=()))


def test_equal_scores_and_equal_cosines_are_no_correlation() -> None:
    items = _items("cosine")
    flat = replace(items, target=replace(items.target, gold=np.full(300, 2.5)))
    with pytest.raises(InputError, match="no view has a correlation with the scores; expected"):
        choose_view(flat, usual=())
    constant = items.columns.copy()
    constant[:, 1] = 0.5
    choice = choose_view(replace(items, columns=constant), usual=())
    assert set(choice.undefined) == {items.views[1], items.views[-1]}
    assert len(choice.table) == len(items.views) - 2


@pytest.mark.parametrize("probe", ["cosine", "linear"])
def test_items_come_back_as_they_were_kept(probe: str, tmp_path: Path) -> None:
    kept = _items(probe, clusters=np.arange(300) // 2)
    kept.write(tmp_path / "items")
    (found,) = read_items(tmp_path)
    assert (found.model, found.probe, found.views) == (kept.model, kept.probe, kept.views)
    np.testing.assert_array_equal(found.columns, kept.columns)
    np.testing.assert_array_equal(found.target.gold, kept.target.gold)
    np.testing.assert_array_equal(found.target.clusters, kept.target.clusters)
    assert choose_view(found, usual=()).views == choose_view(kept, usual=()).views
