"""Words with their forms, and the share of them that each split may use."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from probing.tasks.generated.draw import Draw
from probing.tasks.generated.words import ADJECTIVES, ADVERBS, NAMES, NOUNS, VERBS
from probing.tasks.sentences import SPLITS

MASS = ("beverage", "ingredient")
"""The noun classes without a plural."""


@dataclass(frozen=True, eq=False, slots=True)
class Lexeme:
    """A word with all its forms; two lexemes are equal only if they are the same object.

    ``group`` is its noun class, verb frame, or group of names, adjectives or adverbs; ``band`` its
    frequency: 0 common, 1 middling, 2 rare (always 0 where the lists have no bands). ``forms`` maps
    a Penn Treebank tag to the spelling.
    """

    lemma: str
    group: str
    band: int
    forms: Mapping[str, str]


def _with_s(stem: str) -> str:
    if re.search(r"(s|x|z|ch|sh)$", stem):
        return f"{stem}es"
    if re.search(r"[^aeiou]y$", stem):
        return f"{stem[:-1]}ies"
    return f"{stem}s"


def _noun(entry: str, group: str, band: int) -> Lexeme:
    singular, _, plural = entry.partition(":")
    if group in MASS:
        return Lexeme(singular, group, band, {"NN": singular})
    return Lexeme(singular, group, band, {"NN": singular, "NNS": plural or _with_s(singular)})


def _verb(entry: str, group: str, band: int) -> Lexeme:
    parts = entry.rstrip("+").split(":")
    base = parts[0]
    stem = base + base[-1] if entry.endswith("+") else base
    if base.endswith("e"):
        past, gerund = f"{base}d", f"{base[:-1]}ing"
    elif re.search(r"[^aeiou]y$", base):
        past, gerund = f"{base[:-1]}ied", f"{base}ing"
    else:
        past, gerund = f"{stem}ed", f"{stem}ing"
    past, participle, gerund = (
        parts[position] if len(parts) > position else regular
        for position, regular in ((1, past), (2, past), (3, gerund))
    )
    forms = {"VB": base, "VBP": base, "VBZ": _with_s(base)}
    return Lexeme(base, group, band, forms | {"VBD": past, "VBN": participle, "VBG": gerund})


@cache
def all_words(group: str) -> tuple[Lexeme, ...]:
    """Every word of a group, in the order of the lists."""
    for table, make in ((NOUNS, _noun), (VERBS, _verb)):
        if group in table:
            bands = table[group].split("/")
            return tuple(
                make(entry, group, band)
                for band, part in enumerate(bands)
                for entry in part.split()
            )
    for plain, tag in ((NAMES, "NNP"), (ADJECTIVES, "JJ"), (ADVERBS, "RB")):
        if group in plain:
            return tuple(Lexeme(word, group, 0, {tag: word}) for word in plain[group].split())
    raise KeyError(group)


class Lexicon:
    """The words that one split may use, group by group.

    With a split, half of each group goes to train and a quarter each to dev and test, drawn from
    the seed: two lexicons of one seed and different splits have no word in common. Without one,
    every word is there but those ``withheld``.
    """

    def __init__(
        self, *, seed: int = 0, split: str | None = None, withheld: frozenset[str] = frozenset()
    ) -> None:
        self._seed = seed
        self._split = split
        self._withheld = withheld
        # Groups are dealt out when first asked for, each from its own stream, so that the outcome
        # does not depend on who asked first.
        self._words: dict[str, tuple[Lexeme, ...]] = {}

    def words(self, group: str) -> tuple[Lexeme, ...]:
        """The words of a group, at least one; which ones depends on seed and split alone."""
        if group not in self._words:
            self._words[group] = self._deal(group)
        return self._words[group]

    def _deal(self, group: str) -> tuple[Lexeme, ...]:
        if self._split is None:
            return tuple(word for word in all_words(group) if word.lemma not in self._withheld)
        words = Draw(f"lexicon {self._seed} {group}").shuffled(all_words(group))
        quarter = max(1, len(words) // 4)
        start = {"train": 2 * quarter, "dev": 0, "test": quarter}[self._split]
        return tuple(words[start : None if self._split == SPLITS[0] else start + quarter])
