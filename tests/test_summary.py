"""The summary says what the rows say, and recommends the usual choice unless another is better."""

import pandas as pd
import pytest

from probing.reporting.summary import summarise
from probing.results.scores import Score, score_table
from probing.results.target import Target


def table(
    means: dict[str, float], differences: dict[str, tuple[float, float, float]]
) -> pd.DataFrame:
    target = Target(task="stsb")
    rows: list[Score] = [
        target.score(
            view=view, probe="cosine", metric="spearman", value=value, n=100, aggregation="all"
        )
        for view, value in means.items()
    ]
    rows += [
        target.score(
            view=view,
            probe="cosine",
            metric="spearman_difference",
            value=value,
            lower=lower,
            upper=upper,
            n=100,
            aggregation="all",
        )
        for view, (value, lower, upper) in differences.items()
    ]
    return score_table(rows).assign(model="toy")


MANIFEST = {"encoders": [{"name": "toy", "num_layers": 2, "pooler": "untrained"}]}
LOSS = {
    "pooler@2 - mean@2": (-0.05, -0.07, -0.03),
    "cls@2 - mean@2": (-0.049, -0.06, -0.03),
    "pooler@2 - cls@2": (-0.001, -0.002, 0.001),
}
MEANS = {"mean@1": 0.70, "mean@2": 0.80, "cls@2": 0.751, "pooler@2": 0.75}


@pytest.mark.parametrize(("other", "used"), [(0.809, "mean@2"), (0.811, "mean@1")])
def test_another_view_is_recommended_only_beyond_a_point(other: float, used: str) -> None:
    found = summarise(table(MEANS | {"mean@1": other}, LOSS), MANIFEST)
    assert found.sentences[-1].startswith(f"Use `{used}`: ")


def test_the_loss_is_said_with_its_place() -> None:
    first, place, _ = summarise(table(MEANS, LOSS), MANIFEST).sentences
    assert first == (
        "In toy, whose pooler was never trained, pooler_output is 5.0 points below mean pooling on "
        "stsb."
    )
    assert place.startswith("The loss is in [CLS], not in the pooler: ")


def test_an_interval_around_zero_is_no_difference() -> None:
    open_ = LOSS | {"pooler@2 - mean@2": (-0.05, -0.11, 0.01)}
    first = summarise(table(MEANS, open_), MANIFEST).sentences[0]
    assert "not told apart from mean pooling on stsb" in first
