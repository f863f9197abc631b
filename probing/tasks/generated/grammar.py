"""The grammar: from frames and words to clauses with their derivation."""

from probing.tasks.generated.draw import Draw
from probing.tasks.generated.frames import (
    ANIMATE,
    DESCRIPTIONS,
    MODIFIERS,
    PATHS,
    PERSON,
    PLACE,
    PLACES,
    PROPER,
    STORES,
    Argument,
    Frame,
    Shape,
    Trait,
    frames_for,
    odd_verbs,
)
from probing.tasks.generated.lexicon import MASS, Lexeme, Lexicon
from probing.tasks.generated.parts import (
    Agreement,
    Aspect,
    Clause,
    Determiner,
    Form,
    NounPhrase,
    Predicate,
    Style,
    Tense,
    be,
    finite,
    finite_tag,
    pronoun_phrase,
)
from probing.tasks.generated.tree import Tree, Word, indefinite_article
from probing.tasks.generated.words import PEOPLE

_FEMALE, _MALE, _SOMEBODYS = (
    frozenset(PEOPLE[kind].split()) for kind in ("female", "male", "relation")
)
_UNOWNED = ("landmark", "weather")
_GRADABLE = ("character", "merit", "sound")
_SHAPES = (
    *([Shape.TRANSITIVE] * 12 + [Shape.INTRANSITIVE] * 3),
    *(Shape.MOTION, Shape.TALK, Shape.PUT, Shape.GIVE, Shape.STATE),
)
_CONNECTORS = {
    Tense.PAST: ("before", "after", "when", "once", "while", "because", "although"),
    Tense.PRESENT: ("before", "after", "when", "whenever", "while", "because", "although"),
}
_FREQUENCY = ("often", "never", "always", "rarely", "sometimes", "usually", "seldom")
_PLURAL_TAGS = {"several": "JJ", "many": "JJ", "two": "CD", "three": "CD", "four": "CD"}
_DEFINITE_SINGULAR = ("this", "every", "each", "another")
_DEFINITE_PLURAL = ("these", "those", "some", "two", "three", "four", "several", "many")
_DURATIVE = frozenset((Trait.TIME, Trait.PLACE))


