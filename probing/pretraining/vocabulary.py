"""A lower-cased WordPiece vocabulary (`tokenizers`) and the ids of a corpus under it."""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.trainers import WordPieceTrainer
from transformers import BertTokenizer

SPECIAL_TOKENS: Final = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_ALPHABET: Final = 256
"""Distinct characters kept; without a limit rare scripts would fill a small vocabulary."""
_SENTENCES_A_BATCH: Final = 50_000


def train_vocabulary(documents: Iterable[list[str]], size: int, length: int) -> BertTokenizer:
    """A BERT tokenizer, lower-cased and without accents, with a vocabulary learnt from `documents`.

    Args:
        documents: each a list of sentences.
        size: word pieces at most, the five special tokens included (fewer on a tiny corpus).
        length: tokens a sequence at most, `model_max_length` of the tokenizer.
    """
    learner = Tokenizer(WordPiece(unk_token="[UNK]"))  # noqa: S106 — a word piece, no password
    learner.normalizer = BertNormalizer(lowercase=True)
    learner.pre_tokenizer = BertPreTokenizer()
    trainer = WordPieceTrainer(
        vocab_size=size,
        special_tokens=list(SPECIAL_TOKENS),
        limit_alphabet=min(_ALPHABET, size // 4),
        show_progress=False,
    )
    learner.train_from_iterator(documents, trainer)
    return BertTokenizer(vocab=learner.get_vocab(), do_lower_case=True, model_max_length=length)


def load_vocabulary(folder: Path) -> BertTokenizer:
    """The tokenizer saved in `folder`."""
    tokenizer: BertTokenizer = BertTokenizer.from_pretrained(folder, local_files_only=True)
    return tokenizer


def encode_sentences(
    tokenizer: BertTokenizer, documents: Iterable[list[str]]
) -> Iterator[tuple[npt.NDArray[np.uint16], npt.NDArray[np.int64], list[int]]]:
    """The ids of the documents without special tokens, some 50,000 sentences at a time.

    Yields:
        ids (n_tokens,) uint16, tokens a sentence (n_sentences,) int64, and sentences a document.
        Sentences without a token (control characters alone) are left out.
    """
    batch: list[list[str]] = []
    waiting = 0
    for document in documents:
        batch.append(document)
        waiting += len(document)
        if waiting >= _SENTENCES_A_BATCH:
            yield _encode(tokenizer, batch)
            batch, waiting = [], 0
    if batch:
        yield _encode(tokenizer, batch)


def _encode(
    tokenizer: BertTokenizer, documents: list[list[str]]
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.int64], list[int]]:
    sentences = list(chain.from_iterable(documents))
    # an earlier call may have left both set
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    encodings = tokenizer.backend_tokenizer.encode_batch_fast(sentences, add_special_tokens=False)
    ids = [encoding.ids for encoding in encodings]
    lengths = np.array([len(sentence) for sentence in ids], dtype=np.int64)
    flat = np.fromiter(chain.from_iterable(ids), dtype=np.uint16, count=int(lengths.sum()))
    document_of = np.repeat(np.arange(len(documents)), [len(document) for document in documents])
    kept = np.bincount(document_of[lengths > 0], minlength=len(documents))
    return flat, lengths[lengths > 0], kept.tolist()
