"""Words within sentences, each with a tag: Universal Dependencies in CoNLL-U."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from probing.errors import InputError
from probing.tasks.conllu import COLUMNS, read_treebank_file
from probing.tasks.sentences import SPLITS, thinned_rows, thinning_remark
from probing.tasks.tables import quote

TAG_COLUMNS: Final[tuple[str, ...]] = tuple(name for name in COLUMNS if name not in ("id", "form"))
"""The columns that can be the tag."""


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
            self.subset(rows),
            name=f"{self.name}/{k}",
            remark=thinning_remark(self.remark, k, len(rows), len(self)),
        )

    def subset(self, rows: Sequence[int]) -> "TaggedSentences":
        """The sentences at these places, in this order."""
        return replace(
            self,
            sentences=tuple(self.sentences[row] for row in rows),
            tags=tuple(self.tags[row] for row in rows),
            splits=tuple(self.splits[row] for row in rows),
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
        file = read_treebank_file(path, folder=folder)
        for sentence in file.sentences:
            sentences.append(tuple(word[COLUMNS["form"]] for word in sentence.words))
            tags.append(tuple(word[COLUMNS[column]] for word in sentence.words))
            splits.append(split)
        forms = [word for words in sentences for word in words]
        if 2 * forms.count("_") > len(forms):
            raise InputError(
                f"{path}: the form of {forms.count('_'):,} of {len(forms):,} words is _: the "
                "treebank comes without its text, which its own README says how to add"
            )
        origins.append(file.origin)
    return TaggedSentences(
        name=name,
        sentences=tuple(sentences),
        tags=tuple(tags),
        splits=tuple(splits),
        column=column,
        origin=f"file {', '.join(origins)}",
    )
