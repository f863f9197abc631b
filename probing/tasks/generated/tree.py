"""Derivations: a sentence as the grammar built it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from probing.tasks.generated.lexicon import Lexeme


@dataclass(frozen=True, slots=True)
class Word:
    """A leaf of a tree: a token with its Penn Treebank tag.

    ``lexeme`` is None for function words and punctuation. ``odd`` names the groups of words (noun
    classes for a noun, frames for a verb) that would make no sense in this place.
    """

    tag: str
    text: str
    lexeme: Lexeme | None = None
    odd: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tree:
    """A constituent with its Penn Treebank label and its parts, from left to right."""

    label: str
    children: tuple["Tree | Word", ...]

    def leaves(self) -> list[Word]:
        """The words, from left to right."""
        words: list[Word] = []
        for child in self.children:
            if isinstance(child, Word):
                words.append(child)
            else:
                words.extend(child.leaves())
        return words

    @property
    def depth(self) -> int:
        """Nodes on the longest path from the root to a word, the word's tag counted: S-NP-NN is 3.

        In the bracketing, the greatest number of brackets that are open at one time.
        """
        return 1 + max(child.depth if isinstance(child, Tree) else 1 for child in self.children)

    def bracketing(self) -> str:
        """The tree in Penn Treebank notation: ``(S (NP (NNP Anna)) (VP (VBD slept)) (. .))``."""
        parts = (
            child.bracketing() if isinstance(child, Tree) else f"({child.tag} {child.text})"
            for child in self.children
        )
        return f"({self.label} {' '.join(parts)})"

    def with_words(self, words: Mapping[int, tuple[Word, ...]]) -> "Tree":
        """The same tree with one or more words in place of those at some positions (from 0)."""
        return self._rebuilt(words, [0])

    def _rebuilt(self, words: Mapping[int, tuple[Word, ...]], position: list[int]) -> "Tree":
        children: list[Tree | Word] = []
        for child in self.children:
            if isinstance(child, Word):
                children.extend(words.get(position[0], (child,)))
                position[0] += 1
            else:
                children.append(child._rebuilt(words, position))
        return Tree(self.label, tuple(children))


@dataclass(frozen=True)
class GeneratedSentence:
    """A sentence with its label, and the derivation that makes the label right.

    ``tokens`` has n entries, in the order of the text. ``tree`` has n leaves: the same tokens in
    the same order, but for a sentence of bigram_shift with label I, whose tree is that of the
    sentence before the swap.

    The rest are leaf positions (from 0), each None where there is no such word. ``main_verb`` is
    the verb of the main clause, auxiliaries aside; ``subject`` and ``object`` are the head nouns
    or pronouns of its subject and direct object. (Of two coordinate clauses, those of the first;
    where the verb is left out, its auxiliary.) ``replaced`` is a word that was put in place of
    another one: the odd one of odd_man_out, the target of word_content.
    """

    tree: Tree
    tokens: tuple[str, ...]
    label: str
    split: str
    main_verb: int | None
    subject: int | None
    object: int | None
    replaced: int | None = None

    @property
    def text(self) -> str:
        """The sentence in ordinary spelling."""
        return spell(self.tokens)


def spell(tokens: Sequence[str]) -> str:
    """Join tokens as they are written: a capital first, no space before punctuation and 's."""
    text = " ".join(tokens)
    for mark in (",", ".", "?", "'s"):
        text = text.replace(f" {mark}", mark)
    return text[0].upper() + text[1:]


_A_BEFORE_VOWEL = ("uni", "use")
_AN_BEFORE_CONSONANT = ("honest",)


def indefinite_article(following: str) -> str:
    """``a`` or ``an``, by how the following word begins."""
    if following.startswith(_AN_BEFORE_CONSONANT):
        return "an"
    vowel = following[0].lower() in "aeiou" and not following.startswith(_A_BEFORE_VOWEL)
    return "an" if vowel else "a"
