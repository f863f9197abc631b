"""Which source a task comes from, how it is named, and what is said when it is not whole."""

import hashlib
import logging
import re
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import numpy as np
import pytest

from probing.errors import InputError
from probing.sources import shipped
from probing.sources.declarations import DATASETS, LINGUISTIC, DatasetSource, TaskKind
from probing.sources.shipped import shipped_data
from probing.tasks import (
    PROTOCOLS,
    LabelledSentences,
    SentencePairs,
    Task,
    catalogue,
    find_protocol,
    load_task,
    registry,
)
from probing.tasks.official import recover_subsets

SOURCES = {source.name: source for source in DATASETS}


@pytest.fixture(autouse=True)
def _no_network_and_no_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(source: DatasetSource) -> None:
        raise InputError(f"the Hub cannot be reached for {source.hub_id}")

    monkeypatch.setattr(registry, "read_hub", unreachable)


def pairs_file(path: Path, *rows: tuple[str, str, str], subset: str = "") -> Path:
    """A file of sentence pairs: split, score, first sentence; the second one is made up."""
    header = ["split", "score", "sentence1", "sentence2"] + (["subset"] if subset else [])
    lines = [[*row, f"other than {row[2]}"] + ([subset] if subset else []) for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join(line) + "\n" for line in [header, *lines]), encoding="utf-8")
    return path


def whole_year(name: str, order: list[str], *, named: bool) -> str:
    """A file with the official sizes and means of a year, blocks in the given order."""
    source = SOURCES[name]
    lines = ["split\tscore\tsentence1\tsentence2" + ("\tsubset" if named else "")]
    for subset in order:
        for row in range(source.subsets[subset]):
            cells = ["test", str(source.subset_means[subset]), f"{subset} {row}", "b"]
            lines.append("\t".join(cells + ([subset] if named else [])))
    return "\n".join(lines) + "\n"


def load_pairs(name: str, folder: Path | None = None, **options: str) -> SentencePairs:
    task = load_task(name, folder, **options)  # type: ignore[arg-type]
    assert isinstance(task, SentencePairs)
    return task


def test_the_data_folder_comes_first_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pairs_file(tmp_path / "sts" / "stsb.tsv", ("test", "1", "given"))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    task = load_pairs("stsb", tmp_path)
    assert task.origin == f"file sts/stsb.tsv sha256:{digest}"
    monkeypatch.setenv("PROBING_DATA", str(tmp_path))
    assert load_pairs("stsb").origin == task.origin
    other = tmp_path / "other"
    pairs_file(other / "sts" / "stsb.tsv", ("test", "2", "argument"))
    assert load_pairs("stsb", other).sentences1 == ("argument",)


def test_a_data_folder_that_is_not_there_is_no_silent_change_of_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=r"--data-dir is .*absent, which is not a folder"):
        load_task("sts-mini", tmp_path / "absent")
    monkeypatch.setenv("PROBING_DATA", str(tmp_path / "absent"))
    with pytest.raises(InputError, match=r"PROBING_DATA is .*absent, which is not a folder"):
        load_task("sts-mini")


def test_the_shipped_pairs_are_whole_and_unchanged() -> None:
    source = SOURCES["sts-mini"]
    content = (shipped_data() / source.local).read_bytes()
    assert hashlib.sha256(content).hexdigest() == source.sha256
    task = load_pairs("sts-mini")
    assert task.origin == f"shipped {source.local} sha256:{source.sha256}"
    assert (task.split, len(task), task.remark) == ("test", 410, "")
    assert task.subsets is not None
    assert {name: task.subsets.count(name) for name in source.subsets} == source.subsets
    assert len(load_pairs("sts-mini", split="dev")) == 274


def test_a_given_folder_without_the_file_is_said_to_have_been_passed_over(tmp_path: Path) -> None:
    task = load_pairs("sts-mini", tmp_path)
    assert task.origin.startswith("shipped sts-mini/sts-mini.tsv sha256:")
    assert task.origin.endswith(" (the data folder has no sts-mini/sts-mini.tsv)")


def test_a_shipped_file_that_was_changed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs_file(tmp_path / "sts-mini" / "sts-mini.tsv", ("test", "1", "a"))
    monkeypatch.setattr(registry, "shipped_data", lambda: tmp_path)
    with pytest.raises(InputError, match=r"SHA-256 is .*, expected e8241b25.*has been changed"):
        load_task("sts-mini")


def test_a_broken_installation_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        shipped, "__file__", str(tmp_path / "site" / "probing" / "sources" / "shipped.py")
    )
    with pytest.raises(InputError, match="install probing again"):
        shipped_data()
    installed = tmp_path / "site" / "probing" / "data"
    installed.mkdir(parents=True)
    assert shipped_data() == installed.resolve()


