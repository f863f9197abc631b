"""The public API: one page, imported lazily, each function with an example that runs."""

import doctest
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import probing

ROOT = Path(__file__).parent.parent
WITHOUT_EXAMPLE = {"training_curves", "from_sentence_transformer", "export_view"}
"""Public functions whose input takes minutes to make, or needs a package that is no dependency."""


def lengths(sentences: Sequence[str]) -> list[list[int]]:
    """The model of an example: letters and words of each sentence."""
    return [[len(sentence), sentence.count(" ") + 1] for sentence in sentences]


def _functions() -> list[str]:
    found = [name for name in probing.__all__ if hasattr(getattr(probing, name), "__module__")]
    return [name for name in found if callable(getattr(probing, name))]


def test_every_public_name_is_there_and_of_the_package() -> None:
    assert sorted(probing.__all__) == sorted(set(probing.__all__))
    assert set(probing.__all__) <= set(dir(probing))
    for name in probing.__all__:
        assert getattr(probing, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = probing.nothing


@pytest.mark.parametrize("name", _functions())
@pytest.mark.slow
def test_the_example_of_a_public_function_runs(name: str, tmp_path: Path) -> None:
    names = {"probing": probing, "np": np, "folder": tmp_path, "lengths": lengths}
    names |= {public: getattr(probing, public) for public in ("Study",)}
    tests = doctest.DocTestFinder(recurse=False).find(getattr(probing, name), name, globs=names)
    examples = [example for test in tests for example in test.examples]
    if name.islower():
        assert examples or name in WITHOUT_EXAMPLE, f"{name} has no example"
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in tests:
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        ("import probing", ("torch", "pandas", "transformers", "sklearn", "matplotlib", "typer")),
        (
            "import probing.commands.main",
            ("torch", "pandas", "transformers", "sklearn", "matplotlib"),
        ),
    ],
)
def test_importing_is_light(code: str, heavy: tuple[str, ...]) -> None:
    script = f"{code}\nimport sys\nprint(*sorted({{*{heavy!r}}} & {{*sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_the_version_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert probing.__version__ == project["version"]
