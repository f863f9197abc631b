"""A study of everything at once, row by row, against the rows that were kept of it.

After a change that is meant to move rows: ``python -m tests.test_kept_study``, and read the diff.
"""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pytest
import transformers
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsClassifier

import probing
from probing.probes import driver, mixing, structural
from probing.probes.linear import LinearProbes
from probing.reporting.run import Run
from probing.results.items import read_items
from probing.statistics import spearman
from probing.study import next_sentence
from probing.study.study import Study
from probing.tasks import LabelledSentences, LabelledSpans, ParsedSentences, TaggedSentences
from tests.conftest import build_tiny_encoder

KEPT: Final = Path(__file__).with_name("kept")
NAMES: Final = [
    *("model", "task", "split", "subset", "view", "transform", "probe", "labels", "metric", "n")
]
"""What tells one row from another, beside its seed."""
ANIMALS, SIZES, PLACES = ("cat", "dog", "mat", "run"), ("big", "small", "red"), range(3)


def sentence_pairs(folder: Path) -> Path:
    """STS-B as a file, in subsets, with enough of train to fit whitening on."""
    rng = np.random.default_rng(0)
    lines = ["split\tsubset\tscore\tsentence1\tsentence2"]
    for number in range(240):
        first, second = rng.choice(ANIMALS, 2)
        one, other = rng.choice(SIZES, 2)
        score = int(first == second) * 3 + int(one == other) + rng.integers(2)
        split = ("train", "train", "train", "dev", "test")[number % 5]
        lines.append(
            f"{split}\t{'ab'[number // 5 % 2]}\t{score}"
            f"\tthe {one} {first} is {number}\ta {other} {second} sat on {240 - number}"
        )
    path = folder / "sts" / "stsb.tsv"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def labelled() -> LabelledSentences:
    texts = tuple(
        f"the {size} {animal} sat on {place}"
        for place in PLACES
        for animal in ANIMALS
        for size in SIZES
    )
    return LabelledSentences(
        name="animals",
        sentences=texts,
        labels=tuple("pet" if "cat" in text or "dog" in text else "thing" for text in texts),
        splits=tuple(("train", "dev", "test")[number % 3] for number in range(len(texts))),
        origin="animals",
    )


