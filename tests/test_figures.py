"""Figures say what the table says, and nothing in them is cut off or covered."""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from probing.claims.deciding import decide
from probing.errors import InputError
from probing.reporting import figures
from probing.reporting.figures import ACCURACY, ANISOTROPY, COMPRESSION, SIMILARITY, Described
from probing.reporting.figures.drawing import apart, contrasting, in_order, mark
from probing.results.quantities import (
    floors,
    models_of,
    points,
    quantities,
    select,
    signed,
    written,
)
from probing.results.scores import Score, score_table

POOLINGS = ("cls", "mean", "mean_words", "max")


def invented_scores(
    *,
    model: str = "tiny",
    n_layers: int = 3,
    tasks: tuple[str, ...] = ("sts-mini",),
    probes: tuple[str, ...] = ("ewt:tree_depth", "ewt:subj_number"),
    pooler: bool = True,
    seed: int = 0,
) -> pd.DataFrame:
    """A results table of the shape a run leaves, with invented values; ``cls@0`` is undefined."""
    rng = np.random.default_rng(seed)
    views = [(pooling, layer) for layer in range(n_layers + 1) for pooling in POOLINGS]
    views += [("pooler_dense", n_layers), ("pooler", n_layers)] if pooler else []
    rows: list[Score] = []

    def add(name: str, task: str, value: float, **columns: object) -> None:
        width = rng.uniform(0.005, 0.06)
        ends = {} if math.isnan(value) else {"lower": value - width, "upper": value + width}
        rows.append(Score(model=name, task=task, value=value, n=400, seed=0, **ends, **columns))  # type: ignore[arg-type]

    for name in (model, f"{model}+random"):
        level = 0.3 if name == model else 0.1
        for pooling, layer in views:
            place = {"view": f"{pooling}@{layer}", "layer": layer, "pooling": pooling}
            undefined = pooling == "cls" and layer == 0
            for task in tasks:
                for aggregation in ("all", "mean", "wmean"):
                    value = math.nan if undefined else level + rng.uniform(-0.3, 0.4)
                    how = {"probe": "cosine", "metric": "spearman", "aggregation": aggregation}
                    add(name, task, value, **place, **how)
            for task in probes:
                for labels in ("real", "control"):
                    how = {"probe": "codelength", "metric": "compression", "labels": labels}
                    add(name, task, rng.uniform(0.9, 4.0), **place, **how)
                for probe in ("linear", "mlp"):
                    for labels in ("real", "control"):
                        value = 0.5 + level + rng.uniform(-0.1, 0.15) - 0.3 * (labels == "control")
                        how = {"probe": probe, "metric": "accuracy", "labels": labels}
                        add(name, task, value, **place, **how)
            for task in tasks:
                how = {"probe": "none", "metric": "anisotropy"}
                add(name, task, rng.uniform(0, 1), **place, **how)
    if pooler:
        for i, (one, layer) in enumerate(views):
            for other, deeper in views[i + 1 :]:
                constant = (one, layer) == ("cls", 0)
                value = math.nan if constant else rng.uniform(0, 1)
                pair = {"view": f"{one}@{layer} & {other}@{deeper}", "pooling": f"{one} & {other}"}
                add(model, "none", value, split="dev", probe="none", metric="cka", **pair)
    for task in tasks:
        add("floor:jaccard", task, 0.4, probe="none", metric="spearman", aggregation="all")
    for task in probes:
        for floor in ("majority", "bag-of-words"):
            value = rng.uniform(0.3, 0.6)
            add(f"floor:{floor}", task, value, probe="none", metric="accuracy")
    if pooler:
        _add_differences(rows, model, tasks, n_layers)
    return score_table(rows)


