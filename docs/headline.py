"""Make the headline of README.md (summary and figure) and docs/results.md, from runs.

    python docs/headline.py official=runs/official embedded=runs/embedded
    python docs/headline.py

The first form keeps of each run what is shown, as ``docs/runs/NAME/``: rows of its
``scores.csv`` and its ``manifest.json``, no texts. Both forms then write the marked block of
README.md, ``docs/headline.svg`` and ``docs/results.md`` from ``docs/runs``, so that nothing there
is typed by hand.
"""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from probing.claims.deciding import decide
from probing.claims.verdict import POOLER_STATES, verdict_text
from probing.reporting import figures
from probing.reporting.run import Run, load_run
from probing.reporting.summary import Summary, summarise
from probing.results.differences import ITEMS_ERROR
from probing.results.names import twin_name
from probing.results.quantities import (
    DIFFERENCE,
    SIMILARITY,
    floors,
    models_of,
    points,
    records,
    select,
    signed,
)
from probing.results.writing import write_text

DOCS = Path(__file__).parent
README = DOCS.parent / "README.md"
RESULTS = DOCS / "runs"
FIGURE = DOCS / "headline.svg"
PAGE = DOCS / "results.md"
FIRST = "official"
"""The run that the figure and the verdict are of, where it is kept; else the first that is."""
BEGIN, END = "<!-- docs/headline.py: begin -->\n", "<!-- docs/headline.py: end -->\n"
TITLES = {"official": "The official sets", "embedded": "The set that ships"}
METRICS = (
    "spearman",
    f"spearman{DIFFERENCE}",
    "standard_error",
    ITEMS_ERROR,
    "selection_spearman",
)
HEAD = (
    "encoder",
    "its pooler",
    "data",
    "pairs",
    "mean",
    "`[CLS]`",
    "pooler",
    "pooler − mean",
    "mean, random weights",
    "word overlap",
)


def keep(run: Run, name: str) -> None:
    """Write the part of a run that is shown into the folder of kept runs."""
    scores = run.scores
    shown = scores[
        (scores["subset"] == "all")
        & scores["aggregation"].isin(["all", "none"])
        & scores["metric"].isin(METRICS)
        & scores["transform"].isin(["raw", "whitened:train", "whitened:train - raw"])
    ]
    manifest = json.loads(json.dumps(run.manifest))
    # where data and run lay is no part of the result; the hashes of the files are
    manifest["command"] = re.sub(r" --(out|data-dir|cache-dir) \S+", "", manifest["command"])
    manifest["study"] |= {"data_dir": None, "cache_dir": None}
    (RESULTS / name).mkdir(parents=True, exist_ok=True)
    shown.to_csv(RESULTS / name / "scores.csv", index=False, na_rep="NaN")
    text = json.dumps(manifest, indent=2, ensure_ascii=False)
    write_text(RESULTS / name / "manifest.json", text + "\n")


