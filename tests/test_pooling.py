"""Pooling against ragged rows computed by hand, and its properties."""

from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

from probing.encoding.encoder import load_encoder
from probing.encoding.extraction import extract
from probing.encoding.pooling import TokenMasks, pool_with
from probing.encoding.pooling import pool as pool_layer
from probing.encoding.views import Pooling
from probing.errors import InputError

PADDING = 1e6
"""What padded positions hold in these tests: large, so that a leak shows."""


def _padded(rows, words):
    """Token vectors of ragged rows, padded on the right, with their two masks."""
    n_tokens = max(len(row) for row in rows)
    hidden = torch.full((len(rows), n_tokens, len(rows[0][0])), PADDING)
    attention_mask = torch.zeros(len(rows), n_tokens, dtype=torch.bool)
    word_mask = torch.zeros(len(rows), n_tokens, dtype=torch.bool)
    for index, (row, is_word) in enumerate(zip(rows, words, strict=True)):
        hidden[index, : len(row)] = torch.tensor(row)
        attention_mask[index, : len(row)] = True
        word_mask[index, : len(row)] = torch.tensor(is_word)
    return hidden, attention_mask, word_mask


def pool(hidden, attention_mask, word_mask):
    return pool_layer(hidden, TokenMasks.of(attention_mask, word_mask))


def test_ragged_rows_by_hand():
    hidden, attention_mask, word_mask = _padded(
        rows=[
            [[1.0, -1.0], [2.0, -2.0], [6.0, -9.0]],
            [[-4.0, 0.5], [-8.0, 1.5], [-3.0, 4.0], [-1.0, 2.0], [-9.0, 2.0]],
        ],
        words=[[False, True, False], [False, True, True, True, False]],
    )
    pooled = pool(hidden, attention_mask, word_mask)
    assert pooled[Pooling.CLS].tolist() == [[1.0, -1.0], [-4.0, 0.5]]
    assert pooled[Pooling.MEAN].tolist() == [[3.0, -4.0], [-5.0, 2.0]]
    assert pooled[Pooling.MEAN_WORDS].tolist() == [[2.0, -2.0], [-4.0, 2.5]]
    assert pooled[Pooling.MAX].tolist() == [[6.0, -1.0], [-1.0, 4.0]]


def test_unpadded_rows_by_hand():
    hidden, attention_mask, word_mask = _padded(
        rows=[[[1.0], [2.0], [6.0]], [[-4.0], [-8.0], [-3.0]]],
        words=[[False, True, False], [False, True, True]],
    )
    pooled = pool(hidden, attention_mask, word_mask)
    assert pooled[Pooling.MEAN].tolist() == [[3.0], [-5.0]]
    assert pooled[Pooling.MEAN_WORDS].tolist() == [[2.0], [-5.5]]
    assert pooled[Pooling.MAX].tolist() == [[6.0], [-3.0]]


def test_a_row_without_words_has_no_mean_of_words():
    hidden, attention_mask, word_mask = _padded(
        rows=[[[1.0], [2.0]], [[3.0], [5.0]]], words=[[False, False], [True, False]]
    )
    pooled = pool(hidden, attention_mask, word_mask)
    assert pooled[Pooling.MEAN_WORDS].isnan().tolist() == [[True], [False]]
    assert pooled[Pooling.MEAN].tolist() == [[1.5], [4.0]]


def test_sums_of_bfloat16_are_accumulated_in_float32():
    """256 + 1 + 1 + … stays at 256 where the running sum is kept in bfloat16."""
    hidden = torch.ones(1, 257, 1, dtype=torch.bfloat16)
    hidden[0, 0] = 256.0
    mask = torch.ones(1, 257, dtype=torch.bool)
    mean = pool(hidden, mask, mask)[Pooling.MEAN]
    assert mean.dtype == torch.float32
    assert mean.item() == pytest.approx(512 / 257, rel=1e-6)


@st.composite
def _layers(draw):
    n_sentences = draw(st.integers(1, 4))
    lengths = draw(st.lists(st.integers(2, 6), min_size=n_sentences, max_size=n_sentences))
    values = st.floats(-100, 100, width=32)
    rows = [draw(hnp.arrays(np.float32, (length, 3), elements=values)) for length in lengths]
    words = []
    for length in lengths:
        is_word = draw(st.lists(st.booleans(), min_size=length, max_size=length))
        is_word[1] = True
        words.append(is_word)
    return rows, words


@settings(max_examples=60, deadline=None)
@given(_layers(), st.sampled_from([torch.float32, torch.bfloat16]))
def test_equals_numpy_on_every_row(layer, dtype):
    rows, words = layer
    hidden, attention_mask, word_mask = _padded(rows, words)
    pooled = pool(hidden.to(dtype), attention_mask, word_mask)
    for index, (row, is_word) in enumerate(zip(rows, words, strict=True)):
        row = torch.tensor(row).to(dtype).double().numpy()
        expected = {
            Pooling.CLS: row[0],
            Pooling.MEAN: row.mean(axis=0),
            Pooling.MEAN_WORDS: row[is_word].mean(axis=0),
            Pooling.MAX: row.max(axis=0),
        }
        for pooling, vector in expected.items():
            np.testing.assert_allclose(
                pooled[pooling][index].numpy(), vector, rtol=1e-5, atol=1e-4, err_msg=pooling
            )


@settings(max_examples=30, deadline=None)
@given(_layers(), st.integers(0, 4))
def test_more_padding_changes_nothing(layer, extra):
    hidden, attention_mask, word_mask = _padded(*layer)
    wider = torch.nn.functional.pad(hidden, (0, 0, 0, extra), value=PADDING)
    masks = [torch.nn.functional.pad(mask, (0, extra)) for mask in (attention_mask, word_mask)]
    before = pool(hidden, attention_mask, word_mask)
    after = pool(wider, *masks)
    for pooling, vectors in before.items():
        torch.testing.assert_close(after[pooling], vectors, rtol=1e-5, atol=1e-4)


def test_a_pooling_of_ones_own_cannot_spoil_the_others(tiny_encoder_folder) -> None:
    def in_place(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hidden[:] = 7.0
        mask[:] = False
        return hidden[:, 0]

    plain = load_encoder(tiny_encoder_folder("bert"))
    spoiling = replace(plain, poolings={"in_place": in_place})
    wanted = extract(plain, ["a cat", "the dog is big"])
    found = extract(spoiling, ["a cat", "the dog is big"])
    for view in wanted:
        np.testing.assert_array_equal(found[view], wanted[view])
    assert (found["in_place@1"] == 7.0).all()


def test_a_pooling_gives_real_numbers() -> None:
    hidden, mask = torch.ones(2, 3, 4), torch.ones(2, 3, dtype=torch.bool)
    with pytest.raises(InputError, match="returned complex numbers"):
        pool_with("mine", lambda hidden, _: hidden[:, 0] * 1j, hidden, mask)
