"""A table of the report as a table for the terminal."""

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table as RichTable

from probing.reporting.page_tables import PageTable


def rich_table(table: PageTable) -> RichTable:
    """The same cells; numbers to the right, names never cut."""
    rich = RichTable(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column, name in enumerate(table.header):
        numbers = table.is_number(column)
        rich.add_column(escape(name), justify="right" if numbers else "left", overflow="fold")
    for row in table.rows:
        rich.add_row(*(escape(cell.text) for cell in row))
    return rich
