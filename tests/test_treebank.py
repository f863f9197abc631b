"""The ten tasks from treebanks: labels by code of their own, splits, refusals, what ships."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from probing.errors import InputError
from probing.probes.controls import fit_floor
from probing.sources.declarations import TREEBANKS
from probing.statistics import accuracy_interval
from probing.tasks import (
    SHIPPED_TREEBANK_TASKS,
    LabelledSentences,
    ParsedSentences,
    catalogue,
    load_task,
)
from probing.tasks.derived import derived_offers, read_derived, write_derived
from probing.tasks.sentences import SPLITS
from probing.tasks.treebank import (
    FEWEST,
    SIZES,
    TREEBANK_TASKS,
    offers,
    read_treebank,
    treebank_task,
)
from probing.tasks.treebank_labels import RefusedError, tree_depth

EVEN = set(TREEBANK_TASKS) - {"word_content", "top_constituents"}
CHANGED = ("bigram_shift", "odd_man_out", "coordination_inversion")
BY_LEMMA = {"past_present": "root", "subj_number": "nsubj", "obj_number": "obj"}
FUNCTION = {"aux", "case", "cc", "clf", "cop", "det", "discourse", "mark", "punct"}


@dataclass
class Sentence:
    """As another reader of CoNLL-U sees it."""

    text: str
    split: str
    rows: list[dict[str, str]]

    def below(self, head: str) -> list[dict[str, str]]:
        return [row for row in self.rows if row["head"] == head]

    @property
    def root(self) -> dict[str, str]:
        return self.below("0")[0]


NAMES = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")


def plainly_read(path: Path, split: str) -> Iterator[Sentence]:
    for block in path.read_text(encoding="utf-8").strip("\n").split("\n\n"):
        lines = block.split("\n")
        text = next(line[9:] for line in lines if line.startswith("# text = "))
        cells = [line.split("\t") for line in lines if re.match(r"\d+\t", line)]
        yield Sentence(text.strip(), split, [dict(zip(NAMES, row, strict=True)) for row in cells])


@pytest.fixture(scope="module")
def released(real_data: Path) -> dict[str, Sentence]:
    found: dict[str, Sentence] = {}
    for split in ("test", "dev", "train"):
        for sentence in plainly_read(real_data / f"words/en_ewt-ud-{split}.conllu", split):
            if 5 <= len(sentence.rows) <= 50:
                found.setdefault(sentence.text, sentence)
    return found


@cache
def shipped(task: str) -> LabelledSentences:
    found = load_task(f"ewt:{task}")
    assert isinstance(found, LabelledSentences)
    return found


def feats(row: dict[str, str]) -> dict[str, str]:
    return dict(part.split("=") for part in row["feats"].split("|") if part != "_")


def plain_label(task: str, sentence: Sentence, label: str) -> bool:
    """Whether the label is right, by the tree."""
    root = sentence.root
    if task == "sentence_length":
        low, high = map(int, label.split("-"))
        return low <= len(sentence.rows) <= high
    if task == "word_content":
        return label in {row["form"].lower() for row in sentence.rows}
    if task == "tree_depth":
        level, depth = {"0"}, -1
        while level:
            level = {row["id"] for row in sentence.rows if row["head"] in level}
            depth += bool(level)
        return str(depth) == label
    if task == "top_constituents":
        names = []
        for row in sentence.rows:
            name = row["deprel"].split(":")[0]
            if row is root:
                names.append("ROOT")
            elif row["head"] == root["id"] and name not in FUNCTION:
                names.append(name)
        sequence = "_".join(names)
        frequent = set(shipped(task).classes)
        return sequence not in frequent if label == "OTHER" else sequence == label
    if task == "past_present":
        return root["upos"] == "VERB" and feats(root)["Tense"] == label
    wanted = BY_LEMMA[task]
    (word,) = [row for row in sentence.below(root["id"]) if row["deprel"].split(":")[0] == wanted]
    return word["upos"] == "NOUN" and feats(word)["Number"] == label


@pytest.mark.real
@pytest.mark.parametrize("task", [task for task in TREEBANK_TASKS if task not in CHANGED])
def test_labels_are_those_that_other_code_reads_off(
    task: str, released: dict[str, Sentence]
) -> None:
    made = shipped(task)
    rows = range(0, len(made), max(len(made) // 1000, 1))
    assert len(rows) >= 1000
    wrong = [
        made.sentences[row]
        for row in rows
        if not plain_label(task, released[made.sentences[row]], made.labels[row])
    ]
    assert wrong == []


def words_of(text: str) -> list[str]:
    return re.findall(r"\w+|\W", text)


@pytest.mark.real
def test_a_shifted_sentence_has_two_neighbours_exchanged(released: dict[str, Sentence]) -> None:
    made = shipped("bigram_shift")
    for text, label in list(zip(made.sentences, made.labels, strict=True))[:2000]:
        if label == "O":
            assert text in released
            continue
        assert text not in released
        parts = words_of(text)
        back = []
        for at in range(len(parts) - 2):
            if parts[at + 1] == " " and parts[at].isalpha() and parts[at + 2].isalpha():
                turned = [*parts[:at], parts[at + 2], " ", parts[at], *parts[at + 3 :]]
                back.append("".join(turned))
        assert any(text in released for text in back), text


@pytest.mark.real
def test_an_inverted_sentence_begins_with_its_second_clause(released: dict[str, Sentence]) -> None:
    by_words = defaultdict(list)
    for sentence in released.values():
        by_words[tuple(sorted(re.findall(r"\S", sentence.text.lower())))].append(sentence)
    made = shipped("coordination_inversion")
    assert len(made) >= 1000
    for text, label in zip(made.sentences, made.labels, strict=True):
        sources = by_words[tuple(sorted(re.findall(r"\S", text.lower())))]
        assert sources, text
        if label == "O":
            assert text in released
            continue
        source = next(source for source in sources if source.text != text)
        (conjunct,) = [row for row in source.below(source.root["id"]) if row["deprel"] == "conj"]
        (mark,) = [
            row
            for row in source.below(conjunct["id"])
            if row["deprel"] == "cc" and int(row["id"]) < int(conjunct["id"])
        ]
        first = source.rows[int(mark["id"])]["form"]
        assert text.lower().startswith(first.lower()), text
        assert text.lower() != source.text.lower()


@pytest.mark.real
def test_an_odd_word_is_a_noun_or_verb_of_the_same_features(released: dict[str, Sentence]) -> None:
    known = defaultdict(set)
    masked = defaultdict(list)
    for sentence in released.values():
        for row in sentence.rows:
            known[row["form"]].add((row["upos"], row["xpos"], row["feats"]))
        parts = words_of(sentence.text)
        for at, part in enumerate(parts):
            if part.isalpha() and part.islower():
                masked["".join([*parts[:at], "\0", *parts[at + 1 :]])].append((sentence, part))
    made = shipped("odd_man_out")
    n_changed = 0
    for text, label in list(zip(made.sentences, made.labels, strict=True))[:2000]:
        if label == "O":
            assert text in released
            continue
        n_changed += 1
        parts = words_of(text)
        found = [
            (source, before, part)
            for at, part in enumerate(parts)
            for source, before in masked.get("".join([*parts[:at], "\0", *parts[at + 1 :]]), ())
            if before != part
        ]
        assert any(
            tags[0] in ("NOUN", "VERB") and tags in known[after]
            for _, before, after in found
            for tags in known[before]
        ), text
    assert n_changed > 900


@pytest.mark.real
@pytest.mark.parametrize("task", sorted(BY_LEMMA))
def test_no_lemma_of_test_is_in_training(task: str, released: dict[str, Sentence]) -> None:
    made = shipped(task)
    lemmas = defaultdict(set)
    for text, split in zip(made.sentences, made.splits, strict=True):
        sentence = released[text]
        places = [sentence.root]
        if task != "past_present":
            places = [
                row
                for row in sentence.below(sentence.root["id"])
                if row["deprel"].split(":")[0] == BY_LEMMA[task]
            ]
        lemmas[split] |= {row["lemma"].lower() for row in places}
    assert not lemmas["train"] & (lemmas["dev"] | lemmas["test"])
    assert not lemmas["dev"] & lemmas["test"]
    assert len(lemmas["test"]) > 50


@pytest.mark.real
@pytest.mark.parametrize("task", TREEBANK_TASKS)
def test_what_the_treebank_holds_out_is_never_trained_on(
    task: str, released: dict[str, Sentence]
) -> None:
    made = shipped(task)
    trained = [
        released[text].split
        for text, split in zip(made.sentences, made.splits, strict=True)
        if split == "train" and text in released
    ]
    assert len(trained) >= len(made) // 4
    assert set(trained) == {"train"}


@pytest.mark.real
def test_what_ships_is_what_the_released_files_give(real_data: Path) -> None:
    treebank = read_treebank(real_data / "words/en_ewt-ud")
    for task in TREEBANK_TASKS:
        made = treebank_task(treebank, task)
        kept = shipped(task)
        assert (made.sentences, made.labels, made.splits) == (
            kept.sentences,
            kept.labels,
            kept.splits,
        )


@pytest.mark.real
@pytest.mark.parametrize(
    ("file", "refused"),
    [
        ("de_pud-ud-test.conllu", {"tree_depth", "obj_number", "coordination_inversion"}),
        ("tr_pud-ud-test.conllu", {"obj_number", "coordination_inversion"}),
    ],
)
def test_a_small_treebank_has_what_it_can(real_data: Path, file: str, refused: set[str]) -> None:
    found = {offer.task: offer for offer in offers(read_treebank(real_data / "words" / file))}
    assert {task for task, offer in found.items() if offer.reason} == refused
    for offer in found.values():
        if offer.task in refused:
            assert re.search(r"found \d+ sentences for \w+, expected at least", offer.reason)
            assert not offer.sizes
        else:
            sizes = [offer.sizes[split] for split in SPLITS]
            assert all(size >= least for size, least in zip(sizes, FEWEST, strict=True))


@pytest.mark.parametrize("task", TREEBANK_TASKS)
def test_classes_are_balanced_and_no_sentence_is_twice(task: str) -> None:
    made = shipped(task)
    assert len(set(made.sentences)) == len(made)
    for split, size in zip(SPLITS, SIZES, strict=True):
        labels = [
            label for label, found in zip(made.labels, made.splits, strict=True) if found == split
        ]
        counts = Counter(labels)
        assert set(counts) == set(made.classes)
        assert len(labels) <= size + len(counts)
        if task in EVEN:
            assert max(counts.values()) == min(counts.values())
        else:
            # a class of which two sentences in nine are drawn is rounded by one at most
            assert max(counts.values()) <= 2 * min(counts.values()) + 2


@pytest.mark.parametrize("task", ["sentence_length", "bigram_shift", "odd_man_out"])
def test_a_large_treebank_fills_the_splits(task: str) -> None:
    counts = Counter(shipped(task).splits)
    assert all(counts[split] >= size for split, size in zip(SPLITS, SIZES, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("task", ["bigram_shift", "coordination_inversion"])
def test_words_without_order_cannot_tell_what_order_is_about(task: str) -> None:
    made = shipped(task)
    found = fit_floor(
        "floor:bag-of-words", made.sentences, made.labels, made.splits, seed=0
    ).correct.mean()
    n = made.splits.count("test")
    chance = accuracy_interval(np.repeat([0.0, 1.0], n // 2)[:, np.newaxis])
    assert found <= float(chance.upper[0]) + 0.05


def test_depth_says_nothing_of_length() -> None:
    made = shipped("tree_depth")
    lengths = np.array([len(sentence.split()) for sentence in made.sentences])
    depths = np.array(made.labels, dtype=float)
    assert abs(np.corrcoef(lengths, depths)[0, 1]) < 0.05


def test_ten_tasks_ship_and_are_listed() -> None:
    assert len(SHIPPED_TREEBANK_TASKS) == 10
    (source,) = TREEBANKS
    sizes = {offer.task: sum(offer.sizes.values()) for offer in derived_offers(source)}
    assert sizes == {task: len(shipped(task)) for task in TREEBANK_TASKS}
    listed = {entry.name: entry for entry in catalogue()}
    assert listed["ewt:subj_number"].licence == "CC BY-SA 4.0"
    assert listed["ewt:subj_number"].target == "2 classes"


def test_a_changed_shipped_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (source,) = TREEBANKS
    path = tmp_path / source.shipped
    path.parent.mkdir()
    path.write_bytes(b"PAR1")
    monkeypatch.setattr("probing.tasks.derived.shipped_data", lambda: tmp_path)
    with pytest.raises(InputError, match="the project ships has been changed"):
        read_derived(source, "subj_number")


# a treebank written by a few rules


def line(place: int, form: str, upos: str, feats: str, head: int, deprel: str) -> str:
    return (
        f"{place}\t{form}\t{form.lower().rstrip('s')}\t{upos}\t_\t{feats}\t{head}\t{deprel}\t_\t_"
    )


def number_of(noun: str, *, marked: bool) -> str:
    if not marked:
        return "_"
    return f"Number={'Plur' if noun.endswith('s') else 'Sing'}"


def written(path: Path, n: int, *, marked: bool = True, seed: int = 0) -> Path:
    """n sentences `the NOUN ADV VERB a NOUN`, nouns singular and plural."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("bdfgklmnprtvz"))
    blocks = []
    for _ in range(n):
        one, two = ("".join(rng.choice(letters, 4)) + "s" * int(rng.integers(2)) for _ in range(2))
        rows = [
            line(1, "the", "DET", "_", 2, "det"),
            line(2, one, "NOUN", number_of(one, marked=marked), 4, "nsubj"),
            line(3, str(rng.choice(["often", "never"])), "ADV", "_", 4, "advmod"),
            line(4, "saw", "VERB", "VerbForm=Fin", 0, "root"),
            line(5, "a", "DET", "_", 6, "det"),
            line(6, two, "NOUN", number_of(two, marked=marked), 4, "obj"),
        ]
        blocks.append("".join(f"{row}\n" for row in rows) + "\n")
    path.write_text("".join(blocks), encoding="utf-8")
    return path


