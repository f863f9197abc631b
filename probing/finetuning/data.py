"""Tasks as fine-tuning needs them: tokenized, with rows to train on, to stop by and to test."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from probing.encoding.encoder import Encoder
from probing.encoding.tokenization import tokenize
from probing.errors import InputError
from probing.finetuning.network import FinetuningData
from probing.tasks import LabelledSentences, SentencePairs, Task, load_task

DEV_ITEMS: Final = 300
"""Most items that training is stopped by; looking at more would take longer than training."""
_DEV_SHARE: Final = 0.1
"""Share of train that is held out where a task has no dev."""


@dataclass(frozen=True)
class Material:
    """A task as loaded, with the text and gold of all its splits."""

    task: Task
    """As `load_task` gives it; described in the manifest."""
    sentences: tuple[str, ...]
    sentences2: tuple[str, ...] | None
    gold: NDArray[np.float64]
    classes: tuple[str, ...]
    train: NDArray[np.intp]
    dev: NDArray[np.intp]
    test: NDArray[np.intp]
    remark: str
    """What training was stopped by."""
    clusters: NDArray[np.intp] | None
    """``(n,)`` code of the cluster each item of a split is of; None where each is by itself."""


def load_material(name: str, data_dir: str | Path | None) -> Material:
    """The splits of a task.

    Dev is the task's own, at most `DEV_ITEMS` of it; a task without one gives up a tenth of train
    for it. Both are the same for every seed, head and training size.

    Raises:
        InputError: The task is of words, or has no train or no test split.
    """
    task = load_task(name, data_dir)
    classes: tuple[str, ...] = ()
    if isinstance(task, SentencePairs):
        parts = [_pairs(name, task, split, data_dir) for split in ("train", "dev")] + [task]
        splits = np.repeat(["train", "dev", "test"], [len(part) for part in parts])
        sentences = tuple(s for part in parts for s in part.sentences1)
        sentences2: tuple[str, ...] | None = tuple(s for part in parts for s in part.sentences2)
        gold = np.concatenate([part.scores for part in parts])
        clusters: NDArray[np.intp] | None = np.concatenate([part.clusters for part in parts])
    elif isinstance(task, LabelledSentences):
        splits = np.array(task.splits)
        sentences, sentences2 = task.sentences, task.sentences2
        clusters = task.clusters
        names, codes = np.unique(np.array(task.labels), return_inverse=True)
        gold, classes = codes.astype(np.float64), tuple(names.tolist())
        if len(classes) < 2:
            raise InputError(f"every label of {task.name} is {classes[0]!r}: expected two classes")
    else:
        raise InputError(
            f"{task.name} has tags of words: expected a task of labelled sentences or of pairs"
        )
    train, dev, test = (np.flatnonzero(splits == name) for name in ("train", "dev", "test"))
    for split, rows in (("train", train), ("test", test)):
        if not len(rows):
            raise InputError(
                f"{task.name} has no {split} split: expected a task with train and test, such as "
                "trec, cola or stsb"
            )
    rng = np.random.default_rng(0)
    if len(dev):
        remark = f"stopped by {min(len(dev), DEV_ITEMS)} of {len(dev)} dev items"
        dev = rng.permutation(dev)[:DEV_ITEMS]
    else:
        shuffled = rng.permutation(train)
        n_dev = min(DEV_ITEMS, max(1, round(_DEV_SHARE * len(train))))
        dev, train = shuffled[:n_dev], np.sort(shuffled[n_dev:])
        remark = f"no dev split: {n_dev} items of train were held out to stop by"
    return Material(task, sentences, sentences2, gold, classes, train, dev, test, remark, clusters)


def tokenized_data(encoder: Encoder, material: Material) -> FinetuningData:
    """The material as an encoder reads it."""
    return FinetuningData(
        task=material.task.name,
        tokenized=tokenize(encoder, material.sentences + (material.sentences2 or ())),
        sides=1 if material.sentences2 is None else 2,
        gold=material.gold,
        classes=material.classes,
        train=material.train,
        dev=material.dev,
        test=material.test,
        pad_id=encoder.tokenizer.pad_token_id,
        clusters=material.clusters,
    )


def _pairs(
    name: str, task: SentencePairs, split: str, data_dir: str | Path | None
) -> SentencePairs:
    try:
        found = load_task(name, data_dir, split=split)
    except InputError as error:
        raise InputError(
            f"{task.name} cannot be trained on ({error}): expected pairs with train, dev and test"
        ) from error
    if not isinstance(found, SentencePairs):
        raise InputError(
            f"{task.name} is not a task of sentence pairs: expected pairs in every split"
        )
    return found
