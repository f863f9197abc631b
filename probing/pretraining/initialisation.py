"""What a network knows before its first step; the same for every objective.

A run of a few million tokens is spent before plain BERT has learnt which words go together. What
is known of the corpus without training spares it that; all of it is a function of the corpus and
the seed alone:

- Word embeddings start as the leading singular vectors of the positive pointwise mutual information
  of word pieces, each singular direction weighing the same (Levy and Goldberg 2014; Levy, Goldberg
  and Dagan 2015), in place of noise; the rarer a piece, the longer (Arora, Liang and Ma 2017). To
  each is added one common vector, so that after the layer norm a frequent piece is near the middle
  of all and weighs little in a mean. To the scores of the vocabulary the common vector is nothing.
- The bias of those scores starts as the logarithm of each piece's share of the text.
- Query and key weights of a head start equal, so that a token first attends to tokens like itself
  (mimetic initialisation, Trockman and Kolter 2023).

`Start.RANDOM` is the plain initialisation of `transformers`.
"""

import os
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_array
from sklearn.utils.extmath import randomized_svd
from transformers import BertConfig, BertForPreTraining, BertTokenizer

from probing.pretraining.config import PretrainingConfig, Start
from probing.pretraining.corpus import TokenizedCorpus

_WINDOW: Final = 16
_STRETCH: Final = 8_000_000
"""Tokens counted at once: what bounds the memory."""
_RARE: Final = 1e-2
"""Share of the text at which a piece counts half: a/(a + share), as in Arora, Liang and Ma 2017."""
_EMBEDDING_SCALE: Final = 2.0
"""Standard deviation of a rare piece's embedding over that of positions and segments."""
_COMMON_SCALE: Final = 2.0
"""Standard deviation of what all pieces share over that of a rare piece's embedding."""


def initial_model(
    config: PretrainingConfig, tokenizer: BertTokenizer, corpus: TokenizedCorpus
) -> BertForPreTraining:
    """The network before training: a function of seed, sizes, start and corpus."""
    bert = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=config.hidden,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        intermediate_size=config.intermediate,
        max_position_embeddings=config.length,
        hidden_dropout_prob=config.dropout,
        attention_probs_dropout_prob=config.dropout,
        initializer_range=config.initializer_range,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = BertForPreTraining(bert)
    if config.start is Start.COOCCURRENCE:
        vectors = cooccurrence_vectors(corpus, len(tokenizer), config.hidden, config.corpus_seed)
        scale = _EMBEDDING_SCALE * config.initializer_range
        common = np.random.default_rng(config.seed).standard_normal(config.hidden)
        known = np.linalg.norm(vectors, axis=1) > 0
        pieces = np.bincount(corpus.training_tokens(), minlength=len(tokenizer)) + 1.0
        with torch.no_grad():
            words = model.bert.embeddings.word_embeddings.weight
            words[torch.from_numpy(known)] = torch.from_numpy(vectors[known]) * scale
            words += torch.from_numpy(_COMMON_SCALE * scale * common)
            model.cls.predictions.bias.copy_(torch.from_numpy(np.log(pieces / pieces.sum())))
            for name, parameter in model.named_parameters():
                if name.endswith("attention.self.key.weight"):
                    query = model.get_parameter(name.replace("key", "query"))
                    parameter.copy_(query)
    return model


def cooccurrence_vectors(
    corpus: TokenizedCorpus, vocabulary_size: int, size: int, seed: int
) -> npt.NDArray[np.float32]:
    """(vocabulary_size, size) float32: word pieces by the company they keep.

    Counted within 16 tokens on either side, over all training documents end to end. Centred on the
    mean over running text. A row has mean square (a/(a + share))², where share is the piece's part
    of the text and a = 0.01: 1 for rare pieces. A piece never seen is a row of zeros. Kept beside
    the corpus.
    """
    path = corpus.vocabulary.parent / f"cooccurrence-{size}-{seed}.npy"
    if not path.is_file():
        counts = _counts(corpus, vocabulary_size)
        share = counts.sum(axis=1, dtype=np.float64) / counts.sum(dtype=np.float64)
        _save(_singular_vectors(_pointwise_information(counts, share), share, size, seed), path)
    loaded: npt.NDArray[np.float32] = np.load(path, allow_pickle=False)
    return loaded


def _save(vectors: npt.NDArray[np.float32], path: Path) -> None:
    writing = path.with_name(f".{os.getpid()}-{path.name}")
    np.save(writing, vectors, allow_pickle=False)
    writing.replace(path)


def _counts(corpus: TokenizedCorpus, vocabulary_size: int) -> npt.NDArray[np.float32]:
    """(vocabulary_size, vocabulary_size) float32, symmetric: how often two pieces meet."""
    ids = corpus.training_tokens()
    counts = np.zeros(vocabulary_size**2, dtype=np.float32)
    for distance in range(1, min(_WINDOW, len(ids) - 1) + 1):
        for start in range(0, len(ids) - distance, _STRETCH):
            stretch = ids[start : start + _STRETCH + distance].astype(np.int64)
            pairs = stretch[:-distance] * vocabulary_size + stretch[distance:]
            counts += np.bincount(pairs, minlength=vocabulary_size**2)
    table = counts.reshape(vocabulary_size, vocabulary_size)
    return table + table.T


def _pointwise_information(
    counts: npt.NDArray[np.float32], share: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """(vocabulary_size, vocabulary_size) float32, at least 0."""
    expected = np.outer(share, share * counts.sum(dtype=np.float64)).astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        information = np.log(counts / expected)
    # No count, no information: log 0 and 0/0 both mean a pair that was never seen.
    return np.where(information > 0, information, np.float32(0))


def _singular_vectors(
    information: npt.NDArray[np.float32], share: npt.NDArray[np.float64], size: int, seed: int
) -> npt.NDArray[np.float32]:
    kept = min(size, len(information) - 1)
    left, _, _ = randomized_svd(
        csr_array(information), n_components=kept, n_iter=3, random_state=seed
    )
    vectors = np.zeros((len(information), size), dtype=np.float32)
    vectors[:, :kept] = left
    # Without the direction all words share, which would make any two sentences alike.
    vectors -= share.astype(np.float32) @ vectors
    vectors[share == 0] = 0
    # Spread the few strong directions over all dimensions: no unit should carry most of the norm.
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))
    vectors = vectors @ rotation.astype(np.float32)
    norms = np.linalg.norm(vectors, axis=1) / np.sqrt(size)
    wanted = _RARE / (_RARE + share)
    factors = np.divide(wanted, norms, out=np.zeros_like(wanted), where=norms > 0)
    scaled: npt.NDArray[np.float32] = vectors * factors[:, None].astype(np.float32)
    return scaled
