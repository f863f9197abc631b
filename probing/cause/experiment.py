"""E1, E2 and E3 for any encoder, by one call: a run folder like every other.

Beside scores, manifest, figures and report the folder has ``rows.csv``, what the verdict is made
of, and ``e1/`` and ``e2/``, where cells are kept: rerun the same call to resume.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pandas as pd

from probing.cause.changes import CHANGES
from probing.cause.continuation import NSP, PLANS, SHUFFLED, Continuation, run_continuation
from probing.cause.estimands import OUTCOME, doses_of, values
from probing.cause.frozen import run_frozen
from probing.cause.frozen_vectors import FROZEN_PLANS, Frozen, FrozenArm
from probing.cause.rows import UNITS, common_table, continued_rows, floor_rows, frozen_rows
from probing.cause.smoke_texts import python_help
from probing.cause.suite import load_suite
from probing.cause.verdict import Verdict, decide
from probing.encoding.description import describe_encoder, describe_machine
from probing.encoding.encoder import load_encoder
from probing.errors import InputError
from probing.pretraining.corpus import source_files
from probing.pretraining.hub_corpus import corpus_folder
from probing.pretraining.start import find_start
from probing.reporting.figures.cause import dose_response, swap
from probing.reporting.figures.drawing import Described
from probing.reporting.page_tables import PageCell, PageTable
from probing.reporting.pages import Group, Picture, Report, Section, write_pages
from probing.reporting.summary import Summary
from probing.results.names import difference
from probing.results.run_folder import describe_versions, read_run, write_run
from probing.results.writing import write_text

ROWS: Final = "rows.csv"
TITLES: Final = {
    "E1": "The body frozen (E1)",
    "E2": "The whole encoder continued (E2)",
    "E3": "Bodies and poolers swapped (E3)",
}
_PANELS: Final = (OUTCOME, difference("cls", "mean"))


@dataclass(frozen=True)
class Cause:
    """One experiment: an encoder, texts, a size, and where it is all kept.

    Attributes:
        encoder: alias, Hub id or folder of a BERT.
        corpus: folder of texts, or a data set of the Hub; None, at the size ``smoke`` only, takes
            the help texts of Python.
        out: the run folder.
        size: ``smoke``, ``pilot`` or ``full``.
        data_dir: folder of the official data sets; the Hub where None.
        source_weights: how often the documents of a text are drawn.
        more_arms: of E1, beside those of the size.
    """

    encoder: str
    corpus: str | None
    out: Path
    size: str = "pilot"
    data_dir: Path | None = None
    source_weights: tuple[tuple[str, float], ...] = ()
    more_arms: tuple[FrozenArm, ...] = ()

    def __post_init__(self) -> None:
        if self.size not in PLANS:
            raise InputError(f"size {self.size!r}: expected one of {', '.join(PLANS)}")
        if self.corpus is None and self.size != "smoke":
            raise InputError(f"no --corpus: expected a folder of English text for size {self.size}")

    def run(self) -> "CauseResult":
        """Train what is not finished yet, and report: as `run_cause`."""
        return run_cause(self)

    def parts(self) -> tuple[Frozen, Continuation]:
        """The two halves: the pooler on a frozen body (E1), the whole encoder continued (E2)."""
        cache = self.out / "corpus-cache"
        if self.corpus is None:
            texts = python_help(self.out / "texts")
        else:
            texts = corpus_folder(self.corpus, cache)
        plan = FROZEN_PLANS[self.size]
        plan = replace(plan, arms=tuple(dict.fromkeys((*plan.arms, *self.more_arms))))
        positions = find_start(self.encoder).positions
        continued = PLANS[self.size]
        continued = replace(continued, length=min(continued.length, positions))
        shared: dict[str, Any] = {"data_dir": self.data_dir, "source_weights": self.source_weights}
        return (
            Frozen(self.encoder, texts, self.out / "e1", plan, cache=cache, **shared),
            Continuation(self.encoder, texts, self.out / "e2", continued, texts=cache, **shared),
        )


@dataclass(frozen=True)
class CauseResult:
    """What an experiment has found so far.

    Attributes:
        encoder: its name.
        rows: of `ROW_COLUMNS`.
    """

    encoder: str
    rows: pd.DataFrame

    def verdict(self) -> Verdict:
        """Estimates, gates and the registered criteria."""
        return decide(self.rows, self.encoder)

    def figures(self) -> dict[str, Described]:
        """By experiment."""
        return figures_of(self.rows)


def read_cause(path: Path | str) -> CauseResult:
    """What a run folder of ``probing cause`` has found, or the rows of a ``rows.csv``.

    Raises:
        InputError: there are no such rows.

    >>> columns = "experiment,arm,variant,seed,dose,task,view,metric,value,n"
    >>> _ = (folder / "rows.csv").write_text(columns)
    >>> probing.read_cause(folder / "rows.csv").verdict().headline
    'Nothing can be said of minilm yet: no two arms are finished.'
    """
    file = Path(path) / ROWS if Path(path).is_dir() else Path(path)
    if not file.is_file():
        raise InputError(f"{file} is not there: expected a run folder of probing cause")
    manifest = file.with_name("manifest.json")
    name = "minilm"
    if manifest.is_file():
        name = json.loads(manifest.read_text(encoding="utf-8"))["encoders"][0]["name"]
    return CauseResult(name, read_cause_rows(file))


def run_cause(work: Cause, command: Sequence[str] = ()) -> CauseResult:
    """Do all that is not done yet, and write the run folder, first after E1 and then after E2.

    Raises:
        InputError: the encoder is no BERT, the texts or a task cannot be read, or the folder holds
            another experiment.
    """
    began, started = time.monotonic(), datetime.now().astimezone().isoformat(timespec="seconds")
    # whatever may be wrong with the input is found before the folder is there
    start = find_start(work.encoder)
    frozen, continued = work.parts()
    source_files(frozen.corpus)
    load_suite(start.tokenizer, work.data_dir, frozen.plan.tasks)
    work.out.mkdir(parents=True, exist_ok=True)

    def written(rows: pd.DataFrame) -> CauseResult:
        seconds = round(time.monotonic() - began, 1)
        return _write(work, rows, command, {"started": started, "seconds": seconds})

    run_frozen(frozen)
    rows = gather(frozen)
    written(rows)
    run_continuation(continued)
    return written(with_continued(rows, continued))


def gather(frozen: Frozen) -> pd.DataFrame:
    """All rows of E1 that there are so far, and the floors."""
    start = find_start(frozen.encoder)
    suite = load_suite(start.tokenizer, frozen.data_dir, frozen.plan.tasks)
    return _together(frozen_rows(frozen, suite), floor_rows(suite, start))


def with_continued(rows: pd.DataFrame, continued: Continuation) -> pd.DataFrame:
    """The rows, and those of E2, E3 and S5 that there are so far."""
    tokenizer = find_start(continued.encoder).tokenizer
    suite = load_suite(tokenizer, continued.data_dir, continued.plan.tasks)
    return _together(rows, continued_rows(continued, suite))


def _together(*parts: pd.DataFrame) -> pd.DataFrame:
    """Rounded as they are written: a run and its ``rows.csv`` read again say the same."""
    rows = pd.concat([part for part in parts if len(part)], ignore_index=True)
    return rows.astype({"seed": int, "dose": int, "n": int}).round(6)


def read_cause_rows(path: Path) -> pd.DataFrame:
    """What `gather` gave, from a ``rows.csv``."""
    rows = pd.read_csv(path, keep_default_na=False, na_values=["NaN"])
    return rows.astype({"seed": int, "dose": int, "n": int})


def write_cause_rows(rows: pd.DataFrame, path: Path) -> None:
    """NaN spelt out."""
    write_text(path, rows.to_csv(index=False, na_rep="NaN"))


def rewrite(folder: Path) -> Path:
    """Write the report of a finished experiment again.

    Returns:
        The path of ``report.html``.
    """
    _, manifest = read_run(folder)
    found = read_cause(folder)
    return write_pages(folder, _report(found.rows, found.verdict(), manifest))


def figures_of(rows: pd.DataFrame) -> dict[str, Described]:
    """By experiment, each that has rows: dose by dose for E1 and E2, the swap for E3."""
    found = {}
    for experiment in ("E1", "E2"):
        looks = _looks(rows, experiment)
        if len(looks):
            found[experiment] = dose_response(looks, unit=UNITS[experiment])
    parts = [
        _swapped(rows, arm.name, loss, body, pooler)
        for arm, loss in ((NSP, "next sentence prediction"), (SHUFFLED, "permuted labels"))
        for body in (("mlm", "MLM"), ("own", "its own"))
        for pooler in ("start", "trained")
    ]
    swaps = pd.concat(parts, ignore_index=True)
    if len(swaps):
        found["E3"] = swap(swaps)
    return found


def _looks(rows: pd.DataFrame, experiment: str) -> pd.DataFrame:
    mine = rows[(rows["experiment"] == experiment) & (rows["metric"] == "spearman")]
    parts = []
    for panel in _PANELS if experiment == "E2" else _PANELS[:1]:
        for arm in dict.fromkeys(mine["arm"]):
            for dose in doses_of(rows, experiment, arm):
                try:
                    found = values(rows, experiment, arm, dose, panel).mean(axis=1)
                except ValueError:  # a cell that has not come to this look
                    continue
                part = {"panel": panel, "arm": arm, "dose": dose}
                parts.append(found.rename("value").reset_index().assign(**part))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _swapped(
    rows: pd.DataFrame, arm: str, loss: str, body: tuple[str, str], pooler: str
) -> pd.DataFrame:
    doses = doses_of(rows, "E3", arm)
    if not doses:
        return pd.DataFrame(columns=["seed", "value", "loss", "body", "pooler"])
    found = values(rows, "E3", arm, doses[-1], variant=f"{body[0]}/{pooler}").mean(axis=1)
    made = found.rename("value").reset_index()
    return made.assign(loss=loss, body=body[1], pooler=pooler)


def _write(
    work: Cause, rows: pd.DataFrame, command: Sequence[str], when: dict[str, Any]
) -> CauseResult:
    encoder = load_encoder(work.encoder)
    verdict = decide(rows, encoder.name)
    frozen, continued = work.parts()
    made_of = {
        "size": work.size,
        "frozen": asdict(frozen.plan),
        "continued": asdict(continued.plan),
        "corpus": sorted(p.name for p in (work.out / "corpus-cache").iterdir() if p.is_dir()),
        "source_weights": dict(work.source_weights),
        "changes": [asdict(change) for change in CHANGES],
        "verdict": list(verdict.sentences),
    }
    manifest = {
        "command": " ".join(command),
        **when,
        "encoders": [describe_encoder(encoder, {})],
        "tasks": [],
        "study": {"kind": "cause"},
        "cause": made_of,
        "versions": describe_versions(),
        "machine": describe_machine(),
    }
    write_cause_rows(rows, work.out / ROWS)
    scores = common_table(rows, encoder.name, encoder.revision, encoder.num_layers)
    write_run(work.out, scores, manifest)
    write_pages(work.out, _report(rows, verdict, manifest))
    return CauseResult(encoder.name, rows)


def _report(rows: pd.DataFrame, verdict: Verdict, manifest: dict[str, Any]) -> Report:
    name = manifest["encoders"][0]["name"]
    figures = figures_of(rows)
    sections = [
        Section(
            title=TITLES[experiment],
            lines=(),
            groups=(Group("", (Picture(f"cause-{experiment.lower()}", figure),)),),
            tables=(),
        )
        for experiment, figure in figures.items()
    ]
    changes = tuple(map(str, CHANGES))
    sections.append(Section("Changes of the protocol", changes, (), ()))
    versions = ", ".join(f"{name} {number}" for name, number in manifest["versions"].items())
    settings = f"Size {manifest['cause']['size']}; started {manifest['started']}, "
    settings += f"{manifest['seconds']} seconds in the last call."
    return Report(
        title=f"Does next sentence prediction spoil the pooler of {name}?",
        summary=Summary((verdict.headline, *verdict.estimates[:2]), _criteria(verdict)),
        passages=((verdict.headline, *verdict.estimates),),
        sections=tuple(sections),
        command=manifest["command"],
        repeat=(settings, f"Versions: {versions}."),
        origins=(),
        notes=(),
    )


def _criteria(verdict: Verdict) -> PageTable:
    kinds = (
        ("gate", verdict.gates),
        ("convincing if", verdict.convincing),
        ("refuting if", verdict.refuting),
    )
    return PageTable(
        caption="The registered criteria",
        header=("kind", "criterion", "answer", "because"),
        rows=tuple(
            (
                PageCell(kind),
                PageCell(criterion.name),
                PageCell(str(criterion.answer)),
                PageCell(criterion.because),
            )
            for kind, criteria in kinds
            for criterion in criteria
        ),
    )
