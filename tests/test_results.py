"""The table of scores: its names, its rows, its differences, its numbers as text, its folder."""

import json
import logging
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from probing.errors import InputError
from probing.results import names
from probing.results.differences import (
    Difference,
    Place,
    check_aggregation,
    read_differences,
    usable_aggregation,
)
from probing.results.names import place_of
from probing.results.quantities import (
    ACCURACY,
    COMPRESSION,
    SIMILARITY,
    Quantity,
    best_row,
    contrasts_of,
    floors,
    models_of,
    points,
    quantities,
    records,
    select,
    signed,
    training_items,
    with_interval,
    written,
)
from probing.results.run_folder import describe_versions, new_run_folder, read_run, write_run
from probing.results.scores import COLUMNS, Score, score_table
from probing.results.target import Target
from probing.statistics import Aggregation

ROW = Score(
    model="m",
    task="t",
    aggregation="all",
    view="mean@2",
    layer=2,
    pooling="mean",
    probe="cosine",
    metric="spearman",
    value=0.5,
    lower=0.4,
    upper=0.6,
    n=9,
    seed=0,
)


# names


def test_a_name_that_is_made_is_read_back() -> None:
    assert names.difference("pooler@6", "mean@6") == "pooler@6 - mean@6"
    assert names.sides("pooler@6 - mean@6") == ("pooler@6", "mean@6")
    assert names.sides("mean@6") == ("mean@6",)
    assert names.is_difference("pooler@6 - mean@6")
    assert not names.is_difference("all-MiniLM-L6-v2")
    assert names.twin_name("minilm") == "minilm+random"
    assert names.is_twin("minilm+random")
    assert not names.is_twin("+random minilm")
    assert names.floor_name("jaccard") == "floor:jaccard"
    assert names.floor_kind("floor:jaccard") == "jaccard"
    assert names.is_floor("floor:jaccard")
    assert not names.is_floor("my-floor:jaccard")


@pytest.mark.parametrize(
    ("view", "layer", "pooling"),
    [
        ("mean@6", 6, "mean"),
        ("cls@0", 0, "cls"),
        ("mean@1+12", None, "mean"),
        ("cls@11,12", None, "cls"),
        ("none", None, "none"),
        ("mine", None, "mine"),
        ("pooler@6 - mean@6", 6, "pooler - mean"),
        ("mean@6 - mean@3", None, "mean"),
        ("cls@6 & mean@6", 6, "cls & mean"),
        ("cls@6 & cls@2", None, "cls"),
    ],
)
def test_layer_and_pooling_of_a_view(view: str, layer: int | None, pooling: str) -> None:
    assert place_of(view) == (layer, pooling)


# rows


def test_a_row_has_its_interval_in_order_and_known_labels() -> None:
    replace(ROW, lower=0.5, upper=0.5)
    replace(ROW, lower=math.nan)
    replace(ROW, lower=0.7, upper=math.nan)
    with pytest.raises(ValueError, match=r"lower 0\.7 is above upper 0\.6"):
        replace(ROW, lower=0.7)
    replace(ROW, labels="control")
    with pytest.raises(ValueError, match="'shuffled'"):
        replace(ROW, labels="shuffled")


def test_the_table_has_its_columns_and_types_whatever_is_in_it() -> None:
    for rows in ([], [ROW], [replace(ROW, layer=None, value=math.nan)]):
        table = score_table(rows)
        assert tuple(table.columns) == COLUMNS
        kinds = {name: str(kind) for name, kind in table.dtypes.items()}
        assert {kinds.pop(name) for name in ("value", "lower", "upper")} == {"float64"}
        assert {kinds.pop(name) for name in ("n", "seed")} == {"int64"}
        nullable = ("layer", "clusters", "largest_cluster")
        assert {kinds.pop(name) for name in nullable} == {"Int64"}
        assert set(kinds.values()) == {"str"}
    row = replace(ROW, clusters=4, largest_cluster=3)
    assert records(score_table([row])) == [asdict(row)]
    assert pd.isna(score_table([replace(ROW, layer=None)])["layer"].iloc[0])


