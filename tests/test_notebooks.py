"""The notebooks: the committed ones are whole, and each runs on the embedded data."""

import ast
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

from notebooks.run import FIGURE, FOLDER, PARAMETERS, complaints, main, run_notebook
from tests.browser import chromium

NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SIMILARITY_NOTEBOOK = FOLDER / "02-sts-by-layer-and-pooling.ipynb"

by_name = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def _parameters(path: Path) -> set[str]:
    notebook = nbformat.read(path, as_version=4)
    (cell,) = (c for c in notebook.cells if PARAMETERS in c.metadata.get("tags", []))
    assigned = [node for node in ast.parse(cell.source).body if isinstance(node, ast.Assign)]
    return {
        target.id for node in assigned for target in node.targets if isinstance(target, ast.Name)
    }


PROBED = ("ewt:past_present", "ewt:subj_number")
SMOKE = {
    "03-linear-probes-by-layer": {
        "TASKS": PROBED,
        "CLOSER": PROBED[0],
        "WORDS": None,
        "SENTENCES": 300,
    },
    "07-fine-tuning": {
        "TASKS": PROBED[:1],
        "TRAIN_SIZES": (16, 32),
        "SEEDS": (0,),
        "MOST_STEPS": 2,
    },
}
"""Values of single notebooks, beside those that all have."""


def _smoke(path: Path, encoder: Path, folder: Path) -> dict[str, Any]:
    """Values with which a notebook takes seconds: a tiny encoder, the embedded data."""
    small = {
        "ENCODER": str(encoder),
        "TASKS": ("sts-mini",),
        "N_RESAMPLES": 20,
        "RUN": str(folder / "run"),
    }
    small = {name: value for name, value in small.items() if name in _parameters(path)}
    return small | SMOKE.get(path.stem, {})


WITHOUT_OUTPUTS = {"07-fine-tuning"}
"""Trained for an hour; README says that it comes without."""