def _add_differences(rows: list[Score], model: str, tasks: tuple[str, ...], last: int) -> None:
    """The paired differences that the claims and the road are read from."""
    values = {(row.model, row.task, row.view, row.aggregation): row.value for row in rows}
    stations = [f"{pooling}@{last}" for pooling in ("mean", "cls", "pooler_dense", "pooler")]
    pairs = [(b, a) for a, b in pairwise(stations)]
    pairs += [(f"pooler@{last}", f"{pooling}@{last}") for pooling in ("mean", "cls")]
    for task in tasks:
        for after, before in dict.fromkeys(pairs):
            change = values[model, task, after, "all"] - values[model, task, before, "all"]
            shared = Score(
                model=model,
                task=task,
                aggregation="all",
                view=f"{after} - {before}",
                layer=last,
                probe="cosine",
                metric="spearman_difference",
                value=change,
                lower=change - 0.02,
                upper=change + 0.03,
                n=400,
                seed=0,
            )
            rows.append(shared)
            nothing = {"lower": math.nan, "upper": math.nan}
            rows.append(replace(shared, metric="standard_error", value=0.012, **nothing))


def invented_logs() -> dict[str, pd.DataFrame]:
    """Training logs of two runs, one without next sentences, evaluated at every second step."""
    steps = np.arange(1, 9)
    loss = np.where(steps % 2 == 0, 7 - steps / 4, math.nan)
    accuracy = np.where(steps % 2 == 0, 0.5 + steps / 40, math.nan)
    shared = {"step": steps, "tokens": steps * 500_000}
    nsp = pd.DataFrame(
        {**shared, "held_out_mlm_loss": loss, "held_out_sentence_accuracy": accuracy}
    )
    mlm = nsp.assign(
        held_out_mlm_loss=nsp["held_out_mlm_loss"] - 0.8, held_out_sentence_accuracy=math.nan
    )
    return {"minilm-nsp": nsp, "minilm-placebo": mlm}


def every_figure(scores: pd.DataFrame, model: str = "tiny") -> dict[str, Described]:
    """Each function at least once on what `invented_scores` makes."""
    tasks = list(scores.loc[scores["probe"] == "cosine", "task"].unique())
    probed = list(scores.loc[scores["probe"] == "linear", "task"].unique())
    views = set(scores.loc[scores["model"] == model, "view"])
    last = int(scores["layer"].max())
    shares = np.random.default_rng(0).dirichlet(np.ones(9), last)
    tokens = ["[CLS]", "a", "man", "is", "play", "##ing", "a", "guitar", "[SEP]"]
    made = {
        "heat map": figures.heat_map(scores, model=model, task=tasks[0]),
        "curves": figures.layer_curves(scores, model=model, task=tasks[0]),
        "probe heat map": figures.heat_map(scores, model=model, task=probed[0], quantity=ACCURACY),
        "probe curves": figures.layer_curves(
            scores, model=model, task=probed[0], quantity=ACCURACY
        ),
        "task map": figures.task_map(scores, model=model, tasks=tasks),
        "probe map": figures.task_map(scores, model=model, tasks=probed, quantity=ACCURACY),
        "aggregations": figures.comparison(scores, model=model, task=tasks[0], by="aggregation"),
        "probes": figures.comparison(
            scores, model=model, task=probed[0], by="probe", quantity=ACCURACY
        ),
        "selectivity": figures.selectivity(scores, model=model, task=probed[0]),
        "attention": figures.attention_map(shares, tokens),
        "compression": figures.layer_curves(
            scores, model=model, task=probed[0], quantity=COMPRESSION
        ),
        "anisotropy": figures.heat_map(scores, model=model, task=tasks[0], quantity=ANISOTROPY),
        "models": figures.model_curves(scores, models=[model, f"{model}+random"], task=tasks[0]),
        "training": figures.training_curves(invented_logs()),
        "next sentences": figures.training_curves(
            invented_logs(), column="held_out_sentence_accuracy"
        ),
    }
    if f"pooler@{last}" in views:
        road = [f"{pooling}@{last}" for pooling in ("mean", "cls", "pooler_dense", "pooler")]
        made["road"] = figures.road(scores, model=model, task=tasks[0], views=road)
        made["cka"] = figures.cka_map(scores, model=model)
        made["effects"] = figures.effects(decide(scores, model))
    return made