def test_a_target_makes_the_rows_of_its_task() -> None:
    target = Target(task="t", gold=np.arange(4.0), split="dev", seed=7)
    shared = {"view": "cls@3", "probe": "cosine", "metric": "spearman", "value": 0.5}
    plain = target.score(**shared)  # type: ignore[arg-type]
    assert plain == Score(
        task="t", split="dev", view="cls@3", layer=3, pooling="cls", probe="cosine",
        metric="spearman", value=0.5, n=4, seed=7, lower=plain.lower, upper=plain.upper,
    )  # fmt: skip
    assert math.isnan(plain.lower)
    assert math.isnan(plain.upper)
    more: dict[str, Any] = {
        "lower": 0.25,
        "upper": 0.75,
        "n": 3,
        "subset": "news",
        "aggregation": "wmean",
        "transform": "whitened",
        "labels": "control",
        "seed": 1,
    }
    full = target.score(**shared, **more)
    assert {name: getattr(full, name) for name in more} == more
    assert target.score(**shared, n=0).n == 0  # type: ignore[arg-type]
    assert target.score(**shared, seed=0).seed == 0  # type: ignore[arg-type]
    assert target.rng().integers(1 << 40) == np.random.default_rng(7).integers(1 << 40)
    assert len(target) == 4


def test_the_subsets_of_a_target_are_coded_in_order() -> None:
    found, codes, aggregations = Target(
        task="t", gold=np.zeros(3), subsets=["news", "forum", "news"]
    ).coded_subsets()
    assert (found.tolist(), codes.tolist()) == (["forum", "news"], [1, 0, 1])
    assert aggregations == tuple(Aggregation)
    for subsets in (None, ["all"] * 3, ["news"] * 3):
        found, codes, aggregations = Target(
            task="t", gold=np.zeros(3), subsets=subsets
        ).coded_subsets()
        assert found.tolist() == [(subsets or ["all"])[0]]
        assert codes.tolist() == [0, 0, 0]
        assert aggregations == (Aggregation.ALL,)


def test_a_row_has_the_clusters_of_its_items() -> None:
    shared: dict[str, Any] = {"view": "cls@3", "probe": "cosine", "metric": "rho", "value": 0.5}
    target = Target(
        task="t",
        gold=np.zeros(6),
        subsets=["a", "a", "a", "a", "b", "b"],
        clusters=np.array([0, 0, 0, 1, 1, 2]),
    )
    assert target.clustering() == (4, 3)  # the second ends at the border of the subsets
    assert target.clustering(np.array([3, 4, 5])) == (3, 1)
    plain = target.score(**shared)
    assert (plain.clusters, plain.largest_cluster) == (4, 3)
    part = target.score(**shared, n=3)
    assert (part.clusters, part.largest_cluster) == (None, None)
    part = target.score(**shared, n=3, clustering=(3, 1))
    assert (part.clusters, part.largest_cluster) == (3, 1)
    assert Target(task="t", gold=np.zeros(6)).clustering() == (None, None)


# differences


def _compared(value: float, error: float | None, **columns: Any) -> list[Score]:
    row = replace(
        ROW,
        view="pooler@2 - mean@2",
        metric="spearman_difference",
        value=value,
        lower=value - 0.1,
        upper=value + 0.2,
    )
    row = replace(row, **columns)
    if error is None:
        return [row]
    return [
        row,
        replace(row, metric="standard_error", value=error, lower=math.nan, upper=math.nan),
    ]


def test_a_difference_is_read_with_its_standard_error() -> None:
    found = read_differences(score_table(_compared(-0.25, 0.0625)), "all")
    (difference,) = found[Place("m", "pooler@2 - mean@2")]
    assert difference == Difference(
        task="t",
        metric="spearman",
        aggregation="all",
        seed=0,
        value=-0.25,
        lower=-0.35,
        upper=pytest.approx(-0.05),
        standard_error=0.0625,
    )
    assert difference.defined
    assert not replace(difference, value=math.nan).defined
    assert not replace(difference, standard_error=math.nan).defined


