"""Word vectors against the hidden states of the tokens that make up each word."""

import logging

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings

from probing.encoding.encoder import load_encoder
from probing.encoding.extraction import raw_outputs
from probing.encoding.store.cache import cached_stores
from probing.encoding.word_vectors import extract_words
from probing.errors import InputError
from tests.conftest import FAMILIES, MAX_LENGTH

SENTENCES = (
    ("the", "cats", ",", "unlikely", "dogs", "!"),
    ("zebra",),
    ("a", "dog", "running", "1 000", "mats", "."),
    ("not", "unlikely", "unlikely", "cats"),
)
WORDS = st.sampled_from(["the", "cats", "unlikely", "zebra", "?"])


def _spelled(token: str) -> str:
    return token.removeprefix("##").replace("Ġ", "").replace("▁", "")


def _tokens_of_words(encoder, words):
    """For each word the numbers of its tokens, by spelling the sentence out token by token."""
    raw = raw_outputs(encoder, [" ".join(words)])
    special = set(encoder.tokenizer.all_special_tokens)
    positions = [[] for _ in words]
    word, rest = 0, words[0].replace(" ", "")
    for position, token in enumerate(raw.tokens[0]):
        if token in special:
            continue
        while not rest:
            word += 1
            rest = words[word].replace(" ", "")
        positions[word].append(position)
        spelled = _spelled(token)
        assert rest.lower().startswith(spelled.lower()), (rest, token)
        rest = rest[len(spelled) :]
    return raw, positions


@pytest.mark.parametrize("pieces", ["first", "last", "mean"])
@pytest.mark.parametrize("family", FAMILIES)
def test_words_are_their_pieces(family, pieces, tiny_encoder_folder):
    encoder = load_encoder(tiny_encoder_folder(family))
    words = extract_words(encoder, SENTENCES, pieces=pieces)
    assert list(words) == [f"word_{pieces}@{layer}" for layer in range(4)]
    assert words.n_words == sum(len(sentence) for sentence in SENTENCES)
    assert words.n_lost == 0
    row = 0
    some_word_has_pieces = False
    for number, sentence in enumerate(SENTENCES):
        raw, positions = _tokens_of_words(encoder, sentence)
        for tokens in positions:
            some_word_has_pieces |= len(tokens) > 1
            assert words.sentences[row] == number
            for layer, hidden in enumerate(raw.hidden_states):
                expected = {
                    "first": hidden[0, tokens[0]],
                    "last": hidden[0, tokens[-1]],
                    "mean": hidden[0, tokens].mean(dim=0),
                }[pieces]
                found = words[f"word_{pieces}@{layer}"][row]
                np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-5)
            row += 1
    assert some_word_has_pieces


