"""A data set of the Hub as a corpus, with a folder in place of the Hub."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from probing.errors import InputError
from probing.pretraining import hub_corpus
from probing.pretraining.corpus import read_documents, source_files
from probing.pretraining.hub_corpus import HubCorpus, corpus_folder, parse_hub_corpus

ROWS = [
    "Boats sail. They sail far! Do they?\nA net is full of fish.",
    "",
    None,
    'He said "no." Then  he\tleft.',
]
NAME = "someone/texts/plain@0123abc:text"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the Hub was asked for; it has one data set of two configurations."""
    folder = tmp_path / "hub" / "0123abcdef"
    for part in ("plain", "other"):
        (folder / part).mkdir(parents=True)
        rows = ROWS if part == "plain" else ["Something else."]
        pq.write_table(
            pa.table({"text": rows, "n": list(range(len(rows)))}),
            folder / part / "train-00000-of-00001.parquet",
        )
        pq.write_table(pa.table({"text": ["held back"]}), folder / part / "test-0.parquet")
    asked: list[dict[str, Any]] = []

    def snapshot(hub_id: str, **wanted: Any) -> Path:
        asked.append({"hub_id": hub_id, **wanted})
        return folder

    monkeypatch.setattr(hub_corpus, "snapshot", snapshot)
    return asked


def test_rows_are_documents_of_sentences(hub: list[dict[str, Any]], tmp_path: Path) -> None:
    folder = corpus_folder(NAME, tmp_path / "cache")
    (path,) = source_files(folder).values()
    assert list(read_documents(path)) == [
        ["Boats sail.", "They sail far!", "Do they?", "A net is full of fish."],
        ['He said "no."', "Then he left."],
    ]
    assert hub[0]["hub_id"] == "someone/texts"
    assert hub[0]["revision"] == "0123abc"
    assert list(source_files(folder)) == ["someone--texts-plain-text-0123abcdef"]


def test_the_text_is_written_once(hub: list[dict[str, Any]], tmp_path: Path) -> None:
    stamps = [
        next(iter(source_files(corpus_folder(NAME, tmp_path / "cache")).values())).stat()
        for _ in range(2)
    ]
    assert stamps[0].st_mtime_ns == stamps[1].st_mtime_ns
    assert len(hub) == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("someone/texts/plain@0123abc:words", "no column 'words'"),
        ("someone/texts/third@0123abc:text", "name its configuration"),
        ("someone/texts", "expected a folder"),
    ],
)
@pytest.mark.usefixtures("hub")
def test_what_is_not_there_is_said(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        corpus_folder(name, tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.txt"))


def test_a_folder_is_itself(tmp_path: Path) -> None:
    assert corpus_folder(tmp_path, tmp_path / "cache") == tmp_path


def test_specifications_are_taken_apart() -> None:
    assert parse_hub_corpus("a/b@main:text") == HubCorpus("a/b", None, "main", "text")
    assert parse_hub_corpus(NAME) == HubCorpus("someone/texts", "plain", "0123abc", "text")
    assert parse_hub_corpus("../texts") is None
