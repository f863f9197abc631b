"""The pages of a report: one to read in a browser, the same as Markdown, and its figures."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import jinja2
from markupsafe import Markup, escape

from probing.reporting.figures import Described
from probing.reporting.page_tables import PageTable
from probing.reporting.summary import Summary
from probing.results.writing import remove_abandoned, write_text

_WIDE: Final = 4.0
"""Inches: a wider figure takes the whole width of the page."""
_REM_PER_INCH: Final = 8.0


@dataclass(frozen=True)
class Picture:
    """A figure of the page; ``name`` is that of its file, unique within the report."""

    name: str
    described: Described

    @property
    def svg(self) -> str:
        """The figure as an element of the page; matplotlib escapes the text in it."""
        return self.described.inline_svg(self.name)

    @property
    def sentence(self) -> str:
        """What it shows."""
        return self.described.sentence

    @property
    def is_wide(self) -> bool:
        """Whether it takes the whole width."""
        return self.described.figure.get_figwidth() > _WIDE

    @property
    def rem(self) -> float:
        """Greatest width on the page."""
        return _REM_PER_INCH * self.described.figure.get_figwidth()


@dataclass(frozen=True)
class Group:
    """Pictures that belong together."""

    title: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Section:
    """All that is shown of one model."""

    title: str
    lines: tuple[str, ...]
    groups: tuple[Group, ...]
    tables: tuple[PageTable, ...]


@dataclass(frozen=True)
class Report:
    """What both forms of the report say."""

    title: str
    """At most a line."""
    summary: Summary
    passages: tuple[tuple[str, ...], ...]
    """The verdict of each model, or its headline numbers where no claim was measured."""
    sections: tuple[Section, ...]
    command: str
    repeat: tuple[str, ...]
    origins: tuple[PageTable, ...]
    notes: tuple[str, ...]


def write_pages(run_folder: Path, report: Report) -> Path:
    """Write a report as ``report.html``, ``report.md`` and ``figures/*.svg``.

    Returns:
        The path of ``report.html``.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("probing.reporting"),
        autoescape=jinja2.select_autoescape(["html.jinja"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plain"] = _plain
    environment.filters["code"] = _code
    folder = run_folder / "figures"
    folder.mkdir(exist_ok=True)
    names = {picture.name for picture in _pictures(report)}
    for left_over in folder.glob("*.svg"):
        if left_over.stem not in names:
            left_over.unlink()
    for picture in _pictures(report):
        write_text(folder / f"{picture.name}.svg", picture.described.svg)
    for name in ("report.md", "report.html"):
        page = environment.get_template(f"{name}.jinja").render(report=report)
        write_text(run_folder / name, page)
    remove_abandoned(folder)
    remove_abandoned(run_folder)
    return run_folder / "report.html"


def _pictures(report: Report) -> list[Picture]:
    return [
        picture
        for section in report.sections
        for group in section.groups
        for picture in group.pictures
    ]


def _code(text: str) -> Markup:
    """What stands between backticks as ``<code>``, the rest escaped."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704


def _plain(text: str) -> str:
    """Text that Markdown takes as it is, also within a table."""
    return re.sub(r"([\\`*<>|#]|\b_|_\b|\](?=\())", r"\\\1", " ".join(text.split()))
