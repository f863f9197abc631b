"""The official data sets: their row counts, and that nothing is lost or made up in reading."""

from collections import Counter
from pathlib import Path

import pytest

from probing.sources.declarations import DATASETS, DatasetSource
from probing.tasks import LabelledSentences, SentencePairs, load_task

pytestmark = pytest.mark.real

XPROBE = {
    "sentence_length": (3977, 995, 4898),
    "word_content": (7930, 1983, 9924),
    "tree_depth": (6925, 990, 1979),
    "bigram_shift": (7955, 1989, 9969),
    "past_present": (7909, 1978, 9950),
    "subj_number": (7952, 1988, 9945),
    "obj_number": (7924, 1982, 9969),
    "odd_man_out": (3957, 990, 5703),
    "coordination_inversion": (7880, 1971, 9873),
}
"""Rows in train, dev and test of the local files, which are X-Probe's and not SentEval's."""


def _of_kind(folder: str) -> list[DatasetSource]:
    return [source for source in DATASETS if source.local.startswith(f"{folder}/")]


@pytest.mark.parametrize("source", _of_kind("sts"), ids=lambda source: source.name)
def test_sentence_pairs_have_the_official_rows(source: DatasetSource, real_data: Path) -> None:
    for split, rows in source.sizes.items():
        task = load_task(source.name, real_data, split=split)
        assert isinstance(task, SentencePairs)
        assert (len(task), task.remark) == (rows, "")
        if split == "test" and source.subsets:
            counts = Counter(task.subsets)
            assert counts == source.subsets
            for subset, mean in source.subset_means.items():
                scores = [
                    s for s, at in zip(task.scores, task.subsets or (), strict=True) if at == subset
                ]
                assert sum(scores) / len(scores) == pytest.approx(mean, abs=6e-5)
    assert len(load_task(source.name, real_data, split="all")) == sum(source.sizes.values())


def test_sick_has_4927_pairs_under_simcse_and_9927_under_mteb(real_data: Path) -> None:
    assert len(load_task("sickr", real_data)) == 4927
    whole = load_task("sickr", real_data, protocol="mteb")
    assert (len(whole), whole.remark) == (9927, "")


@pytest.mark.parametrize("source", _of_kind("transfer"), ids=lambda source: source.name)
def test_transfer_tasks_have_the_official_rows_and_classes(
    source: DatasetSource, real_data: Path
) -> None:
    task = load_task(source.name, real_data)
    assert isinstance(task, LabelledSentences)
    assert Counter(split or "all" for split in task.splits) == source.sizes
    assert len(task.classes) == source.classes
    assert task.remark == ""
    assert (task.sentences2 is not None) == (source.name in {"mrpc", "snli"})
    assert all(sentence.strip() for sentence in task.sentences)
    assert task.sentences.count(".") >= source.blanks


@pytest.mark.parametrize("name", XPROBE)
def test_local_linguistic_tasks_are_whole_and_say_that_they_are_not_senteval(
    name: str, real_data: Path
) -> None:
    task = load_task(name, real_data)
    assert isinstance(task, LabelledSentences)
    counts = Counter(task.splits)
    assert (counts["train"], counts["dev"], counts["test"]) == XPROBE[name]
    assert task.remark.endswith("its numbers are not comparable")
    assert f"{name} train: {XPROBE[name][0]:,} rows, the official split has 100,000" in task.remark
    by_split = {
        split: {s for s, at in zip(task.sentences, task.splits, strict=True) if at == split}
        for split in counts
    }
    assert not by_split["train"] & by_split["test"]