def test_differences_keep_apart_what_names_them() -> None:
    rows = [
        *_compared(0.1, 0.01),
        *_compared(0.2, 0.01, task="u"),
        *_compared(0.3, 0.01, seed=1),
        *_compared(0.4, 0.01, transform="whitened"),
        *_compared(0.5, 0.01, probe="linear", metric="accuracy_difference"),
        *_compared(0.6, 0.01, trained_on="16"),
        *_compared(0.7, 0.01, labels="control"),
        *_compared(0.8, 0.01, aggregation="mean"),
        *_compared(0.9, None, task="v"),
        replace(ROW, task="w"),
    ]
    # a standard error has the probe and the training items of its difference
    rows[9] = replace(rows[9], metric="standard_error", value=0.01)
    found = read_differences(score_table(rows), "wmean")
    plain = Place("m", "pooler@2 - mean@2")
    assert {place: [d.value for d in each] for place, each in found.items() if each} == {
        plain: [0.1, 0.2, 0.3],
        plain._replace(transform="whitened"): [0.4],
        plain._replace(probe="linear"): [0.5],
        plain._replace(trained_on="16"): [0.6],
    }
    assert [d.seed for d in found[plain]] == [0, 0, 1]
    assert found[plain._replace(probe="linear")][0].metric == "accuracy"


@pytest.mark.parametrize("order", [1, -1])
def test_the_aggregation_that_is_asked_for_replaces_all(order: int) -> None:
    rows = [*_compared(0.1, 0.01), *_compared(0.2, 0.02, aggregation="wmean")][::order]
    (found,) = read_differences(score_table(rows), "wmean")[Place("m", "pooler@2 - mean@2")]
    assert (found.value, found.standard_error, found.aggregation) == (0.2, 0.02, "wmean")
    (found,) = read_differences(score_table(rows), "all")[Place("m", "pooler@2 - mean@2")]
    assert (found.value, found.standard_error, found.aggregation) == (0.1, 0.01, "all")


def test_the_error_of_items_and_the_clusters_go_with_a_difference() -> None:
    place = Place("m", "pooler@2 - mean@2")
    row, error = _compared(0.1, 0.02)
    items = replace(error, metric="items_standard_error", value=0.015)
    elsewhere = [replace(items, task="u", value=0.5), replace(items, aggregation="mean", value=0.6)]
    table = score_table([row, replace(error, clusters=20), items, *elsewhere])
    (found,) = read_differences(table, "all")[place]
    assert (found.items_error, found.degrees_of_freedom) == (0.015, 19)
    (found,) = read_differences(score_table([row, error]), "all")[place]
    assert math.isnan(found.items_error)
    assert found.degrees_of_freedom == math.inf
    (found,) = read_differences(score_table([row, error]).drop(columns="clusters"), "all")[place]
    assert found.degrees_of_freedom == math.inf


def test_an_aggregation_that_was_not_measured_is_refused() -> None:
    def subset(task: str) -> Score:
        return replace(ROW, task=task, subset="news")

    single = _compared(0.1, 0.01, task="stsb")
    every = [*single, *_compared(0.1, 0.01), *_compared(0.2, 0.02, aggregation="mean"), subset("t")]
    for aggregation in ("all", "mean"):
        check_aggregation(score_table(every), aggregation)
        assert usable_aggregation(score_table(every), aggregation) == aggregation
    with pytest.raises(InputError) as raised:
        check_aggregation(score_table(every), "wmean")
    assert str(raised.value) == (
        "no differences of aggregation 'wmean' on stsb, t: found all, mean"
    )
    lacking = [*every, *_compared(0.1, 0.01, task="u"), subset("u")]
    with pytest.raises(InputError, match="aggregation 'mean' on u: found"):
        check_aggregation(score_table(lacking), "mean")
    only_mean = [*every, *_compared(0.1, 0.01, task="v", aggregation="mean")]
    with pytest.raises(InputError, match="aggregation 'all' on v: found"):
        check_aggregation(score_table(only_mean), "all")
    control = [*every, *_compared(0.1, 0.01, task="u", labels="control"), subset("u")]
    check_aggregation(score_table(control), "mean")
    assert usable_aggregation(score_table(single), "mean") == "all"
    several = [*single, subset("stsb")]
    assert usable_aggregation(score_table(several), "mean") == "mean"
    of_probe = [*single, replace(subset("stsb"), probe="finetuned")]
    assert usable_aggregation(score_table(of_probe), "mean") == "all"