def kept(name: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Scores and manifest of a run among the results."""
    scores = pd.read_csv(RESULTS / name / "scores.csv", keep_default_na=False, na_values=["NaN"])
    scores["layer"] = scores["layer"].astype("Int64")
    return scores, json.loads((RESULTS / name / "manifest.json").read_text(encoding="utf-8"))


def block() -> str:
    """The text between the marks in README.md: the summary and the figure of the first run."""
    first = _names()[0]
    scores, manifest = kept(first)
    summary = _summary(scores, manifest)
    table = summary.table
    _, sentence = headline()
    first_sentence, *others = summary.sentences
    lines = [
        f"**{first_sentence}**",
        "",
        *(f"- {sentence}" for sentence in others),
        "",
        f"| {' | '.join(table.header)} |",
        f"|{''.join('---:|' if table.is_number(n) else '---|' for n in range(len(table.header)))}",
        *(f"| {' | '.join(cell.text for cell in row)} |" for row in table.rows),
        "",
        f"{table.caption}.",
        "",
        "Brackets hold 95 % intervals, corrected for all tests of the run (Holm), of a bootstrap",
        "that keeps pairs with a common sentence together. “Below” and “above” are said only where",
        "the interval leaves out zero. Per set: [docs/results.md](docs/results.md).",
        f"To reproduce: `{manifest['command']}`.",
        "The sets are downloaded from the Hub; `--data-dir` reads them from a folder instead.",
        "",
        f"![Spearman by layer under each pooling](docs/{FIGURE.name})",
        "",
        sentence,
    ]
    return "\n".join(lines) + "\n"


def _summary(scores: pd.DataFrame, manifest: dict[str, Any]) -> Summary:
    return summarise(
        scores, manifest, {model: decide(scores, model) for model in models_of(scores)}
    )


def results() -> str:
    """The page of all kept runs: set by set, then the verdicts."""
    names = _names()
    rows = [row for name in names for row in _rows(*kept(name))]
    lines = [
        "# Results, set by set",
        "",
        _summary(*kept(names[0])).sentences[0],
        "",
        f"| {' | '.join(HEAD)} |",
        f"|---|---|---|{'---:|' * (len(HEAD) - 3)}",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
        "Spearman × 100 of the cosine with human scores, all subsets of a year together, last",
        "layer; in brackets the 95 % interval of this one paired difference. The sentence above",
        "and the claims below correct for all tests of a run (Holm), so a difference whose",
        "interval excludes zero here may be undecided there. Whether the body of a trained",
        "pooler was trained further since cannot be seen. Written by",
        "`python docs/headline.py` from the rows kept in `docs/runs`; each run has its command in",
        "its manifest.",
        "",
    ]
    for name in names:
        lines += [
            f"## {TITLES.get(name, name)}",
            "",
            f"`{kept(name)[1]['command']}`",
            "",
            *_verdicts(*kept(name)),
        ]
    return "\n".join(lines).rstrip() + "\n"


def headline() -> tuple[str, str]:
    """The figure as SVG, and the sentence that says what it shows."""
    scores, manifest = kept(_names()[0])
    model, task = manifest["study"]["models"][0], manifest["tasks"][0]["name"]
    described = figures.layer_curves(scores, model=model, task=task)
    return described.svg, described.sentence


def _names() -> list[str]:
    return sorted((path.name for path in RESULTS.iterdir()), key=lambda name: (name != FIRST, name))


def _rows(scores: pd.DataFrame, manifest: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    encoders = {encoder["name"]: encoder for encoder in manifest["encoders"]}
    for model in models_of(scores):
        last = encoders[model]["num_layers"]
        for task in manifest["tasks"]:
            if not len(scores[(scores["task"] == task["name"]) & (scores["model"] == model)]):
                continue
            where = {"task": task["name"]}
            mine = select(scores, SIMILARITY, model=model, **where).set_index("view")["value"]
            random = select(scores, SIMILARITY, model=twin_name(model), **where).set_index("view")
            floor = floors(scores, SIMILARITY, **where)["jaccard"]
            yield (
                model,
                encoders[model]["pooler"],
                task["name"],
                str(task["rows"]),
                *(points(mine[f"{pooling}@{last}"]) for pooling in ("mean", "cls", "pooler")),
                _difference(scores, model, task["name"], f"pooler@{last} - mean@{last}"),
                points(random.loc[f"mean@{last}", "value"]),
                points(floor),
            )


def _difference(scores: pd.DataFrame, model: str, task: str, view: str) -> str:
    (row,) = records(
        scores[
            (scores["metric"] == f"spearman{DIFFERENCE}")
            & (scores["model"] == model)
            & (scores["task"] == task)
            & (scores["view"] == view)
            & (scores["transform"] == "raw")
            & (scores["probe"] == "cosine")
            & (scores["aggregation"] == "all")
        ]
    )
    return signed(*(100 * row[name] for name in ("value", "lower", "upper")))


def _verdicts(scores: pd.DataFrame, manifest: dict[str, Any]) -> Iterator[str]:
    states = {encoder["name"]: encoder["pooler"] for encoder in manifest["encoders"]}
    for model in models_of(scores):
        state = states[model]
        verdict = decide(scores, model)
        says = {claim.id: claim.sentence for claim in verdict.claims}
        lines = verdict_text(verdict, pooler=state).splitlines()
        yield f"{lines[0]}, in the words of the run. {POOLER_STATES[state]}"
        yield ""
        for line in lines[2:]:
            claim, _, found = line.partition(" ")
            if claim in says:
                yield f"- {claim}, “{says[claim]}”: {found}"
        yield ""


def main(arguments: Sequence[str]) -> None:
    """Keep the runs that are named, then write the headline."""
    for argument in arguments:
        name, _, folder = argument.partition("=")
        keep(load_run(Path(folder)), name)
    write_text(FIGURE, headline()[0])
    before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    write_text(README, f"{before}{BEGIN}{block()}{END}{after}")
    write_text(PAGE, results())


if __name__ == "__main__":
    main(sys.argv[1:])
