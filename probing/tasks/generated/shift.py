"""Neighbours whose swap leaves no English sentence."""

from probing.tasks.generated.tree import Tree, Word

_DETERMINERS = frozenset(("DT", "PRP$", "CD"))
_NOUNS = frozenset(("NN", "NNS"))
_FINITE = frozenset(("VBD", "VBP", "VBZ", "MD"))
_OPENS_PHRASE = _DETERMINERS | {"NN", "NNS", "NNP", "JJ", "PRP"}


def shift_places(tree: Tree) -> list[int]:
    """Positions (from 0) of tokens that can be swapped with the next one to ill effect.

    Most swaps ruin a sentence, but "found the empty box" and "had the gate opened" are English, so
    only pairs are taken of which that is known by their tags. The first token is never taken, as in
    SentEval, nor is punctuation: the capital and the final period would give the swap away.
    """
    leaves = tree.leaves()
    return [place for place in range(1, len(leaves) - 2) if _breaks(leaves, place)]


def _breaks(leaves: list[Word], place: int) -> bool:
    left, right = leaves[place], leaves[place + 1]
    if left.tag in _DETERMINERS:
        return right.tag in {"NN", "NNS", "JJ", "RB"}
    if left.tag == "IN":
        # "said that dogs sleep": dogs that sleep can be said, too.
        return right.tag in _OPENS_PHRASE and (left.text != "that" or right.tag != "NNS")
    if left.tag == "TO":
        return right.tag == "VB"
    if left.tag == "CC":
        return right.tag in _DETERMINERS
    if left.tag == "MD" or (left.tag in _FINITE and left.lexeme is None):
        return right.tag in {"VB", "VBN", "VBG", "JJ"} or right.text == "not"
    if left.tag in {"VBD", "VBP", "VBZ", "VB"}:
        return right.tag in {"DT", "PRP$"}
    if left.tag == "JJ":
        before_verb = leaves[place + 2].tag in _FINITE
        return right.tag in _NOUNS and before_verb and _determined(leaves, place)
    if left.tag in _NOUNS:
        return right.tag in _FINITE | {"IN", "WP", "WDT"} and _determined(leaves, place)
    return False


def _determined(leaves: list[Word], place: int) -> bool:
    """Whether a determiner stands before the word and its adjectives."""
    while place > 0 and leaves[place - 1].tag in {"JJ", "RB"}:
        place -= 1
    return place > 0 and leaves[place - 1].tag in _DETERMINERS
