"""Data sets from the Hub: Parquet or JSON at a pinned revision, read through `datasets`."""

import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from probing.errors import InputError
from probing.sources.declarations import DatasetSource
from probing.sources.fetching import look_up, snapshot
from probing.sources.hub_errors import Place
from probing.sources.repositories import Repository, cached_repository
from probing.tasks.fingerprints import official_splits
from probing.tasks.tables import Table

_SUFFIXES: Final = (".parquet", ".json", ".jsonl", ".json.gz", ".jsonl.gz")
_CONFIG_FILES: Final = ("README.md",)
_CONVERSION: Final = "refs/convert/parquet"
"""Where the Hub keeps its own Parquet copy of a data set."""
_UNREADABLE: Final = (OSError, ValueError, RuntimeError, EOFError, KeyError, TypeError, zlib.error)
_OTHERWISE: Final = "name a data folder"


def read_hub(source: DatasetSource) -> Table:
    """The rows of a data set on the Hub, of all its splits, with a split column where it has them.

    The files of the pinned revision are taken from the Hub cache of this machine or downloaded to
    it. No code of the repository is fetched, let alone run.

    Raises:
        InputError: if no revision is pinned; if the Hub cannot be reached, within seconds; if it
            has no such revision; if there is neither Parquet nor JSON or it cannot be read.
    """
    if source.hub_id is None or source.hub_revision is None:
        raise InputError(f"task {source.name} has no pinned revision on the Hub")
    repository = hub_repository(source)
    folder = snapshot(
        source.hub_id,
        kind="dataset",
        revision=repository.place.revision,
        choose=lambda found: wanted_files(found, source.hub_config),
        otherwise=_OTHERWISE,
    )
    return read_snapshot(folder, replace(source, hub_revision=repository.commit))


def hub_repository(source: DatasetSource) -> Repository:
    """The pinned revision of a data set, or where it holds no data, the Hub's Parquet conversion.

    Nothing is downloaded. The conversion is looked up by its branch, and read and recorded by the
    commit that the branch is at.

    Raises:
        InputError: The Hub has no such revision, or neither Parquet nor JSON.
    """
    place = Place("dataset", str(source.hub_id), source.hub_revision)
    repository = look_up(place, _OTHERWISE)
    if not wanted_files(repository, source.hub_config):
        branch = place._replace(revision=_CONVERSION)
        # what was converted once is not converted otherwise: the branch is asked for once
        conversion = cached_repository(branch) or look_up(branch, _OTHERWISE)
        repository = replace(conversion, place=place._replace(revision=conversion.commit))
        if not wanted_files(repository, source.hub_config):
            raise InputError(f"{place}: found neither Parquet nor JSON, and no script is ever run")
    return repository


def wanted_files(repository: Repository, config: str | None) -> list[str]:
    """The data files of a configuration and the card that lists them; empty where it has none."""
    data = [name for name in repository.files if name.endswith(_SUFFIXES)]
    data = [name for name in data if not name.rsplit("/", 1)[-1].startswith("dataset_info")]
    if config is not None:
        own = [name for name in data if config in name.split("/")[:-1]]
        own = own or [name for name in data if config in name]
        data = own or data
    card = [name for name in repository.files if name in _CONFIG_FILES]
    return data + card if data else []


def read_snapshot(folder: Path, source: DatasetSource) -> Table:
    """The rows of a folder laid out as on the Hub, columns as there, classes by their names.

    Where ``source.hub_splits`` names several splits, a column ``split`` says which each row is of.

    Raises:
        InputError: if there is neither Parquet nor JSON, a split is missing, or it cannot be read.
    """
    place = f"{source.hub_id}@{source.hub_revision}"
    if not any(path.name.endswith(_SUFFIXES) for path in folder.rglob("*")):
        raise InputError(f"{place}: found neither Parquet nor JSON, and no script is ever run")
    found = _load(folder, source.hub_config, place)
    missing = sorted(set(source.hub_splits.values()) - set(found))
    if missing:
        raise InputError(
            f"{place}: split {', '.join(missing)} is missing; found {', '.join(sorted(found))}"
        )
    parts = {split: found[name] for split, name in source.hub_splits.items()}
    first = next(iter(parts.values()))
    columns: dict[str, tuple[object, ...]] = {
        name: tuple(cell for part in parts.values() for cell in _cells(part, name, place))
        for name in first.column_names
    }
    if "all" not in parts:
        columns["split"] = tuple(split for split, part in parts.items() for _ in range(len(part)))
    table = Table(
        place=place,
        columns=MappingProxyType(columns),
        positions=tuple(row for part in parts.values() for row in range(1, len(part) + 1)),
        unit="row",
        origin=f"hub {place}",
    )
    if source.hub_fingerprints is None or not {"sentence1", "sentence2", "score"} <= set(columns):
        return table
    splits = official_splits(table, source)
    return table if splits is None else table.with_column("split", splits)


def _load(folder: Path, config: str | None, place: str) -> Any:
    import datasets  # slow to import, and needed for the Hub alone

    # The Hub's own Parquet copies have a folder for each configuration and no list of them.
    by_folder = config is not None and (folder / config).is_dir()
    with _quiet():
        try:
            return datasets.load_dataset(
                str(folder.resolve()),
                name=None if by_folder else config,
                data_dir=config if by_folder else None,
            )
        except (*_UNREADABLE, datasets.exceptions.DatasetsError) as error:
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise InputError(
                f"{place}: `datasets` could not read it ({reason}): delete {folder} to have it "
                "downloaded again"
            ) from error


def _cells(part: Any, column: str, place: str) -> list[object]:
    if column not in part.column_names:
        raise InputError(f"{place}: column {column} is missing from one of its splits")
    feature = part.features[column]
    cells: list[object] = part[column][:]
    names = getattr(feature, "names", None)
    if names is None:
        return cells
    return [names[cell] if isinstance(cell, int) and cell >= 0 else None for cell in cells]


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars where there is no terminal to show them."""
    import datasets

    if sys.stderr.isatty() or datasets.are_progress_bars_disabled():
        yield
        return
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.enable_progress_bars()
