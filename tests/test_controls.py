"""Control tasks, floors and selectivity."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probing import Study, load_encoder
from probing.encoding.sharing import SharedExtraction
from probing.errors import InputError
from probing.probes.controls import (
    FLOORS,
    control_labels,
    fit_floor,
    selectivity,
)
from probing.probes.driver import fit_probes
from probing.probes.mlp import Setting, TrainedProbes
from probing.probes.predictions import Predictions, probe_scores
from probing.results.scores import Score, score_table
from probing.results.target import Target
from probing.study.labelled import measure_labelled
from probing.study.settings import Settings
from probing.tasks import LabelledSentences

SUBJECTS = ("cats", "dogs", "mice", "birds")
VERBS = ("see", "hear", "chase", "like")


def sentences(n: int, *, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [
        " ".join([rng.choice(SUBJECTS), rng.choice(VERBS), *["very"] * int(rng.integers(0, 6))])
        for _ in range(n)
    ]


def thirds(n: int) -> list[str]:
    return [("train", "dev", "test")[i % 3] for i in range(n)]


def accuracy(predictions: Predictions) -> Score:
    (row,) = (
        s for s in probe_scores(predictions, Target(task="t", seed=0)) if s.metric == "accuracy"
    )
    return row


def test_every_type_has_one_label_with_the_real_distribution() -> None:
    rng = np.random.default_rng(0)
    words = [f"w{i}" for i in rng.integers(3000, size=20_000)]
    labels = rng.choice(["noun", "verb", "other"], p=[0.6, 0.3, 0.1], size=20_000)
    control = control_labels(words, labels, seed=0)
    by_type = pd.DataFrame({"word": words, "label": control}).groupby("word")["label"]
    assert (by_type.nunique() == 1).all()  # noqa: PD101
    shares = by_type.first().value_counts(normalize=True)
    for name, share in {"noun": 0.6, "verb": 0.3, "other": 0.1}.items():
        assert shares[name] == pytest.approx(share, abs=0.03)


def test_control_labels_are_independent_of_the_real_ones() -> None:
    words = [f"w{i}" for i in range(20_000)]
    labels = np.where(np.arange(20_000) % 2, "odd", "even")
    agreement = (control_labels(words, labels, seed=0) == labels).mean()
    assert agreement == pytest.approx(0.5, abs=0.02)


@given(
    st.lists(st.text(max_size=5), min_size=1, max_size=30),
    st.integers(0, 2**40),
)
def test_a_control_label_does_not_depend_on_the_order(words: list[str], seed: int) -> None:
    labels = ["a", "b"] * len(words)
    doubled = words * 2
    order = np.random.default_rng(0).permutation(len(doubled))
    control = control_labels(doubled, labels, seed=seed)
    assert control[: len(words)].tolist() == control[len(words) :].tolist()
    moved = control_labels([doubled[i] for i in order], labels, seed=seed)
    assert moved.tolist() == control[order].tolist()


def test_another_seed_gives_other_labels() -> None:
    words, labels = [f"w{i}" for i in range(1000)], ["a", "b"] * 500
    one, other = (control_labels(words, labels, seed=seed) for seed in (0, 1))
    assert (one == other).mean() == pytest.approx(0.5, abs=0.06)
    assert (one == control_labels(words, labels, seed=0)).all()


def test_control_labels_need_a_label_for_each_item() -> None:
    with pytest.raises(InputError, match="3 labels for 2 items"):
        control_labels(["a", "b"], [1, 2, 3], seed=0)
    with pytest.raises(InputError, match="0 labels for 0 items"):
        control_labels([], [], seed=0)


def test_a_sentence_control_is_chance_and_a_word_type_control_is_memory() -> None:
    """The more a probe can memorise, the better it does on word types (Hewitt & Liang 2019)."""
    rng = np.random.default_rng(0)
    vectors_of_types = rng.normal(size=(60, 12)).astype(np.float32)
    types = rng.integers(60, size=3000)
    real = (vectors_of_types[types, 0] > 0).astype(int)
    vectors = vectors_of_types[types] + 0.1 * rng.normal(size=(3000, 12)).astype(np.float32)
    control = control_labels([f"w{i}" for i in types], real, seed=1)
    once = control_labels([f"s{i}" for i in range(3000)], real, seed=1)
    mlp = TrainedProbes("mlp", (Setting(100),), standardise=True)
    values = {
        name: accuracy(fit_probes({"mean@0": vectors}, labels, thirds(3000), probe=probe, seed=0))
        for name, labels, probe in (
            ("real", real, "linear"),
            ("control", control, "linear"),
            ("mlp real", real, mlp),
            ("mlp control", control, mlp),
            ("sentence", once, "linear"),
        )
    }
    assert values["real"].value > 0.95
    linear = values["real"].value - values["control"].value
    assert linear > values["mlp real"].value - values["mlp control"].value
    assert values["sentence"].value == pytest.approx(0.5, abs=0.08)


def test_floors_reach_what_their_input_tells() -> None:
    texts = sentences(600)
    splits = thirds(600)
    by_word = [text.split()[0] in ("cats", "dogs") for text in texts]
    by_length = [len(text.split()) in (3, 5, 7) for text in texts]
    word = {floor: accuracy(fit_floor(floor, texts, by_word, splits, seed=0)) for floor in FLOORS}
    length = {
        floor: accuracy(fit_floor(floor, texts, by_length, splits, seed=0)) for floor in FLOORS
    }
    assert word["floor:bag-of-words"].value == 1.0
    assert word["floor:length"].value < 0.65
    assert length["floor:length"].value == 1.0
    for task, labels in ((word, by_word), (length, by_length)):
        test = np.array(labels)[2::3]
        train = np.array(labels)[::3]
        majority = task["floor:majority"]
        assert majority.value == pytest.approx((test == (train.mean() > 0.5)).mean())
        assert (majority.view, majority.layer, majority.pooling) == ("none", None, "none")
        assert majority.probe == "none"
        assert task["floor:length"].probe == "linear"


def test_a_bag_of_words_has_short_words_and_punctuation() -> None:
    texts = ["I see .", "I see ?", "a see ."] * 30
    for told in ("?", "a"):
        labels = [told in text.split() for text in texts]
        splits = np.repeat(["train", "dev", "test"], 30)
        predictions = fit_floor("floor:bag-of-words", texts, labels, splits, seed=0)
        assert predictions.correct.all()


def test_a_length_not_seen_in_train_is_no_error() -> None:
    texts = ["a b"] * 20 + ["a b c"] * 20 + ["a " * 50] * 20
    labels = [0] * 20 + [1] * 20 + [0, 1] * 10
    splits = ["train", "dev"] * 20 + ["test"] * 20
    predictions = fit_floor("floor:length", texts, labels, splits, seed=0)
    assert predictions.correct.mean() == 0.5


def test_an_unknown_floor_is_refused() -> None:
    with pytest.raises(InputError, match="unknown floor 'floor:jaccard'"):
        fit_floor("floor:jaccard", ["a"], [1], ["train"], seed=0)


def test_selectivity_is_real_minus_control() -> None:
    row = Score(task="pos", probe="linear", metric="accuracy", value=0.9, n=10, seed=0, layer=3)
    scores = [
        row,
        replace(row, labels="control", value=0.6),
        replace(row, probe="mlp", value=0.95),
        replace(row, probe="mlp", labels="control", value=0.9),
        replace(row, metric="macro_f1", value=0.5),
        replace(row, layer=None, value=0.8),
        replace(row, layer=None, labels="control", value=np.nan),
    ]
    table = selectivity(score_table(scores))
    found = dict(zip(table["probe"], table["selectivity"], strict=True))
    assert found == {"linear": pytest.approx(0.3), "mlp": pytest.approx(0.05)}
    assert table.loc[table["probe"] == "linear", ["real", "control"]].to_numpy().tolist() == [
        [0.9, 0.6]
    ]
    assert selectivity(score_table([row])).empty
    assert selectivity(score_table([])).empty


@pytest.mark.slow
def test_a_study_averages_what_is_random_over_its_seeds(
    tiny_encoder_folder: Callable[[str], Path],
) -> None:
    texts = sentences(45)
    labels = tuple("even" if len(text) % 2 == 0 else "odd" for text in texts)
    task = LabelledSentences("t", tuple(texts), labels, tuple(thirds(45)), origin="")
    encoder = load_encoder(str(tiny_encoder_folder("bert")))
    one = Settings(
        seed=0, n_resamples=20, cache_dir=None, probes=("linear", "codelength"), controls=True
    )
    found = [
        {
            (row.view, row.probe, row.labels, row.metric): row
            for row in measure_labelled(
                SharedExtraction(encoder, settings.cache_dir), task, settings
            )[0]
        }
        for settings in (one, replace(one, seed=1), replace(one, n_seeds=2))
    ]
    first, second, both = found
    for key, row in both.items():
        view, probe, kind, _ = key
        if (probe, kind) == ("linear", "real"):
            assert row.value == first[key].value or view == "cls@0"
        elif view != "cls@0":
            assert row.value == pytest.approx((first[key].value + second[key].value) / 2)
    moved = {key for key in both if both[key].value != first[key].value and key[0] != "cls@0"}
    assert {(probe, kind) for _, probe, kind, _ in moved} == {
        ("linear", "control"),
        ("codelength", "real"),
        ("codelength", "control"),
    }
    with pytest.raises(InputError, match="0 seeds starting at 0"):
        Study(models=("minilm",), tasks=("trec",), n_seeds=0)
