"""``docs/treebank.md``: what all-MiniLM-L6-v2 knows of English-EWT, layer by layer.

Run ``python docs/treebank.py --data-dir DATA``, with X-Probe's files in ``DATA/linguistic`` and
STS-B in ``DATA/sts``. It takes some twenty minutes on two cores; vectors and rows are kept in
``--work`` and not made again.
"""

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, cast

import numpy as np
import pandas as pd
from scipy.stats import norm

import probing
from probing.encoding.encoder import Encoder, load_encoder, random_twin
from probing.encoding.sharing import SharedExtraction
from probing.results.quantities import points, signed, written
from probing.results.scores import Score, score_table
from probing.statistics import spearman
from probing.study.floors import measure_floors
from probing.study.labelled import LabelledTask, measure_labelled, measure_structure
from probing.study.settings import Settings
from probing.tasks import (
    SHIPPED_TREEBANK_TASKS,
    LabelledSentences,
    ParsedSentences,
    Task,
    load_task,
)

PAGE: Final = Path(__file__).with_name("treebank.md")
MODEL: Final = "minilm"
TWIN: Final = f"{MODEL}+random"
LAST: Final = 6
ERASED: Final = "ewt:sentence_length"
XPROBE_ITEMS: Final = 3000
"""Of each of X-Probe's files, evenly from its splits: about as many as English-EWT has."""
WORDS: Final = ("ewt", "ewt:relation", "ewt:arc")
_FEW: Final = {"ewt": 1700, "ewt:relation": 5000, "ewt:arc": 5000}
"""Sentences and arcs, evenly from their splits."""


Extracts = tuple[SharedExtraction, SharedExtraction]
"""Of the encoder and of its twin, each of which encodes a sentence once."""


def measured(
    name: str, task: Task, extracts: Extracts, settings: Settings, folder: Path
) -> pd.DataFrame:
    """The rows of a task, read where they are made already; of sentences the encoder alone."""
    path = folder / f"{name.replace(':', '-')}.parquet"
    if path.is_file():
        return pd.read_parquet(path)
    rows: list[Score] = list(measure_floors(task, settings))
    for extract in extracts[: 1 if isinstance(task, LabelledSentences) else 2]:
        one = cast("Encoder", extract.encoder)
        if isinstance(task, ParsedSentences):
            found = measure_structure(one, task, settings)[0]
        else:
            found = measure_labelled(extract, cast("LabelledTask", task), settings)[0]
        rows += [replace(row, model=one.name) for row in found]
    table = score_table(rows)
    table.to_parquet(path)
    print(name, flush=True)
    return table


def curve(table: pd.DataFrame, model: str = MODEL, **where: str) -> pd.DataFrame:
    """One row a layer."""
    wanted = {"metric": "accuracy", "labels": "real", "split": "test", **where}
    rows = table[table["model"] == model]
    for column, value in wanted.items():
        rows = rows[rows[column] == value]
    return rows.dropna(subset=["layer"]).sort_values("layer").reset_index(drop=True)


def floor(table: pd.DataFrame, kind: str, metric: str = "accuracy") -> str:
    """The value of a floor in points."""
    rows = table[(table["model"] == f"floor:{kind}") & (table["metric"] == metric)]
    rows = rows[rows["split"] == "test"]
    return points(100 * rows["value"].iloc[0]) if len(rows) else ""


def cell(row: pd.Series) -> str:
    """Value and interval in points."""
    return written(*(100 * float(row[name]) for name in ("value", "lower", "upper")))


