"""Which rows a study writes, and what each is computed on."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from probing.encoding.encoder import Encoder, load_encoder
from probing.encoding.extraction import extract
from probing.encoding.sharing import SharedExtraction
from probing.encoding.word_vectors import extract_words
from probing.probes import driver, mixing
from probing.probes.mlp import Setting, TrainedProbes
from probing.probes.ridge import PairFeatures, fit_regression
from probing.results.scores import score_table
from probing.similarity.cosine import cosine_similarities, token_jaccard
from probing.statistics import accuracy_interval, spearman
from probing.study import labelled as study_labelled
from probing.study.labelled import items_of, measure_labelled, measure_structure
from probing.study.measurements import measure_pairs
from probing.study.settings import Settings
from probing.study.study import Study, run_study
from probing.tasks import (
    LabelledSentences,
    ParsedSentences,
    SentencePairs,
    TaggedSentences,
    load_task,
)
from tests.test_study import HEADER, write_data

SETTINGS = Settings(seed=0, n_resamples=20, cache_dir=None)
ANIMALS, SIZES = ("cat", "dog", "mat", "run"), ("big", "small", "red")


@pytest.fixture
def encoder(tiny_encoder_folder: Callable[[str], Path]) -> Encoder:
    return load_encoder(tiny_encoder_folder("bert"))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with 16 train, 16 dev and 16 test pairs of STS-B."""
    rng = np.random.default_rng(0)
    rows = [
        f"{('train', 'dev', 'test')[number % 3]}\tall\t{rng.integers(6)}"
        f"\tthe {one} is {size}\ta {other} sat on the {size} mat"
        for number, (one, other, size) in enumerate(
            (one, other, size) for one in ANIMALS for other in ANIMALS for size in SIZES
        )
    ]
    rng.shuffle(rows)
    return write_data(tmp_path_factory.mktemp("data") / "pairs", "\n".join([HEADER, *rows]))


def labelled(splits: str = "train dev test") -> LabelledSentences:
    sentences = tuple(
        f"the {size} {animal} sat on {place}"
        for place in range(5)
        for animal in ANIMALS
        for size in SIZES
    )
    names = splits.split() or [""]
    return LabelledSentences(
        name="animals",
        sentences=sentences,
        labels=tuple("pet" if "cat" in text or "dog" in text else "thing" for text in sentences),
        splits=tuple(names[number % len(names)] for number in range(len(sentences))),
        origin="",
    )


