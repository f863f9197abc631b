"""Fine-tuning in words and tables for the terminal."""

import pandas as pd
from rich.table import Table

from probing.reporting.figures.learning_curves import learning_rows
from probing.results.quantities import Quantity, records, training_items, with_interval


def learning_tables(scores: pd.DataFrame, model: str) -> list[Table]:
    """One table a task: heads as rows, training sizes as columns, means over seeds."""
    tables = []
    for task in scores.loc[scores["model"] == model, "task"].unique():
        rows = learning_rows(scores, model=model, task=str(task))
        if rows.empty:
            continue
        unit = Quantity(metric=str(rows["metric"].iloc[0])).unit
        table = Table(title=f"{model} on {task}: {unit} by training items", title_justify="left")
        sizes = sorted(rows["trained_on"].unique(), key=training_items)
        table.add_column("head")
        for size in sizes:
            table.add_column(size.removeprefix("train:"), justify="right")
        for (probe, head), part in rows.groupby(["probe", "pooling"], sort=False):
            cells = {row["trained_on"]: with_interval(row) for row in records(part)}
            name = f"{head} frozen" if probe == "finetuned-frozen" else str(head)
            table.add_row(name, *(cells.get(size, "") for size in sizes))
        tables.append(table)
    return tables
