"""Run the notebooks, each in a clean kernel, and save them with their outputs.

    python notebooks/run.py                                  all of them, in place
    python notebooks/run.py 02-sts-by-layer-and-pooling      one of them
    python notebooks/run.py --out copies --set ENCODER="'folder'" --set N_RESAMPLES=50

The last form runs copies with other parameters and leaves the notebooks alone. What is saved has no
dates, no timings and no widget state: two runs that show the same are the same file.
"""

import argparse
import ast
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nbclient
import nbformat

from probing.results.writing import write_text

FOLDER = Path(__file__).parent
PARAMETERS = "parameters"
"""Tag of the cell whose names can be given other values."""
FIGURE = "figure"
"""Tag of a cell that promises an image."""
_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
_WIDGET = "application/vnd.jupyter.widget-view+json"
_SECONDS_PER_CELL = 2 * 3600


def run_notebook(path: Path, out: Path, parameters: Mapping[str, Any] | None = None) -> None:
    """Run a notebook in a clean kernel and save it, whole or not at all.

    Args:
        path: The notebook; the kernel works in its folder.
        out: Where the result goes, ``path`` itself to save in place.
        parameters: Name → value, set after the cell tagged ``parameters``.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell fails; nothing is saved.
        ValueError: A parameter is not one of the notebook.
    """
    notebook = nbformat.read(path, as_version=4)
    if parameters:
        _set(notebook, parameters, path)
    with tempfile.TemporaryDirectory() as profile:
        client = nbclient.NotebookClient(
            notebook,
            timeout=_SECONDS_PER_CELL,
            kernel_name="python3",
            resources={"metadata": {"path": str(path.parent)}},
            record_timing=False,
            store_widget_state=False,
            coalesce_streams=True,
        )
        # A clean profile: what a user's own IPython does at its start belongs to no result.
        client.execute(env={**os.environ, "IPYTHONDIR": profile})
    _clean(notebook)
    found = complaints(notebook)
    if found:
        raise ValueError(f"{path.name}: {'; '.join(found)}")
    write_text(out, nbformat.writes(notebook).rstrip("\n") + "\n")


def complaints(notebook: nbformat.NotebookNode) -> list[str]:
    """What a notebook that was run from top to bottom in one go does not have."""
    found: list[str] = []
    cells = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    counts = [cell.execution_count for cell in cells]
    if counts != list(range(1, len(cells) + 1)):
        found.append(f"execution counts are {counts}, expected 1 to {len(cells)}")
    for number, cell in enumerate(cells, start=1):
        kinds = {kind for output in cell.outputs for kind in output.get("data", {})}
        if any(output.output_type == "error" for output in cell.outputs):
            found.append(f"cell {number} failed")
        if any(output.get("name") == "stderr" for output in cell.outputs):
            found.append(f"cell {number} wrote to stderr")
        if FIGURE in cell.metadata.get("tags", []) and "image/png" not in kinds:
            found.append(f"cell {number} promises a figure and shows none")
    return found


def _set(notebook: nbformat.NotebookNode, parameters: Mapping[str, Any], path: Path) -> None:
    """Add a cell with other values after the one with the parameters."""
    places = [
        place
        for place, cell in enumerate(notebook.cells)
        if PARAMETERS in cell.metadata.get("tags", [])
    ]
    if len(places) != 1:
        raise ValueError(f"{path.name} has {len(places)} cells tagged {PARAMETERS}, expected one")
    known = {
        name.id
        for node in ast.parse(notebook.cells[places[0]].source).body
        if isinstance(node, ast.Assign)
        for name in node.targets
        if isinstance(name, ast.Name)
    }
    unknown = set(parameters) - known
    if unknown:
        raise ValueError(f"{path.name} has no parameter {', '.join(sorted(unknown))}")
    source = "\n".join(f"{name} = {value!r}" for name, value in parameters.items())
    cell = nbformat.v4.new_code_cell(source, id="other-values")
    notebook.cells.insert(places[0] + 1, cell)


def _clean(notebook: nbformat.NotebookNode) -> None:
    """Keep what is shown and drop what differs from run to run."""
    notebook.metadata = nbformat.from_dict(_METADATA)
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        cell.metadata.pop("execution", None)
        for output in cell.outputs:
            if _WIDGET in output.get("data", {}):
                # Its id is drawn at random, and without a kernel it shows nothing.
                output.data = {"text/plain": "(controls that work in a running notebook)"}


def main(arguments: Sequence[str]) -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="notebooks without .ipynb; by default all")
    parser.add_argument("--out", type=Path, help="folder for copies; by default in place")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a Python literal"
    )
    given = parser.parse_args(arguments)
    pairs = [item.partition("=") for item in given.set]
    parameters = {name: ast.literal_eval(value) for name, _, value in pairs}
    if parameters and given.out is None:
        parser.error("--set needs --out: notebooks in place keep their parameters")
    names = given.names or sorted(path.stem for path in FOLDER.glob("*.ipynb"))
    for name in names:
        path = FOLDER / f"{name.removesuffix('.ipynb')}.ipynb"
        if not path.is_file():
            parser.error(f"no notebook {name}: expected one in {FOLDER.name}/")
        out = path
        if given.out is not None:
            given.out.mkdir(parents=True, exist_ok=True)
            out = given.out / path.name
        print(f"running {path.name}", flush=True)
        run_notebook(path, out, parameters)


if __name__ == "__main__":
    main(sys.argv[1:])