def labelled_pairs() -> LabelledSentences:
    """Without dev, so that strengths are chosen in folds."""
    both = [(one, other) for one in ANIMALS for other in ANIMALS for _ in range(3)]
    return LabelledSentences(
        name="same-animal",
        sentences=tuple(f"{one} {row}" for row, (one, _) in enumerate(both)),
        sentences2=tuple(f"{other} {row}" for row, (_, other) in enumerate(both)),
        labels=tuple("same" if one == other else "other" for one, other in both),
        splits=tuple(("train", "test")[row // 2 % 2] for row in range(len(both))),
        origin="same-animal",
    )


def tagged() -> TaggedSentences:
    words = [
        (SIZES[row % 3], ANIMALS[row % 4], "sat", "on" if row % 2 else "runs") for row in range(36)
    ]
    return TaggedSentences(
        name="words",
        sentences=tuple(words),
        tags=tuple(("ADJ", "NOUN", "VERB", "ADP" if of[3] == "on" else "VERB") for of in words),
        splits=tuple(("train", "dev", "test")[row % 3] for row in range(36)),
        column="upos",
        origin="words",
    )


def spans() -> LabelledSpans:
    """Two spans an item, one of them of two words; the last sentences are too long for a vector."""
    words = [("the", SIZES[row % 3], ANIMALS[row % 4], "sat", "on", "mat") for row in range(36)]
    words += [("the",) * 50 + ("cat", "dog")] * 2
    return LabelledSpans(
        name="arcs",
        sentences=tuple(words),
        numbers=tuple(range(38)),
        spans=tuple(((1, 3), (3 + row % 3, 4 + row % 3)) for row in range(36))
        + (((50, 52), (0, 1)),) * 2,
        labels=tuple(("verb", "place", "noun")[row % 3] for row in range(38)),
        splits=tuple(("train", "dev", "test")[row // 3 % 3] for row in range(38)),
        origin="arcs",
    )


def parsed() -> ParsedSentences:
    rows = range(45)
    words = [("the", SIZES[row % 3], ANIMALS[row % 4], "sat", ".") for row in rows]
    return ParsedSentences(
        name="trees",
        sentences=tuple(words),
        heads=((2, 2, 3, -1, 3),) * len(rows),
        punctuation=((False,) * 4 + (True,),) * len(rows),
        splits=tuple(("train", "dev", "test")[row % 3] for row in rows),
        origin="trees",
    )


def first_two_tokens(hidden: Any, mask: Any) -> Any:
    """A pooling of one's own."""
    assert mask.shape == hidden.shape[:2]
    return hidden[:, :2].mean(dim=1)


def about_its_mean(vectors: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """A transform of one's own."""
    mean = vectors.mean(axis=0)
    return lambda moved: moved - mean


def write_corpus(folder: Path) -> Path:
    """Two texts of 600 documents of eight sentences, of which one in a hundred is held out."""
    rng = np.random.default_rng(0)
    (folder / "texts").mkdir()
    for source in range(2):
        documents = [
            "\n".join(f"{one} {other} {size} {rng.choice(ANIMALS)}" for _ in range(8))
            for one, other, size in zip(
                rng.choice(ANIMALS, 600),
                rng.choice(ANIMALS, 600),
                rng.choice(SIZES, 600),
                strict=True,
            )
        ]
        text = "\n\n".join(documents)
        (folder / "texts" / f"s{source}.txt").write_text(text, encoding="utf-8")
    return folder / "texts"


def two_layers(folder: Path) -> Path:
    """The same folder, its encoder without what is above."""
    model = transformers.AutoModel.from_pretrained(folder)
    model.encoder.layer = model.encoder.layer[:2]
    model.config.num_hidden_layers = 2
    model.save_pretrained(folder)
    return folder


def studies(folder: Path) -> dict[str, Study]:
    """Labels of one encoder under every probe; similarity of two that differ in their pooler."""
    path = two_layers(build_tiny_encoder("bert", folder / "bert"))
    one, other = (replace(probing.load_encoder(path), name=name) for name in "AB")
    dense = other.pooler_dense
    assert dense is not None
    dense.weight.data = dense.weight.data.roll(1, 0)
    common: dict[str, Any] = {"seed": 5, "n_resamples": 20, "cache_dir": str(folder / "cache")}
    more: dict[str, Any] = {"views": ["mean@0+1", "cls@1,2"], **common}
    randomly: dict[str, Any] = {"controls": True, "n_seeds": 2, **common}
    return {
        "labels": Study(
            models=[one],
            tasks=[labelled(), labelled_pairs(), tagged(), spans(), parsed()],
            probes=["linear", KNeighborsClassifier(3)],
            erase=[tagged()],
            **more,
        ),
        "controls": Study(
            models=[one],
            tasks=[labelled(), tagged()],
            probes=["linear", "codelength"],
            **randomly,
        ),
        "mixes": Study(
            models=[one],
            tasks=[replace(labelled(), groups=tuple(n // 4 for n in range(36))), spans()],
            probes=["scalar-mix", "attention"],
            **randomly,
        ),
        "next-sentence": Study(
            models=[one],
            tasks=[labelled()],
            erase=["next-sentence"],
            corpus=str(write_corpus(folder)),
            same_source=True,
            **common,
        ),
        "similarity": Study(
            models=[one, other],
            tasks=["stsb"],
            data_dir=str(sentence_pairs(folder / "data")),
            probes=[Ridge(1.0)],
            n_draws=2,
            contrasts=[("A", "B")],
            poolings={"two": first_two_tokens},
            transforms={"about-its-mean": about_its_mean},
            erase=[labelled()],
            **more,
        ),
    }


def run_of(study: Study, folder: Path) -> Run:
    """The run of a study, its probes trained for a moment only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "NAMED", {**driver.NAMED, "linear": LinearProbes((0.01, 0.1))})
        patch.setattr(next_sentence, "SIZES", {"train": 120, "dev": 40, "test": 60})
        patch.setattr(mixing, "REFITS", 2)
        patch.setattr(mixing, "_FEWEST_STEPS", 10)
        patch.setattr(structural, "EPOCHS", 2)
        return study.run(folder)


def summed_up(run: Run) -> pd.DataFrame:
    """A line for the layers of a pooling: how many rows, how many values, and their means."""
    layers_left_out = run.scores["view"].str.replace(r"\d+", "#", regex=True)
    grouped = run.scores.assign(view=layers_left_out).groupby(NAMES, sort=True)
    table = grouped.size().to_frame("rows")
    table["seeds"] = grouped["seed"].agg(lambda seeds: ",".join(map(str, sorted({*seeds}))))
    for name in ("value", "lower", "upper"):
        table[f"{name}s"] = grouped[name].count()
        table[name] = grouped[name].mean().round(3)
    return table.reset_index()


def kept(name: str) -> pd.DataFrame:
    table = pd.read_csv(KEPT / f"{name}.csv", dtype=str, keep_default_na=False)
    numbers = ["value", "lower", "upper"]
    return table.assign(**{of: pd.to_numeric(table[of]) for of in numbers})


ITEMS: Final = {
    "similarity": {(model, "stsb", "cosine") for model in "AB"},
    "labels": {
        ("A", task, probe)
        for task in ("animals", "same-animal", "words", "arcs")
        for probe in ("linear", "KNeighborsClassifier")
    },
    "mixes": set(),
    "controls": {("A", task, "linear") for task in ("animals", "words")},
    "next-sentence": {("A", "animals", "linear")},
}
"""Model, task and probe of what a run keeps of every item."""


@pytest.fixture(scope="module")
def all_studies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Study]:
    return studies(tmp_path_factory.mktemp("kept"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ITEMS)
def test_a_study_gives_the_rows_that_were_kept(
    name: str, all_studies: dict[str, Study], tmp_path: Path
) -> None:
    run = run_of(all_studies[name], tmp_path / name)
    found, expected = summed_up(run), kept(name)
    numbers = ["value", "lower", "upper"]
    names, expected_names = (of.drop(columns=numbers).astype(str) for of in (found, expected))
    pd.testing.assert_frame_equal(names, expected_names)
    # another processor may round one item to the other side
    np.testing.assert_allclose(found["value"], expected["value"], rtol=0.02, atol=0.03)
    steady = ~found["metric"].isin(["layer_weight", "centre_of_gravity"])  # of two refits
    steady &= ~found["transform"].str.startswith("inlp")
    for bound in ("lower", "upper"):
        np.testing.assert_allclose(
            found.loc[steady, bound], expected.loc[steady, bound], rtol=0.05, atol=0.05
        )
    assert_items_give_the_scores(run, ITEMS[name])


def assert_items_give_the_scores(run: Run, expected: set[tuple[str, str, str]]) -> None:
    """What every view says of every item comes to the values of the table."""
    scores = run.scores
    rows = scores[
        scores["metric"].isin(["spearman", "accuracy"])
        & (scores["subset"] == "all")
        & (scores["transform"] == "raw")
        & (scores["labels"] != "control")
    ].drop_duplicates(["model", "task", "probe", "view"])
    values = rows.set_index(["model", "task", "probe", "view"])["value"].sort_index()
    found = {(of.model, of.target.task, of.probe): of for of in read_items(run.folder)}
    assert set(found) == expected
    for key, items in found.items():
        assert set(items.views) == set(values[key].index)
        assert (items.target.seed, items.target.n_resamples) == (5, 20)
        said = (
            spearman(items.columns, items.target.gold)
            if len(items.target)
            else items.columns.mean(axis=0)
        )
        np.testing.assert_allclose(said, values[key][list(items.views)], atol=1e-9)


if __name__ == "__main__":
    KEPT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        for study_name, study in studies(Path(temporary)).items():
            table = summed_up(run_of(study, Path(temporary) / study_name))
            table.to_csv(KEPT / f"{study_name}.csv", index=False)
