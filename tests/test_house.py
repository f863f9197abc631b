"""The house keeps its shape: one-way imports, versions in step."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# What each room may import of the others; see the table of rooms in CONTRIBUTING.md.
GROUND = {"probing.errors", "probing.hub", "probing.threads"}
ALLOWED: dict[str, set[str]] = {
    "probing.errors": set(),
    "probing.hub": set(),
    "probing.threads": set(),
    "probing.shipped": set(),
    "probing.sources": set(),
    "probing.statistics": set(),
    "probing.scores": set(),
    "probing.runs": set(),
    "probing.tasks": {"probing.sources", "probing.shipped", "probing.statistics"},
    "probing.encoding": {"probing.sources", "probing.scores", "probing.shipped"},
    "probing.measuring": {"probing.encoding", "probing.statistics", "probing.scores"},
    "probing.reporting": {
        "probing.scores",
        "probing.statistics",
        "probing.sources",
        "probing.shipped",
        "probing.runs",
    },
    "probing.pretraining": {"probing.encoding"},
}
TOP = {
    "probing",
    "probing.study",
    "probing.standing",
    "probing.measurements",
    "probing.next_sentence",
    "probing.twins",
    "probing.finetuning",
    "probing.cli",
    "probing.__main__",
}


def _modules() -> list[Path]:
    return sorted((ROOT / "probing").rglob("*.py"))


def _room(module: str) -> str:
    return ".".join(module.split(".")[:2])


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "probing"}


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_an_import_never_runs_back_up(path: Path) -> None:
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    room = _room(module)
    if room in TOP:
        return
    assert room in ALLOWED, f"{room} is a room this test does not know"
    rooms = {_room(name) for name in _imports(path)} - {"probing"}
    known = {name for name in rooms if name in ALLOWED or name in TOP}
    assert known <= ALLOWED[room] | GROUND | {room}


def test_the_import_test_sees_a_wrong_import(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text("from probing.study import Study\n", encoding="utf-8")
    assert "probing.study" in {_room(name) for name in _imports(wrong)}
    assert "probing.study" not in ALLOWED["probing.measuring"] | GROUND


def _requirements() -> dict[str, str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    everything = list(project["dependencies"])
    for extra in project["optional-dependencies"].values():
        everything += extra
    return dict(_split(requirement) for requirement in everything)


def _split(requirement: str) -> tuple[str, str]:
    match = re.match(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*(.*)", requirement)
    assert match is not None
    return re.sub(r"[-_.]+", "-", match[1]).lower(), match[2]


def _constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(_split(line) for line in lines if line and not line.startswith("#"))


def test_constraints_pin_every_direct_dependency_within_its_range() -> None:
    from packaging.specifiers import SpecifierSet

    pins = _constraints()
    for name, wanted in _requirements().items():
        assert name in pins, f"{name} has no exact version in constraints.txt"
        assert pins[name].removeprefix("==") in SpecifierSet(wanted), name
    assert pins["torch"] == "==2.13.0"


def test_environment_repeats_the_direct_dependencies() -> None:
    lines = (ROOT / "environment.yml").read_text(encoding="utf-8").splitlines()
    listed = [line.strip().removeprefix("- ") for line in lines if line.startswith("      - ")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert [item for item in listed if not item.startswith("--")] == project["dependencies"]
    direct = {_split(requirement)[0] for requirement in project["dependencies"]}
    promised = {"jupyterlab", "torch", "transformers", "datasets", "pandas", "scikit-learn"}
    assert promised | {"matplotlib"} <= direct


def test_the_version_is_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"version: {project['version']}\n" in citation
    assert f"## {project['version']}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
