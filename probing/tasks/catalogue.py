"""Every task that can be asked for by name, for ``probing tasks``."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from probing.sources.blimp import BLIMP
from probing.sources.declarations import DATASETS, LINGUISTIC, TREEBANKS, DatasetSource, TaskKind
from probing.tasks.derived import derived_offers
from probing.tasks.registry import task_entry_points
from probing.tasks.spans import SPAN_TASKS
from probing.tasks.tagged_words import TAG_COLUMNS
from probing.tasks.trees import STRUCTURE


@dataclass(frozen=True, kw_only=True)
class TaskEntry:
    """One task: what it is, how big, where its rows come from, who is to be cited."""

    name: str
    kind: TaskKind | None = None
    """None for a task of another package, which is not loaded to be listed."""
    title: str
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Official rows of each split; ``all`` where there are no splits; empty where unknown."""
    at_least: bool = False
    """Whether ``sizes`` are round numbers that the official files exceed by a few rows."""
    subsets: int = 0
    """Number of subsets, 0 where there are none."""
    classes: int | None = None
    score_range: tuple[float, float] | None = None
    licence: str = ""
    citation: str = ""
    url: str = ""
    where: str
    """The places it is looked for in, in that order."""
    note: str = ""

    @property
    def size(self) -> str:
        """The sizes in one cell: ``train 5,749, dev 1,500, test 1,379``."""
        more = "+" if self.at_least else ""
        order = ("train", "dev", "test", "all")
        splits = sorted(self.sizes, key=order.index)
        return ", ".join(f"{split} {self.sizes[split]:,}{more}" for split in splits)

    @property
    def target(self) -> str:
        """Classes or score range in one cell: ``6 classes``, ``scores 0–5``."""
        if self.score_range is not None:
            return f"scores {self.score_range[0]:g}–{self.score_range[1]:g}"
        return "" if self.classes is None else f"{self.classes:,} classes"


def catalogue() -> tuple[TaskEntry, ...]:
    """The known tasks, those of shipped treebanks and those that other installed packages offer."""
    known = [_entry(source) for source in DATASETS]
    first, paradigms = _entry(BLIMP[0]), [source.name.partition(":")[2] for source in BLIMP]
    known.append(
        replace(
            first,
            name="blimp:PARADIGM",
            title="Minimal pairs of BLiMP",
            where=first.where.replace(paradigms[0], "PARADIGM"),
            note=f"{first.note}. PARADIGM is one of {', '.join(paradigms)}",
        )
    )
    offered = [
        TaskEntry(
            name=name,
            title=f"offered by {point.value}",
            where=f"package {point.dist.name}" if point.dist else "another package",
        )
        for name, point in task_entry_points().items()
    ]
    return (*known, *_from_treebanks(), *offered)


def _entry(source: DatasetSource) -> TaskEntry:
    files = " or ".join((source.local, *source.headerless))
    places = [f"data folder {files}"]
    if source.sha256 is not None:
        places.append("shipped with the project")
    if source.hub_id is not None:
        places.append(f"Hub {source.hub_id}@{source.hub_revision}")
    return TaskEntry(
        name=source.name,
        kind=source.kind,
        title=source.title,
        sizes=source.sizes,
        at_least=source.at_least,
        subsets=len(source.subsets),
        classes=source.classes,
        score_range=source.score_range,
        licence=source.licence,
        citation=source.citation,
        url=source.url,
        where="; ".join(places),
        note=source.note,
    )


def _from_treebanks() -> list[TaskEntry]:
    titles = {source.name: source.title for source in LINGUISTIC}
    found = []
    for source in TREEBANKS:
        whole = TaskEntry(
            name=source.name,
            kind=TaskKind.WORDS,
            title=f"Words and their trees {source.title}: {source.name} for UPOS, "
            f"{source.name}:NAME for the others",
            sizes=source.sizes,
            classes=17,
            licence=source.licence,
            citation=source.citation,
            url=source.url,
            where="shipped with the project",
            note=f"NAME is one of {', '.join((*TAG_COLUMNS, *SPAN_TASKS, STRUCTURE))}",
        )
        found.append(whole)
        found += [
            replace(
                whole,
                name=f"{source.name}:{offer.task}",
                kind=TaskKind.LABELLED,
                title=f"{titles[offer.task]}, {source.title}",
                sizes=offer.sizes,
                classes=len(offer.classes),
                note="derived from a treebank, not the sentences of the paper",
            )
            for offer in derived_offers(source)
        ]
    return found