@settings(max_examples=20, deadline=None)
@given(
    sentences=st.lists(
        st.lists(
            st.sampled_from(["the", "cats", "unlikely", "zebra", "?"]), min_size=1, max_size=8
        ),
        min_size=1,
        max_size=6,
    ),
    batch_tokens=st.integers(1, 100),
    pieces=st.sampled_from(["first", "last", "mean"]),
)
def test_batch_composition_moves_no_word(tiny_encoder_folder, sentences, batch_tokens, pieces):
    encoder = load_encoder(tiny_encoder_folder("bert"))
    together = extract_words(encoder, sentences, pieces=pieces, batch_tokens=batch_tokens)
    alone = [extract_words(encoder, [sentence], pieces=pieces) for sentence in sentences]
    for view_id in together:
        expected = np.concatenate([words[view_id] for words in alone])
        np.testing.assert_allclose(together[view_id], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("pieces", ["first", "last", "mean"])
def test_truncated_words_are_reported(tiny_encoder_folder, caplog, pieces):
    """46 tokens are left: 45 for 'cat', then 'unlikely' has three pieces of which one fits."""
    encoder = load_encoder(tiny_encoder_folder("bert"))
    long = ["cat"] * (MAX_LENGTH - 3) + ["unlikely", "dog", "dog"]
    with caplog.at_level(logging.WARNING):
        words = extract_words(encoder, [["a", "dog"], long, ["red"]], pieces=pieces)
    assert "3 of 51 words have no vector" in caplog.text
    expected = [False] * 2 + [False] * (MAX_LENGTH - 3) + [True] * 3 + [False]
    assert words.lost.tolist() == expected
    for view_id in words:
        assert np.isnan(words[view_id]).any(axis=1).tolist() == expected
        assert np.isnan(words[view_id]).all(axis=1).tolist() == expected


def test_a_word_of_which_nothing_is_left(tiny_encoder_folder, caplog):
    """BERT drops control characters."""
    encoder = load_encoder(tiny_encoder_folder("bert"))
    with caplog.at_level(logging.WARNING):
        words = extract_words(encoder, [["the", "\u200b\u0001", "cat"]])
    assert words.lost.tolist() == [False, True, False]
    whole = extract_words(encoder, [["the", "cat"]])
    np.testing.assert_allclose(
        words["word_first@2"][[0, 2]], whole["word_first@2"], rtol=0, atol=1e-5
    )


def test_layers(tiny_encoder_folder):
    encoder = load_encoder(tiny_encoder_folder("bert"))
    every = extract_words(encoder, SENTENCES)
    some = extract_words(encoder, SENTENCES, layers=[2, 0])
    assert list(some) == ["word_first@0", "word_first@2"]
    for view_id in some:
        np.testing.assert_array_equal(some[view_id], every[view_id])
    with pytest.raises(InputError, match="no view 'word_first@1'"):
        some["word_first@1"]
    with pytest.raises(InputError, match="layers 0 to 3"):
        extract_words(encoder, SENTENCES, layers=[4])


def test_words_in_the_cache(tiny_encoder_folder, tmp_path):
    encoder = load_encoder(tiny_encoder_folder("bert"))
    long = ["cat"] * (2 * MAX_LENGTH)
    sentences = [*SENTENCES, long] * 3
    expected = extract_words(encoder, sentences, pieces="mean")
    first = extract_words(encoder, sentences, pieces="mean", cache_dir=tmp_path)
    calls = []
    encoder.model.register_forward_pre_hook(lambda *_: calls.append(1))
    second = extract_words(encoder, sentences, pieces="mean", cache_dir=tmp_path)
    fewer = extract_words(encoder, sentences, pieces="mean", layers=[1], cache_dir=tmp_path)
    assert calls == []
    for words in (first, second, fewer):
        np.testing.assert_array_equal(words.lost, expected.lost)
        np.testing.assert_array_equal(words.sentences, expected.sentences)
        np.testing.assert_allclose(words["word_mean@1"], expected["word_mean@1"], rtol=0, atol=1e-5)
    assert list(fewer) == ["word_mean@1"]
    extract_words(encoder, sentences, pieces="last", cache_dir=tmp_path)
    assert len(cached_stores(tmp_path)) == 2


@pytest.mark.parametrize(
    ("sentences", "message"),
    [
        ([], "found no sentence"),
        (["the cat"], "expected a list of words"),
        ([["the"], []], r"sentence 1 is \[\]"),
        ([["the", " "]], "sentence 0 has the word ' '"),
    ],
)
def test_bad_sentences(tiny_encoder_folder, sentences, message):
    with pytest.raises(InputError, match=message):
        extract_words(load_encoder(tiny_encoder_folder("bert")), sentences)


def test_bad_pieces(tiny_encoder_folder):
    with pytest.raises(InputError, match="unknown pieces 'middle'"):
        extract_words(load_encoder(tiny_encoder_folder("bert")), SENTENCES, pieces="middle")


def test_sums_of_bfloat16_are_accumulated_in_float32(tiny_encoder_folder):
    encoder = load_encoder(tiny_encoder_folder("bert"), dtype="bfloat16")
    words = extract_words(encoder, SENTENCES, pieces="mean")
    raw, positions = _tokens_of_words(encoder, SENTENCES[0])
    unlikely = raw.hidden_states[0][0, positions[3]]
    mean = unlikely.double().mean(dim=0).float()
    assert not torch.equal(mean, mean.bfloat16().float())
    np.testing.assert_allclose(words["word_mean@0"][3], mean.numpy(), rtol=0, atol=1e-6)
