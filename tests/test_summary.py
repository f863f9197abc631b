"""The summary says what the verdict decides, and chooses nothing on the pairs it is shown on."""

import io
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from probing.claims.catalogue import CLAIMS, Claim, Side
from probing.claims.deciding import Verdict, decide
from probing.claims.outcomes import Outcome
from probing.commands.summary_table import rich_table
from probing.reporting.summary import Summary, summarise
from probing.results.scores import Score, score_table
from probing.results.target import Target

MANIFEST = {"encoders": [{"name": "toy", "num_layers": 2, "pooler": "untrained"}]}
MEANS = {"mean@1": 0.70, "mean@2": 0.80, "cls@2": 0.751, "pooler@2": 0.75}
LOSS = {
    "pooler@2 - mean@2": (-0.05, 0.01),
    "cls@2 - mean@2": (-0.049, 0.01),
    "pooler@2 - cls@2": (-0.001, 0.001),
    "mean@2 - mean@1": (0.10, 0.01),
}
"""Effects with their standard errors."""


def table(by_task: dict[str, dict[str, tuple[float, float]]]) -> pd.DataFrame:
    rows: list[Score] = []
    for task, differences in by_task.items():
        score = Target(task=task).score
        found = [(view, "spearman", value) for view, value in MEANS.items()]
        for view, (value, error) in differences.items():
            found += [(view, "spearman_difference", value), (view, "standard_error", error)]
        rows += [
            score(view=view, probe="cosine", metric=metric, value=value, n=100, aggregation="all")
            for view, metric, value in found
        ]
    # the record of a choice on pairs that are not scored: there the lower layer is the better one
    rows += [
        Target(task="stsb", split="dev").score(
            view=view, probe="cosine", metric="selection_spearman", value=value, n=100
        )
        for view, value in (("mean@1", 0.9), ("mean@2", 0.8))
    ]
    return score_table(rows).assign(model="toy")


def said(
    *tasks: dict[str, tuple[float, float]], changed: dict[str, Outcome] | None = None
) -> Summary:
    scores = table({f"set{n}": LOSS | one for n, one in enumerate(tasks)})
    verdict = decide(scores, "toy")
    if changed:
        verdict = _with(verdict, changed)
    return summarise(scores, MANIFEST, {"toy": verdict})


def _with(verdict: Verdict, outcomes: dict[str, Outcome]) -> Verdict:
    return replace(
        verdict,
        by_task=tuple(
            replace(f, outcome=outcomes.get(f.claim, f.outcome)) for f in verdict.by_task
        ),
    )


def test_the_loss_is_said_with_its_place() -> None:
    first, place, layer = said({}).sentences
    assert first == (
        "In toy, whose pooler was never trained, pooler_output is 5.0 points (Spearman × 100) "
        "below mean pooling on set0."
    )
    assert place.startswith("The loss is already in [CLS], before the pooler: [CLS] is 4.9 points ")
    assert "on set0; the pooler itself changes the score by less than 1 point (" in place
    assert layer.startswith("Use mean pooling of the last layer (`mean@2`): it is 10.0 points ")


def test_a_plain_interval_that_holm_takes_back_is_not_told() -> None:
    """2.3 standard errors exclude zero at 95 %, and not once corrected for the run's tests."""
    weak = {"pooler@2 - mean@2": (-0.05, 0.05 / 2.3), "mean@2 - mean@1": (0.001, 0.01)}
    found = said(weak, {}, {})
    verdict = decide(table({f"set{n}": LOSS | one for n, one in enumerate((weak, {}, {}))}), "toy")
    (finding,) = [f for f in verdict.by_task if (f.claim, f.task) == ("C1", "set0")]
    assert finding.p < 0.05 < finding.corrected_p
    assert "5.0 points below mean pooling on two of three sets" not in found.sentences[0]
    assert "not detectably different from mean pooling on set0" in found.sentences[0]
    assert "5.0 points (Spearman × 100) below it on set1 and set2" in found.sentences[0]


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_word_follows_from_the_outcome(outcome: Outcome) -> None:
    """The numbers stay as they are: only what was decided changes, and the words with it."""
    first = said({}, {}, changed={"C1": outcome}).sentences[0]
    words = {
        Outcome.SUPPORTED: "5.0 points below mean pooling",
        Outcome.REFUTED: "5.0 points below mean pooling",
        Outcome.NEGLIGIBLE: "within 1 point of mean pooling",
        Outcome.UNDECIDED: "not detectably different from mean pooling",
    }
    told = first.replace(" (Spearman × 100)", "")
    assert f"pooler_output is {words[outcome]} on both sets." in told


def test_what_is_undefined_is_said_to_be() -> None:
    nothing = {"pooler@2 - mean@2": (math.nan, math.nan)}
    first = said(nothing, {}).sentences[0]
    assert "undefined against mean pooling on set0 and 5.0 points (" in first