def test_what_a_treebank_does_not_mark_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = written(tmp_path / "own.conllu", 600, marked=False)
    reasons = {offer.task: offer.reason for offer in offers(read_treebank(path))}
    assert reasons["subj_number"] == "no word with the relation nsubj has the feature Number"
    assert reasons["past_present"] == "no word with the relation root has the feature Tense"
    assert reasons["coordination_inversion"].startswith("no root has one conjunct")
    assert reasons["tree_depth"] == "no 4 depths occur at one length"
    assert (
        reasons["sentence_length"] == "expected sentences of at least two classes; found 06-06 600"
    )
    assert reasons["bigram_shift"] == ""
    with pytest.raises(InputError, match=r"own.conllu has no subj_number: no word with"):
        load_task(f"treebank:{path}:subj_number")


def test_sentences_that_are_no_tree_are_counted(tmp_path: Path) -> None:
    path = written(tmp_path / "own.conllu", 60)
    whole = load_task(f"{path}:structure")
    assert isinstance(whole, ParsedSentences)
    assert not whole.remark
    blocks = path.read_text(encoding="utf-8").split("\n\n")
    two_roots = blocks[0].replace("\t4\tobj", "\t0\tobj")
    cycle = blocks[1].replace("\t0\troot", "\t6\troot")
    path.write_text("\n\n".join([two_roots, cycle, *blocks[2:]]), encoding="utf-8")
    some = load_task(f"{path}:structure")
    assert some.remark == "own.conllu: 2 sentences are no tree with one root: left out"
    assert isinstance(some, ParsedSentences)
    assert len(some.sentences) == len(whole.sentences) - 2


