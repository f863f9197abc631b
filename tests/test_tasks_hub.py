"""Data sets from the Hub: a folder in its layout, read by the real `datasets`; never a network."""

import gzip
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from probing.errors import InputError
from probing.sources.declarations import DATASETS, LINGUISTIC
from probing.tasks import LabelledSentences, SentencePairs, hub_datasets, load_task
from tests.hub_stand_in import StandIn, commit_of, point_at

SOURCES = {source.name: source for source in DATASETS}


@pytest.fixture(autouse=True)
def _own_cache_and_no_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))


def put(hub: StandIn, name: str, folder: Path, *, branch: str = "main") -> None:
    """A folder as the repository of a task, at its pinned revision."""
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    source = SOURCES[name]
    commit = str(source.hub_revision) if branch == "main" else commit_of(branch)
    hub.add("dataset", str(source.hub_id), files, commit=commit, branch=branch)


def jsonl(path: Path, rows: Sequence[dict[str, object]]) -> None:
    """As the STS sets stand on the Hub: ``test.jsonl.gz``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in rows)


def pairs(n: int, score: float = 2.0) -> list[dict[str, object]]:
    return [{"score": score, "sentence1": f"One {row}", "sentence2": "b"} for row in range(n)]


def test_sts_from_the_hub_by_split(hub: StandIn, tmp_path: Path) -> None:
    folder = tmp_path / "snapshot"
    for split, n in {"train": 3, "validation": 2, "test": 1379}.items():
        jsonl(folder / f"{split}.jsonl.gz", pairs(n))
    put(hub, "stsb", folder)
    task = load_task("stsb")
    assert isinstance(task, SentencePairs)
    revision = SOURCES["stsb"].hub_revision
    assert task.origin == f"hub mteb/stsbenchmark-sts@{revision}"
    assert (len(task), task.split, task.remark) == (1379, "test", "")
    assert task.sentences1[:2] == ("one 0", "one 1")
    assert hub.files_asked() == ["test.jsonl.gz", "train.jsonl.gz", "validation.jsonl.gz"]
    dev = load_task("stsb", split="dev")
    assert len(dev.scores) == 2  # type: ignore[union-attr]
    passed = load_task("stsb", tmp_path, split="all")
    assert isinstance(passed, SentencePairs)
    assert len(passed) == 1384
    assert passed.origin.endswith("(the data folder has no sts/stsb.tsv)")


def test_subsets_come_back_by_row_order(hub: StandIn, tmp_path: Path) -> None:
    source = SOURCES["sts13"]
    rows: list[dict[str, object]] = []
    for subset in ("FNWN", "headlines", "OnWN"):
        rows += pairs(source.subsets[subset], source.subset_means[subset])
    jsonl(tmp_path / "snapshot" / "test.jsonl.gz", rows)
    put(hub, "sts13", tmp_path / "snapshot")
    task = load_task("sts13")
    assert isinstance(task, SentencePairs)
    assert task.subsets == ("FNWN",) * 189 + ("headlines",) * 750 + ("OnWN",) * 561


def test_rows_in_no_known_order_have_no_subsets(hub: StandIn, tmp_path: Path) -> None:
    jsonl(tmp_path / "test.jsonl.gz", pairs(1500))
    put(hub, "sts13", tmp_path)
    alike = load_task("sts13")
    assert isinstance(alike, SentencePairs)
    assert alike.subsets is None
    assert "only the aggregation all can be had" in alike.remark


def test_sick_of_other_rows_has_no_splits(hub: StandIn, tmp_path: Path) -> None:
    jsonl(tmp_path / "snapshot" / "test.jsonl.gz", pairs(9927))
    put(hub, "sickr", tmp_path / "snapshot")
    task = load_task("sickr", protocol="mteb")
    assert isinstance(task, SentencePairs)
    assert (len(task), task.split, task.remark) == (9927, "all", "")
    with pytest.raises(InputError, match="no rows of split 'test'; found no split column, or ask"):
        load_task("sickr")


def test_the_official_splits_of_sick_are_found_in_the_joined_copy(
    hub: StandIn, tmp_path: Path, real_data: Path
) -> None:
    own = load_task("sickr", real_data, split="all", protocol="mteb")
    assert isinstance(own, SentencePairs)
    order = np.random.default_rng(0).permutation(len(own))
    rows: list[dict[str, object]] = [
        {
            "sentence1": own.sentences1[row],
            "sentence2": own.sentences2[row],
            "score": float(own.scores[row]),
        }
        for row in order
    ]
    jsonl(tmp_path / "snapshot" / "test.jsonl.gz", rows)
    put(hub, "sickr", tmp_path / "snapshot")
    for split, size in SOURCES["sickr"].sizes.items():
        here = load_task("sickr", split=split)
        there = load_task("sickr", real_data, split=split)
        assert isinstance(here, SentencePairs) and isinstance(there, SentencePairs)
        assert (len(here), here.remark) == (size, "")
        found, expected = (
            Counter(zip(task.sentences1, task.sentences2, task.scores, strict=True))
            for task in (here, there)
        )
        assert found == expected


@pytest.mark.parametrize("by_folder", [True, False])
def test_linguistic_tasks_from_parquet_with_the_names_of_their_classes(
    hub: StandIn, tmp_path: Path, *, by_folder: bool
) -> None:
    folder = tmp_path / "snapshot"
    features = datasets.Features(
        {
            "sentence": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["I", "O"]),
            "idx": datasets.Value("int32"),
        }
    )
    for split in ("train", "validation", "test"):
        rows = {"sentence": [f"{split} .", "b ."], "label": [1, 0], "idx": [0, 1]}
        part = datasets.Dataset.from_dict(rows, features=features)
        where = folder / ("bigram_shift" if by_folder else "data") / split
        where.mkdir(parents=True)
        part.to_parquet(str(where / "0000.parquet"))
    if not by_folder:
        listed = "".join(
            f"  - split: {split}\n    path: data/{split}/*\n"
            for split in ("train", "validation", "test")
        )
        card = f"---\nconfigs:\n- config_name: bigram_shift\n  data_files:\n{listed}---\n"
        (folder / "README.md").write_text(card, encoding="utf-8")
    put(hub, "bigram_shift", folder)
    task = load_task("bigram_shift")
    assert isinstance(task, LabelledSentences)
    assert task.labels == ("O", "I") * 3
    assert task.splits == ("train", "train", "dev", "dev", "test", "test")
    assert task.sentences[::2] == ("train .", "validation .", "test .")
    assert "bigram_shift train: 2 rows, the official split has 100,000" in task.remark


def test_one_linguistic_task_fetches_its_own_files_from_the_conversion(
    hub: StandIn, tmp_path: Path
) -> None:
    """The pinned revision holds a script; the Hub's own conversion has a folder for each task."""
    (tmp_path / "script").mkdir()
    (tmp_path / "script" / "linguisticprobing.py").write_text("raise SystemExit('was run')")
    (tmp_path / "script" / "README.md").write_text("# Linguistic probing")
    put(hub, "bigram_shift", tmp_path / "script")
    for source in LINGUISTIC:
        for split in ("train", "validation", "test"):
            where = tmp_path / "converted" / source.name / split
            where.mkdir(parents=True)
            table = pa.table({"sentence": [f"{source.name} {split}", "b"], "label": ["x", "y"]})
            pq.write_table(table, where / "0000.parquet")
    put(hub, "bigram_shift", tmp_path / "converted", branch="refs/convert/parquet")
    task = load_task("bigram_shift")
    assert isinstance(task, LabelledSentences)
    assert task.sentences[::2] == tuple(
        f"bigram_shift {s}" for s in ("train", "validation", "test")
    )
    assert task.origin.endswith(commit_of("refs/convert/parquet"))
    assert hub.files_asked() == [
        f"bigram_shift/{split}/0000.parquet" for split in ("test", "train", "validation")
    ]
    assert load_task("tree_depth").labels == ("x", "y") * 3  # type: ignore[union-attr]


