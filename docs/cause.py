"""Keep the rows of the experiment on cause, and write docs/cause.md and README's sentences of them.

    python docs/cause.py keep --e1 FOLDER [--e2 FOLDER] --corpus FOLDER --data-dir FOLDER
    python docs/cause.py keep --again FOLDER --corpus FOLDER --data-dir FOLDER
    python docs/cause.py

The first form takes the cells that are finished in the folders of ``probing cause --size full``
(its ``e1``, and ``e2`` up to the last look that all pairs have come to) and keeps their rows in
``docs/cause/rows.csv``; the second those of an ``e1`` of the same texts, each document drawn once,
in ``docs/cause/again.csv``. All forms then write the page, its figures and the marked block of
README.md from there, so that nothing in them is typed by hand.
"""

import argparse
from pathlib import Path

from probing.cause.changes import CHANGES
from probing.cause.continuation import PLANS, Continuation, common_look
from probing.cause.criteria import (
    ARM_WORDS,
    FROZEN_NSP,
    PLACEBO,
    Answer,
    Criterion,
    effect_if_measured,
    interval_words,
    looks_of,
)
from probing.cause.experiment import (
    TITLES,
    figures_of,
    gather,
    read_cause_rows,
    with_continued,
    write_cause_rows,
)
from probing.cause.frozen_vectors import FROZEN_PLANS, Frozen
from probing.cause.suite import POOLED_TASKS
from probing.cause.verdict import Verdict, decide
from probing.results.writing import write_text

DOCS = Path(__file__).parent
PAGE = DOCS / "cause.md"
KEPT = DOCS / "cause"
ROWS = KEPT / "rows.csv"
AGAIN = KEPT / "again.csv"
README = DOCS.parent / "README.md"
BEGIN, END = "<!-- docs/cause.py: begin -->\n", "<!-- docs/cause.py: end -->\n"
ENCODER = "minilm"
MODERN = (
    "18f_posts craft digitalgov factbook masc openstax_ccby plos wikipedia_gensim wikipedia_wtf"
)
WEIGHTS = tuple((name, 6.0) for name in MODERN.split())
"""How often the documents of the full run's sources were drawn, 1 where not named."""
FEWEST_TOKENS = 500_000
"""The look at which E2 is answered where the machine comes no further (CHANGES)."""
INTRODUCTION = """\
The `BertModel` docstring said that the pooler is trained "from the next sentence prediction
(classification) objective" and is usually not a good summary. In `minilm` the pooler was never
trained, and `pooler − cls` is close to 0. This experiment trains it and watches that number:
Spearman × 100 of `pooler_output` less that of `[CLS]`, the plain mean of STS12–16 and SICK-R
without pairs of STS-B's dev split. P1 is that number after next sentence prediction, less the
same after training on permuted labels, with the encoder's body frozen (E1). P2 is that number less
the same after masked language modelling only, with all of the encoder trained (E2). The protocol
was written down before any of it was run. Brackets hold 95 % intervals.

Written by `python docs/cause.py` from [cause/rows.csv](cause/rows.csv). The same for any BERT:

```sh
probing cause --model minilm --corpus path/to/texts --data-dir path/to/data --size full
```

The rows are of texts in which documents of modern sources are drawn six times as often:
`SOURCES`.
""".replace("SOURCES", " ".join(f"--source-weight {name}={n:g}" for name, n in WEIGHTS))
REPEATED = """\
## The body frozen, every document drawn once

The same run without `--source-weight`, with more arms: sentence order, negatives of the same
source, a tenth of the pairs. It came after the first, and no criterion above is answered from it.
"""
_TASKS = " ".join(f"--task {task}" for task in POOLED_TASKS)
PREDICTION = """\
## What it predicts for BERT itself

Registered before it is measured: in `bert-base-uncased`, `pooler − cls` is below −5 points. One
command tests it; the verdict answers it as claim R1:

```sh
probing run --model bert-base-uncased --claim probing:PREDICTION TASKS
```
""".replace("TASKS", _TASKS)


def page() -> str:
    """The text of docs/cause.md."""
    rows = read_cause_rows(ROWS)
    verdict = decide(rows, ENCODER)
    result, *told = _in_short(verdict)
    answer = " ".join([f"**{result}**", *told])
    lines = ["# Does next sentence prediction spoil the pooler?", "", answer, "", INTRODUCTION]
    lines += ["## Estimates", ""]
    lines += [f"- {sentence}" for sentence in verdict.estimates]
    for experiment, figure in figures_of(rows).items():
        name = f"cause/{experiment.lower()}.svg"
        lines += ["", f"## {TITLES[experiment]}", "", f"![{experiment}]({name})", ""]
        lines += [figure.sentence]
    trained = {*rows["arm"], *read_cause_rows(AGAIN)["arm"]}
    known = {arm: words for arm, words in ARM_WORDS.items() if arm in trained}
    lines += ["", "| arm | trained on |", "|---|---|"]
    lines += [f"| `{arm}` | {words} |" for arm, words in known.items()]
    lines += ["", "## The registered criteria", "", verdict.headline, ""]
    lines += [*_criteria(verdict), "", REPEATED, *_again()]
    lines += ["", PREDICTION, "## Changes of the protocol", ""]
    lines += [f"- {change}" for change in CHANGES]
    return "\n".join(lines).rstrip() + "\n"


