"""Thinned tasks: evenly, split by split, and under a name of their own."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probing.errors import InputError
from probing.tasks import LabelledSentences, TaggedSentences
from probing.tasks.sentences import thinned_rows

SPLITS = ("train",) * 7 + ("test",) * 4 + ("train",) * 3


@given(st.lists(st.sampled_from(["train", "dev", "test", ""]), min_size=1), st.integers(1, 40))
def test_every_kth_row_of_each_split_and_never_more_than_asked(splits: list[str], n: int) -> None:
    if n < len(set(splits)):
        with pytest.raises(InputError, match="at least one for each split"):
            thinned_rows(splits, n)
        return
    k, rows = thinned_rows(splits, n)
    assert len(rows) <= n
    for split in set(splits):
        places = [row for row, found in enumerate(splits) if found == split]
        assert [row for row in rows if splits[row] == split] == places[::k]
    finer = sum(-(-size // (k - 1)) for size in Counter(splits).values()) if k > 1 else n + 1
    assert finer > n or len(splits) <= n


def test_items_keep_what_belongs_to_them() -> None:
    texts = tuple(f"sentence {row}" for row in range(len(SPLITS)))
    others = tuple(f"other {row}" for row in range(len(SPLITS)))
    labels = tuple(str(row) for row in range(len(SPLITS)))
    task = LabelledSentences("t", texts, labels, SPLITS, "o", sentences2=others, remark="known.")
    few = task.thinned(5)
    assert few.name == "t/4"
    assert few.labels == ("0", "4", "7", "12")
    assert few.splits == ("train", "train", "test", "train")
    assert few.sentences == tuple(f"sentence {row}" for row in few.labels)
    assert few.sentences2 == tuple(f"other {row}" for row in few.labels)
    assert few.remark == "known. 4 of 14 rows: one in 4 of each split"
    assert task.thinned(14) is task


def test_tagged_sentences_are_thinned_whole() -> None:
    words = tuple((str(row), "w") for row in range(6))
    task = TaggedSentences("ewt", words, words, ("",) * 6, "upos", "o")
    assert task.thinned(3).sentences == words[::2]
    assert task.thinned(3).tags == words[::2]
    assert task.thinned(3).name == "ewt/2"
    assert task.thinned(6) is task
