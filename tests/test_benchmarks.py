"""docs/speed.md says what the benchmark found."""

import json
from pathlib import Path

import encoding_report

ROOT = Path(__file__).parent.parent
FOUND = json.loads((ROOT / "docs" / "speed.json").read_text(encoding="utf-8"))


def test_the_document_is_made_from_the_figures() -> None:
    document = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    assert document == encoding_report.markdown(FOUND)
    for kind, items in FOUND.items():
        assert f"\n## {kind}\n" in document
        assert {"a", "b"} <= set(items) <= set("abcdef")
        assert {encoding_report.kind_of(item["machine"]) for item in items.values()} == {kind}


def test_a_slower_run_reads_as_slower() -> None:
    kind, items = next((kind, items) for kind, items in FOUND.items() if "e" in items)
    run = items["e"]["found"]
    slower = run | {"second": [2 * seconds for seconds in run["second"]], "ratio": run["ratio"] / 2}
    document = encoding_report.markdown({kind: {"e": items["e"] | {"found": slower}}})
    assert f"{run['ratio'] / 2:.0f}×" in document


def test_kinds_of_machine_stand_side_by_side() -> None:
    (kind, items), *_ = FOUND.items()
    machine = items["a"]["machine"] | {"bfloat16": ["amx_bf16"], "gpu": "a GPU of some kind"}
    other = encoding_report.kind_of(machine)
    assert other == f"{machine['processor']}, 2 threads, bfloat16 by amx_bf16, a GPU of some kind"
    faster = [
        row | {"sentences per second": 3 * row["sentences per second"]}
        if row["what"] == "extract float32"
        else row
        for row in items["a"]["found"]
    ]
    both = {kind: items, other: {"a": items["a"] | {"machine": machine, "found": faster}}}
    lines = encoding_report.markdown(both).splitlines()
    rows = [
        next(line for line in lines if line.startswith(f"| {one} | float32")).split(" | ")
        for one in (kind, other)
    ]
    once, thrice = (float(row[2].rstrip("×")) for row in rows)
    assert abs(thrice - 3 * once) < 0.03
    assert rows[1][4].startswith("not measured")
    assert "Not measured yet" not in encoding_report.markdown(both)
    assert "Not measured yet: a GPU" in encoding_report.markdown(
        {other: {"a": items["a"] | {"machine": machine | {"gpu": None}}}}
    )
