"""The table of mutants is counted from what a run leaves."""

import json
from pathlib import Path

import mutants


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
    found = mutants.count(tmp_path)
    assert {module: fates.total() for module, fates in found.items()} == {
        "results/names": 8,
        "results/scores": 1,
    }
    lines = mutants.table(found).splitlines()
    assert lines[2] == "| results/names | 8 | 3 | 1 | 1 | 1 | 2 | 60.0% |"
    assert lines[3] == "| results/scores | 1 | 0 | 0 | 0 | 0 | 1 | – |"
    assert lines[4] == "| all | 9 | 3 | 1 | 1 | 1 | 3 | 60.0% |"
    assert len({line.count("|") for line in lines}) == 1
