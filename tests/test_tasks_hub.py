"""Data sets from the Hub: a folder in its layout, read by the real `datasets`; never a network."""

import gzip
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import httpx
import pytest
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from probing.errors import InputError
from probing.sources.declarations import DATASETS
from probing.tasks import LabelledSentences, SentencePairs, hub_datasets, load_task

SOURCES = {source.name: source for source in DATASETS}


class Calls:
    """Stands for the Hub client: a folder that is cached or can be had, or an error."""

    def __init__(self, folder: Path, *, cached: bool = True, error: Exception | None = None):
        self.folder, self.cached, self.error = folder, cached, error
        self.downloads: list[dict[str, Any]] = []
        self.asked: list[str] = []

    def snapshot_download(self, hub_id: str, **options: Any) -> str:
        if options["local_files_only"] and not self.cached:
            raise LocalEntryNotFoundError("not here")
        if not options["local_files_only"]:
            self.downloads.append({"hub_id": hub_id, **options})
        return str(self.folder)

    def repo_info(self, hub_id: str, **_: Any) -> SimpleNamespace:
        self.asked.append(hub_id)
        if self.error is not None:
            raise self.error
        return SimpleNamespace()

    def install(self, monkeypatch: pytest.MonkeyPatch) -> "Calls":
        monkeypatch.setattr("probing.sources.fetching.snapshot_download", self.snapshot_download)
        monkeypatch.setattr("probing.sources.fetching.HfApi", lambda: self)
        return self


@pytest.fixture(autouse=True)
def _own_cache_and_no_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PROBING_DATA", raising=False)


