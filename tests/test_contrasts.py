"""Differences between cells, and the choice of a layer."""

import math

import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr

from probing.results.scores import Score
from probing.results.target import Target
from probing.similarity.contrasts import Cell, contrast_scores
from probing.similarity.cosine import similarity_scores
from probing.similarity.layer_selection import select_layer
from probing.statistics import Metric, williams_test

SUBSETS = ["a"] * 40 + ["b"] * 50 + ["c"] * 60
CELLS = (
    Cell("pooler@2"),
    Cell("mean@2"),
    Cell("pooler@2", "whitened:target"),
    Cell("mean@2", "whitened:target"),
    Cell("mean@1", probe="regression"),
)


def _data(n: int = 150, seed: int = 0) -> tuple[dict[Cell, np.ndarray], np.ndarray]:
    rng = np.random.default_rng(seed)
    gold = rng.integers(0, 11, size=n) / 2
    return {cell: gold + rng.normal(0, 2 + i, size=n) for i, cell in enumerate(CELLS)}, gold


def _scores(
    cells: list[Cell],
    columns: dict[Cell, np.ndarray],
    gold: np.ndarray,
    subsets: list[str] | None = None,
    n_resamples: int = 300,
) -> dict[tuple[Cell, str, str], Score]:
    rows = contrast_scores(
        columns,
        Target(task="toy", gold=gold, subsets=subsets, seed=3, n_resamples=n_resamples),
        cells=cells,
    )
    found = {
        (Cell(row.view, row.transform, row.probe), row.metric, row.aggregation): row for row in rows
    }
    assert len(found) == len(rows)
    return found


def _assert_equal(one: Score, other: Score) -> None:
    """Equal to the rounding of sums taken in another order."""
    numbers = [(row.value, row.lower, row.upper) for row in (one, other)]
    np.testing.assert_allclose(*numbers, rtol=0, atol=1e-12)


def test_the_terms_of_a_contrast() -> None:
    cell = Cell("pooler@2 - mean@2", "whitened:target - raw")
    assert cell.terms == (
        (1, Cell("pooler@2", "whitened:target")),
        (-1, Cell("pooler@2", "raw")),
        (-1, Cell("mean@2", "whitened:target")),
        (1, Cell("mean@2", "raw")),
    )
    assert Cell("mean@2", "all-but-the-top:target").terms == (
        (1, Cell("mean@2", "all-but-the-top:target")),
    )
    with pytest.raises(ValueError, match="two sides"):
        _ = Cell("mean@2 - mean@1 - mean@0").terms


def test_contrasts_equal_scipy_under_every_aggregation() -> None:
    columns, gold = _data()
    simple = Cell("pooler@2 - mean@2")
    double = Cell("pooler@2 - mean@2", "whitened:target - raw")
    found = _scores([CELLS[0], simple, double], columns, gold, SUBSETS)
    parts = [slice(0, 40), slice(40, 90), slice(90, 150)]

    def rho(cell: Cell, part: slice = slice(None)) -> float:
        return float(spearmanr(columns[cell][part], gold[part])[0])

    def weighted(cell: Cell) -> float:
        return float(np.average([rho(cell, part) for part in parts], weights=[40, 50, 60]))

    for aggregation, value in (("all", rho), ("wmean", weighted)):
        expected = value(CELLS[0]) - value(CELLS[1])
        row = found[simple, "spearman_difference", aggregation]
        assert row.value == pytest.approx(expected, abs=1e-12)
        assert row.lower < row.value < row.upper
        gained = value(CELLS[2]) - value(CELLS[3]) - expected
        assert found[double, "spearman_difference", aggregation].value == pytest.approx(gained)
        assert found[CELLS[0], "spearman", aggregation].value == pytest.approx(value(CELLS[0]))
        error = found[simple, "standard_error", aggregation].value
        assert (row.upper - row.lower) / error == pytest.approx(2 * 1.96, rel=0.15)
    assert {key[2] for key in found} == {"all", "wmean", "mean"}


def test_williams_stands_beside_two_cells_and_not_beside_four() -> None:
    columns, gold = _data()
    simple, double = Cell("pooler@2 - mean@2"), Cell("pooler@2 - mean@2", "whitened:target - raw")
    found = _scores([simple, double], columns, gold)
    ranks = [rankdata(values) for values in (columns[CELLS[0]], columns[CELLS[1]], gold)]
    r_ab, r_ag, r_bg = np.corrcoef(ranks)[[0, 0, 1], [1, 2, 2]]
    expected = williams_test(r_ag, r_bg, r_ab, 150, metric=Metric.SPEARMAN).p
    assert found[simple, "p_williams", "all"].value == pytest.approx(float(expected))
    assert (double, "p_williams", "all") not in found


