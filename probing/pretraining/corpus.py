"""Plain text, one sentence a line, a blank line between documents → one compact array of ids.

The corpus is tokenised once. What training reads is memory-mapped, so loading is never what it
waits for.
"""

import hashlib
import json
import logging
import lzma
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerBase

from probing.errors import InputError
from probing.pretraining.config import PretrainingConfig
from probing.pretraining.vocabulary import (
    encode_sentences,
    load_vocabulary,
    tokenizer_hash,
    train_vocabulary,
)

logger = logging.getLogger(__name__)

_SUFFIXES: Final = (".txt", ".txt.xz")
_ARRAYS: Final = ("tokens", "sentence_starts", "document_starts", "document_source", "held_out")


@dataclass(frozen=True)
class TokenizedCorpus:
    """Every document of every source as word-piece ids, in one array.

    Attributes:
        tokens: (n_tokens,) uint16, all sentences end to end, without special tokens; uint32 for a
            vocabulary beyond 65,536.
        sentence_starts: (n_sentences + 1,) int64, offsets into `tokens`.
        document_starts: (n_documents + 1,) int64, offsets into the sentences.
        document_source: (n_documents,) int16, index into `sources`.
        held_out: (n_documents,) bool, True for documents never trained on.
        sources: names of the files without suffix, sorted.
        vocabulary: folder of the tokenizer that gave the ids.
        digest: of the texts, the vocabulary and the held-out choice.
        source_weights: how often a document of each source is drawn; 1 for all where empty.
    """

    tokens: npt.NDArray[np.uint16] | npt.NDArray[np.uint32]
    sentence_starts: npt.NDArray[np.int64]
    document_starts: npt.NDArray[np.int64]
    document_source: npt.NDArray[np.int16]
    held_out: npt.NDArray[np.bool_]
    sources: tuple[str, ...]
    vocabulary: Path
    digest: str
    source_weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        n_documents = len(self.document_starts) - 1
        if len(self.document_source) != n_documents or len(self.held_out) != n_documents:
            raise ValueError("one source and one held-out flag a document")
        if self.document_starts[-1] != len(self.sentence_starts) - 1:
            raise ValueError("the last document must end with the last sentence")
        if self.sentence_starts[-1] != len(self.tokens):
            raise ValueError("the last sentence must end with the last token")

    def document_weights(self) -> npt.NDArray[np.float64]:
        """(n_documents,) float64: how often each is drawn."""
        weights = np.array(self.source_weights or [1.0] * len(self.sources))
        drawn: npt.NDArray[np.float64] = weights[self.document_source]
        return drawn


def source_files(folder: Path) -> dict[str, Path]:
    """The sources of a corpus folder: name without suffix → ``NAME.txt`` or ``NAME.txt.xz``.

    Raises:
        InputError: there is no such file.
    """
    found = {
        path.name.removesuffix(suffix): path
        for suffix in _SUFFIXES
        for path in sorted(folder.glob(f"*{suffix}"))
    }
    if not found:
        raise InputError(
            f"no NAME.txt or NAME.txt.xz in {folder}: expected plain text, one sentence a line, "
            "a blank line between documents"
        )
    return dict(sorted(found.items()))


