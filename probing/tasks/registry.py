"""From the name of a task to its rows: which source is used, and how it is named."""

import os
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from probing.errors import InputError
from probing.sources.blimp import BLIMP
from probing.sources.declarations import DATASETS, TREEBANKS, DatasetSource
from probing.sources.repositories import Repository
from probing.sources.shipped import shipped_data
from probing.tasks.derived import read_derived, read_shipped_treebank
from probing.tasks.hub_datasets import hub_repository, read_hub, wanted_files
from probing.tasks.minimal_pairs import PAIR_COLUMNS, read_minimal_pairs
from probing.tasks.official import read_official
from probing.tasks.pairs import SentencePairs, read_pairs
from probing.tasks.protocols import DEFAULT_PROTOCOL, Protocol, find_protocol
from probing.tasks.sentences import SPLITS, LabelledSentences, read_labelled
from probing.tasks.spans import FEATURE_PREFIX, SPAN_TASKS, LabelledSpans, span_task
from probing.tasks.tables import (
    SPLIT_NAMES,
    TABLE_SUFFIXES,
    check_shipped,
    format_suffix,
    quote,
    quote_all,
    read_table,
)
from probing.tasks.tagged_words import TAG_COLUMNS, TaggedSentences, tagged_sentences
from probing.tasks.treebank import (
    TREEBANK_PREFIX,
    TREEBANK_TASKS,
    Treebank,
    read_treebank,
    treebank_task,
)
from probing.tasks.trees import STRUCTURE, ParsedSentences, structure_task

_OfTreebank = LabelledSentences | TaggedSentences | LabelledSpans | ParsedSentences
Task = SentencePairs | _OfTreebank
"""What a task is: text and gold, nothing else."""

DATA_VARIABLE: Final = "PROBING_DATA"
"""The environment variable that names a data folder."""
ENTRY_POINT_GROUP: Final = "probing.tasks"
"""Where other packages offer tasks: a name and a function without arguments that returns one."""
SHIPPED_TREEBANK_TASKS: Final = tuple(
    f"{source.name}:{task}" for source in TREEBANKS for task in TREEBANK_TASKS
)
"""The linguistic tasks that come with the project: ``ewt:sentence_length`` and so on."""
OWN_SCORE_RANGE: Final = (0.0, 5.0)
"""The range of the scores in a user's own file of sentence pairs."""

_SOURCES: Final[Mapping[str, DatasetSource]] = MappingProxyType(
    {source.name: source for source in (*DATASETS, *BLIMP)}
)
_TREEBANKS: Final = {source.name: source for source in TREEBANKS}
_CONLLU: Final = ".conllu"
_HEADERLESS_COLUMNS: Final = ("split", "label", "sentence")


