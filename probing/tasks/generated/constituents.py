"""Whole sentences: statements as they come, and sentences with chosen top constituents."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from probing.tasks.generated.frames import (
    FRAMES,
    PERSON,
    PLACES,
    Argument,
    Frame,
    Shape,
    Trait,
    frames_for,
)
from probing.tasks.generated.grammar import Grammar
from probing.tasks.generated.parts import (
    Agreement,
    Aspect,
    Clause,
    Form,
    NounPhrase,
    Predicate,
    Tense,
    finite,
    finite_tag,
)
from probing.tasks.generated.tree import Tree, Word


@dataclass(frozen=True)
class Sentence:
    """A derivation with the chief words of its main clause, each None where there is none."""

    tree: Tree
    verb: Word | None
    subject: Word | None
    object: Word | None


_COMMA = Word(",", ",")
_STOP = Word(".", ".")
_QUESTION = Word(".", "?")
_THINGS = ("tool", "clothing", "text", "picture", "dish", "vehicle", "music", "idea")


def statement(clause: Clause, *opening: Tree | Word) -> Sentence:
    """A sentence of one clause, with what stands before its subject."""
    tree = Tree("S", (*opening, *clause.parts, _STOP))
    return chief(tree, clause)


def chief(tree: Tree, clause: Clause) -> Sentence:
    """A sentence with the chief words of this clause."""
    taken = clause.object.head if clause.object else None
    return Sentence(tree, clause.verb, clause.subject.head, taken)


def any_tense(grammar: Grammar) -> Tense:
    """Past more often than present."""
    return Tense.PAST if grammar.draw.chance(0.65) else Tense.PRESENT


def declarative(grammar: Grammar, tense: Tense | None = None) -> Sentence:
    """A statement as the grammar's style has it: one clause or two, perhaps with an opening."""
    draw, style = grammar.draw, grammar.style
    if draw.chance(style.compound):
        return _compound(grammar, tense)
    if draw.chance(style.opening):
        openings = [_adverb_first, _preposition_first, _subordinate_first, _participle_first]
        return draw.pick(openings)(grammar, tense)
    return statement(grammar.clause(tense or any_tense(grammar), style.nesting))


def _compound(grammar: Grammar, tense: Tense | None = None) -> Sentence:
    tense = tense or any_tense(grammar)
    depth = grammar.style.nesting
    first, second = (grammar.clause(tense, depth) for _ in range(2))
    conjunction = Word("CC", grammar.draw.pick(("and", "and", "but")))
    parts = (Tree("S", first.parts), _COMMA, conjunction, Tree("S", second.parts), _STOP)
    return chief(Tree("S", parts), first)


def opening_adverb(grammar: Grammar) -> tuple[Tree, ...]:
    """An adverb to begin with, as often as the style has it, or nothing."""
    if not grammar.draw.chance(grammar.style.opening):
        return ()
    # "Suddenly I always lent": one adverb before the verb is enough.
    grammar.style = replace(grammar.style, preverbal=0.0)
    return (grammar.adverb("opening"),)


def _adverb_first(grammar: Grammar, tense: Tense | None = None) -> Sentence:
    clause = grammar.clause(tense or any_tense(grammar), grammar.style.nesting, adjuncts=False)
    comma = (_COMMA,) if grammar.draw.chance(0.5) else ()
    return statement(clause, grammar.adverb("opening"), *comma)


def _preposition_first(grammar: Grammar, tense: Tense | None = None) -> Sentence:
    tense = tense or any_tense(grammar)
    if tense is Tense.PAST and grammar.draw.chance(0.6):
        opening, needed = grammar.date(), frozenset((Trait.TIME,))
    else:
        place = grammar.draw.pick(PLACES)
        opening, needed = grammar.preposition(*place), frozenset((Trait.PLACE,))
    frame = grammar.frame(0, needed=needed)
    clause = grammar.clause(tense, grammar.style.nesting, frame=frame, adjuncts=False)
    comma = (_COMMA,) if grammar.draw.chance(0.5) else ()
    return statement(clause, opening, *comma)


def _subordinate_first(grammar: Grammar, tense: Tense | None = None) -> Sentence:
    tense = tense or any_tense(grammar)
    depth = grammar.style.nesting
    opening = grammar.subordinate(tense, depth - 1)
    frame = grammar.frame(0, needed=frozenset((Trait.TIME,)))
    aspects = (Aspect.SIMPLE,)
    clause = grammar.clause(tense, depth, frame=frame, aspects=aspects, adjuncts=False)
    return statement(clause, opening, _COMMA)