def read_documents(path: Path) -> Iterator[list[str]]:
    """The documents of one source, each as its sentences; empty documents do not occur.

    Raises:
        InputError: the file is not UTF-8 text or not a sound xz archive.
    """
    opened = lzma.open if path.suffix == ".xz" else open
    sentences: list[str] = []
    try:
        with opened(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                sentence = line.strip()
                if sentence:
                    sentences.append(sentence)
                elif sentences:
                    yield sentences
                    sentences = []
    except (UnicodeDecodeError, lzma.LZMAError, EOFError) as error:
        raise InputError(f"{path} is not UTF-8 text ({error}): replace the file") from error
    if sentences:
        yield sentences


def choose_held_out(
    n_documents: int, share: float, seed: int, source: int
) -> npt.NDArray[np.bool_]:
    """(n_documents,) bool: whole documents of one source kept for evaluation.

    At least one, unless the source has a single document, which is trained on.
    """
    held_out = np.zeros(n_documents, dtype=bool)
    if n_documents > 1:
        count = max(1, round(share * n_documents))
        rng = np.random.default_rng([seed, source])
        held_out[rng.choice(n_documents, size=count, replace=False)] = True
    return held_out


def corpus_digest(
    files: dict[str, Path], config: PretrainingConfig, tokenizer: PreTrainedTokenizerBase | None
) -> str:
    """Short hash of all that decides the cache: the texts' bytes and the choices made on them."""
    digest = hashlib.sha256()
    choices: list[object] = [config.held_out_share, config.corpus_seed]
    if tokenizer is None:
        choices += [config.vocabulary_size, config.source_weights]
    else:
        choices += [tokenizer_hash(tokenizer)]
    digest.update(json.dumps(choices).encode())
    for name, path in files.items():
        digest.update(name.encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def tokenize_corpus(
    folder: Path,
    cache: Path,
    config: PretrainingConfig,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> TokenizedCorpus:
    """The corpus as ids, from the cache where it was made before.

    The cache is written under a temporary name and renamed: it is complete or not there.

    Args:
        folder: of ``NAME.txt`` or ``NAME.txt.xz``.
        cache: folder that keeps tokenised corpora.
        config: the held-out share, the weights of the sources and the size of a new vocabulary.
        tokenizer: of the encoder that is continued; None trains a vocabulary on the training
            documents.

    Raises:
        InputError: the folder holds no corpus, a file is not readable text, or a weight is given
            to a source that is not there.
    """
    files = source_files(folder)
    weights = dict(config.source_weights)
    unknown = sorted(set(weights) - set(files))
    if unknown:
        raise InputError(
            f"weight for source {unknown[0]}, which {folder} does not have: expected one of "
            f"{', '.join(files)}"
        )
    digest = corpus_digest(files, config, tokenizer)
    target = cache / digest
    if not (target / "corpus.json").is_file():
        building = cache / f".building-{digest}-{os.getpid()}"
        building.mkdir(parents=True)
        try:
            _build(files, building, config, tokenizer)
            try:
                building.rename(target)
            except OSError:
                # Another run built it meanwhile: the same inputs give the same cache.
                if not (target / "corpus.json").is_file():
                    raise
        finally:
            shutil.rmtree(building, ignore_errors=True)
            with suppress(OSError):  # of a corpus that was refused nothing is left
                cache.rmdir()
    loaded = load_corpus(target)
    return replace(loaded, source_weights=tuple(weights.get(name, 1.0) for name in loaded.sources))


def load_corpus(folder: Path) -> TokenizedCorpus:
    """A tokenised corpus, memory-mapped from its cache folder (named after its digest)."""
    meta = json.loads((folder / "corpus.json").read_text(encoding="utf-8"))
    arrays = {
        name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in _ARRAYS
    }
    return TokenizedCorpus(
        **arrays,
        sources=tuple(meta["sources"]),
        vocabulary=folder / "vocabulary",
        digest=folder.name,
    )


def held_out_documents(
    folder: Path, tokenizer: PreTrainedTokenizerBase, vocabulary: Path
) -> TokenizedCorpus:
    """The documents that no run with the default choices has trained on, and they alone.

    Every second of them is marked as held out, so that what is fitted on the one half is tested on
    the other.

    Args:
        folder: of the corpus, one sentence a line, a blank line between documents.
        tokenizer: of the encoder that is looked at.
        vocabulary: its folder.

    Raises:
        InputError: the folder holds no corpus, or a file is not readable text.
    """
    config = PretrainingConfig()
    files = source_files(folder)
    documents: list[list[str]] = []
    sources: list[int] = []
    for index, path in enumerate(files.values()):
        count = sum(1 for _ in read_documents(path))
        chosen = choose_held_out(count, config.held_out_share, config.corpus_seed, index)
        kept = [text for text, wanted in zip(read_documents(path), chosen, strict=True) if wanted]
        documents += kept
        sources += [index] * len(kept)
    held_out = np.arange(len(documents)) % 2 == 1
    arrays = _tokenized(tokenizer, [documents])
    return TokenizedCorpus(
        **arrays,  # type: ignore[arg-type]
        document_source=np.array(sources, dtype=np.int16),
        held_out=held_out,
        sources=tuple(files),
        vocabulary=vocabulary,
        digest=corpus_digest(files, config, tokenizer),
    )


def _tokenized(
    tokenizer: PreTrainedTokenizerBase, sources: Iterable[Iterable[list[str]]]
) -> dict[str, npt.NDArray[Any]]:
    """``tokens``, ``sentence_starts`` and ``document_starts`` of the documents, end to end."""
    tokens: list[npt.NDArray[Any]] = []
    sentence_lengths: list[npt.NDArray[np.int64]] = []
    document_lengths: list[int] = []
    for documents in sources:
        for ids, lengths, sentences in encode_sentences(tokenizer, documents):
            tokens.append(ids)
            sentence_lengths.append(lengths)
            document_lengths.extend(sentences)

    if not tokens:
        raise InputError("the corpus has no document: expected a sentence a line")

    def offsets(lengths: npt.ArrayLike) -> npt.NDArray[np.int64]:
        return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)

    return {
        "tokens": np.concatenate(tokens),
        "sentence_starts": offsets(np.concatenate(sentence_lengths)),
        "document_starts": offsets(document_lengths),
    }


def _build(
    files: dict[str, Path],
    folder: Path,
    config: PretrainingConfig,
    tokenizer: PreTrainedTokenizerBase | None,
) -> None:
    counts = {name: sum(1 for _ in read_documents(path)) for name, path in files.items()}
    held_out = {
        name: choose_held_out(counts[name], config.held_out_share, config.corpus_seed, index)
        for index, name in enumerate(files)
    }
    if tokenizer is None:
        logger.info("training the vocabulary on %d sources", len(files))
        text = _vocabulary_text(files, counts, held_out, config)
        tokenizer = train_vocabulary(text, config.vocabulary_size, config.length)
    tokenizer.save_pretrained(folder / "vocabulary")
    tokenizer = load_vocabulary(folder / "vocabulary")

    def sources() -> Iterator[Iterator[list[str]]]:
        for name, path in files.items():
            logger.info("tokenising %s", name)
            yield read_documents(path)

    arrays = _tokenized(tokenizer, sources()) | {
        "document_source": np.repeat(np.arange(len(files), dtype=np.int16), list(counts.values())),
        "held_out": np.concatenate(list(held_out.values())),
    }
    for name in _ARRAYS:
        np.save(folder / f"{name}.npy", arrays[name], allow_pickle=False)
    meta = {"sources": list(files), "vocabulary_size": len(tokenizer)}
    (folder / "corpus.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")


def _vocabulary_text(
    files: dict[str, Path],
    counts: dict[str, int],
    held_out: dict[str, npt.NDArray[np.bool_]],
    config: PretrainingConfig,
) -> Iterator[list[str]]:
    """Training documents, the more often drawn the more of them."""
    given = dict(config.source_weights)
    weights = {name: given.get(name, 1.0) for name in files}
    rng = np.random.default_rng([config.corpus_seed, len(files)])
    top = max(weights.values())
    for name, path in files.items():
        drawn = rng.random(counts[name]) * top < weights[name]
        for index, sentences in enumerate(read_documents(path)):
            if drawn[index] and not held_out[name][index]:
                yield sentences
