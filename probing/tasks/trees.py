"""Gold trees of whole sentences, for the structural probe (Hewitt & Manning 2019)."""

from dataclasses import dataclass
from typing import Final

from probing.errors import InputError
from probing.tasks.sentences import SPLITS, SplitItems
from probing.tasks.treebank import SIZES, Treebank, pool_of, release_split
from probing.tasks.treebank_labels import draw, heads_of, relation, word_depths

STRUCTURE: Final = "structure"
"""The task by its name: ``ewt:structure``, ``treebank:PATH:structure``."""


@dataclass(frozen=True)
class ParsedSentences(SplitItems):
    """n sentences, each a tuple of words with the tree over them."""

    per_item = ("sentences", "heads", "punctuation", "splits")
    name: str
    sentences: tuple[tuple[str, ...], ...]
    heads: tuple[tuple[int, ...], ...]
    """For each word the place of its head, from 0; -1 for the one root."""
    punctuation: tuple[tuple[bool, ...], ...]
    """Which words are punctuation marks, whose arcs are not scored."""
    splits: tuple[str, ...]
    origin: str
    remark: str = ""


def structure_task(treebank: Treebank) -> ParsedSentences:
    """The trees of the sentences of 5 to 50 words, in the splits of the treebank.

    A treebank without splits is divided by sentence, four to one to two; there are at most 4,000,
    1,000 and 2,000 sentences. What is no tree with one root, or has fewer than two words beside
    punctuation marks, is left out, the first with a remark.

    Raises:
        InputError: nothing is left in one of the splits train and test.
    """
    pool = pool_of(treebank)
    chosen: dict[str, list[int]] = {split: [] for split in SPLITS}
    n_broken = 0
    for number in sorted(range(len(pool.sentences)), key=lambda at: draw(pool.sentences[at].text)):
        sentence = pool.sentences[number]
        words = [relation(sentence, at) != "punct" for at in range(len(sentence.words))]
        depths = word_depths(sentence)
        n_broken += depths is None or depths.count(0) != 1
        if depths is not None and depths.count(0) == 1 and sum(words) > 1:
            chosen[release_split(pool, number)].append(number)
    kept = [(split, at) for split, n in zip(SPLITS, SIZES, strict=True) for at in chosen[split][:n]]
    if not chosen["train"] or not chosen["test"]:
        raise InputError(f"{treebank.name} has no {STRUCTURE}: found no trees for train and test")
    sentences = [pool.sentences[at] for _, at in kept]
    return ParsedSentences(
        name=f"{treebank.name}:{STRUCTURE}",
        sentences=tuple(sentence.column("form") for sentence in sentences),
        heads=tuple(tuple(heads_of(s)) for s in sentences),
        punctuation=tuple(
            tuple(relation(s, at) == "punct" for at in range(len(s.words))) for s in sentences
        ),
        splits=tuple(split for split, _ in kept),
        origin=f"{treebank.origin} task {STRUCTURE}",
        remark=f"{treebank.name}: {n_broken:,} sentences are no tree with one root: left out"
        if n_broken
        else "",
    )
