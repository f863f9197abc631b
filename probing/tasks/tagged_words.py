"""Words within sentences, each with a tag: Universal Dependencies in CoNLL-U."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from probing.errors import InputError
from probing.tasks.sentences import SPLITS, thinned_rows, thinning_remark
from probing.tasks.tables import quote, read_bytes, read_lines

COLUMNS: Final[Mapping[str, int]] = MappingProxyType(
    {
        name: place
        for place, name in enumerate(
            ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
        )
    }
)
"""The ten columns of CoNLL-U by their place in a line."""

TAG_COLUMNS: Final[tuple[str, ...]] = tuple(name for name in COLUMNS if name not in ("id", "form"))
"""The columns that can be the tag."""

_WORD: Final = re.compile("[1-9][0-9]*")
_MULTIWORD: Final = re.compile("([1-9][0-9]*)-([1-9][0-9]*)")
_EMPTY_NODE: Final = re.compile(r"(0|[1-9][0-9]*)\.[1-9][0-9]*")
_LONGEST_ID: Final = 6


@dataclass(frozen=True)
class TaggedSentences:
    """n sentences, each a tuple of words with a tag for every word.

    ``sentences``, ``tags`` and ``splits`` have n entries; ``sentences[i]`` and ``tags[i]`` are as
    long as each other. Words are syntactic words: of the multiword token ``don't`` the two words
    ``do`` and ``n't`` are given; empty nodes of the enhanced graph are left out. A file without
    splits has the empty string in every entry of ``splits``.
    """

    name: str
    sentences: tuple[tuple[str, ...], ...]
    tags: tuple[tuple[str, ...], ...]
    splits: tuple[str, ...]
    column: str
    """The column the tags are from, one of ``TAG_COLUMNS``."""
    origin: str
    """Where the rows came from: the files with their SHA-256."""
    remark: str = ""
    """What a reader of the numbers must know, such as a row count that is not the official one."""

    def __post_init__(self) -> None:
        n = len(self.sentences)
        if n == 0:
            raise InputError(f"task {self.name}: found no sentences, expected at least one")
        if len(self.tags) != n or len(self.splits) != n:
            raise ValueError(f"{len(self.tags)} tags, {len(self.splits)} splits, {n} sentences")
        for row, (words, tags) in enumerate(zip(self.sentences, self.tags, strict=True)):
            if not words or len(words) != len(tags):
                raise ValueError(f"sentence {row} has {len(words)} words and {len(tags)} tags")
        unknown = set(self.splits) - {*SPLITS, ""}
        if unknown:
            raise ValueError(f"unknown split {sorted(unknown)[0]!r}")

    def __len__(self) -> int:
        return len(self.sentences)

    @property
    def classes(self) -> tuple[str, ...]:
        """The distinct tags, sorted."""
        return tuple(sorted({tag for tags in self.tags for tag in tags}))

    def thinned(self, n: int) -> "TaggedSentences":
        """At most n sentences: every k-th of each split, as ``name/k``; the task if it fits."""
        k, rows = thinned_rows(self.splits, n)
        if k == 1:
            return self
        return replace(
            self,
            name=f"{self.name}/{k}",
            sentences=tuple(self.sentences[row] for row in rows),
            tags=tuple(self.tags[row] for row in rows),
            splits=tuple(self.splits[row] for row in rows),
            remark=thinning_remark(self.remark, k, len(rows), len(self)),
        )


def read_conllu(
    files: Mapping[str, Path], *, name: str, column: str = "upos", folder: Path | None = None
) -> TaggedSentences:
    """Read CoNLL-U files, one a split.

    Args:
        files: a file for each split; the key is the empty string for a file without splits.
        name: what the task is called.
        column: which column is the tag, one of ``TAG_COLUMNS``. An underscore in it is a tag like
            any other: in ``feats`` it stands for a word without features.
        folder: the origin names the files by their path under it, or by their name alone.

    Raises:
        InputError: for every departure from the format, with the file and the line.

    The format: https://universaldependencies.org/format.html.
    """
    if column not in TAG_COLUMNS:
        raise InputError(
            f"unknown column {quote(column)}, expected one of {', '.join(TAG_COLUMNS)}"
        )
    sentences: list[tuple[str, ...]] = []
    tags: list[tuple[str, ...]] = []
    splits: list[str] = []
    origins: list[str] = []
    for split, path in files.items():
        data = read_bytes(path)
        for words in _sentences(path, data):
            sentences.append(tuple(word[COLUMNS["form"]] for word in words))
            tags.append(tuple(word[COLUMNS[column]] for word in words))
            splits.append(split)
        forms = [word for words in sentences for word in words]
        if 2 * forms.count("_") > len(forms):
            raise InputError(
                f"{path}: the form of {forms.count('_'):,} of {len(forms):,} words is _: the "
                "treebank comes without its text, which its own README says how to add"
            )
        shown = path.name if folder is None else path.relative_to(folder).as_posix()
        origins.append(f"{shown} sha256:{hashlib.sha256(data).hexdigest()}")
    return TaggedSentences(
        name=name,
        sentences=tuple(sentences),
        tags=tuple(tags),
        splits=tuple(splits),
        column=column,
        origin=f"file {', '.join(origins)}",
    )


def _sentences(path: Path, data: bytes) -> Iterator[list[list[str]]]:
    """The words of each sentence, ten cells each; every line of the file is checked."""
    lines = read_lines(path, data)
    if not data.replace(b"\r", b"").endswith(b"\n\n"):
        raise InputError(
            f"{path}, line {len(lines)}: the file ends within a sentence, expected a blank line "
            "after it; is the file cut off?"
        )
    words: list[list[str]] = []
    open_range = 0
    started = False
    for number, line in enumerate([*lines, ""], start=1):
        if not line:
            if not words or open_range > len(words):
                raise InputError(f"{path}, line {number}: a sentence ends here without its words")
            yield words
            words, open_range, started = [], 0, False
        elif line.startswith("#"):
            if started:
                raise InputError(
                    f"{path}, line {number}: found a comment within a sentence, expected a word"
                )
        else:
            started = True
            cells = line.split("\t")
            fault = _fault_of_cells(cells)
            if not fault and cells[0] == str(len(words) + 1):
                words.append(cells)
                continue
            fault = fault or _fault_of_id(cells[0], len(words), open_range)
            if fault:
                raise InputError(f"{path}, line {number}: {fault}")
            if multiword := _MULTIWORD.fullmatch(cells[0]):
                open_range = int(multiword.group(2))


def _fault_of_cells(cells: Sequence[str]) -> str:
    """What is wrong with the cells of a line; empty where nothing is."""
    if len(cells) != len(COLUMNS):
        return f"found {len(cells)} columns, expected {len(COLUMNS)}"
    if all(map(str.strip, cells)):
        return ""
    blank = next(name for name, cell in zip(COLUMNS, cells, strict=True) if not cell.strip())
    return f"{blank} is blank, expected a value or an underscore"


def _fault_of_id(found: str, n_words: int, open_range: int) -> str:
    """What is wrong with the id of a line that is not the word after ``n_words`` others.

    ``open_range`` is the last word of the latest multiword token.
    """
    if _WORD.fullmatch(found):
        return f"found word {quote(found)}, expected {n_words + 1}"
    if multiword := _MULTIWORD.fullmatch(found):
        first, last = multiword.groups()
        if first != str(n_words + 1) or len(last) > _LONGEST_ID or int(last) < int(first):
            return f"found token {quote(found)}, expected one that begins at {n_words + 1}"
        if open_range > n_words:
            return f"token {quote(found)} overlaps the one before it"
        return ""
    if empty := _EMPTY_NODE.fullmatch(found):
        at_word = empty.group(1) == str(n_words)
        return "" if at_word else f"found node {quote(found)} after word {n_words}"
    return f"id is {quote(found)}, expected a form such as 5, 5-6 or 5.1"
