"""Verdicts of made-up tables, word by word and number by number, against those that were kept.

After a change that is meant to move them: ``python -m tests.test_kept_verdicts``, and read the
diff.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from probing.claims.catalogue import (
    CLAIMS,
    NEXT_SENTENCE_CLAIMS,
    PAIR_CLAIMS,
    TREEBANK_CLAIMS,
    Claim,
)
from probing.claims.deciding import Finding, Verdict, decide
from probing.claims.verdict import verdict_text
from probing.results.differences import ITEMS_ERROR, Difference
from probing.results.scores import Score, score_table
from tests.test_claims import LESS_RANDOM, TASKS, _chosen, _draws, _rows, worked_out

KEPT: Final = Path(__file__).with_name("kept") / "verdicts.txt"
SIZES: Final = ("100", "1000", "all")
ROAD: Final = (
    ("cls@2 - mean@2", "raw"),
    ("pooler_dense@2 - cls@2", "raw"),
    ("pooler@2 - pooler_dense@2", "raw"),
)
RANDOM_ROAD: Final = (
    ("cls@2", "random-dense - raw"),
    ("cls@2", "random-dense+tanh - random-dense"),
)


def similarity(
    seed: int, tasks: Sequence[str], *, shift: float = 0.0, aggregation: str = "all"
) -> list[Score]:
    """Every row that the claims about one encoder read, effects about ``shift``."""
    rng = np.random.default_rng(seed)
    rows: list[Score] = _chosen(rng.uniform(0.3, 0.6, 3).tolist())

    def effect(scale: float) -> tuple[float, float]:
        return float(rng.normal(shift, scale)), float(rng.uniform(0.002, 0.02))

    for claim in CLAIMS:
        row = claim.row(2, {"mean": int(np.argmax([r.value for r in rows[:2]]))})
        if row is None or claim.causal:
            continue
        scale = rng.choice([0.005, 0.05])
        for task in tasks:
            value, error = effect(scale)
            if claim.control:
                draws = (value + rng.normal(0, error, 3)).tolist()
                rows += _draws(draws, error, task=task, model=LESS_RANDOM)
            else:
                rows += _rows(row[:3], value, error, task=task, aggregation=aggregation)
    for task in tasks:
        for view, transform in ROAD[1:]:
            rows += _rows((view, transform, "cosine"), *effect(0.03), task=task)
        rows += _rows(("cls@2", "tanh - raw", "cosine"), *effect(0.01), task=task)
        for view, transform in RANDOM_ROAD:
            for draw in range(2):
                made = _rows((view, transform, "cosine"), *effect(0.03), task=task)
                rows += [replace(score, seed=draw) for score in made]
    return rows


def finetuned(seed: int, tasks: Sequence[str]) -> list[Score]:
    """Heads on the pooler and on the mean, from three numbers of training items."""
    rng = np.random.default_rng(seed)
    rows: list[Score] = []
    for task in tasks:
        for size in (*SIZES, "1000 - 100", "all - 1000", "all - 100"):
            value, error = rng.normal(-0.03, 0.03), rng.uniform(0.002, 0.01)
            made = _rows(("pooler@2 - mean@2", "raw", "finetuned"), value, error, task=task)
            rows += [replace(score, trained_on=size) for score in made]
    return rows


def probed(seed: int, claims: Sequence[Claim], tasks: Sequence[str]) -> list[Score]:
    """Differences of the accuracy of linear probes."""
    rng = np.random.default_rng(seed)
    rows: list[Score] = []
    for place in dict.fromkeys(claim.row(2, {}) for claim in claims):
        assert place is not None
        for task in tasks:
            difference, error = _rows(
                place[:3], rng.normal(0.03, 0.05), rng.uniform(0.002, 0.02), task=task
            )
            rows += [replace(difference, metric="accuracy_difference"), error]
    return rows


def seeds(seed: int, tasks: Sequence[str]) -> list[Score]:
    """Two pairs of encoders that differ in their seed, and the mean over them."""
    rng = np.random.default_rng(seed)
    rows: list[Score] = []
    for task in tasks:
        for view in ("pooler@2 - mean@2", "pooler@2 - cls@2"):
            values = rng.normal(-0.06, 0.004, 2)
            for model, value in zip(
                ("a1 - b1", "a2 - b2", "a1, a2 - b1, b2"), (*values, values.mean()), strict=True
            ):
                rows += _rows((view, "raw", "cosine"), value, 0.003, task=task, model=model)
            rows.append(replace(rows[-1], metric=ITEMS_ERROR, value=0.002))
    return rows


def halved(rows: pd.DataFrame) -> list[Difference]:
    """What a claim works out by a function: half of the value of the first row."""
    return worked_out(float(rows["value"].iloc[0]) / 2, 0.001)


BROUGHT: Final = tuple(
    Claim(id=f"B{number}", sentence=f"claim {number}", **said)  # type: ignore[arg-type]
    for number, said in enumerate(
        (
            {"view": "half of it", "measure": halved},
            {"view": "pooler@{last} - mean@{last}", "transform": "whitened256:target"},
            {"view": "pooler@{last} - cls@{last}", "transform": "all-but-the-top2:train"},
            {"view": "mean_words@{last}", "transform": "centred - raw"},
            {"view": "mean@{last}", "threshold": -0.02},
            {"view": "own@{last} - max@1", "probe": "linear", "transform": "mine"},
            {"view": "pooler@{last} - wmean@{last}", "probe": "Ridge"},
        )
    )
)
"""Claims as a researcher writes them, in words that the package knows and in others."""


def brought(seed: int) -> list[Score]:
    """Rows that `BROUGHT` read, on two tasks."""
    rng = np.random.default_rng(seed)
    rows: list[Score] = []
    for claim in BROUGHT:
        place = claim.row(2, {})
        assert place is not None
        for task in TASKS[:2]:
            rows += _rows(place[:3], rng.normal(0, 0.04), rng.uniform(0.002, 0.01), task=task)
    return rows


def verdicts() -> Iterator[tuple[str, Verdict, str]]:
    """Each with its name and its words."""
    for number, tasks in enumerate((TASKS[:1], TASKS[:3], TASKS[1:5], TASKS)):
        for shift in (-0.05, 0.03):
            scores = score_table(similarity(number, tasks, shift=shift))
            verdict = decide(scores, "toy", smallest_effect=(0.01, 0.02)[number % 2])
            declared = ("mean@2", "max@2")[number % 2]
            words = verdict_text(verdict, pooler="trained", declared=declared)
            yield f"similarity on {len(tasks)}, {number}, about {shift}", verdict, words
    both = score_table(
        [
            *similarity(7, TASKS[:5], shift=-0.02),
            *similarity(8, TASKS[:5], shift=0.03, aggregation="wmean"),
        ]
    )
    several = [decide(both, "toy", aggregation=name) for name in ("all", "wmean")]
    yield "two aggregations", several[0], verdict_text(several[0], others=several[1:])
    of_three = both[both["task"].isin(TASKS[:3])]
    several = [decide(of_three, "toy", aggregation=name) for name in ("wmean", "all")]
    yield "two aggregations of three", several[0], verdict_text(several[0], others=several[1:])
    for number, tasks in enumerate((TASKS[:2], TASKS[:5])):
        verdict = decide(score_table(finetuned(number, tasks)), "toy")
        yield f"fine-tuned on {len(tasks)}", verdict, verdict_text(verdict, pooler="untrained")
    treebank = ("a:sentence_length", "a:word_content", "a:upos", "ewt", "a:arc", "b:arc")
    for number, claims in enumerate((TREEBANK_CLAIMS, NEXT_SENTENCE_CLAIMS)):
        scores = score_table(probed(number, claims, treebank))
        verdict = decide(scores, "toy", claims=claims)
        yield f"probed for {claims[0].id}", verdict, verdict_text(verdict)
    both = score_table(
        [
            *similarity(9, TASKS[:2]),
            *probed(9, TREEBANK_CLAIMS[:2], treebank),
            *finetuned(9, TASKS[:1]),
        ]
    )
    claims = (*CLAIMS, *TREEBANK_CLAIMS, *NEXT_SENTENCE_CLAIMS)
    verdict = decide(both, "toy", claims=claims)
    yield "of every kind", verdict, verdict_text(verdict)
    only = both[both["view"] == "pooler@2 - mean@2"]
    verdict = decide(only[only["probe"] == "cosine"], "toy", claims=claims)
    yield "of one view", verdict, verdict_text(verdict)
    for number in range(2):
        scores = score_table(brought(number))
        verdict = decide(scores, "toy", claims=BROUGHT)
        yield f"claims of one's own, {number}", verdict, verdict_text(verdict)
    scores = score_table(seeds(0, TASKS))
    for model in ("a1 - b1", "a1, a2 - b1, b2"):
        verdict = decide(scores, model, claims=PAIR_CLAIMS)
        yield model, verdict, verdict_text(verdict)


def listed(finding: Finding) -> str:
    """What a finding says beside its claim, numbers to five digits."""
    said = {name: value for name, value in asdict(finding).items() if name != "sentence"}
    return " | ".join(
        f"{value:.5g}" if isinstance(value, float) else str(value) for value in said.values()
    )


def text() -> str:
    """All of them, as they are kept."""
    parts = []
    for name, verdict, words in verdicts():
        findings = [listed(finding) for finding in (*verdict.by_task, *verdict.overall)]
        beside = f"beside: {', '.join(verdict.beside)}; {dict(verdict.selection)}"
        parts.append("\n".join([f"# {name}", words, *findings, beside]))
    return "\n\n".join(parts) + "\n"


def test_verdicts_are_those_that_were_kept() -> None:
    assert text() == KEPT.read_text(encoding="utf-8")


if __name__ == "__main__":
    KEPT.write_text(text(), encoding="utf-8")
