"""What all figures share: size, colours, marks, direct labels, and the sentence that goes along."""

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from html import escape
from importlib import import_module
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLUMN: Final = 3.5
"""Inches: the width of a column of a two-column paper."""
CHARACTER: Final = 0.057
"""Inches: what a character of a label takes on average."""
INK: Final = "#262626"
"""Text and axes; ``currentColor`` in a page."""
PAPER: Final = "#fefefe"
"""What lies behind; ``var(--paper)`` in a page."""
REFERENCE: Final = "#767676"
"""Lines to compare with: floors and random weights."""

_OKABE_ITO: Final = mpl.color_sequences["okabe_ito"]
POOLINGS: Final = (
    "cls",
    "mean",
    "mean_words",
    "max",
    "pooler_dense",
    "pooler",
    "pooler-fresh",
    "attention",
)
"""The order in every figure; a pooling that is not among them comes last."""
POOLER: Final = ("pooler_dense", "pooler")
"""The poolings that the last layer alone has."""
_MARKS: Final[dict[str, tuple[Any, str]]] = {
    "cls": (_OKABE_ITO[5], "o"),
    "mean": (_OKABE_ITO[6], "s"),
    "mean_words": (_OKABE_ITO[7], "D"),
    "max": (_OKABE_ITO[3], "^"),
    "pooler_dense": (_OKABE_ITO[1], "v"),
    "pooler": (INK, "P"),
    "pooler-fresh": (_OKABE_ITO[2], "X"),
    "attention": (_OKABE_ITO[1], "h"),
}
_OTHER_MARKS: Final = ((_OKABE_ITO[2], "X"), ("#8a5a00", "h"))  # yellow is too pale for a line
_STYLE: Final[Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.6,
    "hatch.linewidth": 0.4,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.facecolor": PAPER,
    "axes.facecolor": "none",
    "savefig.facecolor": PAPER,
    "svg.fonttype": "none",
    "svg.hashsalt": "probing",
    "pdf.fonttype": 42,
}
_NO_DATE: Final = {"Date": None, "Creator": None}
_PIXELS_PER_INCH = 200


@dataclass(frozen=True, eq=False)
class Described:
    """A figure and the sentence that says what it shows.

    In a notebook it shows itself: the picture, and the sentence as text below it.
    """

    figure: Figure
    sentence: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "sentence", self.sentence[:1].upper() + self.sentence[1:])

    @cached_property
    def svg(self) -> str:
        """The figure as a standalone SVG document; equal figures give equal text."""
        with mpl.rc_context(_STYLE):
            buffer = io.StringIO()
            self.figure.savefig(buffer, format="svg", metadata=_NO_DATE)
        return buffer.getvalue()

    def inline_svg(self, name: str) -> str:
        """The figure as an ``<svg>`` element for a page.

        It takes the page's text colour and ``--paper``, is as wide as its box allows, and carries
        the sentence for readers who cannot see it. ``name`` keeps its ids apart from those of other
        figures of the page.
        """
        width, height = 72 * self.figure.get_size_inches()
        body = self.svg.partition("</metadata>")[2]
        body = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", body)
        for colour, variable in ((INK, "currentColor"), (PAPER, "var(--paper)")):
            body = body.replace(colour, variable)
        return (
            f'<svg viewBox="0 0 {width:g} {height:g}" xmlns="http://www.w3.org/2000/svg" '
            'xmlns:xlink="http://www.w3.org/1999/xlink" role="img" '
            f'aria-label="{escape(self.sentence)}">{body}'
        )

    def png(self) -> bytes:
        """The figure as a PNG of 200 pixels per inch."""
        with mpl.rc_context(_STYLE):
            buffer = io.BytesIO()
            self.figure.savefig(
                buffer, format="png", dpi=_PIXELS_PER_INCH, metadata={"Software": None}
            )
        return buffer.getvalue()

    def _ipython_display_(self) -> None:
        notebook = import_module("IPython.display")
        width = round(self.figure.get_figwidth() * 150)
        notebook.display(notebook.Image(data=self.png(), width=width, alt=self.sentence))
        notebook.display(notebook.Markdown(self.sentence))


