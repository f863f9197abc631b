"""The README's commands and code, run as they stand; paths are replaced by what a test has."""

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

import probing
from probing.cause.continuation import PLANS
from probing.commands import main as cli
from probing.study.study import PRESETS, Study
from tests.test_study import HEADER, ROWS, write_data
from tests.test_treebank import written

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
USAGE = (ROOT / "docs" / "usage.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


SHORTER = {
    "run": ["--draws", "1"],
    "pretrain": ["--steps=2", "--length=16"],
    "finetune": ["--train-size", "all", "--seed", "0", "--max-steps", "2"],
}
"""What makes a command of the README take seconds."""


MY_STUDY = """
from probing import Claim

def every_second(hidden, mask):
    kept = mask.clone()
    kept[:, 1::2] = False
    return (hidden * kept[:, :, None]).sum(1) / kept.sum(1, keepdim=True)

claim = Claim(
    id="mine", sentence="half of it is worse", view="every_second@{last} - mean@{last}"
)
"""
"""The module of the reader that a command of the documents names."""


def _blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def _commands() -> list[str]:
    blocks = [*_blocks("sh"), *_blocks("sh", USAGE)]
    lines = "\n".join(blocks).replace("\\\n", "").splitlines()
    return [line for line in lines if line.strip()]


@pytest.mark.parametrize("command", [c for c in _commands() if c.startswith("make")])
def test_every_make_target_exists(command: str) -> None:
    done = subprocess.run(
        [*shlex.split(command), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", [c for c in _commands() if "probing " in c])
@pytest.mark.slow
def test_every_probing_command_runs(
    command: str,
    tiny_encoder_folder: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = write_data(tmp_path / "data", "\n".join([HEADER, *ROWS]) + "\n")
    monkeypatch.setenv("PROBING_DATA", str(data))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_study.py").write_text(MY_STUDY, encoding="utf-8")
    (tmp_path / "sentences.txt").write_text("a cat\nthe dog\n", encoding="utf-8")
    tiny = Study(models=(str(tiny_encoder_folder("bert")),), tasks=("stsb",))
    monkeypatch.setitem(PRESETS, "paper", tiny)  # type: ignore[misc]
    monkeypatch.setitem(PLANS, "smoke", replace(PLANS["smoke"], seeds={"mlm": 1, "mlm+nsp": 1}))  # type: ignore[misc]
    texts = tmp_path / "texts"
    texts.mkdir()
    documents = ["\n".join(f"the cat sat on mat {n}" for n in range(30))] * 8
    for source in ("some", "more"):
        (texts / f"{source}.txt").write_text("\n\n".join(documents), encoding="utf-8")
    (tmp_path / "path/to").mkdir(parents=True)
    for seed, (split, n) in enumerate({"train": 900, "dev": 60, "test": 90}.items()):
        written(tmp_path / f"path/to/de_gsd-ud-{split}.conllu", n, seed=seed)
    rows = [
        f"{split}\t{label}\tthe {label} sat"
        for split in ("train", "dev", "test")
        for label in ("cat", "dog") * 8
    ]
    (tmp_path / "trec.tsv").write_text("\n".join(["split\tlabel\tsentence", *rows]) + "\n")
    pairs = [f"a cat sat {n % 19} times\tthe cat sat on mat {n}\t{n % 6}" for n in range(40)]
    (tmp_path / "mine.tsv").write_text("\n".join(["sentence1\tsentence2\tscore", *pairs]) + "\n")
    command = command.replace("--address auto", "--workers 1")  # nobody runs `ray start` here
    bert, albert = (str(tiny_encoder_folder(family)) for family in ("bert", "albert"))
    stand_ins = {
        "minilm": bert,
        "minilm-placebo": bert,
        "minilm-nsp": albert,
        "minilm-placebo - minilm-nsp": f"{bert} - {albert}",
        "cls@5,6": "cls@2,3",
        "bert-base-uncased": bert,
        "path/to/my-encoder": str(tiny_encoder_folder("roberta")),
        "path/to/data": str(data),
        "path/to/texts": str(texts),
        "trec": str(tmp_path / "trec.tsv"),
    }
    program, *arguments = shlex.split(command, comments=True)
    assert program == ".venv/bin/probing"
    arguments += SHORTER.get(arguments[0], [])
    monkeypatch.setattr(sys, "argv", ["probing", *(stand_ins.get(a, a) for a in arguments)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert not stopped.value.code


@pytest.mark.real
@pytest.mark.parametrize("code", _blocks("python"))
def test_the_python_example_runs(
    code: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(probing, "Study", partial(probing.Study, n_draws=1), raising=False)
    exec(code, {})  # noqa: S102 - our own example
    assert "untrained (2, 384) (2, 384)" in capsys.readouterr().out
    assert (tmp_path / "runs" / "readme" / "report.html").is_file()


@pytest.mark.parametrize("code", _blocks("python", CONTRIBUTING))
def test_the_example_of_a_task_runs(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(code, {})  # noqa: S102 - our own example
    assert capsys.readouterr().out == "4\n"


def test_the_presets_of_the_readme_are_there() -> None:
    named = re.findall(r"--preset (\S+)", README + USAGE)
    assert set(named) == {"paper"}
    assert set(named) <= set(PRESETS)


def test_the_readme_says_what_each_notebook_shows() -> None:
    rows = re.findall(r"^\| \[(.+?)\]\(notebooks/\1\.ipynb\) \| .+ \|$", README, flags=re.MULTILINE)
    assert rows == sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))


def test_every_link_of_the_readme_leads_somewhere() -> None:
    for text, folder in ((README, ROOT), (USAGE, ROOT / "docs")):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
            assert (folder / target).exists(), target
