"""docs/cause.md and README's sentences on cause: from committed rows alone."""

import cause
import pandas as pd

from probing.cause.experiment import figures_of, read_cause_rows
from probing.cause.verdict import decide


def test_the_page_is_what_the_script_makes_of_the_committed_rows() -> None:
    assert cause.PAGE.read_text(encoding="utf-8") == cause.page()


def test_every_sentence_of_the_verdict_is_on_the_page() -> None:
    verdict = decide(read_cause_rows(cause.ROWS), cause.ENCODER)
    text = cause.PAGE.read_text(encoding="utf-8")
    assert verdict.headline in text
    assert all(sentence in text for sentence in verdict.estimates)
    criteria = (*verdict.gates, *verdict.convincing, *verdict.refuting)
    assert all(f"{each.name} | {each.answer} | {each.because}" in text for each in criteria)


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


def test_other_rows_give_other_sentences() -> None:
    rows = read_cause_rows(cause.ROWS)
    lower = rows.copy()
    of_nsp = (rows["arm"] == "nsp") & (rows["view"] == "pooler") & (rows["dose"] > 0)
    lower.loc[of_nsp, "value"] = pd.to_numeric(rows.loc[of_nsp, "value"]) - 0.1
    one, other = decide(rows, cause.ENCODER), decide(lower, cause.ENCODER)
    assert one.estimates[0] != other.estimates[0]
