"""Type two sentences and see what every view makes of them; made for a notebook.

What turns sentences into vectors is handed in, so that any encoder will do:

    explorer = explore(partial(probing.extract, encoder), probing.load_task("sts-mini"))
"""

import html
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Final, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from probing.errors import InputError
from probing.reporting.figures.drawing import (
    COLUMN,
    INK,
    PAPER,
    POOLER,
    REFERENCE,
    Described,
    canvas,
    in_order,
    label_right,
    mark,
)
from probing.results.quantities import points

Encode = Callable[[Sequence[str]], Mapping[str, NDArray[np.float32]]]
"""Sentences → view id → ``(n_sentences, hidden_size)`` float32."""

N_PAIRS: Final = 500
"""How many pairs of a task are kept at most."""
_NEIGHBOURS: Final = 8
_SHOWN: Final = 70
"""Characters of a sentence in the list of pairs."""
# Rounding differs in the last bits of float32 with the place in a batch.
_CONSTANT: Final = 1e-5
_LAYER: Final = re.compile(r"(?P<pooling>.+)@(?P<layer>\d+)")


class Pairs(Protocol):
    """The part of `probing.tasks.SentencePairs` that is needed here."""

    @property
    def name(self) -> str:
        """Name of the task."""

    @property
    def sentences1(self) -> tuple[str, ...]:
        """The first sentence of each of n pairs."""

    @property
    def sentences2(self) -> tuple[str, ...]:
        """The second sentence of each pair."""

    @property
    def scores(self) -> NDArray[np.float64]:
        """``(n,)`` gold scores."""


@dataclass(frozen=True, eq=False)
class Explorer:
    """The pairs of a task under every view, ready to be asked; shows itself in a notebook.

    ``sentences`` holds the first sentences of n pairs, then the second ones; ``scores`` their n
    gold scores; ``vectors`` has for each view ``(2 * n, hidden_size)`` float32 of length one;
    ``cosines`` for each view ``(n,)`` float64, NaN throughout for a view that is the same vector
    for every sentence.
    """

    encode: Encode = field(repr=False)
    task: str
    sentences: tuple[str, ...] = field(repr=False)
    scores: NDArray[np.float64] = field(repr=False)
    vectors: Mapping[str, NDArray[np.float32]] = field(repr=False)
    cosines: Mapping[str, NDArray[np.float64]] = field(repr=False)

    @property
    def views(self) -> tuple[str, ...]:
        """The views that tell sentences apart."""
        return tuple(view for view, found in self.cosines.items() if not np.isnan(found).all())

    def compare(self, sentence1: str, sentence2: str) -> dict[str, float]:
        """View → cosine of two sentences, NaN where the view is undefined.

        Raises `InputError` where a sentence is empty.
        """
        found = self.encode([sentence1, sentence2])
        return {
            view: float(np.dot(*_unit(found[view]).astype(np.float64)))
            if view in self.views
            else np.nan
            for view in self.cosines
        }

    def standing(self, view: str, cosine: float) -> float:
        """The share of the task's pairs whose cosine is lower, in [0, 1]; NaN where undefined."""
        found = self.cosines[self._known(view)]
        return float(np.mean(found < cosine)) if view in self.views else np.nan

    def neighbours(self, sentence: str, view: str, k: int = _NEIGHBOURS) -> pd.DataFrame:
        """The k sentences of the task that are nearest to one, with their cosines.

        Returns:
            Columns ``cosine, sentence``, the nearest first; the sentence itself is left out.

        Raises:
            InputError: The view is unknown or undefined, or the sentence is empty.
        """
        if self._known(view) not in self.views:
            raise InputError(f"{view} is the same vector for every sentence: choose another view")
        query = _unit(self.encode([sentence])[view])[0]
        table = pd.DataFrame({"cosine": self.vectors[view] @ query, "sentence": self.sentences})
        table = table.drop_duplicates("sentence")
        table = table[table["sentence"] != sentence]
        return (
            table.sort_values("cosine", ascending=False, kind="stable")
            .head(k)
            .reset_index(drop=True)
        )

    def picture(self, sentence1: str, sentence2: str, view: str | None = None) -> Described:
        """The cosine of two sentences by layer and pooling, and its place among the task's pairs.

        Args:
            sentence1: Any text.
            sentence2: Any text.
            view: The view whose place is shown; by default mean pooling of the last layer.

        Raises:
            InputError: The view is unknown, or a sentence is empty.
        """
        chosen = self._known(view or _last_mean(self.views))
        cosines = self.compare(sentence1, sentence2)
        here = cosines[chosen]
        with canvas(height=2.6, width=2 * COLUMN) as (figure, left):
            _draw_by_layer(left, cosines, chosen)
            left.set_position((0.07, 0.15, 0.3, 0.8))
            right = figure.add_axes((0.61, 0.15, 0.37, 0.8))
            right.scatter(
                self.cosines[chosen], self.scores, s=9, color=REFERENCE, alpha=0.45, linewidths=0
            )
            if not np.isnan(here):
                right.axvline(here, color=mark("mean")[0], linewidth=1.4)
            right.set_xlabel(f"cosine under {chosen}, pairs of {self.task}")
            right.set_ylabel("human score")
        sentence = f"Cosine under {chosen}: {points(here, 3)}"
        if np.isnan(here):
            sentence = f"{chosen} is the same vector for every sentence, so its cosine is undefined"
        else:
            share = 100 * self.standing(chosen, here)
            sentence += f", higher than that of {share:.0f} % of {len(self.scores)} pairs"
            sentence += f" of {self.task} (dots; the line is this pair)"
        return Described(figure, sentence + ".")

    def widget(self) -> Any:
        """The controls: two sentences, a pair to pick, two views; all follow every change."""
        return _Controls(self).box

    def _known(self, view: str) -> str:
        if view not in self.cosines:
            raise InputError(f"unknown view {view!r}: expected one of {', '.join(self.cosines)}")
        return view

    def _ipython_display_(self) -> None:
        import_module("IPython.display").display(self.widget())


