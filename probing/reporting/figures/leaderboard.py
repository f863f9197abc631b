"""Encoders in the order of their mean over tasks, with intervals and ranks."""

from probing.reporting.figures.drawing import INK, REFERENCE, Described, canvas, mark
from probing.reporting.leaderboard import Leaderboard, ranks
from probing.results.quantities import written

_ROW = 0.22
"""Inches."""


def ranked(board: Leaderboard) -> Described:
    """A row for each encoder: its mean over tasks, the 95 % interval, small marks for tasks."""
    rows = board.table.to_dict("records")
    with canvas(height=0.6 + _ROW * len(rows)) as (figure, axes):
        for place, row in enumerate(reversed(rows)):
            colour, marker = mark(str(row["view"]).partition("@")[0])
            if len(board.tasks) > 1:
                of_tasks = [100 * row[task] for task in board.tasks]
                axes.plot(of_tasks, [place] * len(of_tasks), "|", color=REFERENCE, markersize=4)
            axes.hlines(place, 100 * row["lower"], 100 * row["upper"], color=colour, linewidth=1.4)
            axes.plot(100 * row["mean"], place, marker, color=colour, markersize=5)
            axes.annotate(
                f"rank {ranks(row)}",
                (1, place),
                xycoords=("axes fraction", "data"),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                color=INK,
            )
        names = [f"{row['model']}  {row['view']}" for row in reversed(rows)]
        axes.set_yticks(range(len(rows)), names)
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.margins(x=0.06)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("Spearman or accuracy × 100")
        height = figure.get_figheight()
        figure.subplots_adjust(left=0.4, right=0.82, bottom=0.38 / height, top=0.98)
    said = "; ".join(
        f"{row['model']} {row['view']} "
        f"{written(*(100 * row[name] for name in ('mean', 'lower', 'upper')))}, rank {ranks(row)}"
        for row in rows
    )
    n = len(board.tasks)
    over = f"Mean over {n} tasks" if n > 1 else f"On {board.tasks[0]}"
    return Described(
        figure,
        f"{over}, × 100 with 95 % intervals (small marks: single tasks); ranks hold together with "
        f"95 % confidence: {said}.",
    )