# quantities


@pytest.mark.parametrize(
    ("quantity", "unit", "scale", "digits", "words"),
    [
        (SIMILARITY, "Spearman × 100", 100, 1, "Spearman × 100"),
        (Quantity(metric="spearman_difference"), "Spearman × 100", 100, 1, "Spearman × 100"),
        (ACCURACY, "accuracy (%)", 100, 1, "accuracy (%) of the linear probe"),
        (
            Quantity(metric="bits", probe="codelength", labels="control", subset="news"),
            "code length (bits)",
            1,
            2,
            "code length (bits) of the codelength probe on control labels of the subset news",
        ),
        (
            Quantity(metric="mine", probe="none", transform="whitened"),
            "mine",
            1,
            2,
            "mine after whitened",
        ),
    ],
)
def test_a_quantity_says_what_it_is(
    quantity: Quantity, unit: str, scale: float, digits: int, words: str
) -> None:
    assert (quantity.unit, quantity.scale, quantity.digits) == (unit, scale, digits)
    assert str(quantity) == words


def _accuracy(probe: str = "linear", **columns: Any) -> Score:
    row = replace(ROW, metric="accuracy", probe=probe, aggregation="none")
    return replace(row, **columns)


def test_the_main_quantities_are_those_that_were_measured() -> None:
    bits = replace(ROW, metric="compression", probe="codelength", aggregation="none")
    rows = [
        _accuracy("mlp"),
        _accuracy(),
        _accuracy("finetuned"),
        _accuracy("other", model="n"),
        _accuracy("part", subset="news"),
        bits,
        ROW,
        replace(ROW, task="u"),
    ]
    by_mlp = replace(ACCURACY, probe="mlp")
    assert quantities(score_table(rows), "m", "t") == (SIMILARITY, ACCURACY, by_mlp, COMPRESSION)
    assert quantities(score_table(rows), "m", "u") == (SIMILARITY,)
    assert quantities(score_table(rows[:2]), "m", "t") == (ACCURACY, by_mlp)
    assert quantities(score_table([bits]), "m", "t") == (COMPRESSION,)
    assert quantities(score_table(rows), "m", "v") == ()


def test_selection_takes_the_rows_of_one_quantity_and_scales_them() -> None:
    others = {
        "model": "n",
        "task": "u",
        "metric": "pearson",
        "probe": "regression",
        "aggregation": "mean",
        "subset": "news",
        "transform": "whitened",
        "labels": "control",
    }
    strange = [replace(ROW, value=0.45, **{name: value}) for name, value in others.items()]  # type: ignore[arg-type]
    average = replace(ROW, view="mean@1+2", layer=None, value=0.25, lower=0.25, upper=0.25, n=8)
    table = select(score_table([*strange, ROW, average]), SIMILARITY, model="m", task="t")
    assert list(table.columns) == ["view", "layer", "pooling", "n", "value", "lower", "upper"]
    assert table["view"].tolist() == ["mean@2", "mean@1+2"]  # in the order of the table
    assert table["value"].tolist() == [50.0, 25.0]
    assert table["lower"].tolist() == [40.0, 25.0]
    assert table["upper"].tolist() == [60.0, 25.0]
    assert table["n"].tolist() == [9, 8]
    assert table["layer"][0] == 2
    assert pd.isna(table["layer"][1])
    with pytest.raises(InputError) as raised:
        select(score_table([ROW]), ACCURACY, model="m", task="t")
    assert str(raised.value) == (
        "no accuracy (%) of the linear probe of m on t in this table: it has the models m and the "
        "tasks t"
    )


