"""Labelled words, pairs of words and spans: what is read, and what vectors they get."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from probing.encoding.encoder import load_encoder
from probing.encoding.sharing import SharedExtraction
from probing.encoding.word_vectors import extract_words
from probing.errors import InputError
from probing.study.floors import measure_floors
from probing.study.labelled import items_of
from probing.study.settings import Settings
from probing.tasks import LabelledSpans, load_task


def word(place: int, form: str, feats: str, head: int, deprel: str, misc: str = "_") -> str:
    return f"{place}\t{form}\t{form}\tX\t_\t{feats}\t{head}\t{deprel}\t_\t{misc}"


CATS = [
    word(1, "the", "_", 2, "det", "Entity=(1-animal-new"),
    word(2, "cats", "Number=Plur", 3, "nsubj:pass", "SpaceAfter=No|Entity=1)"),
    word(3, "saw", "Tense=Past", 0, "root"),
    word(4, "a", "_", 5, "det", "Entity=(2-place-new(3-animal-giv)"),
    word(5, "mat", "Number=Sing", 3, "obj", "Entity=2)"),
    word(6, ".", "_", 3, "punct", "Entity=(4-place-new"),
]
DOGS = [
    word(1, "dogs", "Number=Plur", 2, "nsubj", "Entity=4)(5[1/2]-animal-new)"),
    word(2, "running", "_", 0, "root"),
    word(3, "not", "_", 2, "advmod"),
    word(4, "mats", "Number=Sing", 2, "obl", "Entity=(6-place-new)"),
]


def written(path: Path, *sentences: list[str], times: int = 1) -> Path:
    head = "# global.Entity = eid-etype-infstat\n"
    blocks = [f"# sent_id = {k}\n" + "".join(f"{row}\n" for row in rows) + "\n"
              for k in range(times) for rows in sentences]  # fmt: skip
    path.write_text(head + "".join(blocks), encoding="utf-8")
    return path


def spans_of(name: str) -> LabelledSpans:
    task = load_task(name)
    assert isinstance(task, LabelledSpans)
    return task


def described(task: LabelledSpans) -> set[tuple[str, str]]:
    return set(zip(task.texts, task.labels, strict=True))


def test_a_feature_is_that_of_the_words_that_have_it(tmp_path: Path) -> None:
    path = written(tmp_path / "own.conllu", CATS, DOGS)
    task = spans_of(f"treebank:{path}:feats.Number")
    assert described(task) == {
        ("cats", "Plur"),
        ("mat", "Sing"),
        ("dogs", "Plur"),
        ("mats", "Sing"),
    }
    assert not task.has_longer_spans
    with pytest.raises(InputError, match="no word has the feature 'Case'; found Number, Tense"):
        load_task(f"treebank:{path}:feats.Case")
    with pytest.raises(InputError, match=r"has no feats.Tense: found one class to tell apart"):
        load_task(f"{path}:feats.Tense")


def test_a_relation_is_of_a_word_and_its_head(tmp_path: Path) -> None:
    task = spans_of(f"{written(tmp_path / 'own.conllu', CATS, DOGS)}:relation")
    assert described(task) == {
        ("the cats", "det"),
        ("cats saw", "nsubj"),
        ("a mat", "det"),
        ("mat saw", "obj"),
        ("dogs running", "nsubj"),
        ("not running", "advmod"),
        ("mats running", "obl"),
    }
    at = task.texts.index("mat saw")
    assert task.spans[at] == ((4, 5), (2, 3))


def test_words_without_an_arc_are_as_far_apart_as_those_with_one(tmp_path: Path) -> None:
    path = written(tmp_path / "own.conllu", CATS, DOGS, times=30)
    task = spans_of(f"{path}:arc")
    assert Counter(task.labels)["arc"] == Counter(task.labels)["none"]
    heads = {
        ("the", "cats"), ("cats", "saw"), ("a", "mat"), ("mat", "saw"),
        ("dogs", "running"), ("not", "running"), ("mats", "running"),
    }  # fmt: skip
    distances: dict[str, list[int]] = {"arc": [], "none": []}
    for text, label, (one, two) in zip(task.texts, task.labels, task.spans, strict=True):
        first, second = text.split()
        assert ((first, second) in heads) == (label == "arc")
        assert (second, first) not in heads
        distances[label].append(two[0] - one[0])
    assert Counter(distances["arc"]) == Counter(distances["none"])


def test_entities_are_the_mentions_that_lie_within_a_sentence(tmp_path: Path) -> None:
    path = written(tmp_path / "own.conllu", CATS, DOGS)
    task = spans_of(f"{path}:entity")
    assert described(task) == {
        ("the cats", "animal"),
        ("a mat", "place"),
        ("a", "animal"),
        ("mats", "place"),
    }
    assert task.has_longer_spans
    assert "3 mentions have gaps, no type or no end in their sentence: left out" in task.remark
    bare = [row.rpartition("\t")[0] + "\t_" for row in CATS]
    with pytest.raises(InputError, match="no word has Entity= in MISC"):
        load_task(f"{written(tmp_path / 'bare.conllu', bare)}:entity")


def test_a_sentence_is_in_one_split_of_a_treebank_without_splits(tmp_path: Path) -> None:
    named = [[row.replace("cats", f"cats{k}") for row in CATS] for k in range(40)]
    task = spans_of(f"{written(tmp_path / 'own.conllu', *named)}:relation")
    assert set(task.splits) == {"train", "dev", "test"}
    assert len(set(zip(task.numbers, task.splits, strict=True))) == 40
    thinned = task.thinned(60)
    assert len(thinned) <= 60
    assert thinned.name == f"{task.name}/{-(-len(task) // 60)}"
    assert set(zip(thinned.texts, thinned.labels, strict=True)) <= described(task)


@pytest.mark.parametrize("what", ["feats.Number", "arc", "entity"])
def test_a_span_has_the_vectors_of_its_words(
    what: str, tmp_path: Path, tiny_encoder_folder: Callable[[str], Path]
) -> None:
    task = spans_of(f"{written(tmp_path / 'own.conllu', CATS, DOGS, times=10)}:{what}")
    encoder = load_encoder(tiny_encoder_folder("bert"))
    settings = Settings(seed=0, n_resamples=10, cache_dir=None)
    items = items_of(SharedExtraction(encoder, None), task, settings)
    words = extract_words(encoder, task.sentences)
    first_word = np.cumsum([0, *map(len, task.sentences)])
    ways = {"first": lambda rows: rows[0], "last": lambda rows: rows[-1],
            "mean": lambda rows: rows.mean(axis=0)}  # fmt: skip
    layers = [view_id.partition("@")[2] for view_id in words]
    longer = what == "entity"
    assert set(items.vectors) == {
        f"span_{way}@{layer}" if longer else f"word_first@{layer}"
        for layer in layers
        for way in (ways if longer else ("first",))
    }
    for view_id, found in items.vectors.items():
        pooling, _, layer = view_id.partition("@")
        for row, (number, spans) in enumerate(zip(task.numbers, task.spans, strict=True)):
            expected = [
                ways[pooling.partition("_")[2]](
                    words[f"word_first@{layer}"][first_word[number] :][start:stop]
                )
                for start, stop in spans
            ]
            np.testing.assert_allclose(found[row], np.concatenate(expected), rtol=1e-6)
    assert (tuple(items.labels.labels), items.n_lost) == (task.labels, 0)
    assert items.labels.groups is not None
    assert items.labels.groups.tolist() == list(task.numbers)


def test_an_item_with_a_word_that_was_cut_off_takes_no_part(
    tmp_path: Path, tiny_encoder_folder: Callable[[str], Path]
) -> None:
    long = [word(k, "cats", f"Number={'Sing' if k % 2 else 'Plur'}", k - 1, "dep")
            for k in range(1, 200)]  # fmt: skip
    task = spans_of(
        f"{written(tmp_path / 'own.conllu', long)}:relation".replace("relation", "feats.Number")
    )
    encoder = load_encoder(tiny_encoder_folder("bert"))
    settings = Settings(seed=0, n_resamples=10, cache_dir=None)
    items = items_of(SharedExtraction(encoder, None), task, settings)
    assert items.n_lost > 0
    assert items.n_lost == extract_words(encoder, task.sentences).n_lost
    assert len(items.labels.labels) == len(task) - items.n_lost
    assert len(items.vectors["word_first@0"]) == len(task) - items.n_lost


def test_the_baselines_of_spans_see_their_words(tmp_path: Path) -> None:
    named = [[row.replace("cats", f"cats{k}") for row in CATS] for k in range(60)]
    task = spans_of(f"{written(tmp_path / 'own.conllu', *named)}:relation")
    rows = measure_floors(task, Settings(seed=0, n_resamples=10, cache_dir=None))
    found = {row.model: row.value for row in rows if row.metric == "accuracy"}
    assert set(found) == {"floor:majority", "floor:bag-of-words"}
    assert found["floor:bag-of-words"] > found["floor:majority"]
