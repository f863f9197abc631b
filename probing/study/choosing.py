"""Which view to use for one's own data, without a whole study."""

from pathlib import Path
from typing import Any

from probing.claims.choice import Choice, choose_view, usual_views
from probing.encoding.sharing import SharedExtraction
from probing.encoding.store.cache import cache_folder
from probing.errors import InputError
from probing.results.items import Items
from probing.similarity.cosine import cosine_similarities
from probing.study.brought import load_model
from probing.study.labelled import measure_labelled
from probing.study.settings import Settings
from probing.tasks import LabelledSentences, SentencePairs, Task, load_task


def choose(
    model: Any,
    data: str | Path | Task,
    *,
    split: str | None = None,
    seed: int = 0,
    n_resamples: int = 1000,
    cache_dir: Path | str | None = None,
    **options: Any,
) -> Choice:
    """Which view of a model to use on the data: the set that holds the best one, with 95 %.

    Pairs with scores are judged by Spearman of the cosine; labelled sentences (or pairs) by the
    accuracy of a linear probe, in ten folds where the data has no splits. Choose on items that you
    will not report: the value of a view that was chosen for it is too high.

    Args:
        model: What `Study` takes.
        data: A task, its name, or a file of ``sentence1, sentence2, score`` or ``sentence, label``.
        split: Rows to choose on; by default all pairs of a file, and of a task by name what is
            scored. Labelled sentences in splits are judged on test, by a probe of train.
        seed: Seed of the bootstrap and of the folds.
        n_resamples: Resamples of the bootstrap.
        cache_dir: Where vectors are kept; by default the user's cache.
        options: Of `load_encoder`, for a model that is loaded here.

    Raises:
        InputError: The model or the data is unknown or broken, or the task has no sentences.

    >>> probing.choose(lengths, probing.load_task("sts-mini")).views
    ('vectors',)
    """
    if options and not isinstance(model, (str, Path)):
        raise InputError(
            f"{', '.join(options)} is for a model that is loaded here: set it where you load yours"
        )
    if split is None and isinstance(data, (str, Path)) and Path(data).is_file():
        split = "all"
    task = load_task(data, split=split, score_range=None)
    settings = Settings(
        seed=seed, n_resamples=n_resamples, cache_dir=cache_folder(cache_dir), claims=()
    )
    encoder = load_model(model, dtype=options.pop("dtype", "float32"), poolings={}, **options)
    try:
        items = view_items(SharedExtraction(encoder, settings.cache_dir), task, settings)
    except InputError as error:
        raise InputError(f"{task.name}: {error}") from error
    declared = getattr(encoder, "declared_view", None)
    return choose_view(items, usual=usual_views(encoder.num_layers, declared))


def view_items(extract: SharedExtraction, task: Task, settings: Settings) -> Items:
    """What every view of an encoder says of every item of a task."""
    if isinstance(task, SentencePairs):
        representations = extract(task.sentences1 + task.sentences2)
        views = tuple(representations)
        return Items(
            model=extract.encoder.name,
            probe="cosine",
            views=views,
            columns=cosine_similarities(representations, views),
            target=settings.target(task),
        )
    if not isinstance(task, LabelledSentences):
        raise InputError(
            "a view is one vector for each sentence; expected pairs with scores or labelled "
            "sentences"
        )
    by_split: dict[str, set[str]] = {"train": set(), "test": set()}
    for label, split in zip(task.labels, task.splits, strict=True):
        by_split.setdefault(split, set()).add(label)
    unseen = sorted(by_split["test"] - by_split["train"])
    if by_split["train"] and unseen:
        raise InputError(
            f"no row of train has the label {unseen[0]!r}, so that no probe could tell it: leave "
            f"out the rows of {', '.join(unseen)}"
        )
    kept: list[Items] = []
    probed = Settings(
        seed=settings.seed,
        n_resamples=settings.n_resamples,
        cache_dir=settings.cache_dir,
        keep=kept.append,
    )
    measure_labelled(extract, task, probed)
    return kept[0]