def test_a_file_of_ones_own_gives_what_it_has(tmp_path: Path) -> None:
    path = written(tmp_path / "own.conllu", 900)
    task = load_task(f"treebank:{path}:subj_number")
    assert isinstance(task, LabelledSentences)
    assert task == load_task(f"{path}:subj_number")
    assert task.name == "own.conllu:subj_number"
    assert task.classes == ("Plur", "Sing")
    for text, label in zip(task.sentences, task.labels, strict=True):
        assert label == ("Plur" if text.split()[1].endswith("s") else "Sing")
    test = load_task(f"{path}:subj_number", split="test")
    assert isinstance(test, LabelledSentences)
    assert set(test.splits) == {"test"}
    assert len(test) == task.splits.count("test")


def test_splits_are_those_of_the_files_and_only_training_gives_some_away(tmp_path: Path) -> None:
    releases = {}
    for seed, (split, n) in enumerate({"train": 900, "dev": 40, "test": 60}.items()):
        path = written(tmp_path / f"xx_own-ud-{split}.conllu", n, seed=seed)
        for block in path.read_text(encoding="utf-8").strip().split("\n\n"):
            releases[" ".join(row.split("\t")[1] for row in block.split("\n"))] = split
    for given in (tmp_path, tmp_path / "xx_own-ud"):
        task = load_task(f"treebank:{given}:obj_number")
        assert isinstance(task, LabelledSentences)
        kept = [releases[text] for text in task.sentences]
        moved = list(zip(kept, task.splits, strict=True))
        assert ("dev", "train") not in moved
        assert ("test", "train") not in moved
        assert (
            f"{sum(a == 'train' != b for a, b in moved)} sentences of dev and test" in task.remark
        )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("treebank:own.conllu", "expected treebank:PATH:TASK"),
        ("treebank:{}/none:subj_number", "found no treebank"),
        ("treebank:{}:subj_number", "expected the files of one treebank; found none"),
        ("treebank:{}/own.conllu:number", "unknown task 'number' of a treebank"),
    ],
)
def test_what_is_no_treebank_or_task_is_refused(tmp_path: Path, name: str, expected: str) -> None:
    written(tmp_path / "own.conllu", 5)
    with pytest.raises(InputError, match=re.escape(expected)):
        load_task(name.format(tmp_path))


def test_a_file_is_written_whole_and_read_as_any_table(tmp_path: Path) -> None:
    treebank = read_treebank(written(tmp_path / "own.conllu", 900))
    write_derived(treebank, tmp_path / "own.parquet")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["own.conllu", "own.parquet"]
    with pytest.raises(InputError, match="cannot be written"):
        write_derived(treebank, tmp_path / "none" / "own.parquet")
    few = read_treebank(written(tmp_path / "few.conllu", 9))
    with pytest.raises(InputError, match=r"few\.conllu has none of the tasks"):
        write_derived(few, tmp_path / "few.parquet")


def test_a_graph_that_is_no_tree_has_no_depth(tmp_path: Path) -> None:
    rows = [line(at, "w", "X", "_", 1 + at % 2, "dep") for at in (1, 2)]
    path = tmp_path / "own.conllu"
    path.write_text("".join(f"{row}\n" for row in rows) + "\n", encoding="utf-8")
    with pytest.raises(RefusedError):
        tree_depth(read_treebank(path).sentences)
