"""Minimal pairs: two sentences that differ in what makes one of them good, as labelled ones."""

from typing import Final

from probing.errors import InputError
from probing.tasks.pairs import sharing_clusters
from probing.tasks.sentences import LabelledSentences
from probing.tasks.tables import Table, quote
from probing.tasks.treebank_labels import drawn_split

PAIR_COLUMNS: Final = ("good", "bad")
PHENOMENON: Final = "phenomenon"


def read_minimal_pairs(table: Table, *, name: str, phenomenon: str = "") -> LabelledSentences:
    """The 2n sentences of n pairs, labelled ``good`` and ``bad``.

    Pairs that share a sentence are one group: its sentences are in one split, and an interval takes
    it or leaves it as a whole. Without a column ``split``, groups are divided four to one to two.

    Args:
        table: with ``good, bad[, phenomenon][, split]``.
        name: what the task is called.
        phenomenon: keep only the pairs of this one; all by default.

    Raises:
        InputError: for every damage, with the file and the line; for a pair of two equal sentences,
            a sentence that is good in one pair and bad in another, an unknown phenomenon, and a
            group in two splits.
    """
    good, bad = (table.sentences(column) for column in PAIR_COLUMNS)
    rows = _rows_of(table, phenomenon)
    clusters = sharing_clusters([good[row] for row in rows], [bad[row] for row in rows])
    given = table.splits() if "split" in table.columns else None
    first: dict[int, str] = {}
    labels: dict[str, str] = {}
    splits: dict[int, str] = {}
    items: list[tuple[str, int]] = []
    for row, group in zip(rows, clusters.tolist(), strict=True):
        if good[row] == bad[row]:
            table.fail(row, f"both sentences are {quote(good[row])}, expected a difference")
        drawn = drawn_split("pair", first.setdefault(group, good[row]))
        split = drawn if given is None else given[row]
        if splits.setdefault(group, split) != split:
            table.fail(row, f"{quote(good[row])} or its counterpart is in two splits")
        for text, label in ((good[row], "good"), (bad[row], "bad")):
            if text not in labels:
                items.append((text, group))
            if labels.setdefault(text, label) != label:
                table.fail(row, f"{quote(text)} is good in one pair and bad in another")
    return LabelledSentences(
        name=name,
        sentences=tuple(text for text, _ in items),
        labels=tuple(labels[text] for text, _ in items),
        splits=tuple(splits[group] for _, group in items),
        origin=table.origin,
        groups=tuple(group for _, group in items),
    )


def _rows_of(table: Table, phenomenon: str) -> list[int]:
    if not phenomenon:
        return list(range(len(table)))
    if PHENOMENON not in table.columns:
        raise InputError(f"{table.place}: has no column {PHENOMENON}, leave {phenomenon!r} out")
    found = table.labels(PHENOMENON)
    rows = [row for row, name in enumerate(found) if name == phenomenon]
    if not rows:
        known = ", ".join(sorted(set(found)))
        raise InputError(f"{table.place}: no pair of {quote(phenomenon)}; found {known}")
    return rows
