"""The ten linguistic tasks of Conneau et al. 2018 from any treebank in CoNLL-U.

Splits are those of the treebank in one direction: what it holds out is never trained on, but where
it holds out too little, sentences released for training are tested on. In tasks whose label is that
of one word (number, tense) the splits share no lemma of such words, so that a probe cannot know the
label from having seen the word.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from probing.errors import InputError
from probing.tasks.conllu import ConlluSentence, read_treebank_file
from probing.tasks.sentences import SPLITS, LabelledSentences
from probing.tasks.tables import quote
from probing.tasks.treebank_changes import bigram_shift, coordination_inversion, odd_man_out
from probing.tasks.treebank_labels import (
    Candidate,
    RefusedError,
    draw,
    drawn_split,
    obj_number,
    past_present,
    sentence_length,
    split_of_lemma,
    subj_number,
    top_constituents,
    tree_depth,
    uneven_sizes,
    word_content,
)

TREEBANK_PREFIX: Final = "treebank:"
"""What a task from a treebank is asked for by: ``treebank:PATH:subj_number``."""
_MAKERS: Final = {
    maker.__name__: maker
    for maker in (
        sentence_length,
        word_content,
        tree_depth,
        top_constituents,
        bigram_shift,
        past_present,
        subj_number,
        obj_number,
        coordination_inversion,
    )
}
_ODD_MAN_OUT: Final = "odd_man_out"
"""The one task that must know the splits before it changes a sentence."""
TREEBANK_TASKS: Final = (*_MAKERS, _ODD_MAN_OUT)
"""The ten tasks by the names of Conneau et al."""
SIZES: Final = (4000, 1000, 2000)
"""Sentences of train, dev and test, at most."""
SHORTEST, LONGEST = 5, 50
"""Words of a sentence that becomes an item."""
FEWEST: Final = (100, 25, 50)
"""Sentences of train, dev and test below which a task is refused."""

_UNEVEN: Final = ("word_content", "top_constituents")
"""Tasks of many classes, of which the largest may have twice as many sentences as the smallest."""
_FILLED_FROM: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"test": ("test", "", "train"), "dev": ("dev", "", "test", "train")}
)
"""From which sentences, by the split they were released in, what is held out is taken first."""
_CONLLU: Final = ".conllu"
_PACKED: Final = f"{_CONLLU}.xz"


@dataclass(frozen=True)
class Treebank:
    """n sentences with the split each was released in, the empty string where there is none."""

    name: str
    sentences: tuple[ConlluSentence, ...]
    releases: tuple[str, ...]
    origin: str
    """The files with their SHA-256."""
    entity_fields: tuple[str, ...] = ()
    """What the parts of ``Entity=`` are; empty where the files do not say."""


@dataclass(frozen=True)
class Offer:
    """What a treebank has for a task: its sizes, or why it is refused."""

    task: str
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Sentences of each split; empty where the task is refused."""
    classes: tuple[str, ...] = ()
    reason: str = ""
    """Why the task is refused; empty where it is not."""


def treebank_files(path: Path) -> dict[str, Path]:
    """The files of a treebank by split.

    Args:
        path: a CoNLL-U file, which is a treebank without splits, or the common beginning of the
            files of one: ``words/en_ewt-ud`` for ``words/en_ewt-ud-train.conllu`` (or
            ``.conllu.xz``) and so on, or a folder that has the files of one treebank.

    Raises:
        InputError: if there is no such treebank, or a folder has several.
    """
    if path.suffix.lower() == _CONLLU:
        return {"": path}
    if path.is_dir():
        stems = sorted(
            {
                found.name.removesuffix(f"-{split}{_CONLLU}")
                for split in SPLITS
                for found in path.glob(f"*-{split}{_CONLLU}")
            }
        )
        if len(stems) != 1:
            some = ", ".join(str(path / stem) for stem in stems) or "none"
            raise InputError(f"{path}: expected the files of one treebank; found {some}")
        path = path / stems[0]
    found = {}
    for split in SPLITS:
        plain = path.with_name(f"{path.name}-{split}{_CONLLU}")
        file = plain if plain.is_file() else plain.with_suffix(_PACKED)
        if file.is_file():
            found[split] = file
    if "train" not in found or "test" not in found:
        raise InputError(
            f"{path}: found no treebank; expected a file {_CONLLU}, or {path.name}-train{_CONLLU} "
            f"and {path.name}-test{_CONLLU} beside it"
        )
    return found