def _participle_first(grammar: Grammar, tense: Tense | None = None) -> Sentence:
    """Having lit the lamp, the nun entered the chapel. Cleaning it, she talked about the king."""
    tense = tense or any_tense(grammar)
    depth = grammar.style.nesting
    done = grammar.draw.chance(0.7)
    opening = _gerund(grammar, tense, done=done)
    subject = grammar.noun_phrase(Argument(PERSON), depth - 1)
    frame = FRAMES["talk"]
    if done:
        frame = grammar.frame(0, subject=subject.noun_class, needed=frozenset((Trait.TIME,)))
    aspects = (Aspect.SIMPLE,)
    clause = grammar.clause(
        tense, depth, frame=frame, subject=subject, aspects=aspects, adjuncts=False
    )
    return statement(clause, Tree("S", (opening.tree,)), _COMMA)


def _gerund(grammar: Grammar, tense: Tense, *, done: bool = False) -> Predicate:
    frame = grammar.draw.pick(_deliberate())
    having = Form(tense, "VBN", ((Word("VBG", "having"),),))
    form = having if done else Form(tense, "VBG")
    return grammar.predicate(frame, "worker", form, 1, adjuncts=False)


def _deliberate() -> tuple[Frame, ...]:
    frames = frames_for((Shape.TRANSITIVE,), subject="worker")
    return tuple(frame for frame in frames if Trait.MANNER in frame.traits)


# Top constituents, by label; punctuation inside the sentence is not part of a label.


def _plain(grammar: Grammar) -> Sentence:
    grammar.style = replace(grammar.style, preverbal=0.0)
    return statement(grammar.clause(any_tense(grammar), grammar.style.nesting))


def _adverb_inside(grammar: Grammar) -> Sentence:
    aspects = (Aspect.SIMPLE,)
    grammar.style = replace(grammar.style, preverbal=1.0, passive=0.0, aspects=aspects)
    return statement(grammar.clause(any_tense(grammar), grammar.style.nesting))


def _conjunction_first(grammar: Grammar) -> Sentence:
    grammar.style = replace(grammar.style, preverbal=0.0)
    clause = grammar.clause(any_tense(grammar), grammar.style.nesting)
    return statement(clause, Word("CC", grammar.draw.pick(("And", "But", "Yet"))))


def _conjunction_adverb_first(grammar: Grammar) -> Sentence:
    clause = grammar.clause(any_tense(grammar), grammar.style.nesting, adjuncts=False)
    conjunction = Word("CC", grammar.draw.pick(("And", "But")))
    if grammar.draw.chance(0.5):
        return statement(clause, conjunction, grammar.adverb("opening"))
    adverb = Tree("ADVP", (Word("RB", grammar.draw.pick(("then", "soon", "later"))),))
    return statement(clause, conjunction, adverb)


def _time_first(grammar: Grammar) -> Sentence:
    """That morning the king left the palace."""
    draw = grammar.draw
    opening = grammar.daytime(draw.pick(("that", "one")))
    frame = grammar.frame(0, needed=frozenset((Trait.TIME,)))
    depth = grammar.style.nesting
    return statement(grammar.clause(Tense.PAST, depth, frame=frame, adjuncts=False), opening)


def _imperative(grammar: Grammar) -> Sentence:
    frame = grammar.draw.pick(_deliberate())
    form = Form(Tense.PRESENT, "VB")
    predicate = grammar.predicate(frame, "worker", form, grammar.style.nesting)
    return _headless(Tree("S", (predicate.tree, _STOP)), predicate)


def _headless(tree: Tree, predicate: Predicate, subject: NounPhrase | None = None) -> Sentence:
    taken = predicate.object.head if predicate.object else None
    return Sentence(tree, predicate.verb, subject.head if subject else None, taken)


def _what_subject(grammar: Grammar) -> Sentence:
    """What the nun found surprised the king."""
    frame, object_class = _transitive(grammar)
    finder = grammar.subject(frame, 1)
    tag = finite_tag(Tense.PAST, finder.agreement)
    verb = grammar.verb(frame, tag, finder.noun_class, object_class)
    clause = Tree("S", (finder.tree, Tree("VP", (verb,))))
    return _reaction(grammar, Tree("SBAR", (_wh("what"), clause)))


def _gerund_subject(grammar: Grammar) -> Sentence:
    """Cleaning the lamp annoyed the king."""
    return _reaction(grammar, Tree("S", (_gerund(grammar, Tense.PAST).tree,)))


def _reaction(grammar: Grammar, subject: Tree) -> Sentence:
    (frame,) = frames_for((Shape.TRANSITIVE,), subject="incident")
    aspect = grammar.draw.pick((Aspect.SIMPLE, Aspect.SIMPLE, Aspect.MODAL, Aspect.NEGATIVE))
    form = finite(grammar.draw, aspect, Tense.PAST, Agreement.SINGULAR)
    predicate = grammar.predicate(frame, "incident", form, grammar.style.nesting, adjuncts=False)
    return _headless(Tree("S", (subject, predicate.tree, _STOP)), predicate)