def lines(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table in Markdown."""
    cut = ["---", *["--:"] * (len(header) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in (header, cut, *rows)] + [""]


def layers_of(found: pd.DataFrame) -> list[str]:
    """The values of a curve."""
    return [points(100 * value) for value in found["value"]]


def half_width(found: pd.DataFrame) -> str:
    """The widest interval of a curve, as plus or minus."""
    return "± " + points(50 * float((found["upper"] - found["lower"]).max()))


LAYERS: Final = [f"{layer}" for layer in range(LAST + 1)]


def sentence_tables(found: dict[str, pd.DataFrame]) -> list[str]:
    """The ten tasks by layer, beside what bags of words reach."""
    rows = []
    for name in SHIPPED_TREEBANK_TASKS:
        mine = curve(found[name])
        floors = [floor(found[name], kind) for kind in ("majority", "bag-of-words", "length")]
        rows.append([f"`{name}`", *layers_of(mine), half_width(mine), *floors])
    return lines(["mean pooling, layer", *LAYERS, "interval", "majority", "bag", "length"], rows)


def word_tables(found: dict[str, pd.DataFrame]) -> list[str]:
    """Words and arcs by layer, with the control task."""
    rows = []
    for name in WORDS:
        table = found[name]
        mine, twin = curve(table), curve(table, TWIN)
        control = curve(table, labels="control")
        floors = [floor(table, kind) for kind in ("majority", "bag-of-words")]
        rows.append([f"`{name}`", *layers_of(mine), half_width(mine), *floors])
        selective = [points(100 * v) for v in mine["value"] - control["value"]]
        rows.append(["selectivity", *selective, "", "", ""])
        rows.append(["random weights", *layers_of(twin), half_width(twin), "", ""])
    return lines(["first piece, layer", *LAYERS, "interval", "majority", "words"], rows)


def beaten_layers(found: dict[str, pd.DataFrame]) -> str:
    """At which layers above 0 the interval lies above that of random weights."""
    parts = []
    for name in WORDS:
        mine, twin = curve(found[name]).iloc[1:], curve(found[name], TWIN).iloc[1:]
        beaten = mine["lower"].to_numpy() > twin["upper"].to_numpy()
        level = ", ".join(f"{layer:.0f}" for layer in mine["layer"][~beaten])
        parts.append(f"`{name}`: " + (f"not at {level}" if level else "at every one"))
    return (
        "At which layers above 0 the whole interval lies above that of random weights: "
        f"{'; '.join(parts)}."
    )


def tree_table(table: pd.DataFrame) -> list[str]:
    """The structural probe by layer."""
    rows = []
    for metric, name in (
        ("uuas", "arcs found (UUAS)"),
        ("root_accuracy", "roots found"),
        ("distance_spearman", "Spearman of distances"),
        ("depth_spearman", "Spearman of depths"),
    ):
        mine, twin = curve(table, metric=metric), curve(table, TWIN, metric=metric)
        chain = floor(table, "linear-chain", metric)
        rows.append([name, *layers_of(mine), half_width(mine), chain])
        rows.append(["random weights", *layers_of(twin), half_width(twin), ""])
    return lines(["layer", *LAYERS, "interval", "linear chain"], rows)


def best_tree(table: pd.DataFrame) -> str:
    """The layer chosen on dev, held against the chain and random weights on test."""
    chosen = int(curve(table, metric="uuas", split="dev")["value"].to_numpy().argmax())
    mine = cell(curve(table, metric="uuas").iloc[chosen])
    twin = int(curve(table, TWIN, metric="uuas", split="dev")["value"].to_numpy().argmax())
    random = cell(curve(table, TWIN, metric="uuas").iloc[twin])
    chain = table[(table["model"] == "floor:linear-chain") & (table["metric"] == "uuas")]
    return (
        f"Layer {chosen} is best on dev: UUAS {mine} on test, where the linear chain finds "
        f"{cell(chain[chain['split'] == 'test'].iloc[0])} and the best layer with random weights "
        f"{random}."
    )


def erasing_tables(scores: pd.DataFrame) -> list[str]:
    """STS-B and the erased label itself, before and after."""
    rows, n = [], 6
    for view in (f"mean@{LAST}", f"cls@{LAST}", f"pooler@{LAST}", "mean@3", "mean@0"):
        here = scores[(scores["model"] == MODEL) & (scores["view"] == view)]
        similar = here[(here["task"] == "stsb") & here["metric"].str.startswith("spearman")]
        probed = here[(here["task"] == ERASED) & (here["metric"] == "accuracy")]
        cells = [cell(similar[(similar["transform"] == "raw")].iloc[0])]
        for method in ("leace", "inlp", "random"):
            row = similar[similar["transform"] == f"{method}:{ERASED} - raw"].iloc[0]
            cells.append(signed(*(100 * float(row[c]) for c in ("value", "lower", "upper"))))
        cells += [
            cell(probed[probed["transform"] == transform].iloc[0])
            for transform in ("raw", *(f"{m}:{ERASED}" for m in ("leace", "inlp", "random")))
        ]
        rows.append([f"`{view}`", *cells])
    head = ["view", "STS-B", "LEACE", "INLP", "random", "label", "LEACE", "INLP", "random"]
    return [
        (
            f"Spearman × 100 on STS-B with the changes, and test accuracy of the label (chance "
            f"{points(100 / n)}):"
        ),
        "",
        *lines(head, rows),
    ]


def agreement_table(found: dict[str, pd.DataFrame]) -> list[str]:
    """The layers' order by X-Probe's file and by the task derived from English-EWT."""
    rows = []
    rng = np.random.default_rng(0)
    for name in (task.partition(":")[2] for task in SHIPPED_TREEBANK_TASKS):
        if f"X-Probe:{name}" not in found:
            continue
        one, other = curve(found[f"X-Probe:{name}"]), curve(found[f"ewt:{name}"])
        draws = [
            c["value"].to_numpy()
            + (c["upper"] - c["lower"]).to_numpy() / (2 * norm.isf(0.025))
            * rng.standard_normal((1000, len(c)))
            for c in (one, other)
        ]  # fmt: skip
        values = [float(spearman(a[:, np.newaxis], b)[0]) for a, b in zip(*draws, strict=True)]
        rho = float(spearman(one["value"].to_numpy()[:, np.newaxis], other["value"].to_numpy())[0])
        low, high = np.quantile(values, [0.025, 0.975])
        spread = [100 * float(np.ptp(c["value"])) for c in (one, other)]
        rows.append(
            [
                f"`{name}`",
                written(rho, float(low), float(high), digits=2),
                *(str(int(c["value"].to_numpy().argmax())) for c in (one, other)),
                *(points(each) for each in spread),
                *(points(100 * float(c["value"].max())) for c in (one, other)),
            ]
        )
    head = ["task", "Spearman of layers", "best, X-Probe", "best, EWT", "range, X-Probe",
            "range, EWT", "highest, X-Probe", "highest, EWT"]  # fmt: skip
    return lines(head, rows)


def answer(found: dict[str, pd.DataFrame]) -> str:
    """The best layer of four kinds of knowledge, and what the last layer has left."""
    parts = []
    for words, name, metric in (
        ("sentence length", "ewt:sentence_length", "accuracy"),
        ("word content", "ewt:word_content", "accuracy"),
        ("parts of speech", "ewt", "accuracy"),
        ("the arcs of the tree", "ewt:structure", "uuas"),
    ):
        values = 100 * curve(found[name], metric=metric)["value"].to_numpy()
        best = int(values.argmax())
        highest, last = points(values[best]), points(values[-1])
        parts.append(f"{words} best from layer {best} ({highest} %; {last} % from the last)")
    return f"**Linear probes read {', '.join(parts[:-1])} and {parts[-1]}.**"


def page(found: dict[str, pd.DataFrame], erased: pd.DataFrame) -> str:
    """The page."""
    structure = found["ewt:structure"]
    parts: list[str | Callable[[], list[str]]] = [
        "# all-MiniLM-L6-v2 on English-EWT, layer by layer\n",
        answer(found) + "\n",
        (
            "Made by `python docs/treebank.py --data-dir DATA`. Test accuracies × 100 of linear "
            "probes; settings are chosen on dev. Intervals are 95 %, the widest of a row.\n"
        ),
        "## The ten tasks\n",
        *sentence_tables(found),
        "## Words and arcs\n",
        (
            "Of UPOS (`ewt`) one sentence in ten is taken, of arcs and their relations "
            f"{_FEW['ewt:arc']:,} items; selectivity is accuracy less that on the control task of "
            "Hewitt & Liang (2019), a random label for each word or pair of words.\n"
        ),
        *word_tables(found),
        beaten_layers(found) + "\n",
        "## Trees\n",
        best_tree(structure) + "\n",
        *tree_table(structure),
        "## Sentence length erased\n",
        *erasing_tables(erased),
        "## Beside X-Probe\n",
        (
            f"X-Probe's English files of the same tasks, thinned to {XPROBE_ITEMS:,} items: how "
            "alike the two order the seven layers under mean pooling. The interval takes each "
            "accuracy to be off by its own standard error; range is the distance between the best "
            "and the worst layer.\n"
        ),
        *agreement_table(found),
        undecided(found) + "\n",
        WHAT_DIFFERS,
    ]
    return "\n".join(map(str, parts)) + "\n"


def undecided(found: dict[str, pd.DataFrame]) -> str:
    """The tasks whose layers one of the two cannot put in order."""
    flat = []
    for name in found:
        if name.startswith("X-Probe:"):
            for of in (name, f"ewt:{name.partition(':')[2]}"):
                layers = curve(found[of])
                width = float((layers["upper"] - layers["lower"]).max())
                if np.ptp(layers["value"]) < width:
                    flat.append(f"`{of}` (range {points(100 * float(np.ptp(layers['value'])))})")
    return (
        "The layers of these are no farther apart than one interval is wide, so that their order "
        f"is mostly chance: {', '.join(flat) or 'none'}."
    )


WHAT_DIFFERS: Final = """Where they differ:

- X-Probe's sentences are of Wikipedia, cut into tokens, and its labels are of an automatic parser;
  English-EWT's are of the web, as released, with gold trees. The files at hand are cut from
  X-Probe's validation and test parts, so that train is small: the level of one column says nothing
  of the level of the other.
- Lengths are in other bins, depths in other classes, and in English-EWT depth is balanced within
  each length.
- In English-EWT the word that has the label (tense, number) shares no lemma between train and test.
- `word_content` is left out: 1,000 words in X-Probe's file, one or two sentences each when thinned.
"""


def main() -> None:
    """Measure what is not measured yet, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/treebank"))
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    settings = Settings(seed=0, n_resamples=1000, cache_dir=options.work / "vectors")
    found = {}
    encoder = load_encoder(MODEL)
    views = tuple(f"mean@{layer}" for layer in range(LAST + 1))
    one, two = (
        SharedExtraction(each, settings.cache_dir, views)
        for each in (encoder, random_twin(encoder, seed=0))
    )
    for name in (*WORDS, "ewt:structure", *SHIPPED_TREEBANK_TASKS):
        task = load_task(name)
        few = task.thinned(_FEW.get(name, len(task)))  # type: ignore[union-attr]
        chosen = replace(settings, controls=name in WORDS)
        found[name] = measured(name, few, (one, two), chosen, options.work)
    for task_name in SHIPPED_TREEBANK_TASKS:
        name = task_name.partition(":")[2]
        there = (Path(options.data_dir) / "linguistic" / f"{name}.tsv").is_file()
        if not there or name == "word_content":
            continue
        task = load_task(name, options.data_dir)
        few = task.thinned(XPROBE_ITEMS)  # type: ignore[union-attr]
        name = f"X-Probe:{name}"
        found[name] = measured(name, few, (one, two), settings, options.work)
    study = probing.Study(
        models=[MODEL],
        tasks=["stsb", ERASED],
        erase=[ERASED],
        data_dir=options.data_dir,
        cache_dir=str(options.work / "vectors"),
        n_draws=1,
    )
    erased = study.run(options.work / "erased").scores
    PAGE.write_text(page(found, erased), encoding="utf-8")


if __name__ == "__main__":
    main()