def test_a_task_found_nowhere_lists_what_was_tried(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_task("stsb", tmp_path)
    message = str(caught.value)
    for part in ("the data folder has no sts/stsb.tsv", "does not ship it", "--data-dir"):
        assert part in message
    assert "the Hub cannot be reached for mteb/stsbenchmark-sts" in message
    with pytest.raises(InputError, match=r"no data folder was given \(--data-dir or PROBING_DATA"):
        load_task("mr")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("STSB", "did you mean stsb"),
        ("bigram-shift", "did you mean bigram_shift"),
        ("stsb:xpos", "unknown task 'stsb:xpos'"),
        ("", "Known are sts-mini, sts12"),
        ("ewt:bigramshift", "did you mean ewt:bigram_shift"),
    ],
)
def test_an_unknown_name_lists_the_near_and_the_known_ones(name: str, expected: str) -> None:
    with pytest.raises(InputError, match=re.escape(expected)):
        load_task(name)


def test_an_unknown_split_or_protocol_is_refused() -> None:
    with pytest.raises(InputError, match="unknown split 'tst', expected one of train, dev, test"):
        load_task("sts-mini", split="tst")
    with pytest.raises(InputError, match="unknown protocol 'sbert', expected one of simcse, mteb"):
        load_task("sts-mini", protocol="sbert")


def test_a_task_object_is_passed_through() -> None:
    task = load_pairs("sts-mini")
    assert load_task(task) is task


def test_the_invariants_of_pairs_and_labelled_sentences() -> None:
    pairs = load_pairs("sts-mini")
    assert len(pairs) == len(pairs.scores)
    with pytest.raises(ValueError, match="a column has 1 entries for 410 scores"):
        replace(pairs, sentences1=("a",))
    with pytest.raises(InputError, match="found no rows"):
        replace(pairs, sentences1=(), sentences2=(), subsets=None, scores=np.empty(0))
    labelled = LabelledSentences("t", ("a", "b"), ("x", "y"), ("train", "test"), "o")
    assert (len(labelled), labelled.classes) == (2, ("x", "y"))
    with pytest.raises(ValueError, match="labels has 1 entries for 2 items"):
        replace(labelled, labels=("x",))
    with pytest.raises(InputError, match="found no items"):
        replace(labelled, sentences=(), labels=(), splits=())
    with pytest.raises(InputError, match="unknown split 'te', expected one of train, dev, test"):
        replace(labelled, splits=("train", "te"))


def test_other_rows_than_the_official_ones_are_remarked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [("test", "1", str(row)) for row in range(1378)]
    pairs_file(tmp_path / "sts" / "stsb.tsv", *rows)
    with caplog.at_level(logging.WARNING):
        task = load_pairs("stsb", tmp_path)
    expected = "stsb test: 1,378 rows, the official split has 1,379: its numbers are not comparable"
    assert task.remark == expected
    assert expected in caplog.messages
    pairs_file(tmp_path / "sts" / "stsb.tsv", *rows, ("test", "1", "last"))
    caplog.clear()
    assert load_pairs("stsb", tmp_path).remark == ""
    assert not caplog.messages


def test_other_subsets_than_the_official_ones_are_remarked(tmp_path: Path) -> None:
    (tmp_path / "sts").mkdir()
    text = whole_year("sts13", ["FNWN", "OnWN", "headlines"], named=True)
    (tmp_path / "sts" / "sts13.tsv").write_text(text, encoding="utf-8")
    task = load_pairs("sts13", tmp_path)
    assert (task.remark, len(set(task.subsets or ()))) == ("", 3)
    changed = text.replace("\tFNWN\n", "\tSMT\n", 1)
    (tmp_path / "sts" / "sts13.tsv").write_text(changed, encoding="utf-8")
    remark = load_pairs("sts13", tmp_path).remark
    assert "sts13 test FNWN: 188 rows, the official subset has 189" in remark
    assert "sts13 test SMT: 1 rows, the official subset has 0" in remark


@pytest.mark.parametrize("order", [["headlines", "OnWN", "FNWN"], ["FNWN", "headlines", "OnWN"]])
def test_subsets_are_recovered_in_whatever_order_they_stand(
    tmp_path: Path, order: list[str]
) -> None:
    (tmp_path / "sts").mkdir()
    text = whole_year("sts13", order, named=False)
    (tmp_path / "sts" / "sts13.tsv").write_text(text, encoding="utf-8")
    task = load_pairs("sts13", tmp_path, protocol="mteb")
    assert task.subsets == tuple(sentence.split()[0] for sentence in task.sentences1)
    assert task.remark == ""


