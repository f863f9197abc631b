"""The ledger of published numbers as a table for the terminal."""

from rich.box import SIMPLE_HEAD
from rich.table import Table

from probing.reporting.ledger import Ledger


def ledger_table(ledger: Ledger) -> Table:
    """The compared cells as a table for the terminal, in points."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("source", overflow="fold")
    table.add_column("task", no_wrap=True)
    table.add_column("view", no_wrap=True)
    table.add_column("how", overflow="fold")
    for name in ("published", "measured", "difference"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("finding", no_wrap=True)
    for row in ledger.cells.to_dict("records"):
        table.add_row(
            str(row["source"]),
            str(row["task"]),
            str(row["view"]),
            f"{row['transform']}, {row['aggregation']}",
            f"{row['value']:.2f}",
            f"{row['measured']:.2f}",
            f"{row['difference']:+.2f}",
            str(row["finding"]),
        )
    return table
