"""Every declared model and data set, loaded from a Hub that has them in their real layout."""

import gzip
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from probing.cause.continuation import PLANS
from probing.cause.frozen_vectors import FROZEN_PLANS
from probing.commands import main as cli
from probing.encoding import locating
from probing.encoding.encoder import load_encoder
from probing.errors import InputError
from probing.sources.declarations import DATASETS, LINGUISTIC, MODELS, DatasetSource
from probing.study.study import PRESETS
from probing.tasks import SentencePairs, fingerprints, load_task, registry
from probing.tasks.protocols import PROTOCOLS
from tests.hub_stand_in import StandIn, commit_of
from tests.test_hub import legacy
from tests.test_pretraining import write_corpus

FAMILY = {"roberta-base": "roberta", "distilbert-base-uncased": "distilbert"}
ON_HUB = [source for source in DATASETS if source.hub_id is not None]
SCALE = 60
"""A split has one row in so many of the official one."""


def sts_rows(source: DatasetSource, split: str, n: int) -> list[dict[str, Any]]:
    low, high = source.score_range or (0.0, 5.0)
    return [
        {
            "split": split,
            "genre": "main-news",
            "score": low + (high - low) * (row % 11) / 10,
            "sentence1": f"the {'cat' if row % 2 else 'dog'} sat {'not ' * (row % 3)}on mat {row}",
            "sentence2": f"a {'big' if row % 5 else 'red'} cat is on the mat {row}",
        }
        for row in range(n)
    ]


def zipped(rows: list[dict[str, Any]]) -> bytes:
    return gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode(), mtime=0)


