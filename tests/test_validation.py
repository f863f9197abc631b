"""docs/validation.md says what was measured, and what it says can be measured again."""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import validation

from probing import load_encoder

DOCS = Path(__file__).parent.parent / "docs"
FOUND = json.loads((DOCS / "validation.json").read_text(encoding="utf-8"))


def test_the_document_is_made_from_the_figures() -> None:
    document = (DOCS / "validation.md").read_text(encoding="utf-8")
    assert document == validation.markdown(FOUND)
    assert set(FOUND) <= set(validation.PARTS)
    assert all(part["rows"] for part in FOUND.values())


def test_the_document_says_no_where_the_figures_do() -> None:
    row = {"task": "t", "view": "mean@0", "classes": 2, "train": 9, "test": 900}
    row |= {"loss": 0.5, "sklearn_loss": 0.5, "accuracy": 0.9, "sklearn_accuracy": 0.9}
    part = next(iter(FOUND.values()))
    assert "**no**" not in validation.markdown({"optimum": {**part, "rows": [row]}})
    for worse in ({"loss": 0.5001}, {"accuracy": 0.903}):
        assert "**no**" in validation.markdown({"optimum": {**part, "rows": [row | worse]}})


@pytest.mark.real
@pytest.mark.slow
def test_figures_of_the_document_come_out_again(
    real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three views of TREC at every strength, against scikit-learn and against the document."""
    views = ("cls@1", "mean@6", "pooler@6")
    arrays = validation._arrays

    def some(*how: Any) -> Any:
        vectors, labels, splits = arrays(*how)
        return {view: vectors[view] for view in views}, labels, splits

    monkeypatch.setattr(validation, "_arrays", some)
    monkeypatch.setattr(validation, "OPTIMUM_TASKS", ("trec",))
    options = argparse.Namespace(data_dir=str(real_data), cache_dir=None, all=False)
    rows = validation.optimum(load_encoder("minilm"), options)
    assert {row["view"] for row in rows} == set(views)
    written = {
        (row["view"], row["strength"]): row
        for row in FOUND.get("optimum", {"rows": []})["rows"]
        if row["task"] == "trec"
    }
    for row in rows:
        assert abs(row["loss"] / row["sklearn_loss"] - 1) <= 1e-4
        assert abs(row["accuracy"] - row["sklearn_accuracy"]) <= 0.002 + 1e-9
        same = written.get((row["view"], row["strength"]), row)
        assert row["train"] == same["train"]
        assert row["loss"] == pytest.approx(same["loss"], rel=1e-3)
        assert row["accuracy"] == pytest.approx(same["accuracy"], abs=0.01)
    assert np.isfinite([row["loss"] for row in rows]).all()
