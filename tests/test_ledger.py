"""Published numbers against measured ones."""

import io
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from probing.commands.ledger_table import ledger_table
from probing.commands.main import app
from probing.errors import InputError
from probing.reporting.ledger import compare, needed, published_numbers
from probing.results.scores import Score, score_table
from tests.test_study import HEADER, ROWS, write_data


def _published(**changes: object) -> dict[str, object]:
    return {
        "source": "a paper with a long name",
        "where": "Table 1",
        "model": "sentence-transformers/all-MiniLM-L6-v2",
        "task": "sts12",
        "split": "test",
        "aggregation": "all",
        "view": "mean@6",
        "transform": "raw",
        "probe": "cosine",
        "metric": "spearman",
        "value": 72.37,
        "seen": "yes",
        "note": "",
        **changes,
    }


def _measured(value: float, **changes: object) -> Score:
    columns = {
        "model": "minilm",
        "task": "sts12",
        "aggregation": "all",
        "view": "mean@6",
        "layer": 6,
        "pooling": "mean",
        "probe": "cosine",
        "metric": "spearman",
        "n": 3108,
        "seed": 0,
        **changes,
    }
    return Score(value=value, **columns)  # type: ignore[arg-type]


def _finding(measured: Score, **published: object) -> str:
    ledger = compare(score_table([measured]), pd.DataFrame([_published(**published)]))
    return ledger.cells["finding"].item()


@pytest.mark.parametrize(
    ("value", "published", "finding"),
    [
        (0.7237, {}, "reproduced"),
        (0.7247, {}, "reproduced"),
        (0.7248, {}, "differs"),
        (0.7226, {}, "differs"),
        (0.1, {"note": "trap: made otherwise"}, "trap"),
        (0.7237, {"seen": "memory"}, "unchecked"),
        (0.7237, {"model": "minilm"}, "reproduced"),
    ],
)
def test_one_word_for_each_cell(value: float, published: dict[str, object], finding: str) -> None:
    assert _finding(_measured(value), **published) == finding


@pytest.mark.parametrize(
    "other",
    [
        {"task": "sts13"},
        {"split": "all"},
        {"view": "mean@5"},
        {"transform": "whitened:target"},
        {"metric": "pearson"},
        {"model": "minilm+random"},
    ],
)
def test_another_cell_is_not_measured(other: dict[str, object]) -> None:
    ledger = compare(score_table([_measured(0.7237, **other)]), pd.DataFrame([_published()]))
    assert len(ledger.cells) == 0
    assert len(ledger.missing) == 1


def test_an_aggregation_counts_only_where_there_are_subsets() -> None:
    alone = [_measured(0.8, task="stsb")]
    published = pd.DataFrame([_published(task="stsb", aggregation="wmean", value=80.0)])
    assert compare(score_table(alone), published).cells["finding"].item() == "reproduced"
    parts = [_measured(0.8), _measured(0.7, aggregation="wmean"), _measured(0.6, subset="MSRvid")]
    published = pd.DataFrame([_published(aggregation="wmean", value=80.0)])
    assert compare(score_table(parts), published).cells["measured"].item() == pytest.approx(70.0)


def test_the_shipped_numbers_are_whole() -> None:
    published = published_numbers()
    assert len(published) == 126 + 23 + 12 + 364
    assert not published.duplicated(
        ["source", "model", "task", "split", "aggregation", "view", "transform", "metric"]
    ).any()
    assert published["value"].between(-100, 100).all()
    assert set(published["seen"]) <= {"yes", "memory"}
    ledger = compare(score_table([_measured(0.7237)]), published)
    assert ledger.cells["value"].tolist() == [72.37]
    assert len(ledger.missing) == len(published) - 1
    assert ledger_table(ledger).row_count == 1


def test_no_number_and_no_finding_is_cut_off_in_a_narrow_terminal() -> None:
    ledger = compare(score_table([_measured(0.7237)]), pd.DataFrame([_published()]))
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(ledger_table(ledger))
    shown = console.export_text()
    for word in ("published", "measured", "difference", "72.37", "+0.00", "reproduced"):
        assert word in shown


def test_a_source_says_what_has_to_be_measured() -> None:
    published = published_numbers()
    cells, study = needed(published, "mteb")
    assert study == {
        "models": ("sentence-transformers/all-MiniLM-L6-v2",),
        "tasks": tuple(dict.fromkeys(cells["task"])),
        "views": (),
        "protocol": "mteb",
    }
    _, averages = needed(published, "BERT-flow", models=["bert-base-uncased"])
    assert "mean@1+12" in averages["views"]
    for wrong, words in {"nobody": "is in no source", "simcse": "is in 3 sources"}.items():
        with pytest.raises(InputError, match=words):
            needed(published, wrong)
    with pytest.raises(InputError, match="no numbers of 'FacebookAI/roberta-base'"):
        needed(published, "mteb", models=["roberta-base"])


def test_verify_runs_what_a_source_needs_and_prints_both_numbers(
    tmp_path: Path,
    tiny_encoder_folder: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = str(tiny_encoder_folder("bert"))
    data = write_data(tmp_path / "data", "\n".join([HEADER, *ROWS]) + "\n")
    cell = _published(source="a paper", model=folder, task="stsb", view="mean@0+3", value=12.34)
    monkeypatch.setattr("probing.reporting.ledger.published_numbers", lambda: pd.DataFrame([cell]))
    out = tmp_path / "run"
    command = ["verify", "a paper", "--data-dir", str(data), "--out", str(out)]
    app(command, standalone_mode=False)
    shown = capsys.readouterr().out
    assert "12.34" in shown
    assert "1 published cells measured here" in shown
    assert (out / "scores.parquet").is_file()