def test_of_all_tasks_it_says_what_the_verdict_says_of_them() -> None:
    effects = (-0.09, -0.05, 0.02, -0.11)
    found = said(*({"pooler@2 - mean@2": (effect, 0.005)} for effect in effects))
    assert "like these, the difference may go either way: the mean difference is −5.8 [" in str(
        found
    )
    assert (
        "5.0 to 11.0 points (Spearman × 100) below mean pooling on three of four"
        in found.sentences[0]
    )
    assert "2.0 points above it on set2" in found.sentences[0]
    assert found.sentences[-1].startswith("Of mean pooling, use the last layer (`mean@2`)")


def test_the_layer_is_the_one_chosen_elsewhere_and_not_the_highest_here() -> None:
    found = said({})
    (row,) = found.table.rows
    shown = dict(zip(found.table.header, (cell.text for cell in row), strict=True))
    assert shown["chosen layer"] == "70.0\N{NO-BREAK SPACE}mean@1"
    lower = said({"mean@2 - mean@1": (-0.10, 0.01)})
    assert lower.sentences[-1].startswith(
        "Use mean pooling of layer 1 (`mean@1`): `mean@2` is 10.0 "
    )
    open_ = said({"mean@2 - mean@1": (0.02, 0.02)})
    assert open_.sentences[-1].startswith("`mean@2` is not detectably different from `mean@1`")


def test_without_a_claim_about_them_no_views_are_compared() -> None:
    scores = table({"set0": LOSS})
    verdict = decide(scores, "toy", claims=())
    assert summarise(scores, MANIFEST, {"toy": verdict}).sentences == ()
    assert np.isfinite(summarise(scores, MANIFEST, {}).table.rows[0][2].number or np.nan)


def test_what_became_of_a_claim_of_ones_own_is_said() -> None:
    scores = table({"set0": LOSS})
    mine = (
        Claim(id="X", sentence="the mean rises", view="mean@{last} - mean@1", predicts=Side.ABOVE),
        Claim(id="Y", sentence="middle is better", view="middle@{last} - mean@{last}"),
    )
    verdict = decide(scores, "toy", claims=(*CLAIMS, *mine))
    x, y = summarise(scores, MANIFEST, {"toy": verdict}).sentences[-2:]
    assert x.startswith("X supported on set0: ")
    assert (
        y == "Y (middle is better) is undecided: the run has no row of middle@{last} - mean@{last}."
    )
    scores = pd.concat([scores, scores.assign(model="other")])
    manifest = {"encoders": [MANIFEST["encoders"][0] | {"name": name} for name in ("toy", "other")]}
    verdicts = {name: decide(scores, name, claims=mine) for name in ("toy", "other")}
    found = summarise(scores, manifest, verdicts).sentences
    assert [line.partition(" ")[0] for line in found[-4:]] == ["toy:", "toy:", "other:", "other:"]


def test_the_caption_speaks_of_pairs_only_where_there_are_any() -> None:
    labels = table({"set0": {}}).iloc[:4].assign(metric="accuracy", probe="linear")
    caption = summarise(labels, MANIFEST, {}).table.caption
    assert "pairs" not in caption
    assert "such as the commonest label" in caption
    assert "held-out pairs" in said({}).table.caption


def test_views_without_layers_are_said_with_their_values() -> None:
    scores = table({"set0": {}}).iloc[:2].assign(view=["glove", "bigrams"])
    manifest = {"encoders": [{"name": "toy", "num_layers": 0, "pooler": "absent"}]}
    assert summarise(scores, manifest, {}).sentences == (
        "toy has no pooler; Spearman × 100 on set0: glove 70.0, bigrams 80.0.",
    )


def test_advice_that_all_encoders_share_is_said_once() -> None:
    one = table({"set0": LOSS})
    scores = pd.concat([one, one.assign(model="twin")])
    manifest = {"encoders": [MANIFEST["encoders"][0] | {"name": name} for name in ("toy", "twin")]}
    verdicts = {name: decide(scores, name) for name in ("toy", "twin")}
    found = summarise(scores, manifest, verdicts).sentences
    assert len(found) == 6
    assert found[2].startswith("In twin, ")
    assert found[-2].startswith("Use mean pooling of the last layer (`mean@2`)")
    assert found[-1] == "This holds for both encoders."


def test_a_narrow_terminal_folds_words_and_no_number() -> None:
    shown = said({}).table
    console = Console(width=70, file=io.StringIO())
    console.print(rich_table(shown, console))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 70
    numbers = [cell.text for cell in shown.rows[0] if cell.number is not None]
    assert all(any(number in line for line in lines) for number in numbers)
