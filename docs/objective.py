"""Keep what the pre-trained twins of every seed show: docs/objective.md and its sources.

    python docs/objective.py runs/objective mlm-mini=data/encoders/mlm-mini …
    python docs/objective.py

The first form keeps of a run with contrasts the rows that the claims rest on, its manifest, and of
each encoder what its training came to, curve and settings, in ``docs/objective/``. Both forms then
write ``docs/objective.md`` from there, so that nothing in it is typed by hand.
"""

import json
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from probing.claims.catalogue import NEXT_SENTENCE_CLAIMS, NSP_PAIR_CLAIMS
from probing.claims.deciding import decide
from probing.claims.verdict import verdict_text
from probing.reporting.run import Run, load_run
from probing.results.quantities import contrasts_of, models_of
from probing.results.writing import write_text

DOCS = Path(__file__).parent
PAGE = DOCS / "objective.md"
KEPT = DOCS / "objective"
HEAD = ("encoder", "seed", "tokens", "MLM loss", "MLM accuracy", "next sentence accuracy")
COLUMNS = ["step", "held_out_mlm_loss", "held_out_sentence_accuracy"]


def keep(run: Run, encoders: dict[str, Path]) -> None:
    """Write what is shown of a run and of the training of its encoders."""
    KEPT.mkdir(exist_ok=True)
    scores = run.scores
    compared = scores["model"].isin(contrasts_of(scores))
    read = (scores["task"] == "next-sentence") & scores["metric"].isin(
        ["accuracy", "accuracy_difference", "standard_error"]
    )
    claimed = (scores["aggregation"].isin(["all", "none"]) & (scores["subset"] == "all")) & (
        scores["metric"].isin(["spearman_difference", "standard_error", "selection_spearman"])
    )
    manifest = json.loads(json.dumps(run.manifest))
    # where data and run lay is no part of the result
    manifest["command"] = re.sub(r" --(out|data-dir|cache-dir|corpus) \S+", "", manifest["command"])
    manifest["study"] |= {"data_dir": None, "cache_dir": None, "corpus": None}
    scores[compared | read | claimed].to_csv(KEPT / "scores.csv", index=False, na_rep="NaN")
    text = json.dumps(manifest, indent=2, ensure_ascii=False)
    write_text(KEPT / "manifest.json", text + "\n")
    for name, folder in encoders.items():
        shutil.copyfile(folder / "pretraining.json", KEPT / f"{name}.json")
        log = pd.read_parquet(folder / "training_log.parquet")
        curve = log.dropna(subset=["held_out_mlm_loss"])[COLUMNS]
        curve.round(4).to_csv(KEPT / f"{name}.csv", index=False, na_rep="NaN")


def page() -> str:
    """The text of docs/objective.md."""
    scores = pd.read_csv(KEPT / "scores.csv", keep_default_na=False, na_values=["NaN"])
    scores["layer"] = scores["layer"].astype("Int64")
    manifest = json.loads((KEPT / "manifest.json").read_text(encoding="utf-8"))
    names = sorted(path.stem for path in KEPT.glob("*.json") if path.stem != "manifest")
    verdicts = [decide(scores, name, claims=NSP_PAIR_CLAIMS) for name in contrasts_of(scores)]
    for name in models_of(scores):
        verdicts += [decide(scores, name, claims=NEXT_SENTENCE_CLAIMS), decide(scores, name)]
    lines = [
        "# What next sentence prediction does, seed by seed",
        "",
        "Made by `docs/objective.py` of",
        f"`{manifest['command']}`",
        "and of the training of its encoders, all in [docs/objective](objective).",
        "",
        *_table(HEAD, (_row(name) for name in names)),
        "",
        "Held-out pairs are of documents never trained on; losses in nats a masked token.",
        "",
        "## The curves",
        "",
        *_curves(names),
        "",
        "## The verdicts",
        "",
        "The mean over the pairs counts a seed once, however many the tasks: Student's interval",
        "over seeds, with the error of the items that all seeds share.",
        "",
        *(line for verdict in verdicts for text in _lines(verdict_text(verdict)) for line in text),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _lines(text: str) -> Iterator[tuple[str, str]]:
    first, *rest = text.splitlines()
    yield f"### {first}", ""
    for line in rest:
        yield line, ""


def _row(name: str) -> tuple[str, ...]:
    told: dict[str, Any] = json.loads((KEPT / f"{name}.json").read_text(encoding="utf-8"))
    found = told["evaluation"]
    accuracy = found["sentence_accuracy"]
    return (
        name,
        str(told["config"]["seed"]),
        f"{told['tokens']:,}",
        f"{found['mlm_loss']:.3f}",
        f"{100 * found['mlm_accuracy']:.1f} %",
        "–" if pd.isna(accuracy) else f"{100 * accuracy:.1f} %",
    )


def _curves(names: Sequence[str]) -> list[str]:
    curves = {name: pd.read_csv(KEPT / f"{name}.csv").set_index("step") for name in names}
    steps = sorted(set.intersection(*(set(curve.index) for curve in curves.values())))
    columns = [
        (f"{name}, {what}", curve[column], scale)
        for column, what, scale in ((COLUMNS[1], "MLM loss", 1), (COLUMNS[2], "NSP %", 100))
        for name, curve in curves.items()
        if curve[column].notna().any()
    ]
    rows = (
        (
            f"{step:,}",
            *(f"{scale * values[step]:.{2 if scale == 1 else 1}f}" for _, values, scale in columns),
        )
        for step in steps[1::2]
    )
    return _table(("step", *(title for title, _, _ in columns)), rows)


def _table(head: Sequence[str], rows: Iterator[tuple[str, ...]]) -> list[str]:
    return [
        f"| {' | '.join(head)} |",
        f"|---|{'---:|' * (len(head) - 1)}",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


def main() -> None:
    """Keep the run that was named, then write the page."""
    if len(sys.argv) > 1:
        folder, *named = sys.argv[1:]
        pairs = (text.partition("=") for text in named)
        keep(load_run(Path(folder)), {name: Path(path) for name, _, path in pairs})
    write_text(PAGE, page())


if __name__ == "__main__":
    main()