@by_name
def test_a_committed_notebook_is_one_clean_run(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    if path.stem in WITHOUT_OUTPUTS:
        assert not any(cell.get("outputs") for cell in notebook.cells)
    else:
        assert not complaints(notebook)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert any(FIGURE in cell.metadata.get("tags", []) for cell in notebook.cells)
    assert {"ENCODER", "PAIRS"} & _parameters(path)
    assert not re.search(r"/(home|root|work|tmp|Users)/|site-packages", path.read_text("utf-8"))


@by_name
def test_a_committed_notebook_reads_well(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    heads = [line for text in texts for line in text.splitlines() if re.match(r"#+ ", line)]
    levels = [len(head.split(" ")[0]) for head in heads]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(len(line) <= 100 for cell in notebook.cells for line in cell.source.splitlines())
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", "\n".join(texts)):
        assert (FOLDER / target).exists(), target
    for cell in notebook.cells:  # what is longer belongs into the package
        if cell.cell_type == "code":
            for node in ast.walk(ast.parse(cell.source)):
                if isinstance(node, ast.FunctionDef):
                    assert len(node.body) <= 6, node.name


@by_name
@pytest.mark.slow
def test_a_notebook_runs_on_the_embedded_data(
    path: Path,
    tiny_encoder_folder: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    before = path.read_bytes()
    out = tmp_path / path.name
    run_notebook(path, out, _smoke(path, tiny_encoder_folder("bert"), tmp_path))
    assert not complaints(nbformat.read(out, as_version=4))
    assert path.read_bytes() == before


def _notebook(folder: Path, *sources: str, tags: Mapping[int, str] | None = None) -> Path:
    notebook = nbformat.v4.new_notebook()
    for number, source in enumerate(sources):
        cell = nbformat.v4.new_code_cell(source, id=f"cell-{number}")
        cell.metadata["tags"] = [tags[number]] if tags and number in tags else []
        notebook.cells.append(cell)
    path = folder / "notebook.ipynb"
    nbformat.write(notebook, path)
    return path


PICTURE = """from matplotlib.figure import Figure
import io, IPython.display, ipywidgets
buffer = io.BytesIO()
Figure(figsize=(1, 1)).savefig(buffer, metadata={"Software": None})
display(IPython.display.Image(buffer.getvalue()), ipywidgets.IntSlider(), VALUE)"""


@pytest.mark.slow
def test_two_runs_are_one_file_and_other_values_are_taken(tmp_path: Path) -> None:
    path = _notebook(tmp_path, "VALUE = 1", PICTURE, tags={0: PARAMETERS, 1: FIGURE})
    for name in ("one", "two"):
        run_notebook(path, tmp_path / name, {"VALUE": 7})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    outputs = nbformat.read(tmp_path / "one", as_version=4).cells[2].outputs
    assert [output.data.get("text/plain") for output in outputs][2] == "7"
    assert "controls" in outputs[1].data["text/plain"]
    run_notebook(path, path)
    assert nbformat.read(path, as_version=4).cells[1].outputs[2].data["text/plain"] == "1"
    with pytest.raises(ValueError, match="has no parameter OTHER"):
        run_notebook(path, tmp_path / "three", {"OTHER": 1})


@pytest.mark.slow
def test_what_fails_is_not_saved(tmp_path: Path) -> None:
    path = _notebook(tmp_path, "1 / 0")
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        run_notebook(path, tmp_path / "out")
    path = _notebook(tmp_path, "import sys\nprint('oh', file=sys.stderr)", "1", tags={1: FIGURE})
    with pytest.raises(ValueError, match="cell 1 wrote to stderr; cell 2 promises a figure"):
        run_notebook(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    skipped = nbformat.read(path, as_version=4)
    assert "execution counts are [None, None]" in complaints(skipped)[0]


@pytest.mark.parametrize("arguments", [["no-such"], ["--set", "N_RESAMPLES=5"]])
def test_a_wrong_command_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert "error: " in capsys.readouterr().err


@contextmanager
def _jupyterlab(folder: Path) -> Iterator[str]:
    """A JupyterLab on a folder, with settings of its own; yields its address with the token."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    settings = {f"JUPYTER_{name}_DIR": str(folder / name) for name in ("CONFIG", "DATA", "RUNTIME")}
    settings |= {"IPYTHONDIR": str(folder / "ipython"), "JUPYTER_PREFER_ENV_PATH": "1"}
    settings |= {
        f"JUPYTERLAB_{name}_DIR": str(folder / name) for name in ("SETTINGS", "WORKSPACES")
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += [f"--port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=secret"]
    command += [f"--ServerApp.root_dir={folder}", "--LabApp.news_url=None", "--log-level=ERROR"]
    command += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    with (folder / "lab.log").open("w") as log:
        server = subprocess.Popen(
            command, env=os.environ | settings, stdout=log, stderr=subprocess.STDOUT
        )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{address}/api?token=secret", timeout=5).close()  # noqa: S310
                break
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                assert server.poll() is None, (folder / "lab.log").read_text()
                time.sleep(0.5)
        yield f"{address}/lab/tree/{{}}?token=secret"
    finally:
        server.terminate()
        try:
            server.wait(timeout=60)
        except subprocess.TimeoutExpired:
            # Beside another heavy test its kernels may take longer to end. They end with it.
            server.kill()
            server.wait()


@pytest.mark.slow
def test_in_jupyterlab_the_heat_map_appears_and_the_explorer_answers(
    tiny_encoder_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    notebook = nbformat.read(SIMILARITY_NOTEBOOK, as_version=4)
    small = _smoke(SIMILARITY_NOTEBOOK, tiny_encoder_folder("bert"), tmp_path)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        if PARAMETERS in cell.metadata.get("tags", []):
            cell.source = "\n".join(f"{name} = {value!r}" for name, value in small.items())
    nbformat.write(notebook, tmp_path / "02.ipynb")
    with chromium() as browser, _jupyterlab(tmp_path) as address:
        page = browser.new_page(viewport={"width": 1280, "height": 2400})
        page.set_default_timeout(300_000)
        page.goto(address.format("02.ipynb"))
        page.locator(".jp-Notebook h1").first.wait_for()
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        heat_map = page.locator(".jp-OutputArea-output img").first
        heat_map.wait_for()
        assert heat_map.evaluate("image => image.naturalWidth") > 500
        page.get_by_text(re.compile("layer by pooling: the highest is")).first.wait_for()

        typed = page.get_by_label("sentence 1").first
        typed.scroll_into_view_if_needed()
        answer = page.locator(".widget-html-content", has_text="Cosine under").first
        picture = page.locator(".widget-image").first
        before = (answer.inner_text(), picture.get_attribute("src"))
        typed.fill("the big red dog is running")
        typed.press("Enter")
        for _ in range(120):
            after = (answer.inner_text(), picture.get_attribute("src"))
            if before[0] != after[0] and before[1] != after[1]:
                break
            page.wait_for_timeout(500)
        assert after[0].startswith("Cosine under mean@3")
        assert after[0] != before[0]
        assert after[1] != before[1]