def jsonl(path: Path, rows: Sequence[dict[str, object]]) -> None:
    """As the STS sets stand on the Hub: ``test.jsonl.gz``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in rows)


def pairs(n: int, score: float = 2.0) -> list[dict[str, object]]:
    return [{"score": score, "sentence1": f"One {row}", "sentence2": "b"} for row in range(n)]


def test_sts_from_the_hub_by_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "snapshot"
    for split, n in {"train": 3, "validation": 2, "test": 1379}.items():
        jsonl(folder / f"{split}.jsonl.gz", pairs(n))
    calls = Calls(folder).install(monkeypatch)
    task = load_task("stsb")
    assert isinstance(task, SentencePairs)
    revision = SOURCES["stsb"].hub_revision
    assert task.origin == f"hub mteb/stsbenchmark-sts@{revision}"
    assert (len(task), task.split, task.remark) == (1379, "test", "")
    assert task.sentences1[:2] == ("one 0", "one 1")
    assert calls.asked == ["mteb/stsbenchmark-sts"]
    dev = load_task("stsb", split="dev")
    assert len(dev.scores) == 2  # type: ignore[union-attr]
    passed = load_task("stsb", tmp_path, split="all")
    assert isinstance(passed, SentencePairs)
    assert len(passed) == 1384
    assert passed.origin.endswith("(the data folder has no sts/stsb.tsv)")


def test_subsets_come_back_by_row_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = SOURCES["sts13"]
    rows: list[dict[str, object]] = []
    for subset in ("FNWN", "headlines", "OnWN"):
        rows += pairs(source.subsets[subset], source.subset_means[subset])
    jsonl(tmp_path / "snapshot" / "test.jsonl.gz", rows)
    Calls(tmp_path / "snapshot").install(monkeypatch)
    task = load_task("sts13")
    assert isinstance(task, SentencePairs)
    assert task.subsets == ("FNWN",) * 189 + ("headlines",) * 750 + ("OnWN",) * 561
    jsonl(tmp_path / "other" / "test.jsonl.gz", pairs(1500))
    Calls(tmp_path / "other").install(monkeypatch)
    alike = load_task("sts13")
    assert isinstance(alike, SentencePairs)
    assert alike.subsets is None
    assert "only the aggregation all can be had" in alike.remark


def test_sick_on_the_hub_is_all_splits_in_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jsonl(tmp_path / "snapshot" / "test.jsonl.gz", pairs(9927))
    Calls(tmp_path / "snapshot").install(monkeypatch)
    task = load_task("sickr", protocol="mteb")
    assert isinstance(task, SentencePairs)
    assert (len(task), task.split, task.remark) == (9927, "all", "")
    with pytest.raises(InputError, match="no rows of split 'test'; found no split column, or ask"):
        load_task("sickr")


@pytest.mark.parametrize("by_folder", [True, False])
def test_linguistic_tasks_from_parquet_with_the_names_of_their_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, by_folder: bool
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
    Calls(folder).install(monkeypatch)
    task = load_task("bigram_shift")
    assert isinstance(task, LabelledSentences)
    assert task.labels == ("O", "I") * 3
    assert task.splits == ("train", "train", "dev", "dev", "test", "test")
    assert task.sentences[::2] == ("train .", "validation .", "test .")
    assert "bigram_shift train: 2 rows, the official split has 100,000" in task.remark


def test_what_is_not_cached_is_downloaded_by_its_pinned_revision_without_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jsonl(tmp_path / "snapshot" / "test.jsonl.gz", pairs(3))
    calls = Calls(tmp_path / "snapshot", cached=False).install(monkeypatch)
    load_task("sts16")
    (download,) = calls.downloads
    assert download["hub_id"] == "mteb/sts16-sts"
    assert download["revision"] == "4d8694f8f0e0100860b497b999b3dbed754a0513"
    assert not any(pattern.endswith((".py", "*")) for pattern in download["allow_patterns"])


def _status_error(code: int) -> HfHubHTTPError:
    request = httpx.Request("GET", "https://hub.invalid")
    return HfHubHTTPError("404\nnot found", response=httpx.Response(code, request=request))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            httpx.ConnectError("Name or service not known"),
            "is not on this machine and the Hub cannot be reached",
        ),
        (httpx.ConnectTimeout("slow"), "is not on this machine and the Hub cannot be reached"),
        (_status_error(404), r"the Hub does not give dataset mteb/.* \(404\)"),
    ],
)
def test_without_the_hub_one_line_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, expected: str
) -> None:
    calls = Calls(tmp_path, cached=False, error=error).install(monkeypatch)
    with pytest.raises(InputError, match=expected) as caught:
        load_task("stsb")
    assert "Give --data-dir or set PROBING_DATA to a folder with sts/stsb.tsv" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not calls.downloads


def test_without_a_network_what_is_cached_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jsonl(tmp_path / "snapshot" / "test.jsonl.gz", pairs(3))
    offline = httpx.ConnectError("Name or service not known")
    calls = Calls(tmp_path / "snapshot", error=offline).install(monkeypatch)
    assert len(load_task("sts16")) == 3
    assert not calls.downloads


def test_a_repository_of_code_alone_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "snapshot"
    folder.mkdir()
    (folder / "linguisticprobing.py").write_text("raise SystemExit('was run')", encoding="utf-8")
    Calls(folder).install(monkeypatch)
    with pytest.raises(InputError, match="found neither Parquet nor JSON, and no script is ever"):
        load_task("bigram_shift")


def test_a_broken_or_incomplete_snapshot_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "snapshot"
    jsonl(folder / "test.jsonl.gz", pairs(3))
    Calls(folder).install(monkeypatch)
    with pytest.raises(InputError, match="split train, validation is missing; found test"):
        load_task("stsb")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "test.jsonl").write_text('{"sentence1": "a"', encoding="utf-8")
    Calls(tmp_path / "other").install(monkeypatch)
    with pytest.raises(InputError, match="`datasets` could not read it"):
        load_task("sts13")
    with pytest.raises(InputError, match="`datasets` could not read it"):
        load_task("bigram_shift")


def test_damage_in_the_rows_names_the_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jsonl(tmp_path / "snapshot" / "test.jsonl.gz", [*pairs(2), {"score": None, "sentence1": "a"}])
    Calls(tmp_path / "snapshot").install(monkeypatch)
    with pytest.raises(InputError, match=r"mteb/sts13-sts@.*, row 3: sentence2 is blank"):
        load_task("sts13")


def test_an_unpinned_data_set_is_refused() -> None:
    with pytest.raises(InputError, match="task stsb has no pinned revision on the Hub"):
        hub_datasets.read_hub(replace(SOURCES["stsb"], hub_revision=None))
