"""What a network knows before its first step; the same for every objective.

A run of a few million tokens is spent before plain BERT has learnt which words go together. Two
published starts, both functions of the corpus and the seed alone, spare it that:

- Word embeddings start as the leading singular vectors of the positive pointwise mutual information
  of word pieces (Levy and Goldberg 2014), in place of noise.
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

_WINDOW: Final = 8
_TOKENS_COUNTED: Final = 20_000_000
_SMOOTHING: Final = 0.75
_EMBEDDING_SCALE: Final = 2.0
"""Standard deviation of a word embedding over that of the position and segment embeddings."""


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
        known = np.linalg.norm(vectors, axis=1) > 0
        scale = _EMBEDDING_SCALE * config.initializer_range
        with torch.no_grad():
            words = model.bert.embeddings.word_embeddings.weight
            words[torch.from_numpy(known)] = torch.from_numpy(vectors[known]) * scale
            for name, parameter in model.named_parameters():
                if name.endswith("attention.self.key.weight"):
                    query = model.get_parameter(name.replace("key", "query"))
                    parameter.copy_(query)
    return model


def cooccurrence_vectors(
    corpus: TokenizedCorpus, vocabulary_size: int, size: int, seed: int
) -> npt.NDArray[np.float32]:
    """(vocabulary_size, size) float32: word pieces by the company they keep.

    Counted within 8 tokens on either side, over training documents drawn by weight up to 20 million
    tokens. Centred on the mean over running text; rows have mean square 1; a piece never seen is a
    row of zeros. Kept beside the corpus.
    """
    path = corpus.vocabulary.parent / f"vectors-{size}-{seed}.npy"
    if not path.is_file():
        information, frequency = _pointwise_information(corpus, vocabulary_size, seed)
        vectors = _singular_vectors(information, frequency, size, seed)
        _save(vectors, path)
    loaded: npt.NDArray[np.float32] = np.load(path, allow_pickle=False)
    return loaded


def _save(vectors: npt.NDArray[np.float32], path: Path) -> None:
    writing = path.with_name(f".{os.getpid()}-{path.name}")
    np.save(writing, vectors, allow_pickle=False)
    writing.replace(path)


def _pointwise_information(
    corpus: TokenizedCorpus, vocabulary_size: int, seed: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """(vocabulary_size, vocabulary_size) float32 and each piece's share of the counts, float64."""
    bounds = corpus.sentence_starts[corpus.document_starts]
    sizes = np.diff(bounds)
    rng = np.random.default_rng([seed, vocabulary_size])
    # Exponential keys over weights: a weighted order without replacement (Efraimidis, Spirakis).
    keys = rng.exponential(size=len(sizes)) / corpus.document_weights()
    keys[corpus.held_out] = np.inf
    order = np.argsort(keys)[: int((~corpus.held_out).sum())]
    chosen = order[np.cumsum(sizes[order]) - sizes[order] < _TOKENS_COUNTED]
    ids = np.concatenate([corpus.tokens[bounds[d] : bounds[d + 1]] for d in chosen])
    ids = ids.astype(np.int64)
    counts = np.zeros(vocabulary_size**2, dtype=np.float32)
    for distance in range(1, min(_WINDOW, len(ids) - 1) + 1):
        pairs = ids[:-distance] * vocabulary_size + ids[distance:]
        counts += np.bincount(pairs, minlength=vocabulary_size**2)
    table = counts.reshape(vocabulary_size, vocabulary_size)
    table = table + table.T
    total = table.sum(axis=1, dtype=np.float64)
    context = total**_SMOOTHING / np.sum(total**_SMOOTHING)
    with np.errstate(divide="ignore", invalid="ignore"):
        table /= np.outer(total, context).astype(np.float32)
        information = np.log(table, out=table)
    # No count, no information: log 0 and 0/0 both mean a pair that was never seen.
    return np.where(information > 0, information, np.float32(0)), total / total.sum()


def _singular_vectors(
    information: npt.NDArray[np.float32],
    frequency: npt.NDArray[np.float64],
    size: int,
    seed: int,
) -> npt.NDArray[np.float32]:
    kept = min(size, len(information) - 1)
    left, values, _ = randomized_svd(
        csr_array(information), n_components=kept, n_iter=3, random_state=seed
    )
    vectors = np.zeros((len(information), size), dtype=np.float32)
    vectors[:, :kept] = left * np.sqrt(values)
    # Without the direction all words share, which would make any two sentences alike.
    vectors -= frequency.astype(np.float32) @ vectors
    vectors[frequency == 0] = 0
    # Spread the few strong directions over all dimensions: no unit should carry most of the norm.
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))
    vectors = vectors @ rotation.astype(np.float32)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True) / np.sqrt(size)
    scaled: npt.NDArray[np.float32] = np.divide(
        vectors, norms, out=np.zeros_like(vectors), where=norms > 0, dtype=np.float32
    )
    return scaled
