"""The table of mutants is counted from what a run leaves."""

import json
from pathlib import Path

import mutants
import pytest


def test_every_mutant_is_counted_once(tmp_path: Path) -> None:
    folder = tmp_path / "probing" / "results"
    folder.mkdir(parents=True)
    for name, codes in {
        "names": [1, 1, 3, 0, 33, None, None, 36],
        "scores": [None],
        "__init__": [],
    }.items():
        meta = {"exit_code_by_key": {f"mutant {n}": code for n, code in enumerate(codes)}}
        (folder / f"{name}.py.meta").write_text(json.dumps(meta), encoding="utf-8")
    found = mutants.fates(tmp_path)
    assert {module: len(fates) for module, fates in found.items()} == {
        "results/names": 8,
        "results/scores": 1,
    }
    lines = mutants.table(found).splitlines()
    assert lines[2] == "| results/names | 8 | 3 | 1 | 1 | 1 | 2 | 60.0% |"
    assert lines[3] == "| results/scores | 1 | 0 | 0 | 0 | 0 | 1 | – |"
    assert lines[4] == "| all | 9 | 3 | 1 | 1 | 1 | 3 | 60.0% |"
    assert len({line.count("|") for line in lines}) == 1


def test_the_share_of_a_sample_has_an_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    fates = {f"m{n:03}": mutants.KILLED if n % 10 else mutants.SURVIVED for n in range(900)}
    found = {"one": fates, "two": {"n": mutants.NOT_RUN}}
    drawn = mutants.sample(found)
    assert len(set(drawn)) == mutants.SAMPLE
    assert drawn == mutants.sample(found)
    assert set(drawn) <= {*fates, "n"}
    monkeypatch.setattr(mutants, "SAMPLE", 901)
    assert mutants.share(found) == (
        "Of a random sample of 901 mutants 900 were run so far, the quick ones first, and 810 of "
        "them are killed.\n"
    )
    assert mutants.share({"one": fates}).startswith(
        "Of a random sample of 900 mutants 810 are killed: 90.0% [87.9%, 91.8%]."
    )
    assert mutants.share({"two": {"n": mutants.NOT_RUN}}) == ""
