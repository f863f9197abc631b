"""Training that is killed, and training in several processes, give the curve of one quiet run."""

import multiprocessing
import os
import signal
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from probing.pretraining.config import Objective, Precision, PretrainingConfig
from probing.pretraining.trainer import Schedule
from probing.pretraining.training import LOG_COLUMNS, pretrain
from tests.test_pretraining import TINY, write_corpus
from tests.warm_process import forked

CONFIG = replace(TINY, steps=100, dropout=0.1)
LEARNT = [name for name in LOG_COLUMNS if name != "seconds"]


def schedule(cache: Path) -> Schedule:
    return Schedule(
        precision=Precision.FLOAT32,
        checkpoint_seconds=0.0,
        evaluate_every=40,
        held_out_pairs=16,
        final_held_out_pairs=16,
        cache=cache,
    )


def train(config: PretrainingConfig, folder: Path, out: str, variables: dict[str, str]) -> None:
    """One process's part of a run; at top level so that a new process can find it."""
    os.environ.update(variables)
    torch.set_num_threads(1)
    pretrain(config, folder / "texts", folder / out, schedule(folder / "cache"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("interruption")
    write_corpus(folder / "texts")
    pretrain(CONFIG, folder / "texts", folder / "quiet", schedule(folder / "cache"))
    return folder


@pytest.fixture(scope="module")
def processes() -> multiprocessing.context.ForkServerContext:
    return forked()


def curve(path: Path) -> pd.DataFrame:
    return pd.read_parquet(path / "training_log.parquet")[LEARNT]


def newest(run: Path) -> int:
    return max((int(path.name[5:]) for path in run.glob("checkpoints/step-*")), default=0)


@pytest.mark.slow
def test_ten_kills_leave_the_curve_as_it_was(
    folder: Path, processes: multiprocessing.context.ForkServerContext
) -> None:
    rng = np.random.default_rng(0)
    killed = folder / "killed"
    for moment in np.sort(rng.choice(np.arange(5, CONFIG.steps - 30), size=10, replace=False)):
        worker = processes.Process(target=train, args=(CONFIG, folder, "killed", {}))
        worker.start()
        while newest(killed) < moment:
            assert worker.is_alive()
            worker.join(0.005)
        worker.join(rng.uniform(0, 0.05))  # also strikes while a checkpoint is being written
        worker.kill()
        worker.join()
        assert worker.exitcode == -signal.SIGKILL
    pretrain(CONFIG, folder / "texts", killed, schedule(folder / "cache"))
    assert curve(killed).step.tolist() == list(range(1, CONFIG.steps + 1))
    np.testing.assert_allclose(curve(killed), curve(folder / "quiet"), atol=1e-3, rtol=0)
    assert not list((killed / "checkpoints").glob(".writing*"))


def test_a_run_that_stops_on_the_way_goes_on_where_it_stopped(folder: Path) -> None:
    step = CONFIG.batch_size * CONFIG.length
    usual, out = schedule(folder / "cache"), folder / "stopped"
    for stop in (20 * step, 20 * step, 60 * step):
        pretrain(CONFIG, folder / "texts", out, replace(usual, stop_after=stop))
        assert newest(out) == stop // step
        assert not (out / "pretraining.json").exists()
    pretrain(CONFIG, folder / "texts", out, replace(usual, stop_after=CONFIG.steps * step))
    assert (out / "pretraining.json").is_file()
    pd.testing.assert_frame_equal(curve(out), curve(folder / "quiet"), atol=1e-4, rtol=0)


@pytest.mark.parametrize("objective", [Objective.MLM_NSP, Objective.MLM])
def test_two_processes_learn_what_one_does(
    folder: Path, processes: multiprocessing.context.ForkServerContext, objective: Objective
) -> None:
    config = replace(CONFIG, dropout=0.0, steps=30, objective=objective)
    pretrain(config, folder / "texts", folder / f"one-{objective}", schedule(folder / "cache"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    workers = [
        processes.Process(
            target=train, args=(config, folder, f"two-{objective}", shared | {"RANK": str(rank)})
        )
        for rank in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    one, two = curve(folder / f"one-{objective}"), curve(folder / f"two-{objective}")
    np.testing.assert_allclose(one, two, atol=1e-3, rtol=0)
