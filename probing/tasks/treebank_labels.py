"""Labels that can be read off a dependency tree, and the sentences that have them."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from probing.tasks.conllu import ConlluSentence, features

N_LENGTH_CLASSES: Final = 6
N_TARGET_WORDS: Final = 50
"""Words of word_content, at most; Conneau et al. have 1,000, from a corpus of millions."""
N_CONSTITUENT_CLASSES: Final = 20
"""The 19 most frequent sequences, and all others."""
OTHER: Final = "OTHER"
_OPEN_CLASSES: Final = ("NOUN", "VERB", "ADJ", "ADV")
FUNCTION_RELATIONS: Final = frozenset(
    ("aux", "case", "cc", "clf", "cop", "det", "discourse", "mark", "punct")
)
"""Relations of words that make no constituent of their own."""
_RAREST_TARGET: Final = 20
"""Sentences that a target word of word_content must occur in."""
_MOST_SKIPPED, _SKIP_STEP = 200, 10
_N_DEPTHS: Final = 4
_LENGTH_STEP: Final = 2
"""Words per bin in which the depths of tree_depth are made equally frequent."""


class RefusedError(Exception):
    """A treebank does not have what a task needs; the message is the reason."""


@dataclass(frozen=True)
class Candidate:
    """A sentence that may become an item of a task."""

    source: int
    """Which sentence of the treebank it is made from."""
    text: str
    label: str
    lemma: str | None = None
    """Of the word that has the label, which must not be in test and in train; None where the label
    is lexical, or of the whole sentence."""


def draw(*parts: object) -> float:
    """A number in [0, 1) that looks random and depends on ``parts`` only."""
    digest = hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2.0**64


def drawn_split(*parts: object) -> str:
    """A split that depends on ``parts`` only: train to dev to test as four to one to two."""
    place = 7 * draw(*parts)
    if place < 2:
        return "test"
    return "dev" if place < 3 else "train"


def split_of_lemma(lemma: str) -> str:
    """The split in which a lemma may be the word that has the label."""
    return drawn_split("lemma", lemma)


def root_of(sentence: ConlluSentence) -> int:
    """The place of the root, from 0; -1 where the sentence has not exactly one."""
    heads = sentence.column("head")
    return heads.index("0") if heads.count("0") == 1 else -1


def children(sentence: ConlluSentence, place: int) -> list[int]:
    """The places of the dependents of the word at ``place``, in order."""
    wanted = str(place + 1)
    return [child for child, head in enumerate(sentence.column("head")) if head == wanted]


def relation(sentence: ConlluSentence, place: int) -> str:
    """The relation to the head without its subtype: ``nsubj`` of ``nsubj:pass``."""
    return sentence.words[place].deprel.partition(":")[0]


def heads_of(sentence: ConlluSentence) -> list[int]:
    """For each of n_words the place of its head, from 0; -1 for the root, -2 for no number."""
    return [int(head) - 1 if head.isdecimal() else -2 for head in sentence.column("head")]


def word_depths(sentence: ConlluSentence) -> list[int] | None:
    """For each of n_words the number of arcs from the root; None if it is not a tree."""
    heads = heads_of(sentence)
    depths = []
    for place in range(len(heads)):
        depth, at = 0, place
        while 0 <= heads[at] < len(heads) and depth <= len(heads):
            at, depth = heads[at], depth + 1
        if heads[at] != -1 or depth > len(heads):
            return None
        depths.append(depth)
    return depths


def sentence_length(sentences: Sequence[ConlluSentence]) -> list[Candidate]:
    """Number of words, punctuation marks included, in six bins that are equally frequent."""
    lengths = [len(sentence.words) for sentence in sentences]
    ordered = sorted(lengths)
    edges = [ordered[len(ordered) * k // N_LENGTH_CLASSES] for k in range(N_LENGTH_CLASSES)]
    edges = sorted({*edges, ordered[-1] + 1})
    candidates = []
    for number, (sentence, length) in enumerate(zip(sentences, lengths, strict=True)):
        k = sum(edge <= length for edge in edges)
        label = f"{edges[k - 1]:02d}-{edges[k] - 1:02d}"
        candidates.append(Candidate(number, sentence.text, label))
    return candidates


def word_content(sentences: Sequence[ConlluSentence]) -> list[Candidate]:
    """Which of up to 50 nouns, verbs, adjectives and adverbs occurs, of exactly one.

    They are neighbours in frequency; how many more frequent ones are skipped is what leaves most
    sentences, for frequent words occur together.
    """
    in_classes: Counter[str] = Counter()
    forms = []
    for sentence in sentences:
        lowered = [form.lower() for form in sentence.column("form")]
        forms.append(set(lowered))
        open_class = {
            form
            for form, upos in zip(lowered, sentence.column("upos"), strict=True)
            if upos in _OPEN_CLASSES and form.isalpha()
        }
        in_classes.update(open_class)
    occurring = Counter(form for found in forms for form in found)
    # a form that mostly is a function word, such as "have", says little about content
    ranked = [
        form
        for form, count in sorted(in_classes.items(), key=lambda item: (-item[1], item[0]))
        if count >= max(_RAREST_TARGET, occurring[form] / 2)
    ]
    if len(ranked) < 2:
        raise RefusedError(
            f"{len(ranked)} content words occur in {_RAREST_TARGET} sentences or more, expected "
            "at least two"
        )
    best: list[Candidate] = []
    most = 0
    for skipped in range(0, min(_MOST_SKIPPED, len(ranked) - 1), _SKIP_STEP):
        targets = set(ranked[skipped : skipped + N_TARGET_WORDS])
        found = [
            Candidate(number, sentences[number].text, next(iter(among)))
            for number, words in enumerate(forms)
            if len(among := words & targets) == 1
        ]
        kept = sum(uneven_sizes(Counter(item.label for item in found)).values())
        if kept > most:
            best, most = found, kept
    return best


def uneven_sizes(counts: Mapping[str, int]) -> dict[str, int]:
    """How many sentences of each class, the largest at most twice the smallest.

    The rarest classes are left out as long as that leaves more sentences.
    """
    ranked = sorted(counts, key=lambda label: (-counts[label], label))
    best: dict[str, int] = {}
    for k in range(2, len(ranked) + 1):
        most = 2 * counts[ranked[k - 1]]
        sizes = {label: min(counts[label], most) for label in ranked[:k]}
        if sum(sizes.values()) >= sum(best.values()):
            best = sizes
    return best


def tree_depth(sentences: Sequence[ConlluSentence]) -> list[Candidate]:
    """Depth of the dependency tree, of sentences in which length says nothing about it.

    Of each length there are as many sentences of every depth.
    """
    by_cell: dict[tuple[int, int], list[int]] = defaultdict(list)
    for number, sentence in enumerate(sentences):
        depths = word_depths(sentence)
        if depths is not None:
            by_cell[len(sentence.words) // _LENGTH_STEP, max(depths)].append(number)
    lengths = {length for length, _ in by_cell}

    def kept(first: int) -> dict[int, int]:
        """How many sentences of each depth from ``first`` every length gives."""
        span = range(first, first + _N_DEPTHS)
        return {le: min(len(by_cell.get((le, d), ())) for d in span) for le in lengths}

    starts = sorted({depth for _, depth in by_cell})
    first = max(starts, key=lambda start: sum(kept(start).values()), default=0)
    candidates = []
    for length, count in kept(first).items():
        for depth in range(first, first + _N_DEPTHS):
            cell = sorted(by_cell.get((length, depth), ()), key=lambda i: draw(sentences[i].text))
            candidates += [Candidate(at, sentences[at].text, str(depth)) for at in cell[:count]]
    if not candidates:
        raise RefusedError(f"no {_N_DEPTHS} depths occur at one length")
    return candidates


def top_constituents(sentences: Sequence[ConlluSentence]) -> list[Candidate]:
    """The relations of the root's dependents in order, with the root at its place.

    Punctuation and function words are left out: they are no constituents.
    """
    sequences = []
    for number, sentence, root in _rooted(sentences):
        places = sorted([root, *children(sentence, root)])
        names = ["ROOT" if at == root else relation(sentence, at) for at in places]
        kept = [name for name in names if name not in FUNCTION_RELATIONS]
        sequences.append((number, "_".join(kept)))
    counts = Counter(sequence for _, sequence in sequences)
    ranked = sorted(counts, key=lambda sequence: (-counts[sequence], sequence))
    frequent = set(ranked[: N_CONSTITUENT_CLASSES - 1])
    return [
        Candidate(number, sentences[number].text, sequence if sequence in frequent else OTHER)
        for number, sequence in sequences
    ]


def past_present(sentences: Sequence[ConlluSentence]) -> list[Candidate]:
    """Tense of the root, where it is a finite verb in the past or the present."""
    _require(sentences, "Tense", of="root")
    candidates = []
    for number, sentence, root in _rooted(sentences):
        word = sentence.words[root]
        found = features(word.feats)
        # a participle has the tense of its form, not that of its clause
        is_finite = word.upos == "VERB" and found.get("VerbForm", "Fin") == "Fin"
        if is_finite and found.get("Tense") in ("Past", "Pres"):
            candidates.append(Candidate(number, sentence.text, found["Tense"], word.lemma.lower()))
    return candidates


def subj_number(sentences: Sequence[ConlluSentence]) -> list[Candidate]:
    """Number of the root's subject, where it is a common noun."""
    return _number_of("nsubj", sentences)


