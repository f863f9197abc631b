"""docs/choose.md and docs/which-pooling.md say what was measured and nothing else."""

import copy
import json
from pathlib import Path

import choose
import numpy as np
import pytest
import which_pooling

import probing

DOCS = Path(__file__).parent.parent / "docs"
CASES = json.loads((DOCS / "choose.json").read_text(encoding="utf-8"))
MEASURED = json.loads((DOCS / "which-pooling.json").read_text(encoding="utf-8"))


def test_the_pages_are_made_from_the_figures() -> None:
    assert (DOCS / "choose.md").read_text(encoding="utf-8") == choose.markdown(CASES)
    page = (DOCS / "which-pooling.md").read_text(encoding="utf-8")
    assert page == which_pooling.page(MEASURED)


def test_the_page_of_choose_says_no_where_the_promise_fails() -> None:
    pairs = [case for case in CASES if case["kind"] == "pairs"]
    assert "**no**" not in choose.markdown(pairs)
    broken = copy.deepcopy(pairs)
    for draw in broken[0]["draws"] + broken[1]["draws"]:
        draw["comparison with the best"][1] = 0
    assert "**no**" in choose.markdown(broken)


def test_a_set_of_the_literature_keeps_equals_and_drops_what_is_clearly_worse() -> None:
    rng = np.random.default_rng(0)
    estimates = np.array([0.8, 0.8, 0.5, 0.1])
    samples = estimates + 0.01 * rng.normal(size=(500, 4))
    for of_range in (True, False):
        kept = choose.model_confidence_set(estimates, samples, level=0.95, of_range=of_range)
        assert kept.tolist() == [True, True, False, False]


@pytest.mark.slow
def test_what_ships_gives_the_numbers_of_the_page_again() -> None:
    encoder = probing.load_encoder(which_pooling.ENCODER)
    task = probing.load_task(which_pooling.TASK)
    few = [*task.sentences1, *task.sentences2]
    vectors = probing.extract(encoder, few, views=["cls@6", "mean@6"])
    assert which_pooling._agreement(vectors["cls@6"], task.scores) == pytest.approx(
        MEASURED["cls"]["right"], abs=1e-4
    )
    assert which_pooling.anisotropy(vectors.distinct["mean@6"])[0] == pytest.approx(
        MEASURED["anisotropy"]["mean@6"], abs=1e-4
    )
    assert MEASURED["cls"]["left"] < MEASURED["cls"]["right"]