def mark(pooling: str) -> tuple[Any, str]:
    """Colour and marker of a pooling, the same in every figure; no figure relies on colour only."""
    if pooling in _MARKS:
        return _MARKS[pooling]
    return _OTHER_MARKS[sum(pooling.encode()) % len(_OTHER_MARKS)]


def in_order(poolings: Iterable[str]) -> list[str]:
    """Distinct poolings in the order of `POOLINGS`."""
    distinct = dict.fromkeys(poolings)
    known = [pooling for pooling in POOLINGS if pooling in distinct]
    return known + [pooling for pooling in distinct if pooling not in POOLINGS]


@contextmanager
def canvas(height: float, width: float = COLUMN) -> Iterator[tuple[Figure, Axes]]:
    """An empty figure in the house style, sizes in inches; nothing is registered with pyplot."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height))
        yield figure, figure.add_subplot()


def layer_ticks(last: int) -> Sequence[int]:
    """The layers from 0 to ``last`` that are named on an axis of the width of a column."""
    return range(0, last + 1, 1 if last <= 12 else 2 if last <= 24 else 4)


def label_right(
    axes: Axes, points: Sequence[tuple[float, float, str, Any]], *, x: float, gap: float = 8.5
) -> None:
    """Write names beside the ends of lines, pushed apart so that none covers another.

    Args:
        axes: With its final limits; its right edge is moved to make room for the names.
        points: ``(x, y, name, colour)`` of each end, in data coordinates.
        x: Where the names begin, in data coordinates.
        gap: Least distance between two names, in typographic points.
    """
    if not points:
        return
    figure: Any = axes.figure
    longest = max(len(name) for _, _, name, _ in points)
    figure.subplots_adjust(right=1 - (0.24 + CHARACTER * longest) / figure.get_figwidth())
    bottom, top = axes.get_ylim()
    height = axes.get_position().height * figure.get_figheight() * 72
    per_point = (top - bottom) / height
    order = sorted(range(len(points)), key=lambda i: points[i][1])
    places = apart([points[i][1] for i in order], gap * per_point, bottom, top)
    for place, i in zip(places, order, strict=True):
        from_x, y, name, colour = points[i]
        thin = {"color": colour, "linewidth": 0.5, "scalex": False, "scaley": False}
        axes.plot([from_x, x], [y, place], clip_on=False, zorder=1, **thin)
        axes.annotate(
            name,
            (x, place),
            (2.5, 0),
            textcoords="offset points",
            annotation_clip=False,
            va="center",
            fontsize=7,
        )


def apart(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Ascending places moved as little as need be to lie ``gap`` apart and within two ends.

    Neighbours that collide become a block around their common mean, until no blocks collide; where
    there is no room for all of them the ``gap`` is kept and the ends are not.
    """
    blocks: list[tuple[float, int]] = []  # centre, how many
    for place in places:
        centre, count = float(place), 1
        while blocks and centre - blocks[-1][0] < gap * (count + blocks[-1][1]) / 2:
            before, size = blocks.pop()
            centre = (centre * count + before * size) / (count + size)
            count += size
        blocks.append((centre, count))
    found = [centre + gap * (i - (count - 1) / 2) for centre, count in blocks for i in range(count)]
    # Push in from the ends, first down from the top, then up from the bottom.
    for i in reversed(range(len(found))):
        ceiling = high if i == len(found) - 1 else found[i + 1] - gap
        found[i] = min(found[i], ceiling)
    for i in range(len(found)):
        ground = low if i == 0 else found[i - 1] + gap
        found[i] = max(found[i], ground)
    return found


def contrasting(colour: Any) -> str:
    """Black or white, whichever reads better on a colour (relative luminance, WCAG)."""
    rgb = np.asarray(mpl.colors.to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return "#000000" if float(linear @ [0.2126, 0.7152, 0.0722]) > 0.179 else "#ffffff"
