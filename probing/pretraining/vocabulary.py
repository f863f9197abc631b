"""A lower-cased WordPiece vocabulary (`tokenizers`) and the ids of a corpus under it."""

import hashlib
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.trainers import WordPieceTrainer
from transformers import AutoTokenizer, BertTokenizer, PreTrainedTokenizerBase

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


def load_vocabulary(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer saved in `folder`."""
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    return tokenizer


def plain_tokenizer(tokenizer: PreTrainedTokenizerBase) -> Tokenizer:
    """A copy that neither pads nor truncates, whatever was saved with or set on the original."""
    copy = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    copy.no_padding()
    copy.no_truncation()
    return copy


def tokenizer_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """Short hash of how text is cut, padding and truncation left out."""
    return hashlib.sha256(plain_tokenizer(tokenizer).to_str().encode()).hexdigest()[:16]


def encode_sentences(
    tokenizer: PreTrainedTokenizerBase, documents: Iterable[list[str]]
) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[np.int64], list[int]]]:
    """The ids of the documents without special tokens, some 50,000 sentences at a time.

    Yields:
        ids (n_tokens,) uint16 (uint32 for a vocabulary beyond 65,536), tokens a sentence
        (n_sentences,) int64, and sentences a document. Sentences without a token (only control
        characters) are left out.
    """
    plain = plain_tokenizer(tokenizer)
    batch: list[list[str]] = []
    waiting = 0
    for document in documents:
        batch.append(document)
        waiting += len(document)
        if waiting >= _SENTENCES_A_BATCH:
            yield _encode(plain, batch)
            batch, waiting = [], 0
    if batch:
        yield _encode(plain, batch)


def _encode(
    tokenizer: Tokenizer, documents: list[list[str]]
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64], list[int]]:
    sentences = list(chain.from_iterable(documents))
    encodings = tokenizer.encode_batch_fast(sentences, add_special_tokens=False)
    ids = [encoding.ids for encoding in encodings]
    lengths = np.array([len(sentence) for sentence in ids], dtype=np.int64)
    width = np.uint16 if tokenizer.get_vocab_size() <= 2**16 else np.uint32
    flat = np.fromiter(chain.from_iterable(ids), dtype=width, count=int(lengths.sum()))
    document_of = np.repeat(np.arange(len(documents)), [len(document) for document in documents])
    kept = np.bincount(document_of[lengths > 0], minlength=len(documents))
    return flat, lengths[lengths > 0], kept.tolist()