def read_treebank(path: Path) -> Treebank:
    """Read the files that `treebank_files` finds.

    Raises:
        InputError: as `treebank_files`, and for every departure from CoNLL-U.
    """
    files = treebank_files(path)
    read = {split: read_treebank_file(file) for split, file in files.items()}
    name = next(iter(files.values())).name if "" in files else path.name
    return Treebank(
        name=name,
        sentences=tuple(sentence for file in read.values() for sentence in file.sentences),
        releases=tuple(split for split, file in read.items() for _ in file.sentences),
        origin=f"treebank {', '.join(file.origin for file in read.values())}",
        entity_fields=next(iter(read.values())).entity_fields,
    )


def treebank_task(treebank: Treebank, task: str) -> LabelledSentences:
    """One of `TREEBANK_TASKS`: the same for the same files, everywhere.

    Raises:
        InputError: for another name, and with the reason where the treebank does not have the task.
    """
    if task not in TREEBANK_TASKS:
        raise InputError(
            f"unknown task {quote(task)} of a treebank, expected one of {', '.join(TREEBANK_TASKS)}"
        )
    pool = pool_of(treebank)
    try:
        divided = _divided(pool, _candidates(pool, task), uneven=task in _UNEVEN)
    except RefusedError as reason:
        raise InputError(f"{treebank.name} has no {task}: {reason}") from reason
    rows = [(split, candidate) for split in SPLITS for candidate in divided[split]]
    moved = sum(
        pool.releases[candidate.source] == "train" for split, candidate in rows if split != "train"
    )
    return LabelledSentences(
        name=f"{treebank.name}:{task}",
        sentences=tuple(candidate.text for _, candidate in rows),
        labels=tuple(candidate.label for _, candidate in rows),
        splits=tuple(split for split, _ in rows),
        origin=f"{treebank.origin} task {task}",
        remark=(
            f"{treebank.name} {task}: {moved:,} sentences of dev and test were released for "
            "training"
            if moved
            else ""
        ),
    )


def offers(treebank: Treebank) -> tuple[Offer, ...]:
    """What of `TREEBANK_TASKS` can be made, and what cannot and why."""
    found = []
    for task in TREEBANK_TASKS:
        try:
            made = treebank_task(treebank, task)
        except InputError as error:
            found.append(Offer(task, reason=str(error).partition(": ")[2]))
        else:
            counts = Counter(made.splits)
            found.append(Offer(task, {split: counts[split] for split in SPLITS}, made.classes))
    return tuple(found)


def pool_of(treebank: Treebank) -> Treebank:
    """The sentences of 5 to 50 words, each text once: held out rather than for training."""
    order = ("test", "dev", "", "train")
    numbers = sorted(
        range(len(treebank.sentences)), key=lambda at: order.index(treebank.releases[at])
    )
    first: dict[str, int] = {}
    for number in numbers:
        sentence = treebank.sentences[number]
        if SHORTEST <= len(sentence.words) <= LONGEST:
            first.setdefault(sentence.text, number)
    kept = sorted(first.values())
    return replace(
        treebank,
        sentences=tuple(treebank.sentences[number] for number in kept),
        releases=tuple(treebank.releases[number] for number in kept),
    )


def release_split(treebank: Treebank, number: int) -> str:
    """The split of a sentence; of a treebank without splits by its text, four to one to two."""
    return treebank.releases[number] or drawn_split("split", treebank.sentences[number].text)


def _candidates(pool: Treebank, task: str) -> list[Candidate]:
    if not pool.sentences:
        raise RefusedError(f"no sentence has {SHORTEST} to {LONGEST} words")
    if task == _ODD_MAN_OUT:
        return odd_man_out(pool.sentences, pool.releases)
    return _MAKERS[task](pool.sentences)