def load_task(
    name: str | Path | Task,
    data_dir: str | Path | None = None,
    *,
    split: str | None = None,
    protocol: str | Protocol = DEFAULT_PROTOCOL,
    score_range: tuple[float, float] | None = OWN_SCORE_RANGE,
) -> Task:
    """The rows of a task.

    A task known by name is looked for in the data folder, then among the files the project ships,
    then on the Hub; the first that has it is used alone and named in ``origin``. The ten linguistic
    tasks on the text of SentEval (``bigram_shift``) and those of a treebank (``ewt:bigram_shift``)
    have names of their own.

    Args:
        name: a name (``stsb``, ``bigram_shift``, ``ewt:xpos``, ``ewt:bigram_shift``, or one offered
            by another package), a file (``.tsv``, ``.csv``, ``.jsonl``, ``.parquet``, ``.conllu``;
            of minimal pairs also ``pairs.tsv:PHENOMENON``),
            a treebank with what is asked of it (``treebank:PATH:subj_number``, see
            `treebank_files` for the path; behind the colon a column, one of `TREEBANK_TASKS` or of
            `SPAN_TASKS`, or ``structure``), or a task, which is passed through.
        data_dir: folder laid out as the sources declare it (``sts/stsb.tsv``, ...); without one
            the folder named by ``PROBING_DATA``.
        split: keep only the rows of ``train``, ``dev`` or ``test``. By default sentence pairs are
            those of the protocol's split, mostly ``test``, and other tasks are whole. ``all`` is
            every row.
        protocol: settings of the seven STS sets, one of ``PROTOCOLS``.
        score_range: lowest and highest score that may occur in a file of one's own; None to take
            any. Spearman needs none, but a score outside its range is mostly a slip.

    Raises:
        InputError: for an unknown name, a task that no source has, or damage in a file.

    >>> task = probing.load_task("sts-mini")
    >>> len(task), task.score_range
    (410, (0.0, 5.0))
    """
    if isinstance(name, Task):
        return name
    if split is not None and split not in {*SPLIT_NAMES, "all"}:
        raise InputError(f"unknown split {quote(split)}, expected one of {', '.join(SPLITS)}, all")
    chosen = find_protocol(protocol) if isinstance(protocol, str) else protocol
    folder = _data_folder(data_dir)
    text = str(name)
    if text.startswith(TREEBANK_PREFIX):
        path, colon, wanted = text.removeprefix(TREEBANK_PREFIX).rpartition(":")
        if not colon or not path:
            raise InputError(f"{text!r}: expected {TREEBANK_PREFIX}PATH:TASK")
        return _of_split(_from_treebank(read_treebank(Path(path)), wanted), split)
    file, column = _as_file(text)
    known, _, tag = text.partition(":")
    if file is not None:
        return _read_own(file, column, split, score_range)
    if text in SHIPPED_TREEBANK_TASKS:
        return _of_split(read_derived(_TREEBANKS[known], tag), split)
    if known in _TREEBANKS and (not tag or _is_of_treebanks(tag)):
        made = _from_treebank(read_shipped_treebank(_TREEBANKS[known]), tag or "upos")
        return _of_split(replace(made, name=text), split)
    if text in _SOURCES:
        return _of_split(_read_known(_SOURCES[text], folder, split, chosen), split)
    offered = task_entry_points()
    if text in offered:
        return _load_entry_point(offered[text])
    raise InputError(_unknown(text, offered))


def load_task_repository(
    name: str | Path | Task, data_dir: str | Path | None = None
) -> tuple[Repository, list[str]] | None:
    """What `load_task` would take from the Hub: the repository and its files, not downloaded.

    None where the task comes from elsewhere.

    Raises:
        InputError: The Hub has no such data set, or the data folder is none.
    """
    folder = _data_folder(data_dir)
    source = _SOURCES.get(str(name)) if isinstance(name, str) else None
    if source is None or source.hub_id is None or _as_file(source.name)[0] is not None:
        return None
    if folder is not None and _local_file(source, folder) is not None:
        return None
    if (shipped_data() / source.local).is_file():
        return None
    try:
        repository = hub_repository(source)
    except InputError as error:
        raise InputError(_found_nowhere(source, [str(error)])) from error
    return repository, wanted_files(repository, source.hub_config)


def in_data_folder(name: str, data_dir: str | Path | None = None) -> bool:
    """Whether the data folder has the file of a declared task."""
    folder = _data_folder(data_dir)
    return folder is not None and _local_file(_SOURCES[name], folder) is not None


def task_entry_points() -> Mapping[str, EntryPoint]:
    """The tasks that other installed packages offer, by name; none of them is loaded."""
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}


def _unknown(text: str, offered: Mapping[str, EntryPoint]) -> str:
    names = [*_SOURCES, *SHIPPED_TREEBANK_TASKS, *offered]
    plain = [name for name in _SOURCES if ":" not in name]
    near = get_close_matches(text.lower(), names, n=3)
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    return (
        f"unknown task {quote(text)}: {meant}Known are {', '.join((*plain, *offered))}, "
        f"blimp:PARADIGM, {', '.join(f'{name}:NAME' for name in _TREEBANKS)} for each linguistic "
        "task, "
        f"{TREEBANK_PREFIX}PATH:NAME for a treebank, and files "
        f"({', '.join((*TABLE_SUFFIXES, _CONLLU))})"
    )


