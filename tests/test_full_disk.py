"""A disk that is really full, wherever the package writes: one line, and the scores if they fit."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.hub_stand_in import StandIn, commit_of

SIZES = {"hub": "40k", "vectors": "8k", "scores": "8k", "report": "240k"}
"""Bytes of the file system for what is named; a report of the run below needs more than 240k."""

_COMMANDS = """
import contextlib, io, json, sys
from probing.commands.main import main

told = {}
for name, command in json.loads(sys.argv[1]).items():
    sys.argv, out, err = ["probing", *command], io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as stopped:
            told[name] = [stopped.code, err.getvalue()]
print(json.dumps(told))
"""


def _in_full_folders(
    folder: Path, script: str, argument: str, environment: dict[str, str]
) -> dict[str, Any]:
    """What the script prints, in a file system of its own where the folders are small disks."""
    mounts = []
    for name, size in SIZES.items():
        (folder / name).mkdir()
        mounts.append(f"mount -t tmpfs -o size={size} tmpfs {folder / name}")
    inside = ["sh", "-c", " && ".join([*mounts, 'exec "$@"']), "sh"]
    command = ["unshare", "--user", "--map-root-user", "--mount", *inside]
    try:
        allowed = subprocess.run([*command, "true"], capture_output=True, check=False).returncode
    except FileNotFoundError:
        allowed = 1
    if allowed != 0:
        pytest.skip("this machine lets no user mount a small disk")
    done = subprocess.run(
        [*command, sys.executable, "-c", script, argument],
        capture_output=True,
        check=True,
        env={**os.environ, **environment},
    )
    found: dict[str, Any] = json.loads(done.stdout.decode().splitlines()[-1])
    return found


@pytest.mark.slow
def test_a_full_disk_is_one_line_wherever_it_is(
    hub: StandIn, tmp_path: Path, tiny_encoder_folder: Callable[[str], Path]
) -> None:
    model = tiny_encoder_folder("bert")
    files = {path.name: path.read_bytes() for path in model.iterdir()}
    hub.add("model", "some/bert", files, commit=commit_of("first"))
    task = tmp_path / "pairs.tsv"
    rows = (f"the cat {n}\ta dog {n % 7}\t{n % 6}\n" for n in range(40))
    task.write_text("sentence1\tsentence2\tscore\n" + "".join(rows))
    study = ["run", "--model", str(model), "--task", str(task)]
    elsewhere = ["--cache-dir", str(tmp_path / "kept")]
    commands = {
        "hub": ["inspect", "some/bert"],
        "vectors": [*study, "--out", str(tmp_path / "run"), "--cache-dir", f"{tmp_path}/vectors"],
        "scores": [*study, "--out", f"{tmp_path}/scores/run", *elsewhere],
        "report": [*study, "--out", f"{tmp_path}/report/run", *elsewhere],
    }
    environment = {"HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(tmp_path / "hub")}
    told = _in_full_folders(tmp_path, _COMMANDS, json.dumps(commands), environment)
    assert {name: code for name, (code, _) in told.items()} == {
        "hub": 2,
        "vectors": 2,
        "scores": 2,
        "report": 3,  # the scores are on disk
    }
    for name, (_, shown) in told.items():
        assert "Traceback" not in shown
        line = shown.splitlines()[-1]
        assert line.startswith("probing: ")
        assert str(tmp_path / name) in line
        assert "the disk is full" in line or "No space left on device" in line
    assert "the scores are in" in told["report"][1]
