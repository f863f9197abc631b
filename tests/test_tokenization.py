"""Batches: every sentence once, within the budget, with little padding."""

import hypothesis.strategies as st
import numpy as np
from hypothesis import given, settings

from probing.encoding.tokenization import Tokenized, batches, make_batch

PAD = 99


def _tokenized(lengths: list[int]) -> Tokenized:
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    rng = np.random.default_rng(0)
    return Tokenized(
        ids=rng.integers(0, 50, size=starts[-1]),
        is_word=rng.random(starts[-1]) < 0.8,
        starts=starts,
        truncated=np.zeros(len(lengths), dtype=bool),
    )


@settings(max_examples=100, deadline=None)
@given(
    lengths=st.lists(st.integers(2, 60), min_size=1, max_size=200),
    batch_tokens=st.integers(1, 600),
)
def test_every_sentence_once_within_the_budget(lengths, batch_tokens):
    tokenized = _tokenized(lengths)
    seen = []
    for batch in batches(tokenized, PAD, batch_tokens):
        seen += batch.rows.tolist()
        n_sentences, longest = batch.ids.shape
        assert n_sentences * longest <= batch_tokens or n_sentences == 1
        assert batch.is_padded == (not batch.attention_mask.all())
        assert (~batch.attention_mask).sum() * 16 <= batch_tokens
        for row, ids, mask, words in zip(
            batch.rows, batch.ids, batch.attention_mask, batch.word_mask, strict=True
        ):
            own = slice(tokenized.starts[row], tokenized.starts[row + 1])
            length = own.stop - own.start
            assert mask.tolist() == [True] * length + [False] * (longest - length)
            assert ids[:length].tolist() == tokenized.ids[own].tolist()
            assert (ids[length:] == PAD).all()
            assert words[:length].tolist() == tokenized.is_word[own].tolist()
            assert not words[length:].any()
    assert sorted(seen) == list(range(len(lengths)))


def test_sentences_of_one_length_share_no_padding():
    tokenized = _tokenized([7] * 100 + [6] * 100)
    assert not any(batch.is_padded for batch in batches(tokenized, PAD, 128))


def test_a_few_sentences_share_a_batch():
    tokenized = _tokenized([10, 9, 9, 8])
    (batch,) = batches(tokenized, PAD, 1024)
    assert batch.is_padded
    assert batch.rows.tolist() == [0, 1, 2, 3]


def test_the_longest_comes_first():
    """What is too large for the memory fails at once, not after hours."""
    tokenized = _tokenized([3, 60, 5, 41, 8])
    longest = [batch.ids.shape[1] for batch in batches(tokenized, PAD, 64)]
    assert longest == sorted(longest, reverse=True)
    assert make_batch(tokenized, np.array([1]), PAD).ids.shape == (1, 60)
