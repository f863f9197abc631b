"""A table of the report as a table for the terminal."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table as RichTable

from probing.reporting.page_tables import PageTable


def rich_table(table: PageTable, console: Console) -> RichTable:
    """The same cells; numbers to the right, names never cut. Set close where it is too wide."""
    wide = _set(table, close=False)
    room = console.options.update(max_width=10_000)
    fits = Measurement.get(console, room, wide).maximum <= console.width
    return wide if fits else _set(table, close=True)


def _set(table: PageTable, *, close: bool) -> RichTable:
    """``close``: one space between columns, and only words fold, never a number."""
    rich = RichTable(
        box=SIMPLE_HEAD, padding=(0, 0 if close else 1, 0, 0), show_edge=not close, pad_edge=False
    )
    for column, name in enumerate(table.header):
        numbers = table.is_number(column)
        cells = (row[column].text for row in table.rows)
        longest = max(map(len, (*cells, *name.split())), default=0)
        rich.add_column(
            escape(name),
            justify="right" if numbers else "left",
            overflow="fold",
            width=longest if close and numbers else None,
        )
    for row in table.rows:
        rich.add_row(*(escape(cell.text) for cell in row))
    return rich
