"""The house keeps its shape: one-way imports, versions in step."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# From the ground up; a room imports only rooms before it. See the picture in CONTRIBUTING.md.
ROOMS = (
    "errors",
    "progress",
    "threads",
    "statistics",
    "results",
    "claims",
    "sources",
    "tasks",
    "encoding",
    "probes",
    "similarity",
    "pretraining",
    "reporting",
    "finetuning",
    "cause",
    "study",
    "commands",
    "__main__",
)
# What a room never knows, whatever the order would let it import.
NEVER = {
    "statistics": {"results"},
    "results": {"torch", "transformers"},
    "claims": {"torch", "transformers", "matplotlib"},
    "sources": {"statistics", "results", "claims"},
    "tasks": {"torch", "transformers", "claims"},
    "encoding": {"tasks", "claims", "statistics"},
    "probes": {"tasks", "claims", "matplotlib", "transformers"},
    "similarity": {"tasks", "claims", "probes", "matplotlib", "transformers"},
    "finetuning": {"matplotlib"},
    "pretraining": {"tasks", "matplotlib"},
    "study": {"matplotlib"},
    "reporting": {"torch", "encoding", "tasks"},
}
ONLY_IN_COMMANDS = {"typer", "rich"}


def _modules() -> list[Path]:
    return sorted((ROOT / "probing").rglob("*.py"))


def _room(path: Path) -> str:
    return path.relative_to(ROOT / "probing").with_suffix("").parts[0]


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _wrong_imports(room: str, imports: set[str]) -> set[str]:
    """What a module of `room` imports from a later room, or from one that it never knows."""
    wrong = set()
    for name in imports:
        first, *rest = name.split(".")
        known = rest[0] if first == "probing" and rest else first
        if first == "probing" and (known not in ROOMS or ROOMS.index(known) > ROOMS.index(room)):
            wrong.add(name)
        if known in NEVER.get(room, set()):
            wrong.add(name)
        if first in ONLY_IN_COMMANDS and room != "commands":
            wrong.add(name)
    return wrong


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_an_import_never_runs_back_up(path: Path) -> None:
    room = _room(path)
    if room == "__init__":  # the public API: above all rooms, and none imports it
        return
    assert room in ROOMS, f"{room} is a room this test does not know"
    assert not _wrong_imports(room, _imports(path))


def test_the_import_test_sees_a_wrong_import() -> None:
    assert _wrong_imports("probes", {"probing.study.study.Study"})
    assert _wrong_imports("probes", {"probing.load_encoder"})
    assert _wrong_imports("results", {"torch.nn"})
    assert _wrong_imports("study", {"rich.console.Console"})
    assert not _wrong_imports("study", {"probing.probes.linear.LinearProbes", "torch"})


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