def test_selection_means_the_test_split_where_there_is_one() -> None:
    rows = [ROW, replace(ROW, split="dev", value=0.45)]
    assert select(score_table(rows), SIMILARITY, model="m", task="t")["value"].tolist() == [50.0]
    rows = [replace(ROW, split="dev", value=0.45)]
    assert select(score_table(rows), SIMILARITY, model="m", task="t")["value"].tolist() == [45.0]


def test_models_contrasts_and_floors_are_told_apart() -> None:
    models = ("b", "a", "a+random", "floor:jaccard", "b - a", "a - b", "a - a+random")
    table = score_table([replace(ROW, model=model) for model in models])
    assert models_of(table) == ("b", "a")
    assert contrasts_of(table) == ("b - a", "a - b")


def test_the_floors_of_a_task() -> None:
    floor = replace(ROW, model="floor:jaccard", view="none", probe="none", value=0.25, lower=0.0)
    others = {
        "task": "u",
        "metric": "pearson",
        "probe": "linear",
        "aggregation": "mean",
        "subset": "news",
        "labels": "control",
        "model": "m",
    }
    strange = [replace(floor, value=0.125, **{name: value}) for name, value in others.items()]  # type: ignore[arg-type]
    seeds = [replace(floor, seed=1, value=0.5), replace(floor, model="floor:b", probe="cosine")]
    found = floors(score_table([*strange, floor, *seeds]), SIMILARITY, task="t")
    assert [*found.items()] == [("jaccard", 37.5), ("b", 25.0)]  # in the order of the table


def test_training_items() -> None:
    assert training_items("100") == 100
    assert training_items("all") == math.inf


def test_numbers_as_text() -> None:
    nan = math.nan
    assert [points(v) for v in (75.61, -4.71, -0.04, nan)] == ["75.6", "−4.7", "0.0", "NaN"]
    assert points(-0.125, 3) == "−0.125"
    assert points(-0.01, 0) == "0"
    assert written(75.61, 69.71, 80.29) == "75.6 [69.7, 80.3]"
    assert written(2.346, 1.0, 3.0, digits=2) == "2.35 [1.00, 3.00]"
    assert [written(1.0), written(1.0, 0.0), written(1.0, nan, 2.0)] == ["1.0"] * 3
    assert written(nan, 0.0, 1.0) == "NaN"
    assert signed(-4.71, -7.93, 1.64) == "−4.7 [−7.9, +1.6]"
    assert signed(0.456, 0.0, 1.0, digits=2) == "+0.46 [0.00, +1.00]"
    assert [signed(v) for v in (-0.04, 0.04, 0.06, nan)] == ["0.0", "0.0", "+0.1", "NaN"]
    row = {"value": 75.61, "lower": 69.71, "upper": 80.29}
    assert with_interval(row) == "75.6 [69.7, 80.3]"
    assert with_interval(row, 2) == "75.61 [69.71, 80.29]"


def test_the_best_row_is_the_highest_that_is_defined() -> None:
    table = pd.DataFrame({"view": ["a", "b", "c"], "value": [math.nan, 2.0, 1.0]})
    assert best_row(table) == {"view": "b", "value": 2.0}
    assert best_row(table[:1]) is None


# the folder