def test_without_the_hub_one_line_says_what_to_do(
    hub: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for status, expected in {404: "was not found on the Hub", 503: "is failing (503)"}.items():
        hub.always = status
        with pytest.raises(InputError) as caught:
            load_task("stsb")
        assert expected in str(caught.value)
        assert "Give --data-dir or set PROBING_DATA to a folder with sts/stsb.tsv" in str(
            caught.value
        )
        assert "\n" not in str(caught.value)
    hub.always = None
    jsonl(tmp_path / "snapshot" / "test.jsonl.gz", pairs(3))
    put(hub, "sts16", tmp_path / "snapshot")
    assert len(load_task("sts16")) == 3
    point_at("http://127.0.0.1:9", tmp_path / "hub-cache", monkeypatch)
    assert len(load_task("sts16")) == 3


def test_a_truncated_file_in_the_cache_is_fetched_again_or_one_line(
    hub: StandIn, tmp_path: Path
) -> None:
    jsonl(tmp_path / "snapshot" / "test.jsonl.gz", pairs(300))
    put(hub, "sts16", tmp_path / "snapshot")
    load_task("sts16")
    (cached,) = (tmp_path / "hub-cache").glob("*/snapshots/*/test.jsonl.gz")
    whole = cached.resolve().read_bytes()
    cached.resolve().write_bytes(whole[: len(whole) // 2])
    assert len(load_task("sts16")) == 300
    cached.resolve().write_bytes(whole[: len(whole) // 2])
    hub.always = 503
    with pytest.raises(InputError, match=r"is failing \(503\)"):
        load_task("sts16")


def test_a_repository_of_code_alone_is_refused(hub: StandIn, tmp_path: Path) -> None:
    folder = tmp_path / "snapshot"
    folder.mkdir()
    (folder / "linguisticprobing.py").write_text("raise SystemExit('was run')", encoding="utf-8")
    put(hub, "bigram_shift", folder)
    with pytest.raises(InputError, match="has no revision 'refs/convert/parquet'"):
        load_task("bigram_shift")


def test_a_broken_or_incomplete_snapshot_is_refused(hub: StandIn, tmp_path: Path) -> None:
    jsonl(tmp_path / "snapshot" / "test.jsonl.gz", pairs(3))
    put(hub, "stsb", tmp_path / "snapshot")
    with pytest.raises(InputError, match="split train, validation is missing; found test"):
        load_task("stsb")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "test.jsonl").write_text('{"sentence1": "a"', encoding="utf-8")
    put(hub, "sts13", tmp_path / "other")
    put(hub, "bigram_shift", tmp_path / "other")
    for name in ("sts13", "bigram_shift"):
        with pytest.raises(InputError, match="`datasets` could not read it"):
            load_task(name)


def test_damage_in_the_rows_names_the_row(hub: StandIn, tmp_path: Path) -> None:
    jsonl(tmp_path / "snapshot" / "test.jsonl.gz", [*pairs(2), {"score": None, "sentence1": "a"}])
    put(hub, "sts13", tmp_path / "snapshot")
    with pytest.raises(InputError, match=r"mteb/sts13-sts@.*, row 3: sentence2 is blank"):
        load_task("sts13")


def test_an_unpinned_data_set_is_refused() -> None:
    with pytest.raises(InputError, match="task stsb has no pinned revision on the Hub"):
        hub_datasets.read_hub(replace(SOURCES["stsb"], hub_revision=None))