def explore(encode: Encode, pairs: Pairs, n_pairs: int = N_PAIRS) -> Explorer:
    """Encode the pairs of a task once, to be explored.

    Args:
        encode: Such as ``functools.partial(probing.extract, encoder)``.
        pairs: Such as ``probing.load_task("sts-mini")``.
        n_pairs: Pairs that are kept of a longer task, at equal distances.

    Raises:
        InputError: ``n_pairs`` is less than 2, or the task has fewer pairs.

    >>> encoder = probing.load_encoder("minilm")
    >>> encode = lambda sentences: probing.extract(encoder, sentences)
    >>> explorer = probing.explore(encode, probing.load_task("sts-mini"), n_pairs=10)
    >>> explorer.picture("A cat sleeps.", "A cat is asleep.").sentence[:19]
    'Cosine under mean@6'
    """
    n = len(pairs.scores)
    if n_pairs < 2 or n < 2:
        raise InputError(f"found {min(n, n_pairs)} pairs to explore: expected at least 2")
    rows = np.unique(np.linspace(0, n - 1, min(n, n_pairs)).astype(int))
    sentences = [column[row] for column in (pairs.sentences1, pairs.sentences2) for row in rows]
    found = encode(sentences)
    vectors: dict[str, NDArray[np.float32]] = {}
    cosines: dict[str, NDArray[np.float64]] = {}
    for view in found:
        unit = _unit(found[view])
        vectors[view] = unit
        products = np.einsum("nd,nd->n", unit[: len(rows)], unit[len(rows) :], dtype=np.float64)
        is_constant = bool(np.abs(unit - unit[0]).max() <= _CONSTANT)
        cosines[view] = np.full(len(rows), np.nan) if is_constant else products
    return Explorer(
        encode=encode,
        task=pairs.name,
        sentences=tuple(sentences),
        scores=np.asarray(pairs.scores, dtype=np.float64)[rows],
        vectors=vectors,
        cosines=cosines,
    )


