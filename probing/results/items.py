"""What every view says of every item of a task: the numbers under one model's scores.

A run keeps them, so that views can be compared with one another after it, from resamples of the
items that all of them share.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from probing.errors import InputError
from probing.results.target import Target
from probing.results.writing import written_aside

FOLDER: Final = "items"
"""Of a run folder; a file for each model, task and probe in it."""
_ABOUT: Final = b"probing"


@dataclass(frozen=True, kw_only=True)
class Items:
    """n items of one task under k views of one model."""

    model: str
    probe: str
    """``cosine``, or the probe whose answers these are."""
    views: tuple[str, ...]
    columns: NDArray[np.float64] = field(repr=False)
    """``(n_items, k)``: the cosine of a pair; 1 where a probe is right, 0 where it is wrong; NaN
    where nothing is defined."""
    target: Target
    """With the gold of pairs; empty gold where the columns say what is right."""

    @property
    def measure(self) -> str:
        """What a view is judged by."""
        return "Spearman" if self.probe == "cosine" else f"accuracy of the {self.probe} probe"

    def write(self, folder: Path) -> None:
        """Write one Parquet file into a folder of a run."""
        columns = dict(zip(self.views, self.columns.T, strict=True))
        target = self.target
        extra = {
            "gold": target.gold if len(target) else None,
            "cluster": target.clusters,
            "subset": target.subsets,
        }
        frame = pd.DataFrame(
            {**{f" {name}": v for name, v in extra.items() if v is not None}, **columns}
        )
        about = {
            "model": self.model,
            "probe": self.probe,
            "task": target.task,
            "split": target.split,
            "seed": target.seed,
            "n_resamples": target.n_resamples,
        }
        table = pa.Table.from_pandas(frame, preserve_index=False)
        table = table.replace_schema_metadata({_ABOUT: json.dumps(about)})
        folder.mkdir(exist_ok=True)
        with written_aside(folder / f"{len(list(folder.iterdir())):03}.parquet") as temporary:
            pq.write_table(table, temporary)


def read_items(run: Path) -> list[Items]:
    """What a run kept; empty where it kept nothing. Raises `InputError` where a file is damaged."""
    return [_read(path) for path in sorted((run / FOLDER).glob("*.parquet"))]


def _read(path: Path) -> Items:
    try:
        table = pq.read_table(path)
        about = json.loads(table.schema.metadata[_ABOUT])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be read ({error}): make the run again") from error
    frame = table.to_pandas()
    extra = {name.strip(): frame.pop(name) for name in list(frame) if name.startswith(" ")}
    return Items(
        model=about["model"],
        probe=about["probe"],
        views=tuple(frame.columns),
        columns=frame.to_numpy(dtype=np.float64),
        target=Target(
            task=about["task"],
            split=about["split"],
            seed=about["seed"],
            n_resamples=about["n_resamples"],
            gold=extra["gold"].to_numpy() if "gold" in extra else np.empty(0),
            clusters=extra["cluster"].to_numpy() if "cluster" in extra else None,
            subsets=tuple(extra["subset"]) if "subset" in extra else None,
        ),
    )
