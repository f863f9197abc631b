"""docs/cause.md and README's sentences on cause: from committed rows alone."""

from pathlib import Path

import cause
import numpy as np
import pandas as pd
import pytest

import probing
from probing.cause.experiment import figures_of, read_cause_rows
from probing.cause.suite import LastLayer, Suite, load_suite, suite_cosines, suite_scores
from probing.cause.verdict import decide

SHIPPED = {"minilm-nsp": "nsp", "minilm-placebo": "nsp-permuted"}


@pytest.mark.slow
def test_the_page_is_what_the_script_makes_of_the_committed_rows() -> None:
    assert cause.PAGE.read_text(encoding="utf-8") == cause.page()


@pytest.mark.slow
def test_every_sentence_of_the_verdict_is_on_the_page() -> None:
    verdict = decide(read_cause_rows(cause.ROWS), cause.ENCODER)
    text = cause.PAGE.read_text(encoding="utf-8")
    assert verdict.headline in text
    assert all(sentence in text for sentence in verdict.estimates)
    criteria = (*verdict.gates, *verdict.convincing, *verdict.refuting)
    assert all(f"{each.name} | {each.answer} | {each.because}" in text for each in criteria)


@pytest.mark.slow
def test_readme_says_the_result_in_the_words_of_the_verdict() -> None:
    readme = cause.README.read_text(encoding="utf-8")
    block = readme.partition(cause.BEGIN)[2].partition(cause.END)[0]
    assert block == cause.readme_block()


def test_the_figures_are_of_the_committed_rows() -> None:
    for experiment, figure in figures_of(read_cause_rows(cause.ROWS)).items():
        kept = cause.KEPT / f"{experiment.lower()}.svg"
        assert f"cause/{kept.name}" in cause.PAGE.read_text(encoding="utf-8")
        assert kept.is_file()
        assert figure.sentence in cause.PAGE.read_text(encoding="utf-8")


@pytest.mark.slow
def test_other_rows_give_other_sentences() -> None:
    rows = read_cause_rows(cause.ROWS)
    lower = rows.copy()
    of_nsp = (rows["arm"] == "nsp") & (rows["view"] == "pooler") & (rows["dose"] > 0)
    lower.loc[of_nsp, "value"] = pd.to_numeric(rows.loc[of_nsp, "value"]) - 0.1
    one, other = decide(rows, cause.ENCODER), decide(lower, cause.ENCODER)
    assert one.estimates[0] != other.estimates[0]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_encoder_is_minilm_under_another_pooler(name: str) -> None:
    sentences = ["A cat sleeps.", "The dogs of the neighbours barked at the postman all day."]
    base, shipped = (
        probing.extract(probing.load_encoder(each), sentences) for each in ("minilm", name)
    )
    for view in ("mean@6", "cls@6", "mean@3"):
        np.testing.assert_allclose(shipped[view], base[view], atol=1e-6)
    assert np.abs(shipped["pooler@6"] - base["pooler@6"]).max() > 0.01
    assert str(probing.load_encoder(name).pooler_state) == "trained"


@pytest.fixture(scope="module")
def stsb_of_the_body(real_data: Path) -> tuple[Suite, probing.Representations]:
    """Sentences of STS-B and what the body says of them that all shipped encoders share."""
    encoder = probing.load_encoder("minilm")
    suite = load_suite(encoder.tokenizer, real_data, ("stsb",))
    return suite, probing.extract(encoder, list(suite.sentences), views=["cls@6", "mean@6"])


@pytest.mark.real
@pytest.mark.parametrize("name", SHIPPED)
def test_the_pooler_of_a_shipped_encoder_is_that_of_the_rows(
    name: str, stsb_of_the_body: tuple[Suite, probing.Representations]
) -> None:
    encoder = probing.load_encoder(name)
    suite, found = stsb_of_the_body
    dense = encoder.pooler_dense
    weight, bias = (tensor.detach().numpy() for tensor in (dense.weight, dense.bias))
    views = LastLayer(found["mean@6"], found["cls@6"]).views(weight, bias)
    rows = read_cause_rows(cause.ROWS).query("experiment == 'E1' and task == 'stsb'")
    mine = rows[(rows["arm"] == SHIPPED[name]) & (rows["seed"] == 0) & (rows["view"] == "pooler")]
    mine = mine[(mine["variant"] == "") & (mine["dose"] == mine["dose"].max())]
    score = suite_scores(suite, suite_cosines(suite, {"pooler": views["pooler"]}))["stsb/pooler"]
    assert score == pytest.approx(float(mine["value"].iloc[0]), abs=1e-3)  # rows: bfloat16
