"""How each task makes a sentence for a label, or finds that this draw made none."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache

from probing.tasks.generated.cards import DEPTHS, LENGTH_BINS, TARGET_WORDS
from probing.tasks.generated.constituents import (
    TOP_CONSTITUENTS,
    Sentence,
    declarative,
    opening_adverb,
    statement,
)
from probing.tasks.generated.coordination import coordinate
from probing.tasks.generated.draw import Draw
from probing.tasks.generated.frames import (
    DESCRIPTIONS,
    FRAMES,
    Argument,
    Frame,
    Shape,
    frames_for,
)
from probing.tasks.generated.grammar import Grammar
from probing.tasks.generated.lexicon import MASS, Lexeme, Lexicon, all_words
from probing.tasks.generated.parts import Aspect, Determiner, Style, Tense
from probing.tasks.generated.shift import shift_places
from probing.tasks.generated.tree import Tree, Word, indefinite_article
from probing.tasks.generated.words import NOUNS, VERBS

_MOST_SPARE = 50
"""Sentences of a kind that wait for their turn; more would only be of the easy kinds."""


@dataclass(frozen=True)
class Order:
    """What the next sentence must be: its label, and how many of that label came before."""

    label: str
    turn: int


@dataclass(frozen=True)
class Draft:
    """A sentence that may become part of a task.

    ``changes`` are words to put in place of others, by position; ``tokens`` what is spelled out
    where that is not the leaves; ``source`` the tree of the sentence this one was made from.
    """

    sentence: Sentence
    changes: Mapping[int, tuple[Word, ...]] = field(default_factory=dict)
    tokens: tuple[str, ...] | None = None
    source: Tree | None = None


@dataclass(frozen=True)
class _Spare:
    """A sentence that waits for its turn, its length in tokens, and where it can take adjectives.

    A position stands in ``room`` once for each adjective that fits before it.
    """

    grammar: Grammar
    sentence: Sentence
    length: int
    room: tuple[int, ...]


@dataclass(frozen=True)
class Bench:
    """What the sentences of one split are made with.

    ``spare`` holds sentences that came out right for a later order, by what they are right for.
    """

    draw: Draw
    lexicon: Lexicon
    spare: dict[int, list[_Spare]] = field(default_factory=lambda: defaultdict(list))


def _replacing(leaves: list[Word], place: int, *words: Word) -> dict[int, tuple[Word, ...]]:
    """The change of one word, and of the article before it."""
    changes: dict[int, tuple[Word, ...]] = {place: words}
    if place and leaves[place - 1].text in ("a", "an"):
        changes[place - 1] = (Word("DT", indefinite_article(words[0].text)),)
    return changes


# The tasks, in the order of the cards


_LENGTH_STYLES = (
    Style(adjective=0.1, modifier=0.05, adjunct=0.1, date=0.1, subordinate=0.0, opening=0.1),
    Style(adjective=0.35, modifier=0.15, adjunct=0.3, subordinate=0.1),
    Style(adjective=0.5, modifier=0.3, relative=0.15, adjunct=0.4, subordinate=0.3),
    Style(adjective=0.5, modifier=0.4, relative=0.2, adjunct=0.5, subordinate=0.5, compound=0.3),
    Style(adjective=0.6, modifier=0.4, relative=0.3, adjunct=0.5, subordinate=0.6, compound=0.6),
    Style(adjective=0.6, modifier=0.5, relative=0.3, adjunct=0.6, subordinate=0.7, compound=0.8),
)


def _sentence_length(bench: Bench, order: Order) -> Draft | None:
    wanted = int(order.label)
    if bench.spare[wanted]:
        return Draft(bench.spare[wanted].pop().sentence)
    grammar = Grammar(bench.draw, bench.lexicon, _LENGTH_STYLES[wanted])
    sentence = declarative(grammar)
    length = len(sentence.tree.leaves())
    for bin_, (shortest, longest) in enumerate(LENGTH_BINS):
        if shortest <= length <= longest and len(bench.spare[bin_]) < _MOST_SPARE:
            bench.spare[bin_].append(_Spare(grammar, sentence, length, ()))
    return None


@cache
def _targets() -> dict[str, tuple[Lexeme, str]]:
    """The target words with their lexeme and tag."""
    found = {}
    for table, tag in ((NOUNS, "NN"), (VERBS, "VBD")):
        for group in table:
            found.update({word.forms[tag]: (word, tag) for word in all_words(group)})
    return {word: found[word] for word in TARGET_WORDS}


def target_lemmas() -> frozenset[str]:
    """The lemmas of the target words, none of which may come up but as a target."""
    return frozenset(lexeme.lemma for lexeme, _ in _targets().values())


def _word_content(bench: Bench, order: Order) -> Draft | None:
    lexeme, tag = _targets()[order.label]
    grammar = Grammar(bench.draw, bench.lexicon, _CONTENT_STYLE)
    sentence = _about(grammar, lexeme.group)
    leaves = sentence.tree.leaves()
    places = [
        place
        for place, leaf in enumerate(leaves)
        if leaf.tag == tag and leaf.lexeme and leaf.lexeme.group == lexeme.group
    ]
    if not places:
        return None
    place = bench.draw.pick(places)
    return Draft(sentence, _replacing(leaves, place, Word(tag, order.label, lexeme)))


_CONTENT_STYLE = Style(passive=0.0, compound=0.0)


def _about(grammar: Grammar, group: str) -> Sentence:
    """A sentence with a verb of this frame, or with a singular noun of this class."""
    draw, depth = grammar.draw, grammar.style.nesting
    if group in FRAMES:
        return statement(grammar.clause(Tense.PAST, depth, frame=FRAMES[group]))
    tense = Tense.PAST if draw.chance(0.65) else Tense.PRESENT
    as_object = frames_for((Shape.TRANSITIVE, Shape.PUT, Shape.GIVE), object_class=group)
    as_subject = frames_for(tuple(Shape), subject=group)
    if not as_object and not as_subject:
        return declarative(grammar)
    frame = draw.pick((*as_object, *as_subject))
    phrase = grammar.noun_phrase(Argument((group,)), depth - 1, plural=False)
    if group in frame.subject.classes:
        return statement(grammar.clause(tense, depth, frame=frame, subject=phrase))
    return statement(grammar.clause(tense, depth, frame=frame, object_phrase=phrase))


_DEPTH_LENGTHS = range(12, 19)
_SHALLOW = Style(
    adjective=0.0,
    relative=0.0,
    adjunct=0.7,
    date=0.7,
    subordinate=0.0,
    complement=0.0,
    opening=0.5,
    pair=0.3,
    name=0.05,
    pronoun=0.03,
    nesting=1,
)
_MIDDLING = Style(adjective=0.0, modifier=0.4, relative=0.2, adjunct=0.4, subordinate=0.4)
_DEEP = replace(_MIDDLING, modifier=0.6, complement=0.6, name=0.3, pronoun=0.3, nesting=3)
_DEEPEST = replace(_DEEP, complement=0.9, adjunct=0.2, date=0.1)
_DEPTH_STYLES = (_SHALLOW, _SHALLOW, _MIDDLING, _MIDDLING, _DEEP, _DEEPEST, _DEEPEST)


def _tree_depth(bench: Bench, order: Order) -> Draft | None:
    depth = int(order.label)
    # Lengths come round in turn for every depth: length says nothing about depth. (SentEval's
    # sampling could only weaken the link.) Adjectives make up the length; they add no depth.
    wanted = _DEPTH_LENGTHS[order.turn % len(_DEPTH_LENGTHS)]
    spare = bench.spare[depth]
    for index, found in enumerate(spare):
        if found.length <= wanted <= found.length + len(found.room):
            del spare[index]
            tree = _described(found, wanted - found.length)
            return Draft(replace(found.sentence, tree=tree))
    grammar = Grammar(bench.draw, bench.lexicon, _DEPTH_STYLES[DEPTHS.index(depth)])
    sentence = declarative(grammar)
    leaves = sentence.tree.leaves()
    if len(leaves) <= _DEPTH_LENGTHS[-1]:
        room = tuple(
            place
            for place, leaf in enumerate(leaves)
            if leaf.lexeme and leaf.tag in ("NN", "NNS")
            for _ in DESCRIPTIONS.get(leaf.lexeme.group, ())[:2]
        )
        spare = bench.spare[sentence.tree.depth]
        spare.append(_Spare(grammar, sentence, len(leaves), room))
        # The oldest has been of no use for longest.
        del spare[:-_MOST_SPARE]
    return None


def _described(spare: _Spare, count: int) -> Tree:
    """The tree with this many adjectives."""
    leaves = spare.sentence.tree.leaves()
    chosen = spare.grammar.draw.shuffled(spare.room)[:count]
    changes: dict[int, tuple[Word, ...]] = {}
    for place in dict.fromkeys(chosen):
        noun = leaves[place].lexeme
        words = spare.grammar.adjectives(noun.group, chosen.count(place)) if noun else ()
        changes |= _replacing(leaves, place, *words, leaves[place])
    return spare.sentence.tree.with_words(changes)


def _top_constituents(bench: Bench, order: Order) -> Draft | None:
    return Draft(TOP_CONSTITUENTS[order.label](Grammar(bench.draw, bench.lexicon, Style())))


def _bigram_shift(bench: Bench, order: Order) -> Draft | None:
    sentence = declarative(Grammar(bench.draw, bench.lexicon, Style()))
    # Looked for in both classes: a sentence without such a place must not be a sign of class O.
    places = shift_places(sentence.tree)
    if not places:
        return None
    if order.label == "O":
        return Draft(sentence)
    tokens = [leaf.text for leaf in sentence.tree.leaves()]
    place = bench.draw.pick(places)
    tokens[place : place + 2] = tokens[place + 1], tokens[place]
    return Draft(sentence, tokens=tuple(tokens), source=sentence.tree)


_TENSE_STYLE = Style(
    # No auxiliary, date or clause of time: they show the tense without the verb.
    aspects=(Aspect.SIMPLE,),
    passive=0.0,
    date=0.0,
    subordinate=0.0,
    modifier=0.25,
    adjunct=0.4,
)


def _past_present(bench: Bench, order: Order) -> Draft | None:
    grammar = Grammar(bench.draw, bench.lexicon, _TENSE_STYLE)
    opening = opening_adverb(grammar)
    clause = grammar.clause(Tense(order.label), _TENSE_STYLE.nesting)
    return Draft(statement(clause, *opening))


_NUMBER_STYLE = Style(
    # No pronoun, present tense or form of be: they show the number without the noun.
    aspects=(*[Aspect.SIMPLE] * 6, Aspect.MODAL, Aspect.PERFECT, Aspect.NEGATIVE),
    passive=0.0,
    coreference=0.0,
    relative_present=0.0,
)


def _subj_number(bench: Bench, order: Order) -> Draft | None:
    grammar = Grammar(bench.draw, bench.lexicon, _NUMBER_STYLE)
    depth = _NUMBER_STYLE.nesting
    frame = grammar.frame(depth)
    plural = order.label == "NNS"
    opening = opening_adverb(grammar)
    subject = grammar.noun_phrase(
        frame.subject, depth - 1, plural=plural, determiner=Determiner.DEFINITE
    )
    clause = grammar.clause(Tense.PAST, depth, frame=frame, subject=subject)
    return Draft(statement(clause, *opening))


@cache
def _countable() -> tuple[tuple[Frame, Argument], ...]:
    """The frames with an object, and that object where it can be plural."""
    found = []
    for frame in frames_for((Shape.TRANSITIVE,)):
        if frame.object:
            classes = tuple(name for name in frame.object.classes if name in NOUNS)
            classes = tuple(name for name in classes if name not in MASS)
            if classes:
                found.append((frame, Argument(classes, frame.object.odd)))
    return tuple(found)


def _obj_number(bench: Bench, order: Order) -> Draft | None:
    grammar = Grammar(bench.draw, bench.lexicon, _NUMBER_STYLE)
    depth = _NUMBER_STYLE.nesting
    frame, argument = bench.draw.pick(_countable())
    plural = order.label == "NNS"
    opening = opening_adverb(grammar)
    taken = grammar.noun_phrase(argument, depth - 1, plural=plural, determiner=Determiner.DEFINITE)
    clause = grammar.clause(Tense.PAST, depth, frame=frame, object_phrase=taken)
    return Draft(statement(clause, *opening))


def _odd_man_out(bench: Bench, order: Order) -> Draft | None:
    sentence = declarative(Grammar(bench.draw, bench.lexicon, Style()))
    leaves = sentence.tree.leaves()
    part = ("NN", "VB")[order.turn % 2]
    places = [place for place, leaf in enumerate(leaves) if leaf.odd and leaf.tag.startswith(part)]
    if not places:
        return None
    place = bench.draw.pick(places)
    leaf = leaves[place]
    words = [
        word
        for word in bench.lexicon.words(bench.draw.pick(leaf.odd))
        if leaf.lexeme and word.band == leaf.lexeme.band and leaf.tag in word.forms
    ]
    if not words:
        return None
    # Both classes come this far: that a word could be replaced must not be a sign of class C.
    if order.label == "O":
        return Draft(sentence)
    word = bench.draw.pick(words)
    changes = _replacing(leaves, place, Word(leaf.tag, word.forms[leaf.tag], word))
    return Draft(sentence, changes, source=sentence.tree)


def _coordination_inversion(bench: Bench, order: Order) -> Draft | None:
    # As in SentEval, the first clause is the longer one as often as the second, in both classes.
    longer_first = order.turn % 2 == 0
    drawn = coordinate(
        bench.draw, bench.lexicon, inverted=order.label == "I", longer_first=longer_first
    )
    return Draft(drawn[0], source=drawn[1]) if drawn else None


MAKERS: dict[str, Callable[[Bench, Order], Draft | None]] = {
    "sentence_length": _sentence_length,
    "word_content": _word_content,
    "tree_depth": _tree_depth,
    "top_constituents": _top_constituents,
    "bigram_shift": _bigram_shift,
    "past_present": _past_present,
    "subj_number": _subj_number,
    "obj_number": _obj_number,
    "odd_man_out": _odd_man_out,
    "coordination_inversion": _coordination_inversion,
}
