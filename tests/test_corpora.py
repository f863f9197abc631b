"""Sentences from files and data sets."""

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from probing.encoding.corpora import read_sentences
from probing.encoding.encoder import load_encoder
from probing.encoding.extraction import extract_to_store
from probing.errors import InputError

SENTENCES = ["the cat sat", "ein Hund läuft", "猫", "a dog runs"]


def _parquet(path, **columns):
    pq.write_table(pa.table(columns), path, row_group_size=2)
    return path


def test_text(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(SENTENCES) + "\n", encoding="utf-8")
    assert list(read_sentences(path)) == SENTENCES
    path.write_bytes("\r\n".join(SENTENCES).encode())
    assert list(read_sentences(str(path))) == SENTENCES


def test_parquet(tmp_path):
    path = _parquet(tmp_path / "a.parquet", number=[1, 2, 3, 4], sentence=SENTENCES)
    assert list(read_sentences(path)) == SENTENCES
    path = _parquet(tmp_path / "b.parquet", text=SENTENCES, title=SENTENCES[::-1])
    assert list(read_sentences(path)) == SENTENCES
    assert list(read_sentences(path, column="title")) == SENTENCES[::-1]


def test_iterables():
    assert list(read_sentences(iter(SENTENCES))) == SENTENCES
    rows = ({"text": sentence, "label": 0} for sentence in SENTENCES)
    assert list(read_sentences(rows)) == SENTENCES


def test_a_streaming_dataset_fills_a_store(tmp_path, tiny_encoder_folder):
    path = _parquet(tmp_path / "a.parquet", sentence=SENTENCES * 5)
    streamed = datasets.load_dataset(
        "parquet",
        data_files=str(path),
        split="train",
        streaming=True,
        cache_dir=str(tmp_path / "cache"),
    )
    encoder = load_encoder(tiny_encoder_folder("bert"))
    from_stream = extract_to_store(encoder, read_sentences(streamed), tmp_path / "one")
    from_list = extract_to_store(encoder, SENTENCES * 5, tmp_path / "two")
    assert from_stream.n_sentences == 20
    assert (from_stream["mean@2"] == from_list["mean@2"]).all()


def test_no_more_is_read_than_is_asked_for():
    def rows():
        yield {"sentence": "a cat"}
        raise AssertionError

    assert next(read_sentences(rows())) == "a cat"


def test_bad_files(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        list(read_sentences(tmp_path / "none.txt"))
    with pytest.raises(InputError, match="cannot be read"):
        list(read_sentences(tmp_path / "none.parquet"))
    broken = tmp_path / "broken.txt"
    broken.write_bytes(b"a cat\na \xff dog\n")
    with pytest.raises(InputError, match=r"line 2: found a byte that is not UTF-8 \(0xff\)"):
        list(read_sentences(broken))
    text = tmp_path / "text.parquet"
    text.write_text("a cat")
    with pytest.raises(InputError, match="is not a Parquet file"):
        list(read_sentences(text))
    path = _parquet(tmp_path / "a.parquet", number=[1], words=["a cat"])
    with pytest.raises(InputError, match="has the columns number, words: expected sentence or"):
        list(read_sentences(path))
    with pytest.raises(InputError, match="expected title"):
        list(read_sentences(path, column="title"))