def _divided(
    pool: Treebank, candidates: Sequence[Candidate], *, uneven: bool
) -> dict[str, list[Candidate]]:
    """The items of each split, balanced.

    Candidates are taken in an order that depends on the treebank's sentence only, so that tasks
    share sentences, which a study then encodes once.
    """
    ordered = sorted(candidates, key=lambda item: draw(pool.sentences[item.source].text))
    texts: set[str] = set()
    by_label: dict[str, list[Candidate]] = defaultdict(list)
    for item in ordered:
        if item.text not in texts:
            texts.add(item.text)
            by_label[item.label].append(item)
    if len(by_label) < 2:
        found = ", ".join(f"{label} {len(items)}" for label, items in by_label.items()) or "none"
        raise RefusedError(f"expected sentences of at least two classes; found {found}")
    if any(item.lemma is not None for item in ordered):
        divided = _by_lemma(pool, by_label)
    else:
        divided = _by_release(pool, by_label, uneven=uneven)
    for split, fewest in zip(SPLITS, FEWEST, strict=True):
        if len(divided[split]) < fewest:
            rarest = min(by_label, key=lambda label: len(by_label[label]))
            raise RefusedError(
                f"found {len(divided[split])} sentences for {split}, expected at least {fewest}; "
                f"{len(ordered)} of {len(pool.sentences)} sentences qualify, and class {rarest} "
                f"has {len(by_label[rarest])} of them"
            )
    return {
        split: sorted(items, key=lambda item: draw("order", item.text))
        for split, items in divided.items()
    }


def _by_lemma(
    pool: Treebank, by_label: Mapping[str, Sequence[Candidate]]
) -> dict[str, list[Candidate]]:
    divided = {}
    for split, size in zip(SPLITS, SIZES, strict=True):
        held = [
            [
                item
                for item in items
                if split_of_lemma(item.lemma or "") == split
                and (split != "train" or pool.releases[item.source] in ("", "train"))
            ]
            for items in by_label.values()
        ]
        n = min(size // len(held), *map(len, held))
        divided[split] = [item for items in held for item in items[:n]]
    return divided


def _by_release(
    pool: Treebank, by_label: Mapping[str, Sequence[Candidate]], *, uneven: bool
) -> dict[str, list[Candidate]]:
    most = _class_sizes(by_label, uneven=uneven)
    divided: dict[str, list[Candidate]] = {split: [] for split in SPLITS}
    left = {}
    for label, n in most.items():
        waiting: dict[str, list[Candidate]] = defaultdict(list)
        for item in by_label[label]:
            waiting[pool.releases[item.source]].append(item)
        n_train, *held_out = _shares(n, len(most))
        quotas = dict(zip(("dev", "test"), held_out, strict=True))
        for split, sources in _FILLED_FROM.items():
            for source in sources:
                taken = waiting[source][: quotas[split]]
                waiting[source] = waiting[source][len(taken) :]
                quotas[split] -= len(taken)
                divided[split] += taken
        left[label] = (waiting["train"] + waiting[""])[:n_train]
    fewest = min(map(len, left.values()))
    for items in left.values():
        divided["train"] += items[: 2 * fewest if uneven else fewest]
    return divided


def _class_sizes(by_label: Mapping[str, Sequence[Candidate]], *, uneven: bool) -> dict[str, int]:
    """How many sentences of each class: as many of each, or nearly so (`uneven_sizes`)."""
    counts = {label: len(items) for label, items in by_label.items()}
    if not uneven:
        most = sum(-(-size // len(counts)) for size in SIZES)
        return dict.fromkeys(counts, min(*counts.values(), most))
    sizes = uneven_sizes(counts)
    surplus = max(sum(sizes.values()) / sum(SIZES), 1)
    return {label: int(n / surplus) for label, n in sizes.items()}


def _shares(n: int, n_classes: int) -> tuple[int, int, int]:
    """How many of n sentences of a class are for train, dev and test."""
    dev, test = (min(round(n * size / sum(SIZES)), -(-size // n_classes)) for size in SIZES[1:])
    return n - dev - test, dev, test
