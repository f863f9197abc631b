"""The ten linguistic probing tasks, made from the grammar."""

from probing.errors import InputError
from probing.tasks.generated.cards import GENERATED_TASKS, TASK_CARDS
from probing.tasks.generated.draw import Draw
from probing.tasks.generated.lexicon import Lexicon
from probing.tasks.generated.makers import MAKERS, Bench, Draft, Order, target_lemmas
from probing.tasks.generated.tree import GeneratedSentence, spell
from probing.tasks.sentences import SPLITS, LabelledSentences

DEFAULT_SIZES = (400, 100, 300)
"""Sentences in train, dev and test."""

_MOST_TRIES = 20_000
"""A new sentence takes tens of tries at most; so many in vain mean that there is none left."""


def generate(
    task: str, *, seed: int = 0, sizes: tuple[int, int, int] = DEFAULT_SIZES
) -> LabelledSentences:
    """One of the ten tasks, named ``generated:TASK``: the same for the same seed, everywhere.

    See ``generate_sentences``, which also gives the derivations, for the arguments and what the
    sentences have in common.
    """
    rows = generate_sentences(task, seed=seed, sizes=sizes)
    return LabelledSentences(
        name=f"generated:{task}",
        sentences=tuple(row.text for row in rows),
        labels=tuple(row.label for row in rows),
        splits=tuple(row.split for row in rows),
        origin=f"generated:{task}:seed={seed}",
    )


def generate_sentences(
    task: str, *, seed: int = 0, sizes: tuple[int, int, int] = DEFAULT_SIZES
) -> tuple[GeneratedSentence, ...]:
    """The sentences of a task with their derivations: train, then dev, then test.

    In every split the classes differ in size by one at most, and stand in random order. No sentence
    comes twice, nor a sentence and the one it was made from. In all tasks but word_content, whose
    target words must be known, the splits share no noun, name, verb, adjective or listed adverb,
    whatever the form.

    Args:
        task: one of ``GENERATED_TASKS``.
        seed: any integer; decides on words and sentences.
        sizes: number of sentences in train, dev and test, each 0 or more and not all 0.

    Raises:
        InputError: for an unknown task, and for sizes that are negative, all 0, or greater than
            what the grammar has to say.
    """
    if task not in TASK_CARDS:
        raise InputError(
            f"unknown generated task {task!r}, expected one of {', '.join(GENERATED_TASKS)}"
        )
    if len(sizes) != len(SPLITS) or min(sizes) < 0 or not any(sizes):
        raise InputError(
            f"sizes of a generated task are {sizes}, expected three numbers (train, dev, test), "
            "none negative and not all 0"
        )
    make = MAKERS[task]
    seen: set[str] = set()
    rows: list[GeneratedSentence] = []
    for split, size in zip(SPLITS, sizes, strict=True):
        lexicon = Lexicon(seed=seed, split=split)
        if task == "word_content":
            lexicon = Lexicon(withheld=target_lemmas())
        bench = Bench(Draw(f"{task} {seed} {split}"), lexicon)
        for order in _orders(bench.draw, TASK_CARDS[task].classes, size):
            for _ in range(_MOST_TRIES):
                draft = make(bench, order)
                if draft is None:
                    continue
                row = _finished(draft, order.label, split)
                texts = {row.text}
                if draft.source:
                    texts.add(spell([word.text for word in draft.source.leaves()]))
                if seen.isdisjoint(texts):
                    break
            else:
                raise InputError(
                    f"the grammar has no new sentence of {task} for label {order.label} in {split} "
                    f"after {len(rows)} sentences, ask for fewer than {size}"
                )
            seen |= texts
            rows.append(row)
    return tuple(rows)


def _orders(draw: Draw, classes: tuple[str, ...], size: int) -> list[Order]:
    # Shuffled before they are counted off, so that the classes with one more are random ones.
    shuffled = draw.shuffled(classes)
    orders = [Order(shuffled[row % len(classes)], row // len(classes)) for row in range(size)]
    return draw.shuffled(orders)


def _finished(draft: Draft, label: str, split: str) -> GeneratedSentence:
    sentence = draft.sentence
    # By identity: the same form can stand in a sentence twice.
    positions = {id(leaf): position for position, leaf in enumerate(sentence.tree.leaves())}
    chief = (sentence.verb, sentence.subject, sentence.object)
    verb, subject, taken = (positions[id(word)] if word else None for word in chief)
    tree = sentence.tree.with_words(draft.changes) if draft.changes else sentence.tree
    tokens = draft.tokens or tuple(leaf.text for leaf in tree.leaves())
    # The last of the changes: before it there is at most its article.
    replaced = max(draft.changes) if draft.changes else None
    return GeneratedSentence(tree, tokens, label, split, verb, subject, taken, replaced)