def test_subsets_that_cannot_be_recovered_are_not_guessed(tmp_path: Path) -> None:
    (tmp_path / "sts").mkdir()
    lines = whole_year("sts13", ["headlines", "OnWN", "FNWN"], named=False).splitlines()
    shuffled = [lines[0], *np.random.default_rng(0).permutation(lines[1:]).tolist()]
    (tmp_path / "sts" / "sts13.tsv").write_text("\n".join(shuffled), encoding="utf-8")
    task = load_pairs("sts13", tmp_path)
    assert task.subsets is None
    assert "only the aggregation all can be had" in task.remark
    assert "not comparable" not in task.remark
    assert recover_subsets(replace(task, scores=task.scores * 0), SOURCES["sts13"]) is None
    assert recover_subsets(task, replace(SOURCES["sts13"], subset_means={})) is None


def test_sts_benchmark_has_no_subsets_whatever_its_file_says(tmp_path: Path) -> None:
    pairs_file(tmp_path / "sts" / "stsb.tsv", ("test", "1", "a"), subset="MSRvid")
    assert load_pairs("stsb", tmp_path).subsets is None


def test_scores_outside_the_range_of_the_task_are_refused(tmp_path: Path) -> None:
    pairs_file(tmp_path / "sts" / "sickr.tsv", ("test", "0.5", "a"))
    with pytest.raises(InputError, match=re.escape("score is '0.5', expected a number in 1–5")):
        load_task("sickr", tmp_path)


