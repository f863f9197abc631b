"""E2 with a tiny encoder: cells, looks, pairing by seed, killing and resuming."""

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file

from probing.cause import continuation
from probing.cause.continuation import (
    BATCH,
    MLM,
    NSP,
    ROW_COLUMNS,
    SHUFFLED,
    Cell,
    Continuation,
    Plan,
    common_look,
    read_rows,
    run_continuation,
)
from probing.cause.dissection import read_out, swapped
from probing.cause.rows import continued_rows, floor_rows
from probing.cause.suite import cosines, load_suite
from probing.cause.verdict import decide
from probing.encoding.encoder import load_encoder
from probing.errors import InputError
from probing.pretraining.start import find_start
from probing.tasks.pairs import SentencePairs
from probing.tasks.registry import load_task
from tests.test_pretraining import TOPICS, write_corpus
from tests.warm_process import forked

LENGTH = 32
STEP = BATCH * LENGTH
PLAN = Plan(
    head_tokens=2 * STEP,
    shared_tokens=4 * STEP,
    until_loss=0.0,
    looks=(0, 3 * STEP, 6 * STEP),
    seeds={MLM.name: 2, NSP.name: 2, SHUFFLED.name: 1},
    length=LENGTH,
    held_out_pairs=16,
    tasks=("stsb",),
)


