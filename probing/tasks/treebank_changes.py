"""Sentences of a treebank with one change, beside as many without: three tasks.

Words keep their number and, but for odd_man_out, their multiset: what no order is known of cannot
tell the classes apart.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from probing.tasks.conllu import ConlluSentence, Token, spelled
from probing.tasks.treebank_labels import (
    Candidate,
    RefusedError,
    children,
    draw,
    relation,
    root_of,
    split_of_lemma,
)

ORIGINAL, INVERTED, CHANGED = "O", "I", "C"
"""Labels as in SentEval."""
_OPEN_FOR_CHANGE: Final = ("NOUN", "VERB")
_CLAUSE_SUBJECTS: Final = ("nsubj", "csubj", "expl")


def bigram_shift(sentences: Sequence[ConlluSentence]) -> list[Candidate]:
    """Whether two neighbouring words are swapped; neither is the first word of the sentence."""
    candidates = []
    for number, sentence in enumerate(sentences):
        tokens = sentence.tokens
        places = [
            at
            for at in range(1, len(tokens) - 1)
            if _stands_alone(tokens, at)
            and _stands_alone(tokens, at + 1)
            and tokens[at].space_after
            and tokens[at].form.lower() != tokens[at + 1].form.lower()
        ]
        if not places or spelled(tokens) != sentence.text:
            continue
        at = places[int(draw("place", sentence.text) * len(places))]
        if draw("shifted", sentence.text) < 0.5:
            candidates.append(Candidate(number, sentence.text, ORIGINAL))
            continue
        swapped = list(tokens)  # the spaces stay where they are
        swapped[at] = replace(tokens[at], form=tokens[at + 1].form)
        swapped[at + 1] = replace(tokens[at + 1], form=tokens[at].form)
        candidates.append(Candidate(number, spelled(swapped), INVERTED))
    return candidates


def _stands_alone(tokens: Sequence[Token], at: int) -> bool:
    """Whether a token is letters only, with no letter or digit written next to it."""
    before, after = tokens[at - 1 : at], tokens[at + 1 : at + 2]
    return (
        tokens[at].form.isalpha()
        and not any(token.form[-1].isalnum() and not token.space_after for token in before)
        and not any(token.form[0].isalnum() and not tokens[at].space_after for token in after)
    )


def coordination_inversion(sentences: Sequence[ConlluSentence]) -> list[Candidate]:
    """Whether the two coordinated main clauses are swapped."""
    candidates = []
    for number, sentence in enumerate(sentences):
        clauses = _two_clauses(sentence)
        if clauses is None or spelled(sentence.tokens) != sentence.text:
            continue
        if draw("inverted", sentence.text) < 0.5:
            candidates.append(Candidate(number, sentence.text, ORIGINAL))
        else:
            candidates.append(Candidate(number, _inverted(sentence, *clauses), INVERTED))
    if not candidates:
        raise RefusedError("no root has one conjunct with a conjunction and a subject of its own")
    return candidates


def _two_clauses(sentence: ConlluSentence) -> tuple[range, range] | None:
    """The tokens of two coordinated main clauses; None where it is not two and nothing else.

    Between the clauses there is the conjunction, with or without a punctuation mark before it;
    after the second there are at most punctuation marks.
    """
    root = root_of(sentence)
    below = children(sentence, root) if root >= 0 else []
    conjuncts = [at for at in below if relation(sentence, at) == "conj"]
    if len(conjuncts) != 1:
        return None
    second = conjuncts[0]
    beside = children(sentence, second)
    marks = [at for at in beside if relation(sentence, at) == "cc" and root < at < second]
    both_have_subjects = all(
        any(relation(sentence, at) in _CLAUSE_SUBJECTS for at in places)
        for places in (below, beside)
    )
    if len(marks) != 1 or not both_have_subjects:
        return None
    own = _subtree(sentence, second) - {marks[0]}
    start = marks[0] + 1
    upos = sentence.column("upos")
    end = _before_marks(upos, start, len(upos))
    first_end = _before_marks(upos, 0, marks[0])
    # exactly the words of the second clause lie behind the conjunction
    behind = {at for at in own if upos[at] != "PUNCT"}
    between = {at for at in range(start, end) if upos[at] != "PUNCT"}
    if behind != between or not between or root >= first_end:
        return None
    return _token_range(sentence, 0, first_end), _token_range(sentence, start, end)


def _before_marks(upos: Sequence[str], start: int, end: int) -> int:
    """The end of a range of words without the punctuation marks that close it."""
    while end > start and upos[end - 1] == "PUNCT":
        end -= 1
    return end


def _subtree(sentence: ConlluSentence, top: int) -> set[int]:
    found, waiting = set[int](), [top]
    while waiting:
        at = waiting.pop()
        if at not in found:
            found.add(at)
            waiting += children(sentence, at)
    return found


def _token_range(sentence: ConlluSentence, start: int, end: int) -> range:
    inside = [n for n, token in enumerate(sentence.tokens) if start <= token.first < end]
    return range(inside[0], inside[-1] + 1)


def _inverted(sentence: ConlluSentence, first: range, second: range) -> str:
    tokens = sentence.tokens
    one, two = [tokens[at] for at in first], [tokens[at] for at in second]
    joint = tokens[first.stop : second.start]
    # what ends the clause is followed by what followed the other's end
    space = one[-1].space_after
    one[-1] = replace(one[-1], space_after=two[-1].space_after)
    two[-1] = replace(two[-1], space_after=space)
    if one[0].form[:1].isupper() and two[0].form[:1].islower():
        two[0] = replace(two[0], form=two[0].form[:1].upper() + two[0].form[1:])
    if sentence.words[one[0].first].lemma[:1].islower():
        one[0] = replace(one[0], form=one[0].form[:1].lower() + one[0].form[1:])
    return spelled([*two, *joint, *one, *tokens[second.stop :]])


@dataclass(frozen=True)
class _Target:
    """A noun or verb that can be replaced, and the group it is replaced from."""

    token: int
    form: str
    lemma: str
    group: tuple[object, ...]


def odd_man_out(sentences: Sequence[ConlluSentence], releases: Sequence[str]) -> list[Candidate]:
    """Whether a noun or verb is replaced by one of like frequency and the same features.

    The words that are replaced are given to one another within a group, so that their multiset
    stays the same; a group shares part of speech, features, frequency to a factor of two, whether
    the word begins with a vowel (an article before it would tell), and the split of the lemma.

    Args:
        sentences: n of them.
        releases: n splits as released, or the empty string: a sentence that was held out gets no
            target of train.
    """
    counts = Counter(form for sentence in sentences for form in sentence.column("form"))
    chosen: dict[int, _Target] = {}
    for number, sentence in enumerate(sentences):
        if spelled(sentence.tokens) != sentence.text:
            continue
        targets = [
            target
            for target in _targets(sentence, counts)
            if releases[number] in ("", "train") or target.group[-1] != "train"
        ]
        if targets:
            chosen[number] = targets[int(draw("target", sentence.text) * len(targets))]
    groups: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for number in sorted(chosen, key=lambda at: draw("group", sentences[at].text)):
        groups[chosen[number].group].append(number)
    candidates = []
    for members in groups.values():
        if len({chosen[number].lemma for number in members[1::2]}) < 2:
            continue  # nothing to give to one another
        # the same choice for both classes: every other member of the group is changed
        candidates += [
            Candidate(kept, sentences[kept].text, ORIGINAL, chosen[kept].lemma)
            for kept in members[: len(members) // 2 * 2 : 2]
        ]
        candidates += _changed(sentences, chosen, members[1::2])
    return candidates


def _changed(
    sentences: Sequence[ConlluSentence], chosen: Mapping[int, _Target], members: Sequence[int]
) -> list[Candidate]:
    """Each member's target is replaced by that of the next one that has another lemma."""
    found = []
    for at, number in enumerate(members):
        mine = chosen[number]
        others = (chosen[other] for other in (*members[at + 1 :], *members[:at]))
        given = next(other for other in others if other.lemma != mine.lemma)
        tokens = list(sentences[number].tokens)
        tokens[mine.token] = replace(tokens[mine.token], form=given.form)
        found.append(Candidate(number, spelled(tokens), CHANGED, given.lemma))
    return found


def _targets(sentence: ConlluSentence, counts: Mapping[str, int]) -> list[_Target]:
    targets = []
    for place, token in enumerate(sentence.tokens):
        word = sentence.words[token.first]
        lemma = word.lemma.lower()
        alone = token.first == token.last and _stands_alone(sentence.tokens, place)
        if not alone or not token.form.islower() or word.upos not in _OPEN_FOR_CHANGE:
            continue
        frequency, has_vowel = counts[token.form].bit_length(), token.form[0] in "aeiou"
        split = split_of_lemma(lemma)
        group = (word.upos, word.xpos, word.feats, frequency, has_vowel, split)
        targets.append(_Target(place, token.form, lemma, group))
    return targets
