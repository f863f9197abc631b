"""Words within sentences, each with a tag: Universal Dependencies in CoNLL-U."""

from dataclasses import dataclass
from typing import Final

from probing.errors import InputError
from probing.tasks.conllu import COLUMNS
from probing.tasks.sentences import SplitItems
from probing.tasks.spans import LabelledSpans
from probing.tasks.treebank import Treebank

TAG_COLUMNS: Final[tuple[str, ...]] = tuple(name for name in COLUMNS if name not in ("id", "form"))
"""The columns that can be the tag."""


@dataclass(frozen=True)
class TaggedSentences(SplitItems):
    """n sentences, each a tuple of words with a tag for every word.

    ``sentences``, ``tags`` and ``splits`` have n entries; ``sentences[i]`` and ``tags[i]`` are as
    long as each other. Words are syntactic words: of the multiword token ``don't`` the two words
    ``do`` and ``n't`` are given; empty nodes of the enhanced graph are left out. A file without
    splits has the empty string in every entry of ``splits``.
    """

    per_item = ("sentences", "tags", "splits")
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
        super().__post_init__()
        for row, (words, tags) in enumerate(zip(self.sentences, self.tags, strict=True)):
            if not words or len(words) != len(tags):
                raise ValueError(f"sentence {row} has {len(words)} words and {len(tags)} tags")

    @property
    def classes(self) -> tuple[str, ...]:
        """The distinct tags, sorted."""
        return tuple(sorted({tag for tags in self.tags for tag in tags}))

    def as_spans(self) -> LabelledSpans:
        """Each word as an item, labelled by its tag."""
        words = [(row, at) for row, tags in enumerate(self.tags) for at in range(len(tags))]
        return LabelledSpans(
            name=self.name,
            sentences=self.sentences,
            numbers=tuple(row for row, _ in words),
            spans=tuple(((at, at + 1),) for _, at in words),
            labels=tuple(self.tags[row][at] for row, at in words),
            splits=tuple(self.splits[row] for row, _ in words),
            origin=self.origin,
        )


def tagged_sentences(treebank: Treebank, column: str) -> TaggedSentences:
    """The words of a treebank, each with its cell of one of `TAG_COLUMNS` as the tag.

    An underscore is a tag like any other: in ``feats`` it stands for a word without features.

    Raises:
        InputError: for a treebank that comes without its text.
    """
    sentences = tuple(sentence.column("form") for sentence in treebank.sentences)
    forms = [word for words in sentences for word in words]
    if 2 * forms.count("_") > len(forms):
        raise InputError(
            f"{treebank.name}: the form of {forms.count('_'):,} of {len(forms):,} words is _: the "
            "treebank comes without its text, which its own README says how to add"
        )
    return TaggedSentences(
        name=f"{treebank.name}:{column}",
        sentences=sentences,
        tags=tuple(sentence.column(column) for sentence in treebank.sentences),
        splits=treebank.releases,
        column=column,
        origin=treebank.origin,
    )
