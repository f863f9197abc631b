"""docs/encoding.md says what the benchmark found."""

import json
from pathlib import Path

import encoding_report

ROOT = Path(__file__).parent.parent
FOUND = json.loads((ROOT / "docs" / "encoding.json").read_text(encoding="utf-8"))


def test_the_document_is_made_from_the_figures() -> None:
    document = (ROOT / "docs" / "encoding.md").read_text(encoding="utf-8")
    assert document == encoding_report.markdown(FOUND)
    assert sorted(FOUND) == list("abcdef")
    for item in FOUND.values():
        assert item["machine"]["processor"] in document


def test_a_slower_run_reads_as_slower() -> None:
    run = FOUND["e"]["found"]
    slower = run | {"second": [2 * seconds for seconds in run["second"]], "ratio": run["ratio"] / 2}
    document = encoding_report.markdown({"e": FOUND["e"] | {"found": slower}})
    assert f"{run['ratio'] / 2:.0f}×" in document
