"""Sentences with labels: the linguistic and the transfer tasks."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from probing.errors import InputError
from probing.tasks.pairs import numbered, sharing_clusters
from probing.tasks.tables import SPLIT_NAMES, Table, quote

SPLITS: tuple[str, ...] = ("train", "dev", "test")
"""The split names used everywhere; ``tr|va|te`` and ``trial`` are translated on reading."""


class SplitItems:
    """What tasks of n items in splits have in common; a subclass is a frozen dataclass."""

    per_item: ClassVar[tuple[str, ...]]
    """Fields of n entries, or None; the first has n."""
    name: str
    splits: tuple[str, ...]
    """``train``, ``dev`` or ``test``; the empty string in every entry of a task without splits."""
    remark: str

    def __post_init__(self) -> None:
        n = len(self)
        for field in self.per_item:
            values = getattr(self, field)
            if values is not None and len(values) != n:
                raise ValueError(f"{field} has {len(values)} entries for {n} items")
        if n == 0:
            raise InputError(f"task {self.name}: found no items, expected at least one")
        unknown = set(self.splits) - {*SPLITS, ""}
        if unknown:
            raise InputError(
                f"task {self.name}: unknown split {sorted(unknown)[0]!r}, expected one of "
                f"{', '.join(SPLITS)}"
            )

    def __len__(self) -> int:
        return len(getattr(self, self.per_item[0]))

    def thinned(self, n: int) -> Self:
        """At most n items: every k-th of each split, as ``name/k``; the task itself if it fits."""
        k, rows = thinned_rows(self.splits, n)
        if k == 1:
            return self
        remark = f"{self.remark} {len(rows):,} of {len(self):,} rows: one in {k} of each split"
        return replace(  # type: ignore[type-var]
            self.subset(rows), name=f"{self.name}/{k}", remark=remark.strip()
        )

    def subset(self, rows: Sequence[int]) -> Self:
        """The items at these places, in this order."""
        columns = {field: getattr(self, field) for field in self.per_item}
        kept = {
            field: values and tuple(values[row] for row in rows)
            for field, values in columns.items()
        }
        return replace(self, **kept)  # type: ignore[type-var]


@dataclass(frozen=True)
class LabelledSentences(SplitItems):
    """n sentences (or sentence pairs), each with one label.

    ``sentences``, ``labels`` and ``splits`` have n entries each. A task without official splits
    (MR, CR, SUBJ, MPQA) has the empty string in every entry of ``splits`` and is scored by ten-fold
    cross-validation. ``sentences2`` has n entries where an item is a pair (MRPC), else it is None.
    """

    per_item = ("sentences", "labels", "splits", "sentences2", "groups")
    name: str
    sentences: tuple[str, ...]
    labels: tuple[str, ...]
    splits: tuple[str, ...]
    origin: str
    """Where the rows came from: a file with its hash, a Hub id with its revision, a generator."""
    sentences2: tuple[str, ...] | None = None
    remark: str = ""
    """What a reader of the numbers must know, such as a row count that is not the official one."""
    groups: tuple[int | str, ...] | None = None
    """What the items are not independent within, such as the text they are from, n entries; None
    where pairs that share a sentence are all that hangs together."""

    @cached_property
    def clusters(self) -> NDArray[np.intp] | None:
        """``(n,)`` code of the cluster each item is of; None where every item is by itself.

        The groups that were given, or pairs of one split that share a sentence. Clusters are
        resampled as a whole.
        """
        if self.groups is not None:
            found = numbered(self.groups)
        elif self.sentences2 is not None:
            found = sharing_clusters(self.sentences, self.sentences2, self.splits)
        else:
            return None
        return found if int(found.max()) + 1 < len(found) else None

    @property
    def classes(self) -> tuple[str, ...]:
        """The distinct labels, sorted."""
        return tuple(sorted(set(self.labels)))


def thinned_rows(splits: Sequence[str], n: int) -> tuple[int, list[int]]:
    """The smallest k with which every k-th row of each split is at most n rows, and those rows.

    Raises:
        InputError: n is less than the number of splits.
    """
    sizes = Counter(splits)
    if n < len(sizes):
        raise InputError(f"thinned to {n} rows: expected at least one for each split")
    k = -(-len(splits) // n)
    while sum(-(-size // k) for size in sizes.values()) > n:
        k += 1
    seen: Counter[str] = Counter()
    rows = []
    for row, split in enumerate(splits):
        if seen[split] % k == 0:
            rows.append(row)
        seen[split] += 1
    return k, rows


def read_labelled(
    table: Table,
    *,
    name: str,
    split: str | None = None,
    label_column: str = "label",
    blanks: int = 0,
) -> LabelledSentences:
    """The rows of a table with ``sentence, label[, split]`` or ``sentence1, sentence2, label``.

    A column ``group`` names what items are not independent within.

    Args:
        table: as read.
        name: what the task is called.
        split: keep the rows of this split alone; None for every row.
        label_column: the column with the classes.
        blanks: how many blank sentences the official file is known to have; each becomes ``.``,
            as in SentEval's own examples, because an encoder needs something to encode.

    Raises:
        InputError: for every damage, with the file and the line, and for a split without rows.
    """
    in_pairs = "sentence" not in table.columns and "sentence1" in table.columns
    columns = ("sentence1", "sentence2") if in_pairs else ("sentence",)
    table.require(*columns, label_column)
    texts = [
        tuple(text if text.strip() else "." for text in table.sentences(column, blanks=blanks))
        for column in columns
    ]
    labels = table.labels(label_column)
    splits = table.splits() if "split" in table.columns else ("",) * len(table)
    groups = table.labels("group") if "group" in table.columns else None
    task = LabelledSentences(
        name=name,
        sentences=texts[0],
        labels=labels,
        splits=splits,
        origin=table.origin,
        sentences2=texts[1] if in_pairs else None,
        groups=groups,
    )
    if split is None:
        return task
    wanted = SPLIT_NAMES.get(split, split)
    rows = [row for row, found in enumerate(splits) if found == wanted]
    if not rows:
        known = ", ".join(sorted(set(splits) - {""})) or "no split column"
        raise InputError(f"{table.place}: no rows of split {quote(split)}; found {known}")
    return task.subset(rows)