def put_data_sets(hub: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for source in ON_HUB:
        if source in LINGUISTIC:
            continue
        sizes = {split: max(12, n // SCALE) for split, n in source.sizes.items()}
        files = {}
        if "all" in source.hub_splits:
            rows = [row for split, n in sizes.items() for row in sts_rows(source, split, n)]
            listed = "split\tpair\n"
            for number, row in enumerate(rows):
                row["sentence1"] += f" {number}"
                if row["split"] in ("dev", "test"):
                    pair = fingerprints._fingerprint(
                        row["sentence1"], row["sentence2"], row["score"]
                    )
                    listed += f"{row['split']}\t{pair}\n"
                del row["split"]
            files["test.jsonl.gz"] = zipped(rows)
            (tmp_path / "fingerprints.tsv").write_text(listed)
            # the real fingerprints are of the real sentences
            scaled = replace(
                source, sizes=sizes, hub_fingerprints=str(tmp_path / "fingerprints.tsv")
            )
            monkeypatch.setattr(registry, "_SOURCES", {**registry._SOURCES, source.name: scaled})
        else:
            for split, name in source.hub_splits.items():
                files[f"{name}.jsonl.gz"] = zipped(sts_rows(source, split, sizes[split]))
        files |= {"README.md": b"---\nlanguage:\n- en\n---\n# STS\n", ".gitattributes": b"*.gz lfs"}
        hub.add("dataset", str(source.hub_id), files, commit=str(source.hub_revision))
    converted: dict[str, bytes] = {}
    for source in LINGUISTIC:
        classes = [f"class {number}" for number in range(min(source.classes or 2, 3))]
        for split in ("train", "validation", "test"):
            n = 12 * len(classes)
            features = datasets.Features(
                {
                    "sentence": datasets.Value("string"),
                    "label": datasets.ClassLabel(names=classes),
                }
            )
            rows = {
                "sentence": [f"the cat {row} is {split} {row % len(classes)}" for row in range(n)],
                "label": [row % len(classes) for row in range(n)],
            }
            path = tmp_path / "part.parquet"
            datasets.Dataset.from_dict(rows, features=features).to_parquet(str(path))
            converted[f"{source.name}/{split}/0000.parquet"] = path.read_bytes()
    (source,) = {(s.hub_id, s.hub_revision) for s in LINGUISTIC}
    script = {"linguisticprobing.py": b"raise SystemExit", "README.md": b"# Tasks"}
    hub.add("dataset", str(source[0]), script, commit=str(source[1]))
    commit = commit_of("converted")
    hub.add("dataset", str(source[0]), converted, commit=commit, branch="refs/convert/parquet")


def put_models(
    hub: StandIn, tiny_encoder_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scaled-down weights in the real layout, and their hashes in the place of the real ones."""
    declared = []
    for source in MODELS:
        if source.hub_id is None:
            declared.append(source)
            continue
        family = FAMILY.get(source.alias, "bert")
        folder = tiny_encoder_folder(family)
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        if source.alias.startswith("bert-"):
            files = legacy(files, folder)
        hub.add("model", source.hub_id, files, commit=source.revision)
        sha256 = hashlib.sha256(files["model.safetensors"]).hexdigest()
        known = source.weights_sha256 is not None
        declared.append(replace(source, module=None, weights_sha256=sha256 if known else None))
    monkeypatch.setattr(locating, "MODELS", tuple(declared))


@pytest.fixture
def filled(
    hub: StandIn,
    tmp_path: Path,
    tiny_encoder_folder: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> StandIn:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    put_data_sets(hub, tmp_path, monkeypatch)
    put_models(hub, tiny_encoder_folder, monkeypatch)
    return hub


@pytest.mark.slow
def test_every_declared_data_set_loads_under_every_protocol_online_and_offline(
    filled: StandIn,
) -> None:
    for offline in (False, True):
        filled.always = 503 if offline else None
        filled.asked.clear()
        for source in ON_HUB:
            for protocol in PROTOCOLS:
                task = load_task(source.name, protocol=protocol)
                if isinstance(task, SentencePairs):
                    assert task.split == PROTOCOLS[protocol].split_of(source.name)
                if "all" in source.hub_splits:
                    expected = sum(registry._SOURCES[source.name].sizes.values())
                    assert len(task) < expected or task.split == "all"
            for split in registry.SPLITS if "test" in source.sizes else ():
                if split in source.sizes:
                    assert len(load_task(source.name, split=split)) > 0
        if offline:
            assert filled.asked == []
    assert not any(name.endswith(".py") for name in filled.files_asked())


def test_every_declared_model_loads_from_its_pinned_revision(filled: StandIn) -> None:
    for source in MODELS:
        if source.hub_id is None:
            continue
        for name in (source.alias, source.hub_id):
            assert load_encoder(name).revision == source.revision
    fetched = filled.files_asked()
    assert not {"pytorch_model.bin", "tf_model.h5", "model.onnx", "README.md"} & set(fetched)
    assert not any("fp16" in name or "/" in name for name in fetched)


@pytest.mark.slow
def test_preset_paper_runs_from_the_hub_and_again_without_it(
    filled: StandIn, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    study = replace(
        PRESETS["paper"], n_resamples=20, n_draws=1, cache_dir=str(tmp_path / "vectors")
    )
    run = study.run(tmp_path / "run")
    assert set(study.model_names) <= set(run.scores["model"])
    assert set(study.task_names) <= set(run.scores["task"])
    (said,) = (text for text in caplog.messages if text.startswith("to download: "))
    assert re.fullmatch(r"to download: 5 models \(\S+ .B\) and 8 data sets \(\S+ .B\)", said), said
    caplog.clear()
    filled.always = 503
    filled.asked.clear()
    first = study.models[0]
    offline = replace(study, models=(first,)).run(tmp_path / "offline").scores
    assert filled.asked == []
    assert not any(text.startswith("to download") for text in caplog.messages)
    assert len(offline)
    online = run.scores[run.scores["model"].isin(offline["model"].unique())]
    assert online.reset_index(drop=True).equals(offline.reset_index(drop=True))


@pytest.mark.slow
def test_cause_and_its_prediction_run_from_the_hub(
    filled: StandIn,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(PLANS, "pilot", replace(PLANS["smoke"], tasks=("sts12",)))  # type: ignore[misc]
    small = replace(FROZEN_PLANS["smoke"], tasks=("sts12",))
    monkeypatch.setitem(FROZEN_PLANS, "pilot", small)  # type: ignore[misc]
    texts = str(write_corpus(tmp_path / "texts", documents=120))
    name = "bert-base-uncased"
    for arguments, wanted in (
        (["cause", "--model", name, "--size", "pilot", "--corpus", texts], "P1 (E1, 20 steps)"),
        (["run", "--model", name, "--task", "stsb", "--claim", "probing:PREDICTION"], "R1 "),
    ):
        out = tmp_path / arguments[0]
        argv = ["probing", *arguments, "--out", str(out)]
        monkeypatch.setattr("sys.argv", argv if arguments[0] == "cause" else [*argv, "--table"])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        assert not stopped.value.code
        assert wanted in capsys.readouterr().out
        assert (out / "report.html").is_file()
    assert "model.safetensors" in filled.files_asked()


def test_a_broken_task_stops_a_run_before_any_model_is_downloaded(
    filled: StandIn, tmp_path: Path
) -> None:
    (source,) = [source for source in ON_HUB if source.name == "stsb"]
    stored = filled.repositories["dataset", str(source.hub_id)]
    stored.commits[str(source.hub_revision)] = {"README.md": b"# nothing"}
    study = replace(PRESETS["paper"], cache_dir=str(tmp_path / "vectors"))
    with pytest.raises(InputError, match="stsb"):
        study.run(tmp_path / "run")
    assert filled.files_asked() == []


def test_parquet_with_a_schema_of_its_own(hub: StandIn, tmp_path: Path) -> None:
    (source,) = [source for source in ON_HUB if source.name == "sts16"]
    table = pa.table({"sentence1": ["a b"], "sentence2": ["c"], "score": [1.0]})
    pq.write_table(table, tmp_path / "x.parquet")
    files = {"data/test-00000-of-00001.parquet": (tmp_path / "x.parquet").read_bytes()}
    hub.add("dataset", str(source.hub_id), files, commit=str(source.hub_revision))
    assert load_task("sts16", "") is not None