TABLES: dict[str, Callable[[], pd.DataFrame]] = {
    "1 layer": lambda: invented_scores(n_layers=1),
    "3 layers": invented_scores,
    "12 layers, seven tasks": lambda: invented_scores(
        n_layers=12, tasks=("stsb", *(f"sts{year}" for year in range(12, 17)), "sickr")
    ),
    "24 layers": lambda: invented_scores(n_layers=24),
    "no pooler": lambda: invented_scores(pooler=False),
    "long names": lambda: invented_scores(
        model="an-organisation/a-rather-long-model-name-v2",
        probes=("ewt:coordination_inversion", "ewt:upos"),
    ),
}


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.slow
def test_nothing_is_cut_off_and_no_name_covers_another(table: str) -> None:
    scores = TABLES[table]()
    for name, described in every_figure(scores, models_of(scores)[0]).items():
        figure = described.figure
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw(renderer)
        width, height = figure.canvas.get_width_height()
        boxes = []
        for text in _drawn_texts(figure):
            box = Text.get_window_extent(text, renderer)
            where = f"{name}: {text.get_text()!r} at {box}"
            assert box.x0 >= -1 and box.x1 <= width + 1, where
            assert box.y0 >= -1 and box.y1 <= height + 1, where
            if not text.get_rotation():  # the boxes of slanted words overlap, the words do not
                boxes.append((text.get_text(), box.shrunk(0.9, 0.75)))
        for i, (one, box) in enumerate(boxes):
            for other, beside in boxes[i + 1 :]:
                assert not box.overlaps(beside), f"{name}: {one!r} covers {other!r}"


def _drawn_texts(figure: Figure) -> list[Text]:
    """Every text that can be seen; a tick outside the limits keeps its text but is not drawn."""
    hidden: set[Text] = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks():
                if not low <= tick.get_loc() <= high:
                    hidden |= {tick.label1, tick.label2}
    texts = [text for text in figure.findobj(Text) if text.get_text().strip()]
    return [text for text in texts if text.get_visible() and text not in hidden]


def _texts(described: Described) -> list[str]:
    return [text.get_text() for text in described.figure.findobj(Text) if text.get_text()]


def test_the_heat_map_shows_every_number_of_the_table_and_says_nan() -> None:
    scores = invented_scores()
    described = figures.heat_map(scores, model="tiny", task="sts-mini")
    table = select(scores, SIMILARITY, model="tiny", task="sts-mini")
    shown = _texts(described)
    for value in table["value"]:
        assert ("NaN" if math.isnan(value) else points(value)) in shown
    assert shown.count("NaN") == 1
    best = table.loc[table["value"].idxmax()]
    assert f"the highest is {best['view']}, {best['value']:.1f}" in described.sentence
    assert "Undefined (NaN): cls@0." in described.sentence
    pooler = table.set_index("view")["value"]["pooler@3"]
    assert f"pooler_output (pooler@3) {pooler:.1f}" in described.sentence


def test_without_a_pooler_none_is_mentioned() -> None:
    described = figures.heat_map(invented_scores(pooler=False), model="tiny", task="sts-mini")
    assert "pooler" not in described.sentence
    assert not any("pooler" in text for text in _texts(described))


def test_a_table_of_nothing_but_nan_is_drawn() -> None:
    scores = invented_scores()
    scores[["value", "lower", "upper"]] = math.nan
    assert (
        "undefined everywhere" in figures.heat_map(scores, model="tiny", task="sts-mini").sentence
    )
    figures.layer_curves(scores, model="tiny", task="sts-mini").png()


def test_the_curves_are_the_rows_and_name_their_references() -> None:
    scores = invented_scores()
    described = figures.layer_curves(scores, model="tiny", task="sts-mini")
    table = select(scores, SIMILARITY, model="tiny", task="sts-mini")
    drawn = [line.get_ydata() for line in described.figure.axes[0].lines]
    for pooling in POOLINGS:
        wanted = table[table["pooling"] == pooling]["value"].to_numpy()
        assert any(
            len(line) == len(wanted) and np.allclose(line, wanted, equal_nan=True) for line in drawn
        )
    twins = select(scores, SIMILARITY, model="tiny+random", task="sts-mini")["value"]
    assert f"reach {twins.max():.1f}" in described.sentence
    assert "the floor jaccard (dotted) 40.0" in described.sentence


