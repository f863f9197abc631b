"""CoNLL-U: syntactic words, any column, and every departure from the format."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from probing.errors import InputError
from probing.tasks import TaggedSentences, load_task
from probing.tasks.tagged_words import TAG_COLUMNS


def word(place: str, form: str, tag: str = "X", feats: str = "_") -> str:
    return "\t".join((place, form, form, tag, f"{tag}-x", feats, "0", "root", "_", "_"))


FIRST = [
    "# sent_id = 1",
    "# text = I don't",
    word("1", "I", "PRON", "Number=Sing"),
    word("2-3", "don't", "_"),
    word("2", "do", "AUX"),
    word("3", "n't", "PART"),
    word("3.1", "sleep", "VERB"),
]
SECOND = [word("1", "#tag", "NOUN"), word("2", "1\u00a0000\u2028", "NUM")]


def conllu(path: Path, *sentences: list[str]) -> Path:
    text = "".join("".join(f"{line}\n" for line in sentence) + "\n" for sentence in sentences)
    path.write_bytes(text.encode())
    return path


def test_syntactic_words_and_their_tags(tmp_path: Path) -> None:
    task = load_task(conllu(tmp_path / "own.conllu", FIRST, SECOND))
    assert isinstance(task, TaggedSentences)
    assert task.sentences == (("I", "do", "n't"), ("#tag", "1\u00a0000\u2028"))
    assert task.tags == (("PRON", "AUX", "PART"), ("NOUN", "NUM"))
    assert task.classes == ("AUX", "NOUN", "NUM", "PART", "PRON")
    assert (task.name, task.column, task.splits) == ("own.conllu", "upos", ("", ""))
    assert task.origin.startswith("treebank own.conllu sha256:")


def test_any_other_column_by_name(tmp_path: Path) -> None:
    path = conllu(tmp_path / "own.conllu", FIRST)
    expected = {
        "xpos": ("PRON-x", "AUX-x", "PART-x"),
        "feats": ("Number=Sing", "_", "_"),
        "deprel": ("root",) * 3,
        "lemma": ("I", "do", "n't"),
    }
    for column, tags in expected.items():
        task = load_task(f"{path}:{column}")
        assert isinstance(task, TaggedSentences)
        assert task.tags == (tags,)
        assert task.name == f"own.conllu:{column}"
    with pytest.raises(InputError, match="unknown task 'form' of a treebank, expected a column"):
        load_task(f"{path}:form")


DAMAGES = {
    "a cell too few": (["1\ta\tb"], "line 1: found 3 columns, expected 10"),
    "a cell too many": ([word("1", "a") + "\t_"], "line 1: found 11 columns, expected 10"),
    "an empty cell": ([word("1", "")], "line 1: form is blank"),
    "a blank cell": ([word("1", "a", " ")], "line 1: upos is blank"),
    "a word skipped": ([word("1", "a"), word("3", "b")], "line 2: found word '3', expected 2"),
    "a word twice": ([word("1", "a"), word("1", "a")], "line 2: found word '1', expected 2"),
    "no id": ([word("x", "a")], "line 1: id is 'x', expected a form such as 5, 5-6 or 5.1"),
    "a leading zero": ([word("01", "a")], "line 1: id is '01'"),
    "a foreign digit": ([word("\u0661", "a")], "line 1: id is"),
    "a node elsewhere": ([word("1", "a"), word("5.1", "b")], "found node '5.1' after word 1"),
    "a token elsewhere": ([word("2-3", "a"), word("1", "b")], "one that begins at 1"),
    "a token backwards": ([word("1", "a"), word("2-1", "a")], "one that begins at 2"),
    "a token that overlaps": (
        [word("1-3", "a"), word("1", "a"), word("2-3", "b")],
        "line 3: token '2-3' overlaps",
    ),
    "a token cut short": ([word("1-3", "a"), word("1", "a")], "ends here without its words"),
    "comments alone": (["# text = a"], "line 2: a sentence ends here without its words"),
    "a comment within": ([word("1", "a"), "# b"], "line 2: found a comment within a sentence"),
    "a NUL": ([word("1", "a\0b")], "line 1: found a NUL"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_departure_from_the_format_names_the_line(tmp_path: Path, damage: str) -> None:
    lines, expected = DAMAGES[damage]
    path = conllu(tmp_path / "bad.conllu", lines, SECOND)
    with pytest.raises(InputError) as caught:
        load_task(path)
    assert expected in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("cut", [1, 2, 20, 60])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, cut: int) -> None:
    path = conllu(tmp_path / "cut.conllu", FIRST, SECOND)
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(InputError, match=r"cut\.conllu, line "):
        load_task(path)


def test_two_blank_lines_and_an_empty_file_are_refused(tmp_path: Path) -> None:
    path = conllu(tmp_path / "f.conllu", FIRST, [], SECOND)
    with pytest.raises(InputError, match="line 9: a sentence ends here without its words"):
        load_task(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match="the file is empty"):
        load_task(path)


def test_a_single_file_has_no_splits(tmp_path: Path) -> None:
    path = conllu(tmp_path / "f.conllu", FIRST)
    with pytest.raises(InputError, match="has no splits"):
        load_task(path, split="test")


def test_the_splits_of_a_treebank_are_its_files(tmp_path: Path) -> None:
    for split, sentences in {"train": [FIRST, SECOND], "dev": [FIRST], "test": [SECOND]}.items():
        conllu(tmp_path / f"xx_own-ud-{split}.conllu", *sentences)
    task = load_task(f"treebank:{tmp_path}/xx_own-ud:deprel")
    assert isinstance(task, TaggedSentences)
    assert task.name == "xx_own-ud:deprel"
    assert task.splits == ("train", "train", "dev", "test")
    assert task.origin.count("sha256:") == 3
    dev = load_task(f"treebank:{tmp_path}:upos", split="dev")
    assert isinstance(dev, TaggedSentences)
    assert dev.splits == ("dev",)
    (tmp_path / "xx_own-ud-test.conllu").unlink()
    with pytest.raises(InputError, match="found no treebank"):
        load_task(f"treebank:{tmp_path}:upos")


@pytest.mark.slow
def test_the_treebank_that_ships_is_whole() -> None:
    task = load_task("ewt")
    assert isinstance(task, TaggedSentences)
    assert (task.name, len(task.classes)) == ("ewt", 17)
    words = Counter[str]()
    for sentence, split in zip(task.sentences, task.splits, strict=True):
        words[split] += len(sentence)
    assert Counter(task.splits) == {"train": 12_544, "dev": 2001, "test": 2077}
    assert words == {"train": 204_577, "dev": 25_147, "test": 25_094}
    assert "_" not in task.classes


def test_the_invariants_of_tagged_sentences() -> None:
    good = {
        "name": "t",
        "sentences": (("a",),),
        "tags": (("X",),),
        "splits": ("",),
        "column": "upos",
        "origin": "o",
    }
    TaggedSentences(**good)  # type: ignore[arg-type]
    for wrong in ({"tags": (("X", "Y"),)}, {"splits": ()}, {"splits": ("tst",)}):
        with pytest.raises(ValueError, match=r"split|tags"):
            TaggedSentences(**(good | wrong))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="found no items"):
        TaggedSentences(**(good | {"sentences": (), "tags": (), "splits": ()}))  # type: ignore[arg-type]


_FORM = st.text(st.characters(codec="utf-8", exclude_characters="\0\t\r\n"), min_size=1).filter(
    lambda form: bool(form.strip())
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sentences=st.lists(
        st.lists(st.tuples(_FORM, _FORM), min_size=1, max_size=4), min_size=1, max_size=3
    ),
    column=st.sampled_from(TAG_COLUMNS),
)
def test_what_is_written_is_read_back(
    tmp_path: Path, sentences: list[list[tuple[str, str]]], column: str
) -> None:
    columns = ("id", "form", *TAG_COLUMNS)
    lines = []
    for sentence in sentences:
        rows = []
        for place, (form, tag) in enumerate(sentence, start=1):
            cells = {"id": str(place), "form": form, column: tag}
            rows.append("\t".join(cells.get(name, "_") for name in columns))
        lines.append(rows)
    task = load_task(f"{conllu(tmp_path / 'f.conllu', *lines)}:{column}")
    assert isinstance(task, TaggedSentences)
    read = [
        list(zip(words, tags, strict=True))
        for words, tags in zip(task.sentences, task.tags, strict=True)
    ]
    assert read == sentences