def _transitive(grammar: Grammar) -> tuple[Frame, str]:
    """A frame for something done to a thing, and the class of the thing."""
    object_class = grammar.draw.pick(_THINGS)
    return grammar.draw.pick(
        frames_for((Shape.TRANSITIVE,), object_class=object_class)
    ), object_class


def _wh(word: str) -> Tree:
    if word in ("who", "what"):
        return Tree("WHNP", (Word("WP", word),))
    return Tree("WHADVP", (Word("WRB", word),))


def _which_noun(grammar: Grammar) -> Sentence:
    """Who opened the gate? What did the king open?"""
    draw, tense = grammar.draw, any_tense(grammar)
    if draw.chance(0.5):
        frame = grammar.frame(0, subject="worker")
        aspect = draw.pick((*[Aspect.SIMPLE] * 4, Aspect.MODAL, Aspect.PERFECT))
        form = finite(draw, aspect, tense, Agreement.SINGULAR)
        predicate = grammar.predicate(frame, "worker", form, grammar.style.nesting)
        parts = (_wh("who"), Tree("SQ", (predicate.tree,)), _QUESTION)
        return _headless(Tree("SBARQ", parts), predicate)
    frame, object_class = _transitive(grammar)
    subject = grammar.subject(frame, 1)
    auxiliary, form = _inverted(grammar, frame, tense, subject)
    verb = grammar.verb(frame, form.tag, subject.noun_class, object_class)
    question = Tree("SQ", (auxiliary, subject.tree, Tree("VP", (verb,))))
    tree = Tree("SBARQ", (_wh("what"), question, _QUESTION))
    return Sentence(tree, verb, subject.head, None)


def _which_way(grammar: Grammar) -> Sentence:
    """Where did the king hide the key?"""
    asked = {"where": Trait.PLACE, "when": Trait.TIME, "how": Trait.MANNER, "why": Trait.TIME}
    word = grammar.draw.pick(tuple(asked))
    frame = grammar.frame(0, needed=frozenset((asked[word],)))
    inverted, predicate, subject = _question(grammar, frame, any_tense(grammar), adjuncts=False)
    tree = Tree("SBARQ", (_wh(word), Tree("SQ", inverted), _QUESTION))
    return _headless(tree, predicate, subject)


def _yes_or_no(grammar: Grammar) -> Sentence:
    """Did the king hide the key?"""
    frame = grammar.frame(0, needed=frozenset((Trait.TIME,)))
    inverted, predicate, subject = _question(grammar, frame, Tense.PAST, adjuncts=True)
    return _headless(Tree("SQ", (*inverted, _QUESTION)), predicate, subject)


def _inverted(
    grammar: Grammar, frame: Frame, tense: Tense, subject: NounPhrase
) -> tuple[Word, Form]:
    """The auxiliary that stands before the subject, and the form of the verb after it."""
    lasting = frame.traits >= {Trait.TIME, Trait.PLACE}
    aspects = (Aspect.NEGATIVE, Aspect.NEGATIVE, Aspect.PERFECT)
    aspect = grammar.draw.pick((*aspects, Aspect.PROGRESSIVE) if lasting else aspects)
    form = finite(grammar.draw, aspect, tense, subject.agreement)
    return form.auxiliaries[0][0], Form(tense, form.tag)


def _question(
    grammar: Grammar, frame: Frame, tense: Tense, *, adjuncts: bool
) -> tuple[tuple[Word, Tree, Tree], Predicate, NounPhrase]:
    subject = grammar.subject(frame, 1)
    auxiliary, form = _inverted(grammar, frame, tense, subject)
    predicate = grammar.predicate(
        *(frame, subject.noun_class, form, grammar.style.nesting), adjuncts=adjuncts
    )
    return (auxiliary, subject.tree, predicate.tree), predicate, subject


TOP_CONSTITUENTS: dict[str, Callable[[Grammar], Sentence]] = {
    "ADVP_NP_VP_.": _adverb_first,
    "CC_ADVP_NP_VP_.": _conjunction_adverb_first,
    "CC_NP_VP_.": _conjunction_first,
    "NP_ADVP_VP_.": _adverb_inside,
    "NP_NP_VP_.": _time_first,
    "NP_VP_.": _plain,
    "PP_NP_VP_.": _preposition_first,
    "SBAR_NP_VP_.": _subordinate_first,
    "SBAR_VP_.": _what_subject,
    "S_CC_S_.": _compound,
    "S_NP_VP_.": _participle_first,
    "S_VP_.": _gerund_subject,
    "VBD_NP_VP_.": _yes_or_no,
    "VP_.": _imperative,
    "WHADVP_SQ_.": _which_way,
    "WHNP_SQ_.": _which_noun,
}
"""What makes a sentence with these constituents below its root."""