def _in_short(verdict: Verdict) -> tuple[str, ...]:
    """The verdict for a reader who knows none of the criteria, with what the second run says."""
    rows = read_cause_rows(AGAIN)
    last = max(looks_of(rows, "E1", FROZEN_NSP))
    found = effect_if_measured(rows, "E1", FROZEN_NSP, PLACEBO, last)
    if found is None:
        raise ValueError(f"{AGAIN} has no two arms to compare")
    gates = decide(rows, ENCODER).gates
    asked = [gate for gate in gates if gate.answer is not Answer.OPEN]
    closed = [gate for gate in asked if gate.answer is Answer.NO]
    told = f"The first, repeated with every document drawn once, ends at {interval_words(found)}"
    if closed:
        told += f", but {len(closed)} of the {len(asked)} checks registered for it fails"
    return (*verdict.short, f"{told}.")


def _again() -> list[str]:
    """What E1 comes to where every document is drawn once."""
    rows = read_cause_rows(AGAIN)
    verdict = decide(rows, ENCODER)
    measured = ("P1 ", "pooler − cls with the body frozen", "S4 (E1)", "S5 (E1")
    gates = [gate for gate in verdict.gates if gate.name.startswith("E1")]
    figure = figures_of(rows)["E1"]
    return [
        *(f"- {sentence}" for sentence in verdict.estimates if sentence.startswith(measured)),
        *(f"- Gate: {gate.name}: {gate.answer}, {gate.because}." for gate in gates),
        *(
            f"- Refuting if {each.name}: {each.answer}, {each.because}."
            for each in verdict.refuting
        ),
        "",
        "![E1, every document drawn once](cause/e1-again.svg)",
        "",
        figure.sentence,
    ]


def readme_block() -> str:
    """What README says of cause."""
    verdict = decide(read_cause_rows(ROWS), ENCODER)
    return (
        f"**Does next sentence prediction make the pooler worse?** {' '.join(_in_short(verdict))} "
        "Criteria, arms and figures: [docs/cause.md](docs/cause.md).\n"
    )


def write_all() -> None:
    """The page, its figures and README's block."""
    for experiment, figure in figures_of(read_cause_rows(ROWS)).items():
        write_text(KEPT / f"{experiment.lower()}.svg", figure.svg)
    write_text(KEPT / "e1-again.svg", figures_of(read_cause_rows(AGAIN))["E1"].svg)
    write_text(PAGE, page())
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    write_text(README, before + BEGIN + readme_block() + END + rest.partition(END)[2])


def _criteria(verdict: Verdict) -> list[str]:
    def row(kind: str, criterion: Criterion) -> str:
        return f"| {kind} | {criterion.name} | {criterion.answer} | {criterion.because} |"

    return [
        "| | criterion | answer | because |",
        "|---|---|---|---|",
        *(row("gate", gate) for gate in verdict.gates),
        *(row("convincing if", criterion) for criterion in verdict.convincing),
        *(row("refuting if", criterion) for criterion in verdict.refuting),
    ]


def keep(given: argparse.Namespace) -> None:
    """Keep the rows of the folders that are given."""
    full, corpus, data = FROZEN_PLANS["full"], given.corpus, given.data_dir
    if given.again is not None:
        write_cause_rows(gather(Frozen(ENCODER, corpus, given.again, full, data)), AGAIN)
    if given.e1 is None:
        return
    rows = gather(Frozen(ENCODER, corpus, given.e1, full, data, WEIGHTS))
    if given.e2 is not None:
        continued = Continuation(ENCODER, corpus, given.e2, PLANS["full"], data, WEIGHTS)
        reached = common_look(given.e2, continued.plan)
        if reached < FEWEST_TOKENS:  # a look at P2 before would be one look more
            raise SystemExit(
                f"E2: found all pairs at {reached:,} tokens, expected {FEWEST_TOKENS:,} or more: "
                "leave --e2 out"
            )
        rows = with_continued(rows, continued)
    write_cause_rows(rows, ROWS)


def main() -> None:
    """Keep the rows where told to, then write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("keep", nargs="?", choices=["keep"])
    for name in ("e1", "e2", "again", "corpus", "data-dir"):
        parser.add_argument(f"--{name}", type=Path)
    given = parser.parse_args()
    if given.keep:
        if given.e1 is None and given.again is None:
            parser.error("keep: expected --e1 or --again")
        keep(given)
    write_all()


if __name__ == "__main__":
    main()
