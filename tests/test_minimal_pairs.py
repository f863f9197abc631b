"""Files of minimal pairs: what becomes of a pair, and what is refused."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from probing.errors import InputError
from probing.sources.blimp import BLIMP
from probing.study.floors import measure_floors
from probing.study.settings import Settings
from probing.tasks import LabelledSentences, catalogue, load_task
from tests.hub_stand_in import StandIn


def written(path: Path, *rows: str, header: str = "good\tbad\tphenomenon") -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def pairs_of(name: str | Path, split: str | None = None) -> LabelledSentences:
    task = load_task(name, split=split)
    assert isinstance(task, LabelledSentences)
    return task


def many(path: Path, n: int) -> Path:
    return written(path, *(f"cats{k} see\tcats{k} sees\tagreement" for k in range(n)))


def test_both_halves_of_a_pair_are_in_one_split_and_one_group(tmp_path: Path) -> None:
    task = pairs_of(many(tmp_path / "own.tsv", 210))
    assert task.name == "own.tsv"
    assert len(task) == 420
    assert task.groups is not None
    for at in range(0, 420, 2):
        good, bad = task.sentences[at : at + 2]
        assert bad == f"{good}s"
        assert task.labels[at : at + 2] == ("good", "bad")
        assert task.splits[at] == task.splits[at + 1]
        assert task.groups[at] == task.groups[at + 1]
    shares = [task.splits.count(split) / 420 for split in ("train", "dev", "test")]
    assert shares == pytest.approx([4 / 7, 1 / 7, 2 / 7], abs=0.08)
    assert set(pairs_of(tmp_path / "own.tsv", split="dev").splits) == {"dev"}


def test_pairs_that_share_a_sentence_are_one_group(tmp_path: Path) -> None:
    chain = [f"good {k}\tbad {k + half}\tx" for k in range(60) for half in (0, 1)]
    task = pairs_of(written(tmp_path / "own.tsv", *chain, "other\tothers\tx"))
    assert task.groups is not None
    assert len(task) == 60 + 61 + 2
    assert len(set(task.groups)) == 2
    assert len(set(task.splits[:121])) == 1


def test_one_phenomenon_by_name(tmp_path: Path) -> None:
    path = written(tmp_path / "own.tsv", "a b\ta c\tagreement", "d e\td f\tcase")
    task = pairs_of(f"{path}:case")
    assert task.sentences == ("d e", "d f")
    assert task.name == "own.tsv:case"
    with pytest.raises(InputError, match="no pair of 'tense'; found agreement, case"):
        load_task(f"{path}:tense")


def test_splits_of_the_file_are_kept(tmp_path: Path) -> None:
    header = "good\tbad\tsplit"
    path = written(tmp_path / "own.tsv", "a b\ta c\ttr", "d e\td f\tte", header=header)
    assert pairs_of(path).splits == ("train", "train", "test", "test")


@pytest.mark.parametrize(
    ("header", "rows", "expected"),
    [
        ("good\tbad", ["a b\ta b"], "line 2: both sentences are 'a b', expected a difference"),
        ("good\tbad", ["a b\ta c", "a c\td"], "line 3: 'a c' is good in one pair and bad in"),
        ("good\tbad\tsplit", ["a\tb\ttrain", "a\tc\ttest"], "line 3: 'a' or its counterpart is in"),
        ("good\tbad", [" \tb"], "line 2: good is blank"),
    ],
)
def test_damage_is_refused_with_its_line(
    tmp_path: Path, header: str, rows: list[str], expected: str
) -> None:
    with pytest.raises(InputError, match=re.escape(expected)):
        load_task(written(tmp_path / "own.tsv", *rows, header=header))


def test_what_stands_behind_the_colon_of_another_table_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "own.tsv", "a\tb", header="sentence\tlabel")
    with pytest.raises(InputError, match=r"only minimal pairs \(good, bad\) take 'case'"):
        load_task(f"{path}:case")
    bare = written(tmp_path / "bare.tsv", "a\tb", header="good\tbad")
    with pytest.raises(InputError, match="has no column phenomenon"):
        load_task(f"{bare}:case")


def test_an_interval_takes_a_pair_as_a_whole(tmp_path: Path) -> None:
    task = pairs_of(many(tmp_path / "own.tsv", 210))
    settings = Settings(seed=0, n_resamples=200, cache_dir=None)
    rows = {row.model: row for row in measure_floors(task, settings) if row.metric == "accuracy"}
    # the majority is right on one half of every pair, whichever pairs are drawn
    majority = rows["floor:majority"]
    assert majority.value == majority.lower == majority.upper == 0.5


def put_blimp(hub: StandIn, folder: Path, paradigms: Mapping[str, int]) -> None:
    """A folder with one Parquet file for each paradigm, as on the Hub."""
    files: dict[str, bytes] = {"README.md": b"---\nlicense: cc-by-4.0\n---\n"}
    for paradigm, n in paradigms.items():
        rows = [
            {
                "sentence_good": f"Cat {row} of {paradigm} sleeps.",
                "sentence_bad": f"Cat {row} of {paradigm} sleep.",
                "UID": paradigm,
                "pair_id": row,
            }
            for row in range(n)
        ]
        pq.write_table(pa.Table.from_pylist(rows), folder / "rows.parquet")
        name = f"{paradigm}/train-00000-of-00001.parquet"
        files[name] = (folder / "rows.parquet").read_bytes()
    hub.add("dataset", "nyu-mll/blimp", files, commit=str(BLIMP[0].hub_revision))


def test_blimp_comes_from_the_hub_one_paradigm_at_a_time(
    hub: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    # one name is the beginning of another, as in `wh_vs_that_with_gap`
    put_blimp(hub, tmp_path, {"wh_island": 1000, "passive_1": 70, "passive_10": 5})
    task = load_task("blimp:wh_island")
    assert isinstance(task, LabelledSentences)
    assert (task.name, len(task), task.classes, task.remark) == (
        "blimp:wh_island",
        2000,
        ("bad", "good"),
        "",
    )
    assert hub.files_asked() == ["README.md", "wh_island/train-00000-of-00001.parquet"]
    assert all("wh_island" in text for text in task.sentences)
    assert set(task.splits) == {"train", "dev", "test"}
    test = load_task("blimp:wh_island", split="test")
    assert len(test) == task.splits.count("test")
    few = load_task("blimp:passive_1")
    assert few.remark.startswith("blimp:passive_1 all: 70 rows, the official split has 1,000")
    assert not any("passive_10" in text for text in few.sentences)  # type: ignore[union-attr]
    with pytest.raises(InputError, match="did you mean blimp:wh_island"):
        load_task("blimp:wh_islands")


def test_blimp_as_its_authors_publish_it_is_read_from_a_data_folder(tmp_path: Path) -> None:
    (tmp_path / "blimp").mkdir()
    rows = [
        {"sentence_good": f"Cat {row} sleeps.", "sentence_bad": f"Cat {row} sleep.", "UID": "x"}
        for row in range(40)
    ]
    path = tmp_path / "blimp" / "causative.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    task = load_task("blimp:causative", tmp_path)
    assert isinstance(task, LabelledSentences)
    assert (len(task), len(set(task.groups or ()))) == (80, 40)


def test_the_paradigms_of_blimp_are_67_and_one_entry_of_the_catalogue() -> None:
    assert len({source.name for source in BLIMP}) == 67
    (entry,) = (entry for entry in catalogue() if entry.name.startswith("blimp:"))
    assert all(source.name.partition(":")[2] in entry.note for source in BLIMP)
