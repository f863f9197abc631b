"""Pairs that share a sentence are no independent pairs: they are found, counted, drawn together."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from probing import load_task
from probing.probes.predictions import Predictions, probe_scores
from probing.results.scores import score_table
from probing.results.target import Target
from probing.similarity.contrasts import Cell, contrast_scores
from probing.tasks import LabelledSentences, SentencePairs
from probing.tasks.pairs import sharing_clusters
from probing.tasks.registry import describe_task


def test_clusters_by_hand() -> None:
    # a-b and c-b share b, d-c shares c with the second; e-f is alone; g-g is one pair
    one, other = ("a", "e", "c", "d", "g"), ("b", "f", "b", "c", "g")
    np.testing.assert_array_equal(sharing_clusters(one, other), [0, 1, 0, 0, 2])
    # within a subset only
    subsets = ("x", "x", "y", "y", "y")
    np.testing.assert_array_equal(sharing_clusters(one, other, subsets), [0, 1, 2, 2, 3])


def test_a_file_can_say_what_hangs_together(tmp_path: Path) -> None:
    path = tmp_path / "own.tsv"
    rows = ["a\tb\t1\tone", "c\td\t2\ttwo", "a\te\t3\ttwo"]
    path.write_text("sentence1\tsentence2\tscore\tgroup\n" + "\n".join(rows) + "\n")
    task = load_task(path)
    assert isinstance(task, SentencePairs)
    np.testing.assert_array_equal(task.clusters, [0, 1, 1])
    described = describe_task(task)
    assert (described["clusters"], described["largest_cluster"]) == (2, 2)


def _pairs(n_clusters: int, size: int, seed: int) -> tuple[dict[Cell, np.ndarray], np.ndarray]:
    """Two views whose errors are those of the clusters more than those of the pairs."""
    rng = np.random.default_rng(seed)
    clusters = np.repeat(np.arange(n_clusters), size)
    gold = rng.normal(size=len(clusters))
    views = {
        Cell(view): gold + rng.normal(size=n_clusters)[clusters] + 0.3 * rng.normal(size=len(gold))
        for view in ("pooler@2", "mean@2")
    }
    return views, gold


def test_the_table_counts_clusters_and_its_errors_know_them() -> None:
    views, gold = _pairs(60, 8, seed=0)
    clusters = np.repeat(np.arange(60), 8)
    subsets = np.repeat(["x", "y"], 240).tolist()
    cell = Cell("pooler@2 - mean@2")

    def errors(chosen: np.ndarray | None) -> float:
        target = Target(task="toy", gold=gold, subsets=subsets, clusters=chosen)
        table = score_table(contrast_scores(views, target, cells=[cell]))
        rows = table[(table["metric"] == "standard_error") & (table["aggregation"] == "all")]
        if chosen is not None:
            assert set(table["clusters"]) == {60}
            assert set(table["largest_cluster"]) == {8}
        else:
            assert table["clusters"].isna().all()
        return float(rows["value"].iloc[0])

    # the truth, from views drawn again and again
    drawn = [_pairs(60, 8, seed) for seed in range(200)]
    found = [
        contrast_scores(v, Target(task="toy", gold=g, n_resamples=2), cells=[cell])[0].value
        for v, g in drawn
    ]
    assert errors(clusters) == pytest.approx(np.std(found), rel=0.2)
    assert errors(None) < 0.75 * np.std(found)


def test_one_cluster_has_no_interval() -> None:
    views, gold = _pairs(1, 30, seed=0)
    target = Target(task="toy", gold=gold, clusters=np.zeros(30, dtype=np.intp))
    rows = contrast_scores(views, target, cells=[Cell("pooler@2 - mean@2")])
    assert np.isfinite(rows[0].value)
    assert np.isnan([rows[0].lower, rows[0].upper, rows[1].value]).all()


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "clusters", "largest"),
    [("sickr", 864, 368), ("stsb", 1178, 25), ("sts13", 1181, 170), ("sts16", 728, 132)],
)
def test_clusters_of_the_sets(real_data: Path, name: str, clusters: int, largest: int) -> None:
    described = describe_task(load_task(name, real_data))
    assert (described["clusters"], described["largest_cluster"]) == (clusters, largest)


LABELLED = (
    "the cat\ta\tone\ttest",
    "a dog\tb\tone\ttest",
    "red\ta\ttwo\ttest",
    "big\tb\ttwo\ttest",
)


@pytest.mark.parametrize("column", ["", "\tgroup"])
def test_labelled_items_can_hang_together_too(column: str, tmp_path: Path) -> None:
    path = tmp_path / "own.tsv"
    rows = [row if column else row.replace("\tone", "").replace("\ttwo", "") for row in LABELLED]
    header = f"sentence\tlabel{column}\tsplit"
    path.write_text("\n".join([header, *rows]) + "\n")
    task = load_task(path)
    assert isinstance(task, LabelledSentences)
    described = describe_task(task)
    if not column:
        assert task.clusters is None
        assert "clusters" not in described
        return
    np.testing.assert_array_equal(task.clusters, [0, 0, 1, 1])
    assert (described["clusters"], described["largest_cluster"]) == (2, 2)
    np.testing.assert_array_equal(replace(task, groups=(7, 7, 7, 3)).clusters, [0, 0, 0, 1])


def test_labelled_pairs_that_share_a_sentence_are_found() -> None:
    task = LabelledSentences(
        name="pairs",
        sentences=("a", "c", "a", "d"),
        sentences2=("b", "b", "x", "y"),
        labels=("0", "1", "0", "1"),
        splits=("test", "test", "train", "test"),
        origin="here",
    )
    np.testing.assert_array_equal(task.clusters, [0, 0, 1, 2])
    assert replace(task, sentences=("a", "c", "e", "d"), sentences2=tuple("wxyz")).clusters is None


def test_the_error_of_an_accuracy_knows_its_clusters() -> None:
    """Items of one group are right or wrong together: forty groups are no four hundred items."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 10)
    right = np.repeat(rng.random(40) < 0.7, 10)
    predictions = Predictions(
        probe="linear",
        view_ids=("mean@1",),
        classes=("a", "b"),
        items=np.arange(400),
        gold=np.zeros(400, dtype=np.intp),
        predicted=(~right).astype(np.intp)[:, None],
        dev_accuracies=np.ones((1, 1, 1)),
    )
    target = Target(task="toy", seed=0)
    alone, together, one = (
        probe_scores(predictions, target, groups=chosen)[0]
        for chosen in (None, groups, np.zeros(400, dtype=np.intp))
    )
    width = together.upper - together.lower
    assert width == pytest.approx(
        2 * 1.96 * np.sqrt(right.mean() * (1 - right.mean()) / 40), rel=0.1
    )
    assert width > 2.5 * (alone.upper - alone.lower)
    assert (together.clusters, together.largest_cluster) == (40, 10)
    assert alone.clusters is None
    assert one.value == alone.value
    assert np.isnan([one.lower, one.upper]).all()
