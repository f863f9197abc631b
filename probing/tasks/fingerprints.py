"""Official splits of a copy whose splits were joined, told apart by a fingerprint of each pair."""

import hashlib
import logging
from collections import Counter

from probing.sources.declarations import DatasetSource
from probing.sources.shipped import shipped_data
from probing.tasks.tables import Table, read_table

logger = logging.getLogger(__name__)

_DIGITS = 12
"""Hexadecimal digits of a fingerprint."""


def official_splits(table: Table, source: DatasetSource) -> tuple[str, ...] | None:
    """The split of each of n rows, or None where they are not the official rows.

    Pairs that occur in two splits alike are given to either: nothing measured differs.
    """
    listed = read_table(shipped_data() / str(source.hub_fingerprints))
    left = Counter(zip(listed.columns["pair"], listed.columns["split"], strict=True))
    splits: list[str] = []
    columns = (table.columns[name] for name in ("sentence1", "sentence2", "score"))
    for sentence1, sentence2, score in zip(*columns, strict=True):
        found = _fingerprint(sentence1, sentence2, score)
        split = next((name for name in ("dev", "test") if left[found, name]), "train")
        left[found, split] -= 1
        splits.append(split)
    if Counter(splits) != Counter(source.sizes):
        logger.warning(
            "%s: the rows are not those of the official release, so its splits cannot be told "
            "apart: give --data-dir, or use a protocol that scores all rows, such as mteb",
            table.place,
        )
        return None
    return tuple(splits)


def _fingerprint(sentence1: object, sentence2: object, score: object) -> str:
    try:
        number = f"{float(str(score)):.3f}"
    except ValueError:
        number = ""
    one, two = (" ".join(str(text).lower().split()) for text in (sentence1, sentence2))
    return hashlib.sha256(f"{one}\t{two}\t{number}".encode()).hexdigest()[:_DIGITS]
