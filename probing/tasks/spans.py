"""Labels of words, of pairs of words and of spans, read off any treebank."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from probing.errors import InputError
from probing.tasks.conllu import ConlluSentence, features
from probing.tasks.sentences import SPLITS, SplitItems
from probing.tasks.tables import quote
from probing.tasks.treebank import Treebank, release_split
from probing.tasks.treebank_labels import draw, heads_of, relation

Span = tuple[int, int]
"""Words of a sentence: from the first place, from 0, up to but without the second."""

FEATURE_PREFIX: Final = "feats."
"""``feats.Number``: the value of a feature, of the words that have it."""
RELATION, ARC, ENTITY = "relation", "arc", "entity"
SPAN_TASKS: Final = (f"{FEATURE_PREFIX}NAME", RELATION, ARC, ENTITY)
"""What `span_task` makes, beside the columns of CoNLL-U."""
MOST_ITEMS: Final = (8000, 2000, 4000)
"""Items of train, dev and test, at most."""

_OPENED: Final = re.compile(r"\(([^()]+)(\))?|([^()]+)\)")
_DEFAULT_FIELDS: Final = ("eid", "etype")
_HAS_ARC, _HAS_NONE = "arc", "none"


@dataclass(frozen=True)
class LabelledSpans(SplitItems):
    """n items, each one or two spans of words in a sentence, with a label.

    ``numbers``, ``spans``, ``labels`` and ``splits`` have n entries; ``numbers[i]`` says which of
    ``sentences`` item i is in. All items have the same number of spans. The vector of an item is
    those of its spans one after the other.
    """

    per_item = ("numbers", "spans", "labels", "splits")
    name: str
    sentences: tuple[tuple[str, ...], ...]
    """The words of each sentence that has an item."""
    numbers: tuple[int, ...]
    spans: tuple[tuple[Span, ...], ...]
    labels: tuple[str, ...]
    splits: tuple[str, ...]
    origin: str
    remark: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len({len(spans) for spans in self.spans}) > 1:
            raise ValueError("some items are pairs of spans and some are not")
        for number, spans in zip(self.numbers, self.spans, strict=True):
            n_words = len(self.sentences[number])
            if not all(0 <= start < stop <= n_words for start, stop in spans):
                raise ValueError(f"spans {spans} of {n_words} words")

    @property
    def classes(self) -> tuple[str, ...]:
        """The distinct labels, sorted."""
        return tuple(sorted(set(self.labels)))

    @property
    def texts(self) -> tuple[str, ...]:
        """The words of each item, for baselines that use no model; the order of spans is kept."""
        return tuple(
            " ".join(word for start, stop in spans for word in self.sentences[number][start:stop])
            for number, spans in zip(self.numbers, self.spans, strict=True)
        )

    @property
    def has_longer_spans(self) -> bool:
        """Whether any span has more than one word."""
        return any(stop - start > 1 for spans in self.spans for start, stop in spans)

    def subset(self, rows: Sequence[int]) -> "LabelledSpans":
        """The items at these places, in this order; sentences without one are left out."""
        kept = super().subset(rows)
        used = sorted(set(kept.numbers))
        places = {number: place for place, number in enumerate(used)}
        return replace(
            kept,
            sentences=tuple(self.sentences[number] for number in used),
            numbers=tuple(places[number] for number in kept.numbers),
        )


@dataclass(frozen=True)
class _Item:
    number: int
    spans: tuple[Span, ...]
    label: str


def span_task(treebank: Treebank, task: str) -> LabelledSpans:
    """The items of one of `SPAN_TASKS`, at most `MOST_ITEMS`, in the splits of the treebank.

    A treebank without splits is divided by sentence, four to one to two.

    - ``feats.NAME``: words that have the feature, labelled by its value;
    - ``relation``: a word and its head, labelled by the relation without its subtype (edge
      probing, Tenney et al. 2019);
    - ``arc``: two words, one of which is the head of the other or not; in both classes as far
      apart, in the same direction and in the same sentence;
    - ``entity``: the spans of ``Entity=`` in MISC, as GUM and CorefUD have them, labelled by type.

    Raises:
        InputError: for another name, and where the treebank has nothing of the kind.
    """
    remark = ""
    if task.startswith(FEATURE_PREFIX):
        items = _of_feature(treebank.sentences, task.removeprefix(FEATURE_PREFIX))
    elif task == RELATION:
        items = _relations(treebank.sentences)
    elif task == ARC:
        items = _arcs(treebank.sentences)
    elif task == ENTITY:
        items, remark = _entities(treebank)
    else:
        raise InputError(f"unknown task {quote(task)}, expected one of {', '.join(SPAN_TASKS)}")
    if len({item.label for item in items}) < 2:
        found = "one class" if items else "nothing"
        raise InputError(f"{treebank.name} has no {task}: found {found} to tell apart")
    splits = [release_split(treebank, item.number) for item in items]
    rows: list[int] = []
    for split, most in zip(SPLITS, MOST_ITEMS, strict=True):
        here = [row for row, found in enumerate(splits) if found == split]
        drawn = sorted(here, key=lambda row: draw(items[row].number, items[row].spans))
        rows += sorted(drawn[:most])
    if len(rows) < len(items):
        remark = f"{remark} {len(rows):,} of {len(items):,} items, drawn at random".strip()
    return LabelledSpans(
        name=f"{treebank.name}:{task}",
        sentences=tuple(sentence.column("form") for sentence in treebank.sentences),
        numbers=tuple(item.number for item in items),
        spans=tuple(item.spans for item in items),
        labels=tuple(item.label for item in items),
        splits=tuple(splits),
        origin=f"{treebank.origin} task {task}",
        remark=remark,
    ).subset(rows)


def _of_feature(sentences: Sequence[ConlluSentence], name: str) -> list[_Item]:
    items = []
    known: Counter[str] = Counter()
    for number, sentence in enumerate(sentences):
        for place, cell in enumerate(sentence.column("feats")):
            found = features(cell)
            known.update(found.keys())
            if name in found:
                items.append(_Item(number, ((place, place + 1),), found[name]))
    if not items:
        some = ", ".join(known) or "none at all"
        raise InputError(f"no word has the feature {quote(name)}; found {some}")
    return items


def _relations(sentences: Sequence[ConlluSentence]) -> list[_Item]:
    return [
        _Item(number, ((place, place + 1), (head, head + 1)), relation(sentence, place))
        for number, sentence in enumerate(sentences)
        for place, head in enumerate(heads_of(sentence))
        if 0 <= head < len(sentence.words) and relation(sentence, place) != "punct"
    ]


def _arcs(sentences: Sequence[ConlluSentence]) -> list[_Item]:
    """One arc of each sentence, and two other words that are as far apart."""
    items = []
    for number, sentence in enumerate(sentences):
        heads = heads_of(sentence)
        words = [at for at in range(len(heads)) if relation(sentence, at) != "punct"]
        free: dict[int, list[int]] = defaultdict(list)
        for place in words:
            for other in words:
                if place != other and heads[place] != other and heads[other] != place:
                    free[other - place].append(place)
        arcs = [at for at in words if heads[at] in words and free[heads[at] - at]]
        if not arcs:
            continue
        chosen = arcs[int(draw("arc", sentence.text) * len(arcs))]
        distance = heads[chosen] - chosen
        others = free[distance]
        other = others[int(draw("none", sentence.text) * len(others))]
        for place, label in ((chosen, _HAS_ARC), (other, _HAS_NONE)):
            spans = ((place, place + 1), (place + distance, place + distance + 1))
            items.append(_Item(number, spans, label))
    return items


def _entities(treebank: Treebank) -> tuple[list[_Item], str]:
    """The mentions within one sentence, and a remark on those that are not."""
    fields = treebank.entity_fields or _DEFAULT_FIELDS
    names = [name for name in ("etype", "entity") if name in fields]
    if not names:
        raise InputError(
            f"{treebank.name} has no {ENTITY}: # global.Entity names {', '.join(fields)}, "
            "expected etype among them"
        )
    at_type = fields.index(names[0])
    items, n_broken, n_seen = list[_Item](), 0, 0
    for number, sentence in enumerate(treebank.sentences):
        opened: dict[str, list[tuple[int, str]]] = defaultdict(list)
        for place, cell in enumerate(sentence.column("misc")):
            for match in _OPENED.finditer(features(cell).get("Entity", "")):
                n_seen += 1
                if match[1] is None:
                    begun = opened[match[3].partition("-")[0]]
                    if begun:
                        start, kind = begun.pop()
                        items.append(_Item(number, ((start, place + 1),), kind))
                    else:
                        n_broken += 1  # it began in another sentence
                    continue
                parts = match[1].split("-")
                kind = parts[at_type] if at_type < len(parts) else ""
                if not kind or "[" in parts[0]:
                    n_broken += 1  # without a type, or one part of a mention with gaps
                elif match[2]:
                    items.append(_Item(number, ((place, place + 1),), kind))
                else:
                    opened[parts[0]].append((place, kind))
        n_broken += sum(map(len, opened.values()))
    if not n_seen:
        raise InputError(f"{treebank.name} has no {ENTITY}: no word has Entity= in MISC")
    remark = f"{n_broken:,} mentions have gaps, no type or no end in their sentence: left out"
    return items, remark if n_broken else ""