def obj_number(sentences: Sequence[ConlluSentence]) -> list[Candidate]:
    """Number of the root's direct object, where it is a common noun."""
    return _number_of("obj", sentences)


def _number_of(wanted: str, sentences: Sequence[ConlluSentence]) -> list[Candidate]:
    _require(sentences, "Number", of=wanted)
    candidates = []
    for number, sentence, root in _rooted(sentences):
        found = [at for at in children(sentence, root) if relation(sentence, at) == wanted]
        if len(found) != 1:
            continue
        word = sentence.words[found[0]]
        value = features(word.feats).get("Number")
        if word.upos == "NOUN" and value in ("Sing", "Plur"):
            candidates.append(Candidate(number, sentence.text, value, word.lemma.lower()))
    return candidates


def _rooted(sentences: Sequence[ConlluSentence]) -> Iterator[tuple[int, ConlluSentence, int]]:
    """The number, the sentence and the place of its root, of those that have exactly one."""
    for number, sentence in enumerate(sentences):
        if (root := root_of(sentence)) >= 0:
            yield number, sentence, root


def _require(sentences: Sequence[ConlluSentence], feature: str, *, of: str) -> None:
    """That any word has the feature, and any word of the relation too."""
    words = [word for s in sentences for word in s.words if word.deprel.partition(":")[0] == of]
    if not words:
        raise RefusedError(f"no word has the relation {of}")
    if not any(feature in features(word.feats) for word in words):
        raise RefusedError(f"no word with the relation {of} has the feature {feature}")
