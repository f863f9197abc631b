"""Sentence pairs with graded similarity: the STS suites."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from probing.errors import InputError
from probing.tasks.tables import SPLIT_NAMES, Table, quote


@dataclass(frozen=True, eq=False)
class SentencePairs:
    """n sentence pairs of one split (or several brought together), each with a gold score.

    ``sentences1``, ``sentences2`` have n entries; ``scores`` is ``(n,)`` float64 within
    ``score_range``; ``subsets`` has n entries, or is None where the task has no subsets.
    """

    name: str
    sentences1: tuple[str, ...]
    sentences2: tuple[str, ...]
    scores: NDArray[np.float64]
    score_range: tuple[float, float]
    split: str
    """The split the rows are of: ``train``, ``dev``, ``test`` or ``all``."""
    origin: str
    """Where the rows came from: a file with its SHA-256, or a Hub id with its revision."""
    subsets: tuple[str, ...] | None = None
    remark: str = ""
    """What a reader of the numbers must know, such as a row count that is not the official one."""
    groups: tuple[str, ...] | None = None
    """What the pairs are not independent within, such as the text they are from, n entries; None
    where pairs that share a sentence are all that hangs together."""

    def __post_init__(self) -> None:
        n = len(self.scores)
        for column in (self.sentences1, self.sentences2, self.subsets, self.groups):
            if column is not None and len(column) != n:
                raise ValueError(f"a column has {len(column)} entries for {n} scores")
        if n == 0:
            raise InputError(f"task {self.name}: found no rows, expected at least one")

    def __len__(self) -> int:
        return len(self.scores)

    def subset(self, rows: Sequence[int]) -> "SentencePairs":
        """The pairs at these places, in this order."""

        def kept(column: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(column[row] for row in rows)

        return replace(
            self,
            sentences1=kept(self.sentences1),
            sentences2=kept(self.sentences2),
            scores=self.scores[rows],
            subsets=self.subsets and kept(self.subsets),
            groups=self.groups and kept(self.groups),
        )

    @cached_property
    def clusters(self) -> NDArray[np.intp]:
        """``(n,)`` code of the cluster each pair is of, numbered as they occur.

        The groups that were given, or what `sharing_clusters` finds.
        """
        if self.groups is None:
            return sharing_clusters(self.sentences1, self.sentences2, self.subsets)
        return numbered(self.groups)


def numbered(names: Sequence[Hashable]) -> NDArray[np.intp]:
    """``(n,)`` codes of n names, numbered as they occur."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], dtype=np.intp)


def sharing_clusters(
    sentences1: Sequence[str], sentences2: Sequence[str], subsets: Sequence[str] | None = None
) -> NDArray[np.intp]:
    """Clusters of pairs that share a sentence, directly or through other pairs of their subset.

    Args:
        sentences1: n sentences.
        sentences2: n sentences.
        subsets: n names, or None.

    Returns:
        ``(n,)`` code of the cluster each pair is of, numbered as they occur; a sentence that two
        subsets have does not join them, because subsets are resampled one by one.
    """
    names = subsets or ("",) * len(sentences1)
    places: dict[tuple[str, str], int] = {}
    ends = [
        [places.setdefault(key, len(places)) for key in zip(names, column, strict=True)]
        for column in (sentences1, sentences2)
    ]
    joined = sparse.coo_array((np.ones(len(ends[0])), ends), shape=(len(places), len(places)))
    component = connected_components(joined, directed=False)[1][ends[0]]
    return numbered(component.tolist())


def read_pairs(
    table: Table, *, name: str, split: str | None, score_range: tuple[float, float]
) -> SentencePairs:
    """The rows of one split of a table with ``sentence1, sentence2, score`` and more if it has it.

    A column ``subset`` names the subsets, ``split`` the splits, and ``group`` what pairs are not
    independent within.

    Args:
        table: as read.
        name: what the task is called.
        split: ``train``, ``dev``, ``test``, or ``all`` for every row; None for ``test``, or
            ``all`` where the table has no split column.
        score_range: lowest and highest score that may occur.

    Raises:
        InputError: for every damage, with the file and the line, and for a split without rows.
    """
    table.require("sentence1", "sentence2", "score")
    sentences1, sentences2 = table.sentences("sentence1"), table.sentences("sentence2")
    scores = table.scores("score", score_range)
    subsets = table.labels("subset") if "subset" in table.columns else None
    groups = table.labels("group") if "group" in table.columns else None
    splits = table.splits() if "split" in table.columns else None
    wanted = split or ("all" if splits is None else "test")
    if wanted == "all":
        rows = list(range(len(table)))
    else:
        wanted = SPLIT_NAMES.get(wanted, wanted)
        rows = [row for row, found in enumerate(splits or ()) if found == wanted]
    if not rows:
        found = ", ".join(sorted(set(splits))) if splits else "no split column"
        raise InputError(
            f"{table.place}: no rows of split {quote(wanted)}; found {found}, or ask for all"
        )
    return SentencePairs(
        name=name,
        sentences1=sentences1,
        sentences2=sentences2,
        scores=scores,
        score_range=score_range,
        split=wanted,
        origin=table.origin,
        subsets=subsets,
        groups=groups,
    ).subset(rows)