@pytest.mark.parametrize("folder", ["linguistic", "probing"])
def test_the_files_of_senteval_are_read_as_they_are(tmp_path: Path, folder: str) -> None:
    path = tmp_path / folder / "bigram_shift.txt"
    path.parent.mkdir()
    path.write_text('tr\tO\tA " here .\nva\tI\tB here .\nte\tO\tC here .\n', encoding="utf-8")
    task = load_task("bigram_shift", tmp_path)
    assert isinstance(task, LabelledSentences)
    assert task.sentences == ('A " here .', "B here .", "C here .")
    assert (task.labels, task.splits) == (("O", "I", "O"), ("train", "dev", "test"))
    assert task.origin.startswith(f"file {folder}/bigram_shift.txt sha256:")
    path.write_text("tr\tO\tA here .\nxx\tI\tB here .\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"bigram_shift\.txt, line 2: split is 'xx'"):
        load_task("bigram_shift", tmp_path)


def test_a_few_rows_more_than_round_official_numbers_are_no_remark(tmp_path: Path) -> None:
    source = replace(SOURCES["bigram_shift"], sizes={"train": 20, "test": 10})
    path = tmp_path / "linguistic" / "bigram_shift.tsv"
    path.parent.mkdir()
    for rows, remarked in ((20, False), (21, False), (19, True), (30, True)):
        lines = ["split\tlabel\tsentence", *["tr\tO\ta"] * rows, *["te\tO\ta"] * 10]
        path.write_text("\n".join(lines), encoding="utf-8")
        task = registry.read_official(
            source, registry.read_table(path), split=None, protocol=PROTOCOLS["simcse"]
        )
        assert bool(task.remark) is remarked


def test_a_task_on_the_text_of_senteval_never_becomes_that_of_a_treebank(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="task bigram_shift was found nowhere"):
        load_task("bigram_shift", tmp_path)
    assert load_task("ewt:bigram_shift", tmp_path).name == "ewt:bigram_shift"


@pytest.mark.parametrize(("name", "column"), [("trec", "coarse"), ("trec-fine", "fine")])
def test_coarse_and_fine_question_types(tmp_path: Path, name: str, column: str) -> None:
    path = tmp_path / "transfer" / "trec.tsv"
    path.parent.mkdir()
    path.write_text("split\tcoarse\tfine\tsentence\ntest\tcoarse A\tfine B\twho ?\n")
    task = load_task(name, tmp_path)
    assert isinstance(task, LabelledSentences)
    assert task.labels == ({"coarse": "coarse A", "fine": "fine B"}[column],)


def test_the_blank_sentences_of_official_files_become_a_full_stop(tmp_path: Path) -> None:
    path = tmp_path / "transfer" / "cr.tsv"
    path.parent.mkdir()
    lines = ["label\tsentence", "1\tgood", *["0\t "] * 4]
    path.write_text("\n".join(lines), encoding="utf-8")
    task = load_task("cr", tmp_path)
    assert isinstance(task, LabelledSentences)
    assert task.sentences == ("good", ".", ".", ".", ".")
    path.write_text("\n".join([*lines, "0\t "]), encoding="utf-8")
    with pytest.raises(InputError, match="line 3: sentence is blank beyond the 4 known blank ones"):
        load_task("cr", tmp_path)


def _offer(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    point = EntryPoint(name=name, value=value, group="probing.tasks")
    monkeypatch.setattr(
        registry, "entry_points", lambda group: [point] if group == "probing.tasks" else []
    )


def offered() -> Task:
    """What a package of another author would offer."""
    return LabelledSentences("theirs", ("a", "b"), ("x", "y"), ("", ""), "made for a test")


def offered_wrongly() -> str:
    return "not a task"


def offered_and_broken() -> Task:
    raise RuntimeError("no such file in their package")


def test_a_task_of_another_package(monkeypatch: pytest.MonkeyPatch) -> None:
    _offer(monkeypatch, "theirs", f"{__name__}:offered")
    assert load_task("theirs") == offered()
    assert "theirs" in {entry.name for entry in catalogue()}
    with pytest.raises(InputError, match="did you mean theirs"):
        load_task("their")
    _offer(monkeypatch, "theirs", f"{__name__}:offered_wrongly")
    with pytest.raises(InputError, match=r"theirs .* is a str, expected SentencePairs"):
        load_task("theirs")
    _offer(monkeypatch, "theirs", f"{__name__}:offered_and_broken")
    with pytest.raises(InputError, match="could not be made: RuntimeError: no such file"):
        load_task("theirs")
    _offer(monkeypatch, "theirs", "no_such_package:task")
    with pytest.raises(InputError, match="could not be made: ModuleNotFoundError"):
        load_task("theirs")


def test_the_group_of_entry_points_is_asked_by_its_name() -> None:
    assert set(registry.task_entry_points()) == {
        p.name for p in entry_points(group="probing.tasks")
    }


def test_the_catalogue_says_everything_of_every_task() -> None:
    entries = {entry.name: entry for entry in catalogue()}
    assert set(SOURCES) | {f"ewt:{source.name}" for source in LINGUISTIC} <= set(entries)
    for entry in entries.values():
        assert entry.kind in TaskKind
        assert entry.title
        assert entry.licence
        assert entry.citation
        assert entry.where
        assert entry.size, entry.name
        assert entry.target, entry.name
    assert entries["stsb"].size == "train 5,749, dev 1,500, test 1,379"
    assert entries["stsb"].target == "scores 0–5"
    assert entries["sickr"].target == "scores 1–5"
    assert entries["word_content"].target == "1,000 classes"
    assert entries["bigram_shift"].size == "train 100,000+, dev 10,000+, test 10,000+"
    assert entries["sts14"].subsets == 6


def test_the_declarations_agree_with_themselves() -> None:
    assert len(SOURCES) == len(DATASETS)
    for source in DATASETS:
        if source.subsets:
            assert sum(source.subsets.values()) == source.sizes["test"], source.name
        assert set(source.subset_means) in (set(), set(source.subsets))
        assert (source.hub_id is None) == (source.hub_revision is None) == (not source.hub_splits)
        if source.hub_revision is not None:
            assert re.fullmatch("[0-9a-f]{40}", source.hub_revision)
        assert (source.score_range is not None) == (source.kind is TaskKind.PAIRS)


def test_the_protocols_prepare_the_text_as_their_sources_do() -> None:
    raw = "  The  cat\u00a0sat. "
    assert PROTOCOLS["mteb"].prepare(raw, "stsb") == raw
    assert PROTOCOLS["simcse"].prepare(raw, "stsb") == "the cat sat."
    assert PROTOCOLS["simcse"].prepare(raw, "sickr") == "The cat sat."
    assert PROTOCOLS["senteval"].prepare(raw, "sts12") == "the cat sat."
    assert PROTOCOLS["bert-whitening"].prepare(raw, "sickr") == "the  cat\u00a0sat."
    for protocol in PROTOCOLS.values():
        assert protocol.prepare(raw, "sts-mini") == raw
        assert protocol.seen
        assert protocol.note
    assert [PROTOCOLS[name].max_length for name in PROTOCOLS] == [None, None, 64, 64, None]
    assert [str(PROTOCOLS[name].aggregation) for name in PROTOCOLS] == [
        "all",
        "all",
        "wmean",
        "wmean",
        "mean",
    ]


def test_a_protocol_chooses_the_split_and_an_argument_overrides_it(tmp_path: Path) -> None:
    pairs_file(
        tmp_path / "sts" / "sickr.tsv",
        ("train", "1", "One"),
        ("trial", "2", "Two"),
        ("test", "3", "Three"),
    )
    chosen = {
        "simcse": ("test", ("Three",)),
        "mteb": ("all", ("One", "Two", "Three")),
        "bert-flow": ("test", ("three",)),
    }
    for protocol, (split, sentences) in chosen.items():
        task = load_pairs("sickr", tmp_path, protocol=protocol)
        assert (task.split, task.sentences1) == (split, sentences)
    dev = load_task("sickr", tmp_path, split="trial", protocol=find_protocol("mteb"))
    assert isinstance(dev, SentencePairs)
    assert (dev.split, dev.sentences1) == ("dev", ("Two",))
    with pytest.raises(InputError, match="unknown split"):
        load_task("sickr", tmp_path, split="trail")
