"""Known tasks held against their official form: row counts, subsets, the text of a protocol."""

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from itertools import permutations

import numpy as np

from probing.sources.declarations import DatasetSource, TaskKind
from probing.tasks.minimal_pairs import PAIR_COLUMNS, read_minimal_pairs
from probing.tasks.pairs import SentencePairs, read_pairs
from probing.tasks.protocols import Protocol
from probing.tasks.sentences import LabelledSentences, read_labelled
from probing.tasks.tables import SPLIT_NAMES, Table

logger = logging.getLogger(__name__)


def read_official(
    source: DatasetSource, table: Table, *, split: str | None, protocol: Protocol
) -> SentencePairs | LabelledSentences:
    """A known task from its table.

    Where the rows are not as many as the official ones, the task is read all the same, but its
    ``remark`` says so and is logged.

    Args:
        source: what the task is declared to be.
        table: as read from a file or the Hub.
        split: ``train``, ``dev``, ``test`` or ``all``; None for the protocol's split of sentence
            pairs and for all rows of other tasks. Minimal pairs are divided afterwards.
        protocol: the text preparation and the split of the STS sets.

    Raises:
        InputError: for every damage, with the file and the line.
    """
    if source.kind is TaskKind.PAIRS:
        return _read_pairs(source, table, split or protocol.split_of(source.name), protocol)
    whole = split in (None, "all")
    if source.kind is TaskKind.MINIMAL_PAIRS:
        for column, name in zip(PAIR_COLUMNS, ("sentence_good", "sentence_bad"), strict=True):
            table.require(name)
            table = table.with_column(column, table.columns[name])
        remark = _remark(_size_remarks(source, {"all": len(table)}, {"all"}))
        return replace(read_minimal_pairs(table, name=source.name), remark=remark)
    task = read_labelled(
        table,
        name=source.name,
        split=None if whole else split,
        label_column=source.label_column,
        blanks=source.blanks,
    )
    counts = Counter(found or "all" for found in task.splits)
    expected = {*source.sizes, *counts} if whole else {SPLIT_NAMES[str(split)]}
    return replace(task, remark=_remark(_size_remarks(source, counts, expected)))


def _read_pairs(
    source: DatasetSource, table: Table, split: str, protocol: Protocol
) -> SentencePairs:
    if source.score_range is None:
        raise ValueError(f"{source.name} is declared without a score range")
    pairs = read_pairs(table, name=source.name, split=split, score_range=source.score_range)
    remarks = _size_remarks(source, {pairs.split: len(pairs)}, {pairs.split})
    caveat = ""
    subsets = pairs.subsets if source.subsets else None
    if source.subsets and pairs.split == "test":
        if subsets is None:
            subsets = recover_subsets(pairs, source)
        if subsets is None:
            caveat = (
                f"{source.name} test: no subset column, and the rows do not fall into the official "
                "subsets: only the aggregation all can be had"
            )
        else:
            counts = Counter(subsets)
            remarks += [
                f"{source.name} test {name}: {counts[name]:,} rows, the official subset has "
                f"{source.subsets.get(name, 0):,}"
                for name in {**source.subsets, **counts}
                if counts[name] != source.subsets.get(name, 0)
            ]
    return replace(
        pairs,
        subsets=subsets,
        sentences1=tuple(protocol.prepare(text, source.name) for text in pairs.sentences1),
        sentences2=tuple(protocol.prepare(text, source.name) for text in pairs.sentences2),
        remark=_remark(remarks, caveat),
    )


def recover_subsets(pairs: SentencePairs, source: DatasetSource) -> tuple[str, ...] | None:
    """The subset of each test row of a copy that has lost its subset column, by row order.

    The subsets stand one after another, in an order that differs from copy to copy. An order is
    accepted if the official sizes add up to the rows and every block has its official mean score.

    Returns:
        n subset names, or None where no order fits, or more than one does.
    """
    if sum(source.subsets.values()) != len(pairs) or not source.subset_means:
        return None
    totals = np.concatenate([[0.0], np.cumsum(pairs.scores)])
    fitting: list[tuple[str, ...]] = []
    for order in permutations(source.subsets):
        sizes = np.array([source.subsets[name] for name in order])
        ends = np.cumsum(sizes)
        means = (totals[ends] - totals[ends - sizes]) / sizes
        official = [source.subset_means[name] for name in order]
        if np.allclose(means, official, rtol=0.0, atol=1e-3):
            fitting.append(tuple(np.repeat(order, sizes).tolist()))
    return fitting[0] if len(fitting) == 1 else None


def _size_remarks(source: DatasetSource, counts: Mapping[str, int], splits: set[str]) -> list[str]:
    """One for each split that has not the official number of rows, where that is known."""
    official = dict(source.sizes)
    official.setdefault("all", sum(official.values()))
    remarks = []
    for split in (*source.sizes, *sorted(splits - set(source.sizes))):
        found, expected = counts.get(split, 0), official.get(split, 0)
        enough = source.at_least and expected < found < 1.1 * expected
        if split in splits and source.sizes and found != expected and not enough:
            remarks.append(
                f"{source.name} {split}: {found:,} rows, the official split has {expected:,}"
            )
    return remarks


def _remark(size_remarks: list[str], caveat: str = "") -> str:
    """What is to be said of a task in one line, logged; empty where there is nothing to say."""
    counted = f"{'; '.join(size_remarks)}: its numbers are not comparable" if size_remarks else ""
    remark = "; ".join(part for part in (counted, caveat) if part)
    if remark:
        logger.warning("%s", remark)
    return remark