def test_equal_scores_are_said_and_give_no_correlation(
    encoder: Encoder, pairs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    task = load_task("stsb", pairs)
    assert isinstance(task, SentencePairs)
    equal = replace(task, name="equal", scores=np.full(len(task), 3.0))
    rows, _ = measure_pairs(SharedExtraction(encoder, None), equal, {}, SETTINGS, control=False)
    assert "equal: every score is 3: correlations with it are NaN" in caplog.messages
    found = {row.value for row in rows if row.metric == "spearman"}
    assert np.isnan(list(found)).all()


def tagged() -> TaggedSentences:
    """Sentences of one word many times: its words are right or wrong together."""
    words = [(ANIMALS + SIZES)[number % 7] for number in range(60)]
    rng = np.random.default_rng(0)
    return TaggedSentences(
        name="words",
        sentences=tuple((word,) * 8 for word in words),
        tags=tuple((str(tag),) * 8 for tag in rng.choice(["NOUN", "ADJ"], size=60)),
        splits=tuple(("train", "dev", "test")[number % 3] for number in range(60)),
        column="upos",
        origin="",
    )


def rows_of(encoder: Encoder, task: LabelledSentences, settings: Settings) -> pd.DataFrame:
    return score_table(measure_labelled(SharedExtraction(encoder, None), task, settings)[0])


@pytest.fixture(scope="module")
def scores(
    pairs: Path,
    tiny_encoder_folder: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> pd.DataFrame:
    study = Study(
        models=(str(tiny_encoder_folder("bert")),),
        tasks=("stsb", labelled(), tagged()),
        data_dir=str(pairs),
        n_resamples=20,
    )
    return run_study(study, tmp_path_factory.mktemp("run") / "run").scores


def test_every_task_has_its_floors(scores: pd.DataFrame, pairs: Path, encoder: Encoder) -> None:
    floors = scores[scores["model"].str.startswith("floor:") & (scores["labels"] == "real")]
    assert {
        task: set(rows["model"].str.removeprefix("floor:")) for task, rows in floors.groupby("task")
    } == {
        "stsb": {"jaccard", "idf-words", f"static-words:{encoder.name}"},
        "animals": {"majority", "bag-of-words", "length"},
        "words": {"majority", "bag-of-words"},
    }
    task = load_task("stsb", pairs)
    assert isinstance(task, SentencePairs)
    overlap = token_jaccard(task.sentences1, task.sentences2)[:, None]
    jaccard = floors[(floors["model"] == "floor:jaccard") & (floors["metric"] == "spearman")]
    assert jaccard["value"].tolist() == pytest.approx(spearman(overlap, task.scores).tolist())
    assert (jaccard["view"] == "none").all()
    accuracy = floors[floors["metric"] == "accuracy"].set_index(["task", "model"])["value"]
    assert accuracy["animals", "floor:bag-of-words"] == 1.0
    assert accuracy["animals", "floor:majority"] == 0.5


def test_the_averages_of_two_layers_are_views(
    scores: pd.DataFrame, pairs: Path, encoder: Encoder
) -> None:
    task = load_task("stsb", pairs)
    assert isinstance(task, SentencePairs)
    vectors = extract(encoder, task.sentences1 + task.sentences2)
    raw = scores[(scores["task"] == "stsb") & (scores["transform"] == "raw")]
    for model in (encoder.name, f"{encoder.name}+random"):
        found = raw[(raw["model"] == model) & (raw["metric"] == "spearman")].set_index("view")
        for view, layers in (("mean@0+3", (0, 3)), ("mean@1+3", (1, 3))):
            row = found.loc[view]
            assert (row["pooling"], row["probe"]) == ("mean", "cosine")
            assert pd.isna(row["layer"])
            if model == encoder.name:
                average = {view: np.mean([vectors[f"mean@{layer}"] for layer in layers], axis=0)}
                expected = spearman(cosine_similarities(average, [view]), task.scores)[0]
                assert row["value"] == pytest.approx(expected)


def test_the_readout_is_fitted_on_train_chosen_on_dev_and_scored_on_test(
    scores: pd.DataFrame, pairs: Path, encoder: Encoder
) -> None:
    readout = scores[(scores["probe"] == "regression") & (scores["metric"] == "spearman")]
    assert set(readout["model"]) == {encoder.name}  # not the twin
    assert set(readout["split"]) == {"test"}
    splits = ("train", "dev", "test")
    parts = [load_task("stsb", pairs, split=split) for split in splits]
    sentences = [text for part in parts for text in part.sentences1]  # type: ignore[union-attr]
    sentences += [text for part in parts for text in part.sentences2]  # type: ignore[union-attr]
    gold = np.concatenate([part.scores for part in parts])  # type: ignore[union-attr]
    by_hand = fit_regression(
        PairFeatures(extract(encoder, sentences)), gold, np.repeat(splits, 16), seed=0
    )
    expected = dict(
        zip(by_hand.view_ids, spearman(by_hand.predicted, by_hand.gold).tolist(), strict=True)
    )
    found = readout.set_index("view")["value"].to_dict()
    assert found["mean@3"] == pytest.approx(expected["mean@3"])
    assert found["pooler@3"] == pytest.approx(expected["pooler@3"])


@pytest.mark.parametrize("split", ["train", "dev", "all"])
def test_pairs_that_are_not_of_test_get_no_readout_fitted_on_themselves(
    split: str, pairs: Path, encoder: Encoder, tmp_path: Path
) -> None:
    task = load_task("stsb", pairs, split=split)
    study = Study(models=(encoder.name,), tasks=(task,), data_dir=str(pairs), n_resamples=2)
    scores = run_study(study, tmp_path / "run").scores
    measured = scores[(scores["task"] == "stsb") & (scores["probe"] == "cosine")]
    assert split in set(measured["split"])
    assert "regression" not in set(scores["probe"])


def test_a_run_encodes_as_the_protocol_and_the_study_say(pairs: Path, tmp_path: Path) -> None:
    study = Study(
        models=("minilm",),
        tasks=("stsb",),
        data_dir=str(pairs),
        protocol="bert-flow",
        n_resamples=2,
        n_draws=1,
        batch_tokens=333,
        cache_dir=str(tmp_path / "cache"),
    )
    described = run_study(study, tmp_path / "run").manifest["encoders"][0]
    assert described["max_length"] == 64
    assert all(setup.startswith("333 tokens a batch") for setup in described["forward_passes"])
    assert described["forward_passes"]


def test_codelength_reads_train_alone(encoder: Encoder) -> None:
    task = labelled()
    settings = replace(SETTINGS, probes=("codelength",))
    swapped = {"pet": "thing", "thing": "pet"}
    other = replace(
        task,
        labels=tuple(
            label if split == "train" else swapped[label]
            for label, split in zip(task.labels, task.splits, strict=True)
        ),
    )
    one, two = (rows_of(encoder, each, settings) for each in (task, other))
    pd.testing.assert_frame_equal(one, two)
    assert set(one["n"]) == {20}
    assert set(one["split"]) == {"train"}


def test_codelength_reads_every_item_of_a_task_without_splits(encoder: Encoder) -> None:
    rows = rows_of(encoder, labelled(""), replace(SETTINGS, probes=("codelength",)))
    assert set(rows["n"]) == {60}


def test_the_interval_of_words_is_over_sentences(encoder: Encoder) -> None:
    """Eight equal words a sentence tell no more than one: the interval is that of 20 items."""
    rows = score_table(
        measure_labelled(
            SharedExtraction(encoder, None), tagged(), replace(SETTINGS, n_resamples=500)
        )[0]
    )
    found = rows[(rows["metric"] == "accuracy") & (rows["view"] == "word_first@3")].iloc[0]
    assert found["n"] == 160
    right = np.arange(160)[:, None] < round(found["value"] * 160)
    by_word = accuracy_interval(right)
    difference = rows[rows["view"] == "word_first@3 - word_first@0"]
    assert set(difference["clusters"]) == {found["clusters"]} == {20}
    width = found["upper"] - found["lower"]
    assert width > 2 * float(by_word.upper[0] - by_word.lower[0])


@pytest.mark.parametrize(("splits", "probe"), [("train dev test", "mlp"), ("train test", "linear")])
@pytest.mark.slow
def test_what_is_random_on_real_labels_is_averaged_over_the_seeds(
    splits: str, probe: str, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The initial weights of an MLP; the folds of a linear probe where no dev split is given."""
    quick = TrainedProbes("mlp", (Setting(4),), standardise=True)
    monkeypatch.setattr(driver, "NAMED", {**driver.NAMED, "mlp": quick})
    labels = np.random.default_rng(0).choice(["heads", "tails"], size=60).tolist()
    task = replace(labelled(splits), labels=tuple(labels))
    settings = replace(SETTINGS, probes=(probe,))
    first, second, both = (
        rows_of(encoder, task, each).set_index(["view", "metric"])["value"].dropna()
        for each in (settings, replace(settings, seed=1), replace(settings, n_seeds=2))
    )
    values = both.index.get_level_values("metric") != "standard_error"  # of the mean of the seeds
    pd.testing.assert_series_equal(both[values], ((first + second) / 2)[values])
    assert (first != second)[values].any()


def test_every_vector_of_a_word_is_kept_where_the_others_are(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def extracted(*arguments: Any, **how: Any) -> Any:
        seen.append(how["cache_dir"])
        return extract_words(*arguments, **how)

    monkeypatch.setattr(study_labelled, "extract_words", extracted)
    settings = replace(SETTINGS, cache_dir=tmp_path, probes=("attention",))
    monkeypatch.setattr(mixing, "_FEWEST_STEPS", 2)
    shared = SharedExtraction(encoder, tmp_path)
    measure_labelled(shared, labelled(), settings)
    items_of(shared, tagged(), settings)
    trees = ParsedSentences(
        name="trees",
        sentences=(("the", "cat", "sat"),) * 6,
        heads=((1, 2, -1),) * 6,
        punctuation=((False,) * 3,) * 6,
        splits=("train", "dev", "test") * 2,
        origin="here",
    )
    monkeypatch.setattr(study_labelled, "fit_structure", lambda *_, **__: {})
    measure_structure(encoder, trees, settings)
    assert seen == [tmp_path] * 3
