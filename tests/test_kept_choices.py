"""Which view to use, word by word, for made-up items, against what was kept.

After a change that is meant to move it: ``python -m tests.test_kept_choices``, and read the diff.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from probing.claims.choice import Choice, choose_view, usual_views
from probing.errors import InputError
from probing.results.items import Items
from probing.results.target import Target

KEPT: Final = Path(__file__).with_name("kept") / "choices.txt"
VIEWS: Final = ("mean@0", "mean@1", "mean@2", "cls@1", "cls@2", "pooler@2")


def pairs(seed: int, n: int, noise: dict[str, float], **columns: object) -> Items:
    """Cosines that follow the gold with some noise; NaN where it is infinite."""
    rng = np.random.default_rng(seed)
    gold = rng.normal(size=n)
    shared = rng.normal(size=n)
    cosines = [gold + how * (shared + rng.normal(size=n)) for how in noise.values()]
    found = np.stack(cosines, axis=1)
    found[:, np.isinf(list(noise.values()))] = np.nan
    target = Target(task="pairs", gold=gold, seed=seed, n_resamples=400, **columns)  # type: ignore[arg-type]
    return Items(model="toy", probe="cosine", views=tuple(noise), columns=found, target=target)


def right(seed: int, n: int, shares: dict[str, float], groups: int | None = None) -> Items:
    """1 where a probe is right; items of a group are right together."""
    rng = np.random.default_rng(seed)
    of_item = np.arange(n) if groups is None else rng.integers(groups, size=n)
    drawn = rng.uniform(size=(n, len(shares)))[of_item]
    target = Target(
        task="labels", seed=seed, n_resamples=400, clusters=None if groups is None else of_item
    )
    return Items(
        model="toy",
        probe="linear",
        views=tuple(shares),
        columns=(drawn < list(shares.values())).astype(float),
        target=target,
    )


def choices() -> Iterator[tuple[str, Choice]]:
    """Each with its name."""
    usual = usual_views(2)
    noise = dict(zip(VIEWS, (0.2, 0.9, 1.0, 1.5, 1.2, 3.0), strict=True))
    yield "one is best", choose_view(pairs(0, 300, noise), usual=usual)
    for n in (40, 3000):
        close = dict(zip(VIEWS, (1.0, 1.0, 0.99, 1.0, 1.01, 1.4), strict=True))
        yield f"several of {n}", choose_view(pairs(1, n, close), usual=usual)
    named = pairs(2, 120, dict(zip(VIEWS, (0.6, 0.5, 0.4, 0.9, 0.9, np.inf), strict=True)))
    yield "one is not defined", choose_view(named, usual=usual_views(2, "mean@1"))
    subsets = tuple("ab"[row % 2] for row in range(200))
    clusters = np.arange(200) // 3
    grouped = pairs(3, 200, noise, subsets=subsets, clusters=clusters)
    yield "subsets and clusters", choose_view(grouped, usual=usual)
    many = {f"mean@{layer}": 1.0 + layer / 1000 for layer in range(12)}
    yield "many", choose_view(pairs(4, 60, many), usual=["mean@11", "cls@11"])
    yield "only one", choose_view(pairs(5, 60, {"mean@2": 0.5}), usual=usual)
    shares = dict(zip(VIEWS, (0.9, 0.8, 0.82, 0.7, 0.7, 0.5), strict=True))
    yield "probes", choose_view(right(6, 150, shares), usual=usual)
    yield "probes on groups", choose_view(right(7, 150, shares, groups=40), usual=usual)
    equal = right(8, 30, {"mean@1": 1.0, "mean@2": 1.0})
    yield "equal to the last item", choose_view(equal, usual=usual)


def text() -> str:
    """All of them, as they are kept."""
    parts = []
    for name, choice in choices():
        table = choice.table.round(3).to_string(index=False)
        more = (choice.usual, choice.undefined, choice.more_for_one, choice.more_for_a_point)
        said = "{} {} {:.3g} {:.3g}".format(*more)
        parts.append("\n".join([f"# {name}", *choice.sentences, table, said, str(choice)]))
    return "\n\n".join(parts) + "\n"


def test_choices_are_those_that_were_kept() -> None:
    assert text() == KEPT.read_text(encoding="utf-8")


def test_what_cannot_be_chosen_on_is_said_with_its_name() -> None:
    few = pairs(0, 8, {"mean@2": 1.0})
    with pytest.raises(InputError, match=r"^pairs, toy: found 8 items, expected at least 10"):
        choose_view(few, usual=())
    with pytest.raises(InputError, match=r"^pairs, toy: no view is defined on every item"):
        choose_view(pairs(0, 20, {"mean@2": np.inf}), usual=())


if __name__ == "__main__":
    KEPT.write_text(text(), encoding="utf-8")