def write_pairs(folder: Path) -> Path:
    """An STS-B of topic words: dev pairs, and test pairs of which one is in dev too."""
    rng = np.random.default_rng(1)
    words = [word for topic in TOPICS.values() for word in topic]

    def sentence() -> str:
        return " ".join(rng.choice(words, size=rng.integers(3, 9)))

    lines = ["split\tsubset\tscore\tsentence1\tsentence2"]
    pairs = [(sentence(), sentence()) for _ in range(40)]
    for split, rows in (("dev", pairs[:6]), ("test", pairs[5:])):
        lines += [f"{split}\tx\t{rng.uniform(0, 5):.2f}\t{a}\t{b}" for a, b in rows]
    (folder / "sts").mkdir(parents=True)
    (folder / "sts" / "stsb.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def bert(tiny_encoder_folder: Callable[[str], Path]) -> Path:
    return tiny_encoder_folder("bert")


@pytest.fixture(scope="module")
def work(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Continuation:
    folder = tmp_path_factory.mktemp("e2")
    write_corpus(folder / "texts")
    made = Continuation(
        encoder=str(bert),
        corpus=folder / "texts",
        out=folder / "quiet",
        plan=PLAN,
        data_dir=write_pairs(folder / "data"),
    )
    # Rounding differs with the number of threads; all processes of a run have the same.
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert run_continuation(made)
    torch.set_num_threads(n_threads)
    return made


def rows_of(work: Continuation) -> pd.DataFrame:
    return read_rows(work.out, work.plan)


def test_every_cell_has_its_looks(work: Continuation) -> None:
    rows = rows_of(work)
    assert tuple(rows.columns) == ROW_COLUMNS
    assert read_rows(work.out / "nothing", PLAN).empty
    assert set(rows.tokens) == set(PLAN.looks)
    scores = rows[rows.metric == "spearman"]
    assert len(scores) == 5 * 3 * 4  # cells, looks, views
    assert scores.value.between(-1, 1).all()
    assert set(scores.n) == {34}  # 35 test pairs, one of them is a dev pair
    losses = rows[rows.metric == "mlm_loss"]
    assert len(losses) == 5 * 3
    accuracy = rows[(rows.metric == "sentence_accuracy") & (rows.arm == "mlm")].value
    assert accuracy.isna().all()
    assert not list(work.out.glob("*/checkpoints"))


def test_all_cells_come_to_one_look_before_any_goes_on(work: Continuation) -> None:
    written = [
        [
            (work.out / cell.folder / "looks" / f"{tokens:010d}.parquet").stat().st_mtime_ns
            for cell in PLAN.cells()
        ]
        for tokens in PLAN.looks[1:]
    ]
    assert max(written[0]) < min(written[1])


def test_arms_of_a_seed_start_alike_and_seeds_do_not(work: Continuation) -> None:
    rows = rows_of(work)
    start = rows[(rows.tokens == 0) & (rows.metric == "spearman") & (rows.view == "pooler")]
    assert len(set(zip(start.seed, start.value, strict=True))) == 2
    assert len(set(start.value)) == 2
    cls = rows[(rows.tokens == 0) & (rows.view == "cls")]
    assert len(set(cls.value)) == 1


def test_only_a_sentence_loss_moves_the_pooler(work: Continuation) -> None:
    for arm, moved in ((MLM, False), (NSP, True), (SHUFFLED, True)):
        looks = work.out / Cell(arm, 0).folder / "looks"
        start, end = (
            load_file(looks / f"{tokens:010d}.pooler.safetensors")["weight"]
            for tokens in (0, PLAN.looks[-1])
        )
        assert (start != end).any() == moved, arm.name


def test_the_last_look_is_of_the_encoder_that_is_kept(work: Continuation) -> None:
    folder = work.out / Cell(NSP, 1).folder
    encoder = load_encoder(folder)
    task = load_task("stsb", work.data_dir)
    assert isinstance(task, SentencePairs)
    vectors = [
        encoder.tokenizer(list(side), padding=True, return_tensors="pt")
        for side in (task.sentences1, task.sentences2)
    ]
    with torch.no_grad():
        first, second = (encoder.model(**inputs).pooler_output.numpy() for inputs in vectors)
    stacked = np.concatenate([first, second])
    n = len(task.scores)
    expected = cosines(stacked, np.stack([np.arange(n), np.arange(n) + n], axis=1))
    found = load_file(folder / "looks" / f"{PLAN.looks[-1]:010d}.cosines.safetensors")
    dev = load_task("stsb", work.data_dir, split="dev")
    assert isinstance(dev, SentencePairs)
    seen = set(zip(dev.sentences1, dev.sentences2, strict=True))
    kept = [pair not in seen for pair in zip(task.sentences1, task.sentences2, strict=True)]
    np.testing.assert_allclose(found["stsb/pooler"], expected[kept], atol=0.01)  # bfloat16


def test_a_task_with_labels_is_refused(work: Continuation, tmp_path: Path) -> None:
    (tmp_path / "x.tsv").write_text("split\tlabel\tsentence\ntrain\ta\tb\ntest\tb\tc\n")
    with pytest.raises(InputError, match="sentence pairs"):
        load_suite(find_start(work.encoder).tokenizer, work.data_dir, (str(tmp_path / "x.tsv"),))


def begin(work: Continuation) -> None:
    """One process's part; at top level so that a new process can find it."""
    torch.set_num_threads(1)
    continuation._CHECKPOINT_SECONDS = 0.0  # type: ignore[misc]
    run_continuation(work)


@pytest.mark.slow
def test_ten_kills_leave_the_rows_as_they_were(work: Continuation) -> None:
    processes = forked()
    killed = replace(work, out=work.out.parent / "killed")
    begun = time.monotonic()
    undisturbed = processes.Process(target=begin, args=(killed,))
    undisturbed.start()
    undisturbed.join()
    whole = time.monotonic() - begun  # so that the moments fall within a run on any machine
    rng = np.random.default_rng(0)
    kills = 0
    for _ in range(50):
        if len(list(killed.out.glob("*/cell.json"))) == sum(PLAN.seeds.values()):
            shutil.rmtree(killed.out)  # it ended between two kills: from the beginning again
        worker = processes.Process(target=begin, args=(killed,))
        worker.start()
        worker.join(rng.uniform(0.0, whole / 2))
        if worker.exitcode is None:
            worker.kill()
            worker.join()
            kills += 1
        if kills == 10:
            break
    assert kills == 10
    begin(killed)
    keys = ["arm", "seed", "tokens", "task", "view", "metric"]
    one, other = (rows_of(made).sort_values(keys).reset_index(drop=True) for made in (work, killed))
    pd.testing.assert_frame_equal(one, other, atol=1e-4, rtol=0)


def test_two_processes_share_the_cells(work: Continuation) -> None:
    processes = forked()
    shared = replace(work, out=work.out.parent / "shared-out")
    workers = [processes.Process(target=begin, args=(shared,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    assert run_continuation(shared)
    pd.testing.assert_frame_equal(rows_of(work), rows_of(shared), atol=1e-4, rtol=0)


def test_pairs_are_compared_at_the_last_look_that_all_have_come_to(work: Continuation) -> None:
    """Rows of a cell that has gone on are left out until the others have followed."""
    early = replace(work, out=work.out.parent / "early")
    shutil.copytree(work.out, early.out)
    first, middle, last = PLAN.looks
    suite = load_suite(find_start(work.encoder).tokenizer, work.data_dir, PLAN.tasks)
    whole = continued_rows(early, suite)
    assert set(whole["experiment"]) == {"E2", "E3", "S5"}
    assert common_look(early.out, PLAN) == last
    looks = early.out / Cell(NSP, 1).folder / "looks"
    for path in looks.glob(f"{last:010d}.*"):
        path.unlink()
    assert common_look(early.out, PLAN) == middle
    part = continued_rows(early, suite)
    assert set(part["experiment"]) == {"E2"}
    assert set(part["dose"]) == {first, middle}
    keys = ["arm", "seed", "dose", "task", "view", "metric"]
    measured = whole[(whole["experiment"] == "E2") & (whole["dose"] <= middle)]
    again = part.merge(measured, on=keys, suffixes=("", "_whole"))
    assert len(again) == len(measured)
    pd.testing.assert_series_equal(again["value"], again["value_whole"], check_names=False)
    told = decide(pd.concat([part, floor_rows(suite, find_start(work.encoder))]), "toy")
    assert any(sentence.startswith("P2 (E2") for sentence in told.estimates)
    assert not any(sentence.startswith("S6") for sentence in told.estimates)
    for path in looks.glob(f"{middle:010d}.*"):
        path.unlink()
    assert continued_rows(early, suite).empty


def test_a_swap_of_nothing_is_what_was_measured(work: Continuation) -> None:
    suite = load_suite(find_start(work.encoder).tokenizer, work.data_dir, PLAN.tasks)
    swaps = swapped(work.out, suite, seeds=2)
    assert len(swaps) == 2 * 2 * 2 * 2  # seeds, bodies, poolers, views
    rows = rows_of(work)
    end = rows[(rows.tokens == PLAN.looks[-1]) & (rows.metric == "spearman")]
    for arm, pooler in (("mlm", "start"), ("mlm+nsp", "trained")):
        mine = swaps[(swaps.body == arm) & (swaps.pooler == pooler) & (swaps["view"] == "pooler")]
        measured = end[(end.arm == arm) & (end["view"] == "pooler")]
        np.testing.assert_allclose(mine.value, measured.value, atol=0.01)  # kept in float16


def test_a_readout_brings_back_what_is_there(work: Continuation) -> None:
    suite = load_suite(find_start(work.encoder).tokenizer, work.data_dir, PLAN.tasks)
    found = read_out(work.out, suite, {NSP: 2, SHUFFLED: 2})
    assert set(zip(found.arm, found.seed, strict=True)) == {
        ("mlm+nsp", 0),
        ("mlm+nsp", 1),
        ("mlm+shuffled", 0),
    }
    value = found.set_index(["arm", "seed", "view", "readout"]).value
    # The mean regressed onto itself is the mean, but for a mean that is taken away and put back.
    np.testing.assert_allclose(
        value.xs(("mean", "ridge"), level=("view", "readout")),
        value.xs(("mean", "none"), level=("view", "readout")),
        atol=0.05,
    )
    assert found.value.notna().all()


def test_the_body_is_frozen_until_the_head_has_learnt(work: Continuation, bert: Path) -> None:
    given = load_file(bert / "model.safetensors")
    head, shared = (load_file(work.out / name / "model.safetensors") for name in ("head", "shared"))
    name = "encoder.layer.0.output.dense.weight"
    np.testing.assert_array_equal(head[f"bert.{name}"], given[name])
    assert (shared[f"bert.{name}"] != given[name]).any()
    transform = "cls.predictions.transform.dense.weight"
    assert (head[transform] != shared[transform]).any()
