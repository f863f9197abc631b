"""The explorer: true to the vectors, alive in its widgets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ipywidgets
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics.pairwise import cosine_similarity

import probing
from probing.errors import InputError
from probing.reporting.explorer import Explorer, explore

VIEWS = ("cls@0", "cls@1", "mean@0", "mean@1", "pooler@1")


@dataclass(frozen=True)
class Pairs:
    name: str
    sentences1: tuple[str, ...]
    sentences2: tuple[str, ...]
    scores: NDArray[np.float64]


def encode(sentences: Sequence[str]) -> Mapping[str, NDArray[np.float32]]:
    """Vectors that depend on the text alone; ``cls@0`` is the same for every sentence."""
    if any(not sentence.strip() for sentence in sentences):
        raise InputError("a sentence is empty")
    vectors = {view: np.ones((len(sentences), 6), dtype=np.float32) for view in VIEWS}
    for number, view in enumerate(VIEWS[1:]):
        for row, sentence in enumerate(sentences):
            rng = np.random.default_rng([number, *sentence.encode()])
            vectors[view][row] = 0.5 + rng.standard_normal(6)
    return vectors


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    first = tuple(f"sentence number {i}" for i in range(40))
    return Pairs("invented", first, tuple(f"another {i}" for i in range(40)), np.arange(40) / 8)


@pytest.fixture(scope="module")
def explorer(pairs: Pairs) -> Explorer:
    return explore(encode, pairs)


def test_cosines_and_standing_are_those_of_the_vectors(explorer: Explorer, pairs: Pairs) -> None:
    for view in VIEWS[1:]:
        vectors = encode([*pairs.sentences1, *pairs.sentences2])[view]
        wanted = np.diag(cosine_similarity(vectors[:40], vectors[40:]))
        np.testing.assert_allclose(explorer.cosines[view], wanted, atol=1e-6)
        here = explorer.compare(pairs.sentences1[7], pairs.sentences2[7])[view]
        assert here == pytest.approx(wanted[7], abs=1e-6)
        assert explorer.standing(view, 0.25) == pytest.approx((wanted < 0.25).mean())


def test_a_view_that_is_one_vector_has_no_cosine(explorer: Explorer, pairs: Pairs) -> None:
    assert explorer.views == VIEWS[1:]
    assert np.isnan(explorer.cosines["cls@0"]).all()
    assert np.isnan(explorer.compare("a", "b")["cls@0"])
    assert np.isnan(explorer.standing("cls@0", 0.5))
    assert "so its cosine is undefined" in explorer.picture("a", "b", "cls@0").sentence
    with pytest.raises(InputError, match="same vector for every sentence"):
        explorer.neighbours(pairs.sentences1[0], "cls@0")


def test_neighbours_are_the_nearest_and_not_the_sentence_itself(
    explorer: Explorer, pairs: Pairs
) -> None:
    query = pairs.sentences1[3]
    found = explorer.neighbours(query, "mean@1", k=5)
    everything = [*pairs.sentences1, *pairs.sentences2]
    similar = cosine_similarity(encode([query])["mean@1"], encode(everything)["mean@1"])[0]
    order = [everything[i] for i in np.argsort(-similar, kind="stable")]
    assert order[0] == query
    assert list(found["sentence"]) == order[1:6]
    np.testing.assert_allclose(found["cosine"], np.sort(similar)[::-1][1:6], atol=1e-6)


def test_a_long_task_is_thinned_evenly(pairs: Pairs) -> None:
    few = explore(encode, pairs, n_pairs=4)
    assert list(few.scores) == [pairs.scores[i] for i in (0, 13, 26, 39)]
    assert few.sentences[1] == pairs.sentences1[13]
    assert few.sentences[5] == pairs.sentences2[13]
    with pytest.raises(InputError, match="expected at least 2"):
        explore(encode, pairs, n_pairs=1)


def test_the_sentence_of_the_picture_is_the_numbers(explorer: Explorer) -> None:
    described = explorer.picture("one", "two", "pooler@1")
    here = explorer.compare("one", "two")["pooler@1"]
    share = 100 * explorer.standing("pooler@1", here)
    assert f"Cosine under pooler@1: {here:.3f}, higher than that of {share:.0f} %" in (
        described.sentence
    )
    assert "mean@1" in explorer.picture("one", "two").sentence
    with pytest.raises(InputError, match="unknown view 'mean@9'"):
        explorer.picture("one", "two", "mean@9")


def _parts(box: Any) -> dict[str, Any]:
    """The widgets of the explorer by their description or kind."""
    found: dict[str, Any] = {}

    def walk(widget: Any) -> None:
        for child in getattr(widget, "children", ()):
            walk(child)
        name = getattr(widget, "description", "") or type(widget).__name__
        found.setdefault(name, []).append(widget)

    walk(box)
    return found


def test_the_widgets_follow_every_change(explorer: Explorer, pairs: Pairs) -> None:
    parts = _parts(explorer.widget())
    status, *neighbours = parts["HTML"]
    (image,) = parts["Image"]
    assert bytes(image.value).startswith(b"\x89PNG")
    seen = {(status.value, bytes(image.value))}
    for change in (
        lambda: setattr(parts["sentence 1"][0], "value", "something typed"),
        lambda: setattr(parts["sentence 2"][0], "value", "something else typed"),
        lambda: setattr(parts["view"][0], "value", "cls@1"),
        lambda: setattr(parts["pick a pair"][0], "value", 11),
    ):
        change()
        now = (status.value, bytes(image.value))
        assert now not in seen
        seen.add(now)
    assert parts["sentence 1"][0].value == pairs.sentences1[11]
    assert parts["sentence 2"][0].value == pairs.sentences2[11]
    before = [widget.value for widget in neighbours]
    parts["beside it"][0].value = "mean@0"
    assert neighbours[0].value == before[0]
    assert neighbours[1].value != before[1]


def test_what_is_wrong_is_said_and_the_picture_stays(explorer: Explorer) -> None:
    parts = _parts(explorer.widget())
    status, picture = parts["HTML"][0], parts["Image"][0].value
    parts["sentence 1"][0].value = "  "
    assert status.value == "a sentence is empty"
    assert parts["Image"][0].value == picture
    parts["sentence 1"][0].value = "fine <again>"
    assert status.value.startswith("Cosine under")
    assert isinstance(parts["Image"][0], ipywidgets.Image)


def test_text_from_outside_stays_text() -> None:
    risky = Pairs("t", ("<b>bold</b>", "x"), ("y", "z"), np.array([0.0, 1.0]))
    parts = _parts(explore(encode, risky).widget())
    parts["sentence 1"][0].value = "near"
    shown = "".join(widget.value for widget in parts["HTML"])
    assert "&lt;b&gt;bold&lt;/b&gt;" in shown
    assert "<b>bold</b>" not in shown


def test_an_encoder_and_a_task_of_the_project_fit(tiny_encoder_folder: Any) -> None:
    folder: Path = tiny_encoder_folder("bert")
    encoder = probing.load_encoder(folder)
    task = probing.load_task("sts-mini")
    assert isinstance(task, probing.SentencePairs)
    found = explore(partial(probing.extract, encoder), task, n_pairs=10)
    assert "cls@0" not in found.views
    assert "pooler@3" in found.views
    assert found.picture("a cat", "a dog").png().startswith(b"\x89PNG")