def _data_folder(data_dir: str | Path | None) -> Path | None:
    given = data_dir or os.environ.get(DATA_VARIABLE)
    if not given:
        return None
    folder = Path(given)
    if not folder.is_dir():
        whence = "--data-dir" if data_dir else DATA_VARIABLE
        raise InputError(f"{whence} is {folder}, which is not a folder")
    return folder


def _as_file(text: str) -> tuple[Path | None, str]:
    """The file a name stands for, if it stands for one, and the column behind a colon."""
    stem, colon, column = text.rpartition(":")
    if colon and stem.lower().endswith((_CONLLU, *TABLE_SUFFIXES)):
        return Path(stem), column
    path = Path(text)
    if format_suffix(path) in (*TABLE_SUFFIXES, _CONLLU) or len(path.parts) > 1 or path.is_file():
        return path, ""
    return None, ""


def _read_own(
    path: Path, column: str, split: str | None, score_range: tuple[float, float] | None
) -> Task:
    """A user's own file: its columns say what kind of task it is.

    ``score_range`` is that of pairs; None for the lowest and highest score in the file.
    """
    if format_suffix(path) == _CONLLU:
        made = _from_treebank(read_treebank(path), column or "upos")
        if split not in (None, "all") and isinstance(made, TaggedSentences):
            raise InputError(f"{path}: a CoNLL-U file has no splits, leave the split out")
        return _of_split(made if column else replace(made, name=path.name), split)
    table = read_table(path)
    columns = set(table.columns)
    pairs_with_label = columns >= {"sentence1", "sentence2", "label"} and "score" not in columns
    if pairs_with_label and table.looks_like_scores("label"):
        # as GLUE calls the score of STS-B
        table = table.with_column("score", table.columns["label"])
        columns.add("score")
    if columns >= {"sentence1", "sentence2", "score"}:
        low, high = table.range_of("score") if score_range is None else score_range
        return read_pairs(table, name=path.name, split=split, score_range=(low, high))
    if columns >= set(PAIR_COLUMNS):
        name = f"{path.name}:{column}" if column else path.name
        return _of_split(read_minimal_pairs(table, name=name, phenomenon=column), split)
    if column:
        raise InputError(f"{path}: only minimal pairs (good, bad) take {column!r}, leave it out")
    if columns >= {"sentence", "label"} or columns >= {"sentence1", "sentence2", "label"}:
        return read_labelled(table, name=path.name, split=None if split == "all" else split)
    raise InputError(
        f"{path}: found the columns {quote_all(table.columns)}; expected sentence1, sentence2, "
        "score[, subset][, split][, group] (pairs) or sentence, label[, split][, group] (labelled) "
        "or sentence1, sentence2, label[, split][, group] (labelled pairs) or good, bad"
        "[, phenomenon][, split] (minimal pairs)"
    )


def _read_known(
    source: DatasetSource, folder: Path | None, split: str | None, protocol: Protocol
) -> Task:
    """The task from the first source that has it."""
    tried: list[str] = []
    if folder is None:
        tried.append(f"no data folder was given (--data-dir or {DATA_VARIABLE})")
    elif (local := _local_file(source, folder)) is not None:
        return _read_file(source, folder, local, "file", split, protocol)
    else:
        tried.append(f"the data folder has no {source.local}")
    passed = f" ({tried[0]})" if folder is not None else ""
    shipped = shipped_data()
    if (shipped / source.local).is_file():
        if source.sha256 is not None:
            check_shipped(shipped / source.local, source.sha256)
        task = _read_file(source, shipped, source.local, "shipped", split, protocol)
        return replace(task, origin=task.origin + passed)
    tried.append("the project does not ship it")
    if source.hub_id is not None:
        try:
            table = read_hub(source)
        except InputError as error:
            tried.append(str(error))
        else:
            table = replace(table, origin=table.origin + passed)
            return read_official(source, table, split=split, protocol=protocol)
    raise InputError(_found_nowhere(source, tried))


