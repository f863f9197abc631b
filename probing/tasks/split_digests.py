"""The official split of each row of a copy that has lost its split column, by a digest of its text.

The MTEB copy of SICK-R has all 9,927 pairs in one piece; papers that follow SentEval score the
4,927 of the official test split. Which pairs these are is known by digests of the sentences, which
ship with the project; the sentences do not.
"""

from collections import defaultdict
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from probing.errors import InputError

SPLITS: Final = ("train", "dev", "test")
"""In the order of their numbers in a file."""


def pair_digest(sentence1: str, sentence2: str, score: float) -> int:
    """64 bits of a scored pair, whatever the case and white space of its sentences.

    The score belongs to it: some pairs are in two splits, with scores of their own.
    """
    text = "\0".join(" ".join(sentence.lower().split()) for sentence in (sentence1, sentence2))
    text += f"\0{score:.3f}"
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def write_split_digests(
    path: Path, pairs: Sequence[tuple[str, str, float]], splits: Sequence[str]
) -> None:
    """Write the digests and splits of n pairs, sorted, as an ``.npz`` without a sentence in it."""
    digests = np.array([pair_digest(*pair) for pair in pairs], dtype=np.uint64)
    numbers = np.array([SPLITS.index(split) for split in splits], dtype=np.uint8)
    order = np.lexsort((numbers, digests))
    np.savez_compressed(path, digests=digests[order], splits=numbers[order])


def official_splits(
    path: Path,
    sentences1: Sequence[str],
    sentences2: Sequence[str],
    scores: Sequence[float],
    *,
    place: str,
) -> tuple[str, ...]:
    """The split of each of n pairs.

    Args:
        path: From `write_split_digests`.
        sentences1: n sentences.
        sentences2: n sentences.
        scores: n gold scores, as in the official file.
        place: Where the pairs come from, for messages.

    Raises:
        InputError: The pairs are not exactly those of the official set.
    """
    with np.load(path, allow_pickle=False) as stored:
        known: dict[int, list[int]] = defaultdict(list)
        digests: NDArray[np.uint64] = stored["digests"]
        for digest, split in zip(digests.tolist(), stored["splits"].tolist(), strict=True):
            known[digest].append(split)
    found: list[str] = []
    for pair in zip(sentences1, sentences2, scores, strict=True):
        places = known.get(pair_digest(*pair))
        if not places:
            raise InputError(
                f"{place}: row {len(found) + 1} is no pair of the official set, so that its splits "
                "cannot be told: score all rows with --protocol mteb, or name a data folder"
            )
        found.append(SPLITS[places.pop(0)])
    if len(found) != len(digests):
        raise InputError(
            f"{place}: {len(found):,} of the {len(digests):,} pairs of the official set are here, "
            "so that its splits cannot be told: name a data folder"
        )
    return tuple(found)
