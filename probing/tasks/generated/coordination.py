"""Two coordinate clauses of which only the first can come first.

The second clause always looks back: to somebody (he, it), to what was just brought up (a fox, the
fox; one guest, the other), to what happened before (then, therefore, too) or to the predicate
itself (but the king did not). With the clauses swapped, it looks back at nothing.
"""

from collections.abc import Callable
from dataclasses import replace

from probing.tasks.generated.constituents import Sentence, chief
from probing.tasks.generated.draw import Draw
from probing.tasks.generated.frames import Argument, Frame, Shape, Trait, frames_for
from probing.tasks.generated.grammar import Grammar
from probing.tasks.generated.lexicon import Lexeme, Lexicon
from probing.tasks.generated.parts import (
    Agreement,
    Aspect,
    Clause,
    Determiner,
    NounPhrase,
    Style,
    Tense,
    finite,
    pronoun_phrase,
)
from probing.tasks.generated.tree import Tree, Word

_STYLE = Style(
    modifier=0.25,
    adjunct=0.4,
    preverbal=0.06,
    # Nothing else may look back, or a clause could look back from the first place, too.
    relative=0.0,
    subordinate=0.0,
    complement=0.0,
    passive=0.0,
    pair=0.0,
    pronoun=0.0,
    coreference=0.0,
    possessive=0.0,
)
_SIMPLE = (Aspect.SIMPLE,)
_HAPPENS = frozenset((Trait.TIME,))
_Pair = tuple[Clause, Clause, tuple[Tree, ...], tuple[str, ...]]
"""Two clauses, what stands before the subject of the second, and conjunctions to choose from."""


def coordinate(
    draw: Draw, lexicon: Lexicon, *, inverted: bool, longer_first: bool
) -> tuple[Sentence, Tree] | None:
    """A sentence of two clauses, in order or inverted, and the tree of the sentence in order.

    None where this draw did not give a longer (in tokens) first clause, or second one, as asked.
    """
    grammar = Grammar(draw, lexicon, _STYLE)
    tense = Tense.PAST if draw.chance(0.7) else Tense.PRESENT
    first, second, opening, conjunctions = draw.pick(_LINKS)(grammar, tense)
    clauses = [Tree("S", first.parts), Tree("S", (*opening, *second.parts))]
    lengths = [len(clause.leaves()) for clause in clauses]
    if lengths[0] == lengths[1] or (lengths[0] > lengths[1]) is (longer_first is inverted):
        return None
    conjunction = Word("CC", draw.pick(conjunctions))
    orders = [
        Tree("S", (one, Word(",", ","), conjunction, other, Word(".", ".")))
        for one, other in (clauses, clauses[::-1])
    ]
    source = orders[0]
    return chief(orders[inverted], second if inverted else first), source


def _frame(grammar: Grammar) -> Frame:
    return grammar.frame(0, needed=_HAPPENS)


def _somebody(grammar: Grammar, tense: Tense) -> _Pair:
    """The baker dropped a cup, and he swept the kitchen."""
    first = grammar.clause(tense, 1, frame=_frame(grammar))
    known = first.subject
    if first.object and grammar.draw.chance(0.3) and first.object.noun_class in _ACTIVE:
        known = first.object
    subject = pronoun_phrase(known.pronoun, known.noun_class)
    frame = grammar.frame(0, subject=known.noun_class, needed=_HAPPENS)
    second = grammar.clause(tense, 2, frame=frame, subject=subject)
    return first, second, (), ("and", "but")


_ACTIVE = ("animal", "device", "flower", "tree", "event")


def _something(grammar: Grammar, tense: Tense) -> _Pair:
    """The baker dropped a cup, and the nun found it."""
    frame = grammar.draw.pick(_acts())
    first = grammar.clause(tense, 1, frame=frame)
    if first.object is None:
        raise AssertionError("a transitive clause has an object")
    known = first.object
    frames = frames_for((Shape.TRANSITIVE,), object_class=known.noun_class)
    taken = pronoun_phrase(known.pronoun, known.noun_class, as_object=True)
    frame = grammar.draw.pick(frames)
    return first, grammar.clause(tense, 2, frame=frame, object_phrase=taken), (), ("and", "but")


def _acts() -> tuple[Frame, ...]:
    return tuple(frame for frame in frames_for((Shape.TRANSITIVE,)) if Trait.TIME in frame.traits)


def _sequel(grammar: Grammar, tense: Tense) -> _Pair:
    """The baker left the palace, and then the nun closed the door."""
    first, second = (grammar.clause(tense, 1, frame=_frame(grammar)) for _ in range(2))
    adverb = grammar.draw.pick(("then", "then", "therefore", "consequently", "afterward", "later"))
    return first, second, (Tree("ADVP", (Word("RB", adverb),)),), ("and",)


