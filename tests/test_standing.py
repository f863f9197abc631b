"""A run that stands is read, and only where it is the one that was asked for."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from probing.finetuning.experiment import FinetuningStudy, run_finetuning
from probing.finetuning.recipes import recipes_for
from probing.results.run_folder import write_run
from probing.study.standing import standing_finetuning, standing_run
from probing.study.study import Study, run_study
from tests.test_study import HEADER, ROWS, write_data


def test_only_the_same_study_on_the_same_data_stands(
    tiny_encoder_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_data(tmp_path / "data", "\n".join([HEADER, *ROWS]) + "\n")
    model = str(tiny_encoder_folder("bert"))
    study = Study(models=(model,), tasks=("stsb",), data_dir=str(data), n_resamples=20)
    folder = tmp_path / "run"
    assert standing_run(study, folder) is None
    run = run_study(study, folder)
    found = standing_run(study, folder)
    assert found is not None
    assert found.manifest["started"] == run.manifest["started"]
    monkeypatch.setenv("PROBING_DATA", str(data))
    assert standing_run(replace(study, data_dir=None), folder) is not None
    for other in (replace(study, seed=1), replace(study, n_resamples=30)):
        assert standing_run(other, folder) is None
    write_run(replace(run, manifest=run.manifest | {"versions": {}}))
    assert standing_run(study, folder) is None
    write_run(run)
    assert standing_run(study, folder) is not None
    with (data / "sts" / "stsb.tsv").open("a", encoding="utf-8") as file:
        file.write(f"{ROWS[-1]}\n")
    assert standing_run(study, folder) is None


def test_fine_tuning_stands_too(tiny_encoder_folder: Callable[[str], Path], tmp_path: Path) -> None:
    study = FinetuningStudy(
        model=str(tiny_encoder_folder("bert")),
        tasks=("generated:past_present",),
        train_sizes=(16,),
        seeds=(0,),
        recipes=recipes_for(most_steps=1),
        n_resamples=20,
    )
    folder = tmp_path / "run"
    assert standing_finetuning(study, folder) is None
    run = run_finetuning(study, folder)
    found = standing_finetuning(study, folder)
    assert found is not None
    assert found.manifest["started"] == run.manifest["started"]
    for other in (
        replace(study, seeds=(1,)),
        replace(study, train_sizes=(32,)),
        replace(study, recipes=recipes_for(most_steps=2)),
    ):
        assert standing_finetuning(other, folder) is None