class _Controls:
    """The widgets of an explorer and what happens when one changes."""

    def __init__(self, explorer: Explorer) -> None:
        widgets: Any = import_module("ipywidgets")
        self.explorer = explorer
        self.waiting = False
        n = len(explorer.scores)
        pairs = [(f"{explorer.scores[i]:g}  {_shortened(i, explorer)}", i) for i in range(n)]
        full, wide = {"width": "100%"}, {"description_width": "6.5em"}
        first, second = explorer.sentences[0], explorer.sentences[n]
        default = _last_mean(explorer.views)
        pooler = [view for view in explorer.views if view.startswith("pooler@")]
        typed = {"continuous_update": False, "layout": full, "style": wide}
        self.pair = widgets.Dropdown(
            options=pairs, description="pick a pair", layout=full, style=wide
        )
        self.sentence1 = widgets.Text(value=first, description="sentence 1", **typed)
        self.sentence2 = widgets.Text(value=second, description="sentence 2", **typed)
        chosen = {"options": explorer.views, "style": wide}
        self.view1 = widgets.Dropdown(value=default, description="view", **chosen)
        self.view2 = widgets.Dropdown(
            value=pooler[0] if pooler else explorer.views[0], description="beside it", **chosen
        )
        self.status = widgets.HTML()
        self.image = widgets.Image(format="png", layout={"max_width": "100%", "width": "900px"})
        half = {"width": "48%", "min_width": "18em"}
        self.neighbours1, self.neighbours2 = (widgets.HTML(layout=half) for _ in range(2))
        self.box = widgets.VBox(
            [
                self.pair,
                self.sentence1,
                self.sentence2,
                widgets.HBox([self.view1, self.view2]),
                self.status,
                self.image,
                widgets.HBox([self.neighbours1, self.neighbours2], layout={"flex_flow": "wrap"}),
            ]
        )
        self.pair.observe(self._pick, names="value")
        for control in (self.sentence1, self.sentence2, self.view1, self.view2):
            control.observe(self._refresh, names="value")
        self._refresh()

    def _pick(self, change: Mapping[str, Any]) -> None:
        n = len(self.explorer.scores)
        self.waiting = True  # for the second sentence, so that the picture is drawn once
        self.sentence1.value = self.explorer.sentences[change["new"]]
        self.sentence2.value = self.explorer.sentences[n + change["new"]]
        self.waiting = False
        self._refresh()

    def _refresh(self, _: object = None) -> None:
        if self.waiting:
            return
        try:
            described = self.explorer.picture(
                self.sentence1.value, self.sentence2.value, self.view1.value
            )
            nearest = [
                _as_html(self.explorer.neighbours(self.sentence1.value, view), view)
                for view in (self.view1.value, self.view2.value)
            ]
        except InputError as error:
            self.status.value = html.escape(str(error))
            return
        self.status.value = html.escape(described.sentence)
        self.image.value = described.png()
        self.neighbours1.value, self.neighbours2.value = nearest


def _draw_by_layer(axes: Any, cosines: Mapping[str, float], chosen: str) -> None:
    """Each pooling by layer, the pooler beside the last layer, the chosen view ringed."""
    places: dict[str, list[tuple[int, float]]] = {}
    for view, cosine in cosines.items():
        match = _LAYER.fullmatch(view)
        if match is not None and not np.isnan(cosine):
            places.setdefault(match["pooling"], []).append((int(match["layer"]), cosine))
    last = max(layer for points in places.values() for layer, _ in points)
    ends: list[tuple[float, float, str, Any]] = []
    for pooling in in_order(places):
        colour, marker = mark(pooling)
        step = 0.06 * max(last, 4) * (1 + POOLER.index(pooling)) if pooling in POOLER else 0.0
        points = sorted(places[pooling])
        x, y = [layer + step for layer, _ in points], [cosine for _, cosine in points]
        axes.plot(x, y, color=colour, marker=marker, markeredgecolor=PAPER, markeredgewidth=0.4)
        ends.append((x[-1], y[-1], pooling, colour))
        if f"{pooling}@" in chosen:
            layer = int(chosen.rpartition("@")[2])
            axes.plot(layer + step, cosines[chosen], "o", color=INK, markersize=8, fillstyle="none")
    axes.set_xlim(-0.3, last * 1.18)
    axes.set_xticks(range(0, last + 1, 1 if last <= 12 else 4))
    axes.set_xlabel("layer (0: embeddings)")
    axes.set_ylabel("cosine")
    label_right(axes, ends, x=last * 1.24)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors ``(n, hidden_size)`` at length one; NaN where a vector has no length."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, np.nan)).astype(np.float32)


def _last_mean(views: Sequence[str]) -> str:
    """Mean pooling of the last layer, or the last view of an encoder without it."""
    means = [view for view in views if view.startswith("mean@")]
    return [*views, *means][-1]


def _shortened(pair: int, explorer: Explorer) -> str:
    n = len(explorer.scores)
    one, other = explorer.sentences[pair], explorer.sentences[n + pair]
    return f"{one[:_SHOWN]} | {other[:_SHOWN]}"


def _as_html(table: pd.DataFrame, view: str) -> str:
    rows = "".join(
        f"<tr><td>{points(cosine, 3)}</td>"
        f"<td style='text-align:left'>{html.escape(sentence)}</td></tr>"
        for cosine, sentence in zip(table["cosine"], table["sentence"], strict=True)
    )
    return f"<b>nearest to sentence 1 under {html.escape(view)}</b><table>{rows}</table>"