def test_the_steps_of_the_road_add_up_and_carry_the_paired_intervals() -> None:
    scores = invented_scores()
    road = ["mean@3", "cls@3", "pooler_dense@3", "pooler@3"]
    values = select(scores, SIMILARITY, model="tiny", task="sts-mini").set_index("view")["value"]
    described = figures.road(scores, model="tiny", task="sts-mini", views=road)
    bars = described.figure.axes[0].patches
    assert sum(bar.get_width() for bar in bars[:-1]) == pytest.approx(bars[-1].get_width())
    assert bars[-1].get_width() == pytest.approx(values["pooler@3"] - values["mean@3"])
    step = values["cls@3"] - values["mean@3"]
    assert signed(step, step - 2, step + 3) in described.sentence
    backwards = figures.road(scores, model="tiny", task="sts-mini", views=["cls@3", "mean@3"])
    assert signed(-step, -step - 3, -step + 2) in backwards.sentence


def test_selectivity_is_real_minus_control() -> None:
    scores = invented_scores()
    task = "ewt:tree_depth"
    control = replace(ACCURACY, labels="control")
    real, floor = (
        select(scores, quantity, model="tiny", task=task).query("pooling == 'mean'")["value"]
        for quantity in (ACCURACY, control)
    )
    gap = real.to_numpy() - floor.to_numpy()
    described = figures.selectivity(scores, model="tiny", task=task)
    assert f"linear {gap.max():.1f} at layer {gap.argmax()}" in described.sentence


def test_the_effects_are_those_of_the_verdict() -> None:
    verdict = decide(invented_scores(), "tiny")
    described = figures.effects(verdict)
    assert verdict.by_task
    for finding in verdict.overall or verdict.by_task:
        number = signed(100 * finding.effect, 100 * finding.lower, 100 * finding.upper)
        assert f"{finding.claim} {number} {finding.outcome}" in described.sentence


def test_training_curves_are_the_evaluations_of_the_log() -> None:
    logs = invented_logs()
    described = figures.training_curves(logs)
    drawn = described.figure.axes[0].lines
    for line, log in zip(drawn[:2], logs.values(), strict=True):  # the others lead to the names
        evaluated = log.dropna(subset=["held_out_mlm_loss"])
        np.testing.assert_allclose(line.get_xdata(), evaluated["tokens"] / 1e6)
        np.testing.assert_allclose(line.get_ydata(), evaluated["held_out_mlm_loss"])
    assert "MLM loss at the end: minilm-nsp 5, minilm-placebo 4.2" in described.sentence
    accuracy = figures.training_curves(logs, column="held_out_sentence_accuracy")
    assert "accuracy at the end: minilm-nsp 70." in accuracy.sentence  # in percent, that run alone
    assert "chance" in _texts(accuracy)
    with pytest.raises(InputError, match="no run of minilm-placebo"):
        figures.training_curves(
            {"minilm-placebo": logs["minilm-placebo"]}, column="held_out_sentence_accuracy"
        )


def test_the_curves_of_several_models_are_their_rows() -> None:
    scores = invented_scores()
    models = ["tiny", "tiny+random"]
    described = figures.model_curves(scores, models=models, task="sts-mini")
    drawn = [line.get_ydata() for line in described.figure.axes[0].lines]
    for model in models:
        table = select(scores, SIMILARITY, model=model, task="sts-mini")
        for pooling in ("mean", "cls", "pooler"):
            wanted = table[table["pooling"] == pooling]["value"].to_numpy()
            assert any(
                len(line) == len(wanted) and np.allclose(line, wanted, equal_nan=True)
                for line in drawn
            )
        assert {f"{model} {pooling}" for pooling in ("mean", "cls", "pooler")} <= set(
            _texts(described)
        )
        assert f"{model} {table.loc[table['value'].idxmax(), 'view']} " in described.sentence