def _found_nowhere(source: DatasetSource, tried: list[str]) -> str:
    return (
        f"task {source.name} was found nowhere: {'; '.join(tried)}. Give --data-dir or set "
        f"{DATA_VARIABLE} to a folder with {source.local}"
    )


def _local_file(source: DatasetSource, folder: Path) -> str | None:
    """The file of a task under a data folder, if it is there."""
    names = (source.local, *source.headerless)
    return next((name for name in names if (folder / name).exists()), None)


def _read_file(
    source: DatasetSource,
    folder: Path,
    local: str,
    word: str,
    split: str | None,
    protocol: Protocol,
) -> SentencePairs | LabelledSentences:
    header = _HEADERLESS_COLUMNS if local in source.headerless else None
    table = read_table(folder / local, header=header)
    origin = f"{word} {local} {table.origin.rpartition(' ')[2]}"
    return read_official(source, replace(table, origin=origin), split=split, protocol=protocol)


def _is_of_treebanks(task: str) -> bool:
    known = (*TAG_COLUMNS, *TREEBANK_TASKS, *SPAN_TASKS, STRUCTURE)
    return task in known or task.startswith(FEATURE_PREFIX)


def _from_treebank(treebank: Treebank, task: str) -> _OfTreebank:
    """What is asked of a treebank: tags of its words, a linguistic task, spans, or its trees."""
    if task in TAG_COLUMNS:
        return tagged_sentences(treebank, task)
    if task in TREEBANK_TASKS:
        return treebank_task(treebank, task)
    if task == STRUCTURE:
        return structure_task(treebank)
    if _is_of_treebanks(task):
        return span_task(treebank, task)
    raise InputError(
        f"unknown task {quote(task)} of a treebank, expected a column ({', '.join(TAG_COLUMNS)}) "
        f"or one of {', '.join((*TREEBANK_TASKS, *SPAN_TASKS, STRUCTURE))}"
    )


def _of_split(task: Task, split: str | None) -> Task:
    """The items of one split; all where none is asked for. Of pairs one split was read."""
    if split in (None, "all") or isinstance(task, SentencePairs):
        return task
    wanted = SPLIT_NAMES[str(split)]
    rows = [row for row, found in enumerate(task.splits) if found == wanted]
    if not rows:
        raise InputError(f"task {task.name} has no split {wanted}, leave the split out")
    return task.subset(rows)


def _load_entry_point(point: EntryPoint) -> Task:
    where = f"task {point.name} of the package {point.dist.name if point.dist else point.value}"
    try:
        made = point.load()
        task = made() if callable(made) else made
    except InputError:
        raise
    except Exception as error:  # the code of another package can raise anything
        raise InputError(f"{where} could not be made: {type(error).__name__}: {error}") from error
    if not isinstance(task, Task):
        raise InputError(
            f"{where} is a {type(task).__name__}, expected SentencePairs, LabelledSentences, "
            "TaggedSentences, LabelledSpans or ParsedSentences"
        )
    return task


def describe_task(task: Task) -> dict[str, Any]:
    """What the manifest says of a task."""
    clustering = {}
    clusters = task.clusters if isinstance(task, SentencePairs | LabelledSentences) else None
    if clusters is not None:
        sizes = np.bincount(clusters)
        clustering = {"clusters": len(sizes), "largest_cluster": int(sizes.max())}
    return {
        "name": task.name,
        "split": task.split if isinstance(task, SentencePairs) else "",
        "rows": len(task),
        **clustering,
        "origin": task.origin,
        "remark": task.remark,
    }
