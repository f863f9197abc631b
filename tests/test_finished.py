"""A finished run is read and not repeated, and only where it is the one that was asked for."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import probing
from probing.finetuning.recipes import recipes_for
from probing.results.run_folder import write_run
from tests.test_study import HEADER, ROWS, write_data


@pytest.mark.slow
def test_the_same_study_on_the_same_data_is_not_repeated(
    tiny_encoder_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_data(tmp_path / "data", "\n".join([HEADER, *ROWS]) + "\n")
    model = str(tiny_encoder_folder("bert"))
    study = probing.Study(models=[model], tasks=["stsb"], data_dir=str(data), n_resamples=20)
    folder = tmp_path / "run"
    run = study.run(folder)
    began = run.manifest["started"]

    def repeated(wanted: probing.Study, **options: bool) -> bool:
        """Whether a study is measured again, told by a mark in the manifest of the run there."""
        write_run(folder, run.scores, run.manifest | {"started": "marked"})
        found = wanted.run(folder, **options)
        return found.manifest["started"] != "marked"

    assert not repeated(study)
    assert repeated(study, again=True)
    monkeypatch.setenv("PROBING_DATA", str(data))
    assert not repeated(replace(study, data_dir=None))
    assert repeated(replace(study, seed=1))
    assert repeated(replace(study, n_resamples=30))
    write_run(folder, run.scores, run.manifest | {"versions": {}})
    assert study.run(folder).manifest["versions"]
    with (data / "sts" / "stsb.tsv").open("a", encoding="utf-8") as file:
        file.write(f"{ROWS[-1]}\n")
    assert repeated(study)
    assert began != "marked"


@pytest.mark.slow
def test_finished_fine_tuning_is_not_repeated(
    tiny_encoder_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    study = probing.FinetuningStudy(
        model=str(tiny_encoder_folder("bert")),
        tasks=("ewt:past_present",),
        train_sizes=(16,),
        seeds=(0,),
        recipes=recipes_for(most_steps=1),
        n_resamples=20,
    )
    run = study.run(tmp_path / "run")
    for wanted, again in (
        (study, False),
        (replace(study, seeds=(1,)), True),
        (replace(study, train_sizes=(32,)), True),
        (replace(study, recipes=recipes_for(most_steps=2)), True),
    ):
        write_run(run.folder, run.scores, run.manifest | {"started": "marked"})
        found = wanted.run(tmp_path / "run")
        assert (found.manifest["started"] != "marked") is again