def test_cka_is_drawn_with_ones_on_the_diagonal_and_without_undefined_views() -> None:
    scores = invented_scores()
    described = figures.cka_map(scores, model="tiny", poolings=("cls", "pooler"))
    drawn = described.figure.axes[0].images[0].get_array()
    assert drawn is not None
    assert drawn.shape == (4, 4)  # cls@1 to cls@3 and pooler@3; cls@0 is undefined
    np.testing.assert_array_equal(np.diag(drawn), 1.0)
    np.testing.assert_array_equal(drawn, drawn.T)
    rows = scores[scores["metric"] == "cka"].set_index("view")["value"]
    assert drawn[0, 3] == rows["cls@1 & pooler@3"]
    assert f"cls@3 and pooler@3 {rows['cls@3 & pooler@3']:.2f}" in described.sentence


def test_what_is_no_percentage_is_shown_as_stored() -> None:
    scores = invented_scores()
    table = select(scores, ANISOTROPY, model="tiny", task="sts-mini")
    described = figures.heat_map(scores, model="tiny", task="sts-mini", quantity=ANISOTROPY)
    assert table["value"].max() <= 1
    assert f"{table['value'].max():.2f}" in _texts(described)


def test_a_comparison_keeps_to_values_that_all_views_have() -> None:
    scores = invented_scores()
    extra = scores[(scores["view"] == "cls@3") & (scores["metric"] == "spearman")]
    whole = scores[(scores["layer"].notna()) & (scores["metric"] == "spearman")]
    scores = pd.concat(
        [scores, extra.assign(transform="tanh"), whole.assign(transform="centred:target")]
    )
    where = {"model": "tiny", "task": "sts-mini", "by": "transform"}
    sentence = figures.comparison(scores, **where).sentence  # type: ignore[arg-type]
    assert "centred:target: highest" in sentence
    assert "tanh" not in sentence
    chosen = figures.comparison(scores, **where, views=["cls@3"], values=["raw", "tanh"])  # type: ignore[arg-type]
    assert "tanh: highest cls@3" in chosen.sentence


def test_equal_figures_are_equal_files_without_a_date() -> None:
    one, two = (
        figures.heat_map(invented_scores(), model="tiny", task="sts-mini") for _ in range(2)
    )
    assert one.svg == two.svg
    assert one.png() == two.png()
    assert "<dc:date>" not in one.svg
    inline = one.inline_svg("a") + two.inline_svg("b")
    ids = [part.split('"')[0] for part in inline.split(' id="')[1:]]
    assert ids
    assert len(ids) == len(set(ids))
    assert "#262626" not in inline  # the ink takes the page's colour
    assert f'aria-label="{one.sentence}"' in inline


ABSENT: dict[str, Callable[[pd.DataFrame], object]] = {
    "model": lambda scores: figures.heat_map(scores, model="other", task="sts-mini"),
    "task": lambda scores: figures.layer_curves(scores, model="tiny", task="stsb"),
    "no tasks": lambda scores: figures.task_map(scores, model="tiny", tasks=[]),
    "pooling": lambda scores: figures.task_map(
        scores, model="tiny", tasks=["sts-mini"], pooling="median"
    ),
    "one value": lambda scores: figures.comparison(
        scores, model="tiny", task="sts-mini", by="transform"
    ),
    "short road": lambda scores: figures.road(
        scores, model="tiny", task="sts-mini", views=["mean@3"]
    ),
    "undefined view": lambda scores: figures.road(
        scores, model="tiny", task="sts-mini", views=["cls@0", "mean@3"]
    ),
    "unknown view": lambda scores: figures.road(
        scores, model="tiny", task="sts-mini", views=["mean@3", "mean@9"]
    ),
    "no controls": lambda scores: figures.selectivity(
        scores[scores["labels"] == "real"], model="tiny", task="ewt:tree_depth"
    ),
    "no claims": lambda scores: figures.effects(replace(decide(scores, "tiny"), by_task=())),
    "no cka": lambda scores: figures.cka_map(scores[scores["metric"] != "cka"], model="tiny"),
    "attention": lambda _: figures.attention_map(np.ones((2, 3)), ["a"]),
}


