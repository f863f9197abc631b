"""Tasks derived from a treebank as one file: what the project ships, and how it is made."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from probing.errors import InputError
from probing.results.writing import written_aside
from probing.sources.declarations import TreebankSource
from probing.sources.shipped import shipped_data
from probing.tasks.sentences import LabelledSentences
from probing.tasks.tables import check_shipped, quote, read_table
from probing.tasks.treebank import TREEBANK_TASKS, Offer, Treebank, read_treebank, treebank_task

_COLUMNS: Final = ("task", "split", "label", "sentence")
_LARGEST_DICTIONARY: Final = 1 << 26
"""In bytes: a sentence that several tasks share is stored once."""


def write_derived(treebank: Treebank, out: Path) -> None:
    """Write every task that the treebank has into one Parquet file, which is there whole or not.

    Columns ``task``, ``split``, ``label``, ``sentence``; a sentence is stored once.

    Raises:
        InputError: if the treebank has none of the tasks, or the file cannot be written.
    """
    rows: dict[str, list[str]] = {column: [] for column in _COLUMNS}
    for name in TREEBANK_TASKS:
        try:
            task = treebank_task(treebank, name)
        except InputError:
            continue  # refused, as `offers` says with the reason
        rows["task"] += [name] * len(task)
        rows["split"] += task.splits
        rows["label"] += task.labels
        rows["sentence"] += task.sentences
    if not rows["task"]:
        raise InputError(f"{treebank.name} has none of the tasks {', '.join(TREEBANK_TASKS)}")
    table = pa.table(rows).replace_schema_metadata({"origin": treebank.origin})
    with written_aside(out) as aside:
        pq.write_table(
            table,
            aside,
            compression="zstd",
            compression_level=19,
            dictionary_pagesize_limit=_LARGEST_DICTIONARY,
        )


def read_derived(source: TreebankSource, task: str) -> LabelledSentences:
    """One task of a treebank that the project ships.

    Raises:
        InputError: for a task it does not have, and for a file that has been changed.
    """
    path = shipped_data() / source.shipped
    check_shipped(path, source.sha256)
    table = read_table(path)
    cells = {name: tuple(map(str, table.columns[name])) for name in _COLUMNS}
    rows = [row for row, name in enumerate(cells["task"]) if name == task]
    if not rows:
        raise InputError(
            f"{source.name} has no task {quote(task)}, expected one of {', '.join(TREEBANK_TASKS)}"
        )
    return LabelledSentences(
        name=f"{source.name}:{task}",
        sentences=tuple(cells["sentence"][row] for row in rows),
        labels=tuple(cells["label"][row] for row in rows),
        splits=tuple(cells["split"][row] for row in rows),
        origin=f"shipped {source.shipped} sha256:{source.sha256} task {task}",
    )


@cache
def read_shipped_treebank(source: TreebankSource) -> Treebank:
    """A treebank that the project ships, whole.

    Raises:
        InputError: for a file that has been changed.
    """
    path = shipped_data() / source.files
    treebank = replace(read_treebank(path), name=source.name)
    if any(expected not in treebank.origin for expected in source.files_sha256):
        raise InputError(
            f"{path}: found {treebank.origin}, expected SHA-256 {', '.join(source.files_sha256)}; "
            "the files that the project ships have been changed, install the project again"
        )
    return treebank


def derived_offers(source: TreebankSource) -> Sequence[Offer]:
    """The tasks of a treebank that the project ships, with their sizes."""
    table = pq.read_table(shipped_data() / source.shipped, columns=["task", "split", "label"])
    rows = list(zip(*(table[name].to_pylist() for name in table.column_names), strict=True))
    found = []
    for name in dict.fromkeys(task for task, _, _ in rows):
        sizes = Counter(split for task, split, _ in rows if task == name)
        classes = sorted({label for task, _, label in rows if task == name})
        found.append(Offer(name, sizes, tuple(classes)))
    return found