def _likewise(grammar: Grammar, tense: Tense) -> _Pair:
    """The baker liked the parade, and the nun liked it too."""
    draw = grammar.draw
    frame = draw.pick(_acts())
    first = grammar.clause(tense, 1, frame=frame, aspects=_SIMPLE)
    subject = grammar.noun_phrase(Argument((first.subject.noun_class,)), 1)
    form = finite(draw, Aspect.SIMPLE, tense, subject.agreement)
    lexeme = first.verb.lexeme
    if lexeme is None or first.object is None:
        raise AssertionError("a transitive clause has a verb of the lists and an object")
    verb = Word(form.tag, lexeme.forms[form.tag], lexeme)
    taken = pronoun_phrase(first.object.pronoun, first.object.noun_class, as_object=True)
    too = Word("RB", draw.pick(("too", "too", "also")))
    adverb = Tree("ADVP", (too,))
    parts: tuple[Tree, ...] = (subject.tree, Tree("VP", (verb, taken.tree, adverb)))
    if too.text == "also":
        parts = (subject.tree, adverb, Tree("VP", (verb, taken.tree)))
    return first, Clause(parts, frame, subject, verb, taken), (), ("and",)


def _ellipsis(grammar: Grammar, tense: Tense) -> _Pair:
    """The baker closed the door, but the nun did not."""
    draw = grammar.draw
    aspect = draw.pick((Aspect.SIMPLE, Aspect.SIMPLE, Aspect.MODAL))
    first = grammar.clause(tense, 1, frame=_frame(grammar), aspects=(aspect,))
    subject = grammar.noun_phrase(Argument((first.subject.noun_class,)), 2)
    left = Aspect.MODAL if aspect is Aspect.MODAL else Aspect.NEGATIVE
    auxiliary = finite(draw, left, tense, subject.agreement).auxiliaries[0][0]
    predicate = Tree("VP", (auxiliary, Word("RB", "not")))
    second = Clause((subject.tree, predicate), first.frame, subject, auxiliary, None)
    return first, second, (), ("but",)


def _same(grammar: Grammar, tense: Tense) -> _Pair:
    """A fox chased a hen, but the fox soon vanished."""
    frame = _frame(grammar)
    subject = grammar.noun_phrase(frame.subject, 0, plural=False, determiner=Determiner.INDEFINITE)
    first = grammar.clause(tense, 1, frame=frame, subject=subject)
    again = _plain(subject, _lexeme(subject), (Word("DT", "the"),))
    frame = grammar.frame(0, subject=subject.noun_class, needed=_HAPPENS)
    second = grammar.clause(tense, 2, frame=frame, subject=again)
    return first, second, (), ("and", "but")


def _other(grammar: Grammar, tense: Tense) -> _Pair:
    """One guest smiled, but the other closed the door. Some guests smiled, but others slept."""
    frame = _frame(grammar)
    plural = grammar.draw.chance(0.4)
    drawn = grammar.noun_phrase(frame.subject, 0, plural=plural, determiner=Determiner.DEFINITE)
    noun = _lexeme(drawn)
    one = (Word("DT", "some"),) if plural else (Word("CD", "one"),)
    subject = _plain(drawn, noun, one)
    rest: tuple[Word, ...] = (Word("NNS", "others"),)
    if not plural:
        rest = (Word("DT", "the"), Word("JJ", "other"), Word("NN", noun.forms["NN"], noun))
    others = replace(subject, tree=Tree("NP", rest), head=rest[-1])
    first = grammar.clause(tense, 1, frame=frame, subject=subject)
    frame = grammar.frame(0, subject=drawn.noun_class, needed=_HAPPENS)
    second = grammar.clause(tense, 2, frame=frame, subject=others)
    return first, second, (), ("and", "but")


def _lexeme(phrase: NounPhrase) -> Lexeme:
    if phrase.head is None or phrase.head.lexeme is None:
        raise AssertionError("a noun phrase with a determiner has a noun of the lists")
    return phrase.head.lexeme


def _plain(phrase: NounPhrase, noun: Lexeme, determiners: tuple[Word, ...]) -> NounPhrase:
    """The noun of a phrase with other determiners, and nothing else."""
    tag = "NNS" if phrase.agreement is Agreement.PLURAL else "NN"
    head = Word(tag, noun.forms[tag], noun)
    return replace(phrase, tree=Tree("NP", (*determiners, head)), head=head)


_LINKS: tuple[Callable[[Grammar, Tense], _Pair], ...] = (
    *(_somebody, _somebody, _something, _something),
    *(_sequel, _likewise, _ellipsis, _same, _other),
)