@pytest.mark.parametrize("what", ABSENT)
def test_what_the_table_lacks_is_said(what: str) -> None:
    with pytest.raises(InputError) as raised:
        ABSENT[what](invented_scores())
    assert "\n" not in str(raised.value)


def test_selection_prefers_the_test_split_and_averages_seeds() -> None:
    row = Score(task="t", view="mean@1", layer=1, pooling="mean", probe="linear", metric="accuracy",
                value=0.5, lower=0.4, upper=0.6, n=9, seed=0, model="m")  # fmt: skip
    rows = [row, replace(row, seed=1, value=0.7, lower=0.6, upper=0.8), replace(row, split="dev")]
    found = select(score_table(rows), ACCURACY, model="m", task="t")
    assert found[["value", "lower", "upper"]].to_numpy().tolist() == [
        pytest.approx([60.0, 50.0, 70.0])
    ]
    undefined = [row, replace(row, seed=1, value=math.nan, lower=math.nan, upper=math.nan)]
    assert select(score_table(undefined), ACCURACY, model="m", task="t")["value"].isna().all()


def test_models_quantities_and_floors_of_a_table() -> None:
    scores = invented_scores()
    assert models_of(scores) == ("tiny",)
    assert quantities(scores, "tiny", "sts-mini") == (SIMILARITY,)
    mlp = replace(ACCURACY, probe="mlp")
    assert quantities(scores, "tiny", "ewt:tree_depth") == (ACCURACY, mlp, COMPRESSION)
    by_mlp = scores[(scores["probe"] == "mlp") & (scores["metric"] == "accuracy")]
    assert quantities(by_mlp, "tiny", "ewt:tree_depth") == (mlp,)
    assert floors(scores, SIMILARITY, task="sts-mini") == {"jaccard": pytest.approx(40.0)}
    assert set(floors(scores, ACCURACY, task="ewt:tree_depth")) == {
        "majority",
        "bag-of-words",
    }


@given(
    st.lists(st.floats(0, 100), min_size=1, max_size=12).map(sorted),
    st.floats(0.1, 8),
)
def test_names_are_moved_apart_within_the_axes(places: list[float], gap: float) -> None:
    found = apart(places, gap, 0, 100)
    assert len(found) == len(places)
    assert all(b - a >= gap - 1e-9 for a, b in pairwise(found))
    assert found[0] >= -1e-9
    assert found[-1] <= 100 + 1e-9
    if all(b - a >= gap for a, b in pairwise(places)):
        assert found == pytest.approx(places)


def test_numbers_are_written_with_a_true_minus_and_no_negative_zero() -> None:
    assert written(75.61, 69.71, 80.29) == "75.6 [69.7, 80.3]"
    assert written(math.nan) == "NaN"
    assert signed(-4.71, -7.93, 1.64) == "−4.7 [−7.9, +1.6]"
    assert signed(-0.04) == "0.0"
    assert signed(0.04, -0.5, math.nan) == "0.0"
    assert signed(math.nan) == points(math.nan) == "NaN"
    assert signed(0.123, digits=2) == "+0.12"
    assert points(-3.0, 0) == "−3"


def test_marks_tell_poolings_apart_without_colour() -> None:
    known = ("cls", "mean", "mean_words", "max", "pooler_dense", "pooler")
    assert len({mark(pooling)[1] for pooling in known}) == len(known)
    assert len({str(mark(pooling)[0]) for pooling in known}) == len(known)
    assert in_order(["median", "pooler", "mean"]) == ["mean", "pooler", "median"]
    assert mark("median")[1] not in {mark(pooling)[1] for pooling in known}
    assert (contrasting("#ffffff"), contrasting("#00224e")) == ("#000000", "#ffffff")