def test_rows_are_paired_with_those_of_other_calls() -> None:
    columns, gold = _data()
    contrast = Cell("pooler@2 - mean@2")
    alone = _scores([contrast], columns, gold, SUBSETS)
    among = _scores([*CELLS, contrast], columns, gold, SUBSETS)
    for key, row in alone.items():
        _assert_equal(among[key], row)
    plain = similarity_scores(
        columns[CELLS[0]][:, np.newaxis],
        Target(task="toy", gold=gold, subsets=SUBSETS, seed=3, n_resamples=300),
        view_ids=("pooler@2",),
        probe="cosine",
    )
    (row,) = [r for r in plain if (r.metric, r.aggregation) == ("spearman", "all")]
    _assert_equal(row, among[CELLS[0], "spearman", "all"])


def test_the_columns_of_a_contrast_name_what_the_sides_share() -> None:
    columns, gold = _data()
    columns[Cell("mean@1")] = columns[CELLS[0]]
    cells = [Cell("pooler@2 - mean@2"), Cell("mean@2 - mean@1")]
    found = _scores(cells, columns, gold)
    one, two = (found[cell, "spearman_difference", "all"] for cell in cells)
    assert (one.layer, one.pooling, one.n, one.seed) == (2, "pooler - mean", 150, 3)
    assert (two.layer, two.pooling) == (None, "mean")


def test_what_is_not_there_is_left_out_and_nan_stays_nan() -> None:
    columns, gold = _data()
    columns[Cell("cls@0")] = np.full(150, np.nan)
    cells = [Cell("mean@2 - cls@0"), Cell("mean@2 - cls@2"), Cell("mean@2")]
    found = _scores(cells, columns, gold)
    assert {key[0] for key in found} == {cells[0], cells[2]}
    for metric in ("spearman_difference", "standard_error", "p_williams"):
        assert math.isnan(found[cells[0], metric, "all"].value)
    assert math.isfinite(found[cells[2], "spearman", "all"].value)
    assert _scores([cells[1]], columns, gold) == {}


def test_a_view_against_its_equal_has_no_difference() -> None:
    columns, gold = _data()
    columns[Cell("mean@1")] = 2 * columns[Cell("mean@2")]
    found = _scores([Cell("mean@2 - mean@1")], columns, gold)
    values = {key[1]: row.value for key, row in found.items()}
    assert values == {"spearman_difference": 0, "standard_error": 0, "p_williams": 1}


def _layers(
    best: int, n_layers: int = 4, seed: int = 0
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Pairs whose cosine follows the gold most closely at one layer."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, np.pi / 2, size=200)
    vectors = {}
    for layer in range(n_layers):
        turned = angle + rng.normal(0, 0.1 + 0.3 * abs(layer - best), size=200)
        first = np.column_stack([np.ones(200), np.zeros(200)])
        second = np.column_stack([np.cos(turned), np.sin(turned)])
        vectors[f"mean@{layer}"] = np.concatenate([first, second]).astype(np.float32)
    vectors["cls@0"] = np.ones((400, 2), np.float32)
    return vectors, np.cos(angle)


@pytest.mark.parametrize(("best", "earlier"), [(1, 1), (3, 2)])
def test_the_best_layer_is_found_on_development_pairs(best: int, earlier: int) -> None:
    vectors, gold = _layers(best)
    selection = select_layer(
        vectors, Target(task="toy", gold=gold, split="dev", seed=0, n_resamples=50)
    )
    assert (selection.best, selection.best_earlier, selection.last) == (best, earlier, 3)
    assert [row.view for row in selection.rows] == [f"mean@{layer}" for layer in range(4)]
    assert {(row.metric, row.split) for row in selection.rows} == {("selection_spearman", "dev")}
    assert max(row.value for row in selection.rows) == selection.rows[best].value


def test_a_layer_without_a_value_is_not_chosen() -> None:
    vectors, gold = _layers(0)
    vectors["mean@0"] = np.ones((400, 2), np.float32)
    selection = select_layer(
        vectors, Target(task="toy", gold=gold, split="dev", seed=0, n_resamples=20)
    )
    assert math.isnan(selection.rows[0].value)
    assert selection.best == 1


def test_selection_refuses_test_pairs_and_missing_layers() -> None:
    vectors, gold = _layers(1)
    with pytest.raises(ValueError, match="found the split test"):
        select_layer(vectors, Target(task="toy", gold=gold, seed=0, n_resamples=20))
    del vectors["mean@2"]
    with pytest.raises(ValueError, match="expected mean@0 to mean@last"):
        select_layer(vectors, Target(task="toy", gold=gold, split="dev", seed=0, n_resamples=20))
