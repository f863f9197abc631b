"""What clauses are made of: tense and aspect, phrases with their features, and the style."""

from dataclasses import dataclass
from enum import StrEnum

from probing.tasks.generated.draw import Draw
from probing.tasks.generated.frames import Frame
from probing.tasks.generated.tree import Tree, Word


class Tense(StrEnum):
    """The tense of a finite verb."""

    PAST = "PAST"
    PRESENT = "PRES"


class Aspect(StrEnum):
    """How a finite verb is made; all but the last look alike for every subject in the past."""

    SIMPLE = "watered"
    MODAL = "could water"
    PERFECT = "had watered"
    NEGATIVE = "did not water"
    PROGRESSIVE = "was watering"


class Determiner(StrEnum):
    """Which determiners a noun may have."""

    ANY = "any that agrees with the noun"
    DEFINITE = "the or a possessive, which go with either number"
    INDEFINITE = "a or an; none before a plural"


class Agreement(StrEnum):
    """What a finite verb agrees with."""

    FIRST = "I"
    SINGULAR = "one"
    PLURAL = "several, or we"


@dataclass(frozen=True)
class Style:
    """How sentences are built: the probability (0 to 1) of each optional part."""

    adjective: float = 0.35
    modifier: float = 0.15
    relative: float = 0.08
    relative_present: float = 0.25
    """The probability that a relative clause is in the present tense."""
    adjunct: float = 0.3
    date: float = 0.2
    preverbal: float = 0.1
    subordinate: float = 0.12
    complement: float = 0.1
    opening: float = 0.15
    compound: float = 0.06
    passive: float = 0.08
    pair: float = 0.04
    name: float = 0.15
    pronoun: float = 0.12
    coreference: float = 0.4
    possessive: float = 0.3
    nesting: int = 2
    """How many clauses and modified nouns may stand inside one another."""
    aspects: tuple[Aspect, ...] = (*[Aspect.SIMPLE] * 8, *Aspect)
    """The aspects of main clauses, each as likely as the others."""


@dataclass(frozen=True)
class NounPhrase:
    """A noun phrase with what the rest of the sentence must know of it.

    ``head`` is its noun, name or pronoun, None in a pair; ``pronoun`` what takes it up later on:
    he, she, it or they (a pronoun takes up itself).
    """

    tree: Tree
    noun_class: str
    agreement: Agreement
    head: Word | None
    pronoun: str


@dataclass(frozen=True)
class Form:
    """The form of a verb: its tag, and its auxiliaries, one tuple for each phrase they open.

    ``tense`` is that of the whole clause, also where the verb itself shows none.
    """

    tense: Tense
    tag: str
    auxiliaries: tuple[tuple[Word, ...], ...] = ()


@dataclass(frozen=True)
class Predicate:
    """A verb phrase with its lexical verb and its direct object."""

    tree: Tree
    verb: Word
    object: NounPhrase | None


@dataclass(frozen=True)
class Clause:
    """A clause: its constituents (subject, perhaps an adverb, predicate) and its chief words."""

    parts: tuple[Tree, ...]
    frame: Frame
    subject: NounPhrase
    verb: Word
    object: NounPhrase | None


_OBJECT_FORM = {"he": "him", "she": "her", "they": "them", "I": "me", "we": "us"}
_BE = {
    (Tense.PAST, Agreement.FIRST): "was",
    (Tense.PAST, Agreement.SINGULAR): "was",
    (Tense.PAST, Agreement.PLURAL): "were",
    (Tense.PRESENT, Agreement.FIRST): "am",
    (Tense.PRESENT, Agreement.SINGULAR): "is",
    (Tense.PRESENT, Agreement.PLURAL): "are",
}
_MODALS = {
    Tense.PAST: ("could", "would", "might"),
    Tense.PRESENT: ("will", "must", "should"),
}


def pronoun_phrase(pronoun: str, noun_class: str = "kin", *, as_object: bool = False) -> NounPhrase:
    """A personal pronoun as subject or object."""
    head = Word("PRP", _OBJECT_FORM.get(pronoun, pronoun) if as_object else pronoun)
    agreement = {"I": Agreement.FIRST, "we": Agreement.PLURAL, "they": Agreement.PLURAL}.get(
        pronoun, Agreement.SINGULAR
    )
    return NounPhrase(Tree("NP", (head,)), noun_class, agreement, head, pronoun)


def finite_tag(tense: Tense, agreement: Agreement) -> str:
    """The Penn Treebank tag of a finite verb."""
    if tense is Tense.PAST:
        return "VBD"
    return "VBZ" if agreement is Agreement.SINGULAR else "VBP"


def be(tense: Tense, agreement: Agreement) -> Word:
    """The finite form of the verb be."""
    return Word(finite_tag(tense, agreement), _BE[tense, agreement])


def finite(draw: Draw, aspect: Aspect, tense: Tense, agreement: Agreement) -> Form:
    """The form of a finite verb."""
    tag = finite_tag(tense, agreement)
    past, singular = tense is Tense.PAST, agreement is Agreement.SINGULAR
    match aspect:
        case Aspect.SIMPLE:
            return Form(tense, tag)
        case Aspect.MODAL:
            return Form(tense, "VB", ((Word("MD", draw.pick(_MODALS[tense])),),))
        case Aspect.PERFECT:
            have = Word(tag, "had" if past else "has" if singular else "have")
            return Form(tense, "VBN", ((have,),))
        case Aspect.NEGATIVE:
            do = Word(tag, "did" if past else "does" if singular else "do")
            return Form(tense, "VB", ((do, Word("RB", "not")),))
        case Aspect.PROGRESSIVE:
            return Form(tense, "VBG", ((be(tense, agreement),),))