class Grammar:
    """Builds the parts of one sentence; a word comes up twice only where its group is used up."""

    def __init__(self, draw: Draw, lexicon: Lexicon, style: Style) -> None:
        self.draw = draw
        self.style = style
        self._lexicon = lexicon
        self._used: set[Lexeme] = set()
        self._frames: set[str] = set()

    def word(self, group: str) -> Lexeme:
        """A word of a group, if possible one that is new in this sentence."""
        words = self._lexicon.words(group)
        for _ in range(5):
            word = self.draw.pick(words)
            if word not in self._used:
                break
        self._used.add(word)
        return word

    # Noun phrases

    def noun_phrase(
        self,
        argument: Argument,
        depth: int = 0,
        *,
        plural: bool | None = None,
        determiner: Determiner = Determiner.ANY,
    ) -> NounPhrase:
        """A noun phrase of one of the argument's classes; ``plural`` None leaves it to chance."""
        draw = self.draw
        noun_class = draw.pick(argument.classes)
        if noun_class in PROPER:
            return self._named(self.word(noun_class), noun_class)
        anyone = noun_class in PERSON and plural is None and determiner is Determiner.ANY
        if anyone and draw.chance(self.style.name):
            return self.name()
        noun = self.word(noun_class)
        if noun_class in MASS:
            plural = False
        elif plural is None:
            plural = draw.chance(0.08 if noun_class in PLACE else 0.35)
        tag = "NNS" if plural else "NN"
        head = Word(tag, noun.forms[tag], noun, () if noun_class in MASS else argument.odd)
        adjectives = self._adjectives(noun_class)
        following = adjectives[0] if adjectives else head
        if isinstance(following, Tree):
            following = following.leaves()[0]
        determiners = self._determiners(determiner, noun, following.text, plural=plural)
        tree = Tree("NP", (*determiners, *adjectives, head))
        return NounPhrase(
            self._modified(tree, noun_class, depth, plural=plural),
            noun_class,
            Agreement.PLURAL if plural else Agreement.SINGULAR,
            head,
            "they" if plural else self._pronoun(noun),
        )

    def name(self) -> NounPhrase:
        """A person's first name."""
        return self._named(self.word(self.draw.pick(("female_name", "male_name"))), "kin")

    def subject(self, frame: Frame, depth: int) -> NounPhrase:
        """A subject for a frame: a noun phrase, a pronoun or a pair of people."""
        draw = self.draw
        if frame.subject.classes[0] in PERSON:
            if draw.chance(self.style.pronoun):
                return pronoun_phrase(draw.pick(("he", "she", "they", "we", "I")))
            if draw.chance(self.style.pair):
                first, second = (self.noun_phrase(Argument(PERSON)) for _ in range(2))
                tree = Tree("NP", (first.tree, Word("CC", "and"), second.tree))
                return NounPhrase(tree, first.noun_class, Agreement.PLURAL, None, "they")
        return self.noun_phrase(frame.subject, depth)

    def _named(self, name: Lexeme, noun_class: str) -> NounPhrase:
        head = Word("NNP", name.lemma, name)
        tree = Tree("NP", (head,))
        return NounPhrase(tree, noun_class, Agreement.SINGULAR, head, self._pronoun(name))

    def _pronoun(self, noun: Lexeme) -> str:
        if noun.lemma in _FEMALE or noun.group == "female_name":
            return "she"
        if noun.lemma in _MALE or noun.group == "male_name":
            return "he"
        return self.draw.pick(("he", "she")) if noun.group in PERSON else "it"

    def _determiners(
        self, determiner: Determiner, noun: Lexeme, following: str, *, plural: bool
    ) -> tuple[Tree | Word, ...]:
        draw = self.draw
        if determiner is Determiner.INDEFINITE:
            return () if plural else (Word("DT", indefinite_article(following)),)
        definite = determiner is Determiner.DEFINITE or noun.group in MASS or draw.chance(0.5)
        if definite:
            ownable = noun.lemma in _SOMEBODYS or noun.group not in (*PERSON, *_UNOWNED)
            if not ownable or not draw.chance(self.style.possessive):
                return (Word("DT", "the"),)
            if draw.chance(0.3):
                return (Tree("NP", (*self.name().tree.children, Word("POS", "'s"))),)
            return (Word("PRP$", draw.pick(("my", "our", "his", "her", "their"))),)
        if not plural:
            article = draw.chance(0.8)
            text = indefinite_article(following) if article else draw.pick(_DEFINITE_SINGULAR)
            return (Word("DT", text),)
        if draw.chance(0.3):
            return ()
        text = draw.pick(_DEFINITE_PLURAL)
        return (Word(_PLURAL_TAGS.get(text, "DT"), text),)

    def _adjectives(self, noun_class: str) -> tuple[Tree | Word, ...]:
        draw, chance = self.draw, self.style.adjective
        if noun_class not in DESCRIPTIONS or not draw.chance(chance):
            return ()
        count = 2 if draw.chance(chance * 0.4) else 1
        words = self.adjectives(noun_class, min(count, len(DESCRIPTIONS[noun_class])))
        graded = words[0].lexeme and words[0].lexeme.group in _GRADABLE
        # One intensified adjective is enough: "a rather shy Dutch nurse" is heavy.
        if len(words) == 1 and graded and draw.chance(0.1):
            adverb = Word("RB", draw.pick(("very", "rather", "quite")))
            return (Tree("ADJP", (adverb, words[0])),)
        return words

    def adjectives(self, noun_class: str, count: int) -> tuple[Word, ...]:
        """Adjectives for a noun, each of another group, in the order in which they stand."""
        groups = DESCRIPTIONS[noun_class]
        # Groups with a word that is new in this sentence come first.
        chosen = sorted(
            self.draw.shuffled(groups),
            key=lambda group: self._used.issuperset(self._lexicon.words(group)),
        )[:count]
        return tuple(self._adjective(group) for group in groups if group in chosen)

    def _adjective(self, group: str) -> Word:
        adjective = self.word(group)
        return Word("JJ", adjective.lemma, adjective)

    def _modified(self, tree: Tree, noun_class: str, depth: int, *, plural: bool) -> Tree:
        if depth <= 0:
            return tree
        if noun_class in MODIFIERS and self.draw.chance(self.style.modifier):
            preposition, argument = self.draw.pick(MODIFIERS[noun_class])
            return Tree("NP", (tree, self.preposition(preposition, argument, depth - 1)))
        clause = None
        if self.draw.chance(self.style.relative):
            clause = self.relative(noun_class, depth - 1, plural=plural)
        return Tree("NP", (tree, clause)) if clause else tree

    def preposition(
        self, preposition: str, argument: Argument, depth: int = 0, *, plural: bool | None = None
    ) -> Tree:
        """A prepositional phrase."""
        determiner = Determiner.ANY if self.draw.chance(0.25) else Determiner.DEFINITE
        phrase = self.noun_phrase(argument, depth, plural=plural, determiner=determiner)
        return Tree("PP", (Word("IN", preposition), phrase.tree))

    def relative(self, noun_class: str, depth: int, *, plural: bool) -> Tree | None:
        """A relative clause: (the nun) who slept, (the letter) that the king wrote.

        None where everything that could be said of the noun is said elsewhere in the sentence.
        """
        draw = self.draw
        tense = Tense.PRESENT if draw.chance(self.style.relative_present) else Tense.PAST
        person = noun_class in PERSON
        shapes = (Shape.TRANSITIVE, Shape.INTRANSITIVE, Shape.MOTION)
        as_object = self._fresh(frames_for(shapes, object_class=noun_class))
        as_subject = self._fresh(frames_for(shapes, subject=noun_class))
        if not as_object and not as_subject:
            return None
        if as_object and (not as_subject or draw.chance(0.5)):
            pronoun = Word("WP", "whom") if person else Word("WDT", "that")
            frame = draw.pick(as_object)
            subject = self.subject(frame, 0)
            tag = finite_tag(tense, subject.agreement)
            verb = self.verb(frame, tag, subject.noun_class, noun_class)
            clause = Tree("S", (subject.tree, Tree("VP", (verb,))))
        else:
            pronoun = Word("WP", "who") if person else Word("WDT", draw.pick(("that", "which")))
            agreement = Agreement.PLURAL if plural else Agreement.SINGULAR
            form = Form(tense, finite_tag(tense, agreement))
            frame, adjuncts = draw.pick(as_subject), draw.chance(0.4)
            predicate = self.predicate(frame, noun_class, form, depth, adjuncts=adjuncts)
            clause = Tree("S", (predicate.tree,))
        return Tree("SBAR", (Tree("WHNP", (pronoun,)), clause))

    def _fresh(self, frames: tuple[Frame, ...]) -> tuple[Frame, ...]:
        """The frames that no clause has used: "the storm that struck struck" says little."""
        return tuple(frame for frame in frames if frame.name not in self._frames)

    # Verb phrases

    def verb(
        self, frame: Frame, tag: str, subject_class: str, object_class: str | None = None
    ) -> Word:
        """A verb of a frame in the form of a tag, for arguments of these classes."""
        lexeme = self.word(frame.name)
        odd = odd_verbs(frame.shape, subject_class, object_class)
        return Word(tag, lexeme.forms[tag], lexeme, odd)

    def predicate(
        self,
        frame: Frame,
        subject_class: str,
        form: Form,
        depth: int,
        *,
        object_phrase: NounPhrase | None = None,
        antecedent: NounPhrase | None = None,
        adjuncts: bool = True,
    ) -> Predicate:
        """A verb phrase: auxiliaries, the verb, what its frame asks for, and perhaps adjuncts.

        ``object_phrase`` is drawn where it is not given; clauses inside may take up the
        ``antecedent``, the subject.
        """
        taken = object_phrase
        if taken is None and frame.object and frame.shape is not Shape.TALK:
            # "the coat on the chair on the table" would leave open which phrase is the place.
            alone = frame.shape in (Shape.PUT, Shape.GIVE)
            taken = self.noun_phrase(frame.object, 0 if alone else depth)
        verb = self.verb(frame, form.tag, subject_class, taken.noun_class if taken else None)
        parts: list[Tree | Word] = [verb, *([taken.tree] if taken else [])]
        parts.extend(self._complements(frame, form, depth))
        if adjuncts:
            bare = taken is None or not isinstance(taken.tree.children[-1], Tree)
            parts.extend(self._adjuncts(frame, form, depth, antecedent, bare=bare))
        tree = Tree("VP", tuple(parts))
        for words in reversed(form.auxiliaries):
            tree = Tree("VP", (*words, tree))
        return Predicate(tree, verb, taken)

    def _complements(self, frame: Frame, form: Form, depth: int) -> list[Tree]:
        draw = self.draw
        match frame.shape:
            case Shape.MOTION:
                return [self.preposition(*draw.pick(PATHS), depth - 1)] if draw.chance(0.7) else []
            case Shape.TALK if frame.object:
                return [self.preposition("about", frame.object, depth - 1)]
            case Shape.PUT:
                return [self.preposition(*draw.pick(STORES), depth - 1)]
            case Shape.GIVE:
                return [self.preposition("to", Argument(PERSON, frame.subject.odd), depth - 1)]
            case Shape.STATE:
                return [Tree("ADJP", (self._adjective("state"),))]
            case Shape.CLAUSE:
                clause = self.clause(form.tense, depth - 1)
                return [Tree("SBAR", (Word("IN", "that"), Tree("S", clause.parts)))]
            case Shape.INFINITIVE:
                infinitive = Form(form.tense, "VB", ((Word("TO", "to"),),))
                wish = self.frame(depth - 1, subject="worker", needed=frozenset((Trait.MANNER,)))
                return [Tree("S", (self.predicate(wish, "worker", infinitive, depth - 1).tree,))]
        return []

    def _adjuncts(
        self, frame: Frame, form: Form, depth: int, antecedent: NounPhrase | None, *, bare: bool
    ) -> list[Tree]:
        draw, style = self.draw, self.style
        adjuncts: list[Tree] = []
        short = frame.shape in (Shape.TRANSITIVE, Shape.MOTION)
        if short and Trait.MANNER in frame.traits and draw.chance(style.adjunct * 0.4):
            adjuncts.append(self.adverb("manner"))
        # "the box in the house in the park" would leave open what is where.
        if Trait.PLACE in frame.traits and bare and draw.chance(style.adjunct):
            adjuncts.append(self.preposition(*draw.pick(PLACES), depth - 1))
        if Trait.TIME in frame.traits:
            past = form.tense is Tense.PAST
            # "has left when", "is sewing before": only the past and the simple present go with all
            # clauses of time. One inside another is a strain, so it takes two levels.
            fits = form.tag != "VBG" and (past or form.tag != "VBN")
            if past and draw.chance(style.date):
                adjuncts.append(self.date())
            elif depth > 1 and fits and draw.chance(style.subordinate):
                adjuncts.append(self.subordinate(form.tense, depth - 1, antecedent))
        return adjuncts

    def adverb(self, group: str) -> Tree:
        """An adverb of the lists."""
        adverb = self.word(group)
        return Tree("ADVP", (Word("RB", adverb.lemma, adverb),))

    def date(self) -> Tree:
        """When something happened: on Monday, in May, during the night, after the wedding."""
        draw = self.draw
        choice = draw.pick(("weekday", "month", "daytime", "event"))
        if choice == "event":
            odd = ("tool", "clothing", "flower", "produce", "furniture")
            preposition = draw.pick(("during", "after", "before"))
            return self.preposition(preposition, Argument(("event",), odd), plural=False)
        if choice == "daytime":
            return Tree("PP", (Word("IN", "during"), self.daytime("the")))
        word = Word("IN", "on" if choice == "weekday" else "in")
        return Tree("PP", (word, self.noun_phrase(Argument((choice,))).tree))

    def daytime(self, determiner: str) -> Tree:
        """A part of the day or year: that morning."""
        noun = self.word("daytime")
        return Tree("NP", (Word("DT", determiner), Word("NN", noun.lemma, noun)))

    # Clauses

    def frame(
        self, depth: int, *, subject: str | None = None, needed: frozenset[Trait] = frozenset()
    ) -> Frame:
        """A frame for a clause with the traits that are needed; one that has them must exist."""
        draw = self.draw
        if not needed and depth > 0 and draw.chance(self.style.complement):
            complements = frames_for((Shape.CLAUSE, Shape.INFINITIVE), subject=subject)
            if complements:
                return draw.pick(complements)
        frames = frames_for((draw.pick(_SHAPES),), subject=subject, traits=needed)
        # Not every subject does something of every shape.
        frames = frames or frames_for(_SHAPES, subject=subject, traits=needed)
        return draw.pick(self._fresh(frames) or frames)

    def clause(
        self,
        tense: Tense,
        depth: int,
        *,
        frame: Frame | None = None,
        subject: NounPhrase | None = None,
        object_phrase: NounPhrase | None = None,
        aspects: tuple[Aspect, ...] | None = None,
        adjuncts: bool = True,
    ) -> Clause:
        """A finite clause; what is not given is drawn."""
        draw, style = self.draw, self.style
        if frame is None:
            frame = self.frame(depth, subject=subject.noun_class if subject else None)
            if subject is None and Trait.PASSIVE in frame.traits and draw.chance(style.passive):
                return self._passive(frame, tense, depth)
        self._frames.add(frame.name)
        if subject is None:
            subject = self.subject(frame, depth - 1)
        aspect = draw.pick(aspects or style.aspects)
        if aspect is Aspect.PROGRESSIVE and not frame.traits >= _DURATIVE:
            aspect = Aspect.SIMPLE
        adverb = None
        simple = aspect is Aspect.SIMPLE and aspects is None
        if simple and adjuncts and draw.chance(style.preverbal):
            adverb = Tree("ADVP", (Word("RB", draw.pick(_FREQUENCY)),))
            if Trait.MANNER in frame.traits and draw.chance(0.5):
                adverb = self.adverb("manner")
        predicate = self.predicate(
            frame,
            subject.noun_class,
            finite(draw, aspect, tense, subject.agreement),
            depth,
            object_phrase=object_phrase,
            antecedent=subject,
            adjuncts=adjuncts and adverb is None,
        )
        parts = (subject.tree, adverb, predicate.tree) if adverb else (subject.tree, predicate.tree)
        return Clause(parts, frame, subject, predicate.verb, predicate.object)

    def _passive(self, frame: Frame, tense: Tense, depth: int) -> Clause:
        patient = self.noun_phrase(frame.object or frame.subject, depth - 1)
        verb = self.verb(frame, "VBN", frame.subject.classes[0], patient.noun_class)
        parts: list[Tree | Word] = [verb]
        if self.draw.chance(0.7):
            parts.append(self.preposition("by", frame.subject, depth - 1))
        if tense is Tense.PAST and self.draw.chance(self.style.date):
            parts.append(self.date())
        tree = Tree("VP", (be(tense, patient.agreement), Tree("VP", tuple(parts))))
        return Clause((patient.tree, tree), frame, patient, verb, None)

    def subordinate(self, tense: Tense, depth: int, antecedent: NounPhrase | None = None) -> Tree:
        """An adverbial clause of time, cause or concession; it may take up the antecedent."""
        draw = self.draw
        subject = None
        alive = antecedent and antecedent.noun_class in ANIMATE
        if antecedent and alive and draw.chance(self.style.coreference):
            subject = pronoun_phrase(antecedent.pronoun, antecedent.noun_class)
        connector = draw.pick(_CONNECTORS[tense])
        if connector in ("because", "although"):
            if subject and subject.noun_class in PERSON:
                state = Tree("ADJP", (self._adjective("state"),))
                verb = Tree("VP", (be(tense, subject.agreement), state))
                return Tree("SBAR", (Word("IN", connector), Tree("S", (subject.tree, verb))))
            connector = "after"
        opening: Word | Tree = Word("IN", connector)
        if connector in ("when", "whenever"):
            opening = Tree("WHADVP", (Word("WRB", connector),))
        lasting = connector == "while"
        needed = _DURATIVE if lasting else frozenset((Trait.TIME,))
        if subject and not frames_for(_SHAPES, subject=subject.noun_class, traits=needed):
            subject = None
        frame = self.frame(depth, subject=subject.noun_class if subject else None, needed=needed)
        aspects = (Aspect.PROGRESSIVE if lasting else Aspect.SIMPLE,)
        parts = self.clause(tense, depth, frame=frame, subject=subject, aspects=aspects).parts
        return Tree("SBAR", (opening, Tree("S", parts)))