def test_a_run_folder_is_written_and_read_back(tmp_path: Path) -> None:
    table = score_table([ROW, replace(ROW, view="cls@0", layer=0, value=math.nan)])
    manifest = {"study": {"models": ["größe"]}, "encoders": [], "tasks": [], "seconds": 1.5}
    with new_run_folder(tmp_path / "deep" / "run") as folder:
        assert folder.parent == tmp_path / "deep"
        assert folder.name.startswith(".run-")
        write_run(folder, table, manifest)
        logging.getLogger("probing.study").info("a remark")
        logging.getLogger("elsewhere").warning("not of the package")
    out = tmp_path / "deep" / "run"
    assert [path.name for path in out.parent.iterdir()] == ["run"]
    found, described = read_run(out)
    pd.testing.assert_frame_equal(found, table)
    assert described == manifest
    assert (out / "run.log").read_text(encoding="utf-8") == "INFO probing.study: a remark\n"
    text = (out / "manifest.json").read_text(encoding="utf-8")
    assert "größe" in text
    assert text == json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    csv = (out / "scores.csv").read_text(encoding="utf-8").splitlines()
    assert csv[0] == ",".join(COLUMNS)
    assert ",NaN,0.4,0.6,9,0" in csv[2]


def test_the_log_of_a_run_ends_with_it(tmp_path: Path) -> None:
    package = logging.getLogger("probing")
    before = (package.level, package.handlers[:])
    with new_run_folder(tmp_path / "run"):
        assert package.level == logging.INFO
        assert len(package.handlers) == len(before[1]) + 1
    assert (package.level, package.handlers) == before


def test_a_body_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with new_run_folder(out) as folder:
        (folder / "manifest.json").write_text("{}", encoding="utf-8")
    with pytest.raises(RuntimeError), new_run_folder(out):
        raise RuntimeError
    assert (out / "manifest.json").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    with new_run_folder(out) as folder:
        (folder / "other").touch()
    assert sorted(path.name for path in out.iterdir()) == ["other", "run.log"]


def test_a_place_that_is_no_place_for_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(out: Path, reason: str) -> None:
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(InputError, match=reason), new_run_folder(out):
            pytest.fail("the body ran")
        assert sorted(tmp_path.rglob("*")) == before

    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    refused(tmp_path / "file", "exists and is not a run folder")
    refused(tmp_path / "full", "exists and is not a run folder")
    refused(tmp_path / "file" / "run", "cannot write to|cannot read")
    refused(tmp_path / "loop", "cannot")
    monkeypatch.chdir(tmp_path / "full")
    refused(tmp_path / "full", "is or holds the current folder")
    refused(tmp_path, "is or holds the current folder")
    (tmp_path / "empty").mkdir()
    with new_run_folder(tmp_path / "empty"):
        pass
    assert (tmp_path / "empty" / "run.log").is_file()


def test_a_run_that_fails_leaves_no_parent_that_it_made(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for out in (tmp_path / "new" / "deep" / "run", tmp_path / "mine" / "run"):
        with pytest.raises(InputError, match="broken"), new_run_folder(out):
            raise InputError("broken")
    assert list(tmp_path.iterdir()) == [tmp_path / "mine"]


FACTS: dict[str, object] = {"encoders": [], "tasks": []}


def test_what_is_no_run_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a run folder"):
        read_run(tmp_path)
    write_run(tmp_path, score_table([ROW]), FACTS)
    read_run(tmp_path)
    write_run(tmp_path, score_table([ROW]), {"tasks": []})
    with pytest.raises(InputError, match=r"manifest\.json lacks encoders"):
        read_run(tmp_path)
    write_run(tmp_path, score_table([ROW]).assign(value="high"), FACTS)
    with pytest.raises(InputError, match=r"the column value of scores\.parquet holds str"):
        read_run(tmp_path)
    write_run(tmp_path, score_table([ROW]).drop(columns="clusters"), FACTS)
    with pytest.raises(InputError, match="lacks the columns clusters"):
        read_run(tmp_path)
    (tmp_path / "scores.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="is not a run folder"):
        read_run(tmp_path)


def test_versions_are_those_of_what_can_change_a_number() -> None:
    found = describe_versions()
    assert {"probing", "torch", "transformers", "numpy", "scipy", "pandas"} <= set(found)
    assert found["numpy"] == np.__version__
