"""The report of a run: whole, self-contained, readable in a real browser, true to the table."""

import html
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from probing.claims.deciding import decide
from probing.claims.verdict import verdict_text
from probing.errors import InputError
from probing.reporting.page_tables import PageCell, PageTable
from probing.reporting.report import build_report
from probing.reporting.run import Run, load_run
from probing.results.quantities import SIMILARITY, select, with_interval
from probing.study.study import Study, run_study
from tests.browser import chromium
from tests.test_figures import invented_scores
from tests.test_study import HEADER, ROWS, write_data

TASKS = ("sts-mini", "stsb")
PROBED = ("ewt:tree_depth", "ewt:subj_number")


@pytest.fixture(scope="module")
def measured(
    tiny_encoder_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Run:
    """A run of the tiny BERT as `run_study` leaves it."""
    folder = tmp_path_factory.mktemp("measured")
    data = write_data(folder / "data", "\n".join([HEADER, *ROWS]) + "\n")
    study = Study(
        models=(str(tiny_encoder_folder("bert")),),
        tasks=("stsb",),
        data_dir=str(data),
        n_resamples=50,
    )
    run_study(study, folder / "run", command=["probing", "run", "--task", "stsb"])
    return load_run(folder / "run")


@pytest.fixture(scope="module")
def invented(measured: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with everything that a table can hold, its values invented."""
    encoder, control = measured.manifest["encoders"]
    task = measured.manifest["tasks"][0]
    remark = "<b>bold</b> | a remark with a pipe"
    manifest = measured.manifest | {
        "encoders": [encoder | {"name": "tiny"}, control | {"name": "tiny+random"}],
        "tasks": [task | {"name": name, "remark": remark} for name in (*TASKS, *PROBED)],
    }
    folder = tmp_path_factory.mktemp("invented")
    warning = "WARNING probing.similarity.cosine: cls@0 is the same vector for every sentence\n"
    (folder / "run.log").write_text("INFO probing: fine\n" + 2 * warning, encoding="utf-8")
    return Run(folder=folder, scores=invented_scores(tasks=TASKS, probes=PROBED), manifest=manifest)


@pytest.fixture(scope="module")
def page(invented: Run) -> Path:
    return invented.report()


def test_a_measured_run_has_its_report(measured: Run) -> None:
    page = measured.report()
    model = measured.manifest["study"]["models"][0]
    text = page.read_text(encoding="utf-8")
    table = select(measured.scores, SIMILARITY, model=model, task="stsb")
    for row in table.to_dict("records"):
        assert with_interval(row) in text  # type: ignore[arg-type]
    assert measured.manifest["command"] in text
    assert measured.manifest["encoders"][0]["revision"] in text
    markdown = (measured.folder / "report.md").read_text(encoding="utf-8")
    for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", markdown):
        assert (measured.folder / picture).is_file()


def test_a_model_that_is_not_of_the_run_is_refused(measured: Run) -> None:
    (name, *_) = measured.models
    assert measured.described(name)["name"] == name
    with pytest.raises(InputError, match=f"'zz' is not of this run: expected one of {name}"):
        measured.described("zz")


@pytest.mark.slow
def test_the_summary_comes_first_and_the_verdict_is_there_word_for_word(
    invented: Run, page: Path
) -> None:
    state = invented.manifest["encoders"][0]["pooler"]
    verdict, *others = (decide(invented.scores, "tiny", aggregation=name) for name in ("all",))
    lines = verdict_text(verdict, pooler=state, others=others).splitlines()
    assert build_report(invented.scores, invented.manifest).passages == (tuple(lines),)
    text = page.read_text(encoding="utf-8")
    opening = html.unescape(text[: text.index("<svg")])
    sentences = invented.summary().sentences
    assert sentences
    assert all(sentence in opening for sentence in sentences)
    for line in lines:
        assert line.replace("&", "&amp;").replace("<", "&lt;") in text


@pytest.mark.slow
def test_without_claims_it_opens_with_numbers_of_the_table(invented: Run) -> None:
    scores = invented.scores[~invented.scores["metric"].isin(["spearman_difference"])]
    (passage,) = build_report(scores, invented.manifest).passages
    best = select(scores, SIMILARITY, model="tiny", task="stsb")["value"].max()
    assert passage[0] == "tiny in numbers"
    assert any(line.startswith("stsb, Spearman") and f"{best:.1f}" in line for line in passage)
    assert len(passage) == 1 + len(TASKS) + len(PROBED) + 1


@pytest.mark.slow
def test_the_tables_hold_the_numbers_and_mark_the_best(invented: Run) -> None:
    (section,) = build_report(invented.scores, invented.manifest).sections
    (table,) = (t for t in section.tables if t.caption.startswith("Spearman"))
    column = table.header.index("stsb")
    values = select(invented.scores, SIMILARITY, model="tiny", task="stsb").set_index("view")
    shown = {row[0].text: row[column] for row in table.rows}
    for view, value in values["value"].items():
        number = shown[str(view)].number
        assert number is not None
        assert number == pytest.approx(value, nan_ok=True)
    (best,) = (view for view, cell in shown.items() if cell.is_best)
    assert best == values["value"].idxmax()
    assert shown["cls@0"].text == "NaN"
    assert shown["floor: jaccard"].text == "40.0"


@pytest.mark.slow
def test_what_is_left_over_from_an_older_report_goes(invented: Run) -> None:
    stale = invented.folder / "figures" / "other-model.svg"
    stale.parent.mkdir(exist_ok=True)
    stale.touch()
    first = invented.report().read_bytes()
    assert not stale.exists()
    assert invented.report().read_bytes() == first
    assert not list(invented.folder.rglob(".*"))


def test_text_from_outside_stays_text(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "<b>bold</b>" not in text
    assert "&lt;b&gt;bold&lt;/b&gt;" in text
    markdown = (page.parent / "report.md").read_text(encoding="utf-8")
    assert r"\<b\>bold\</b\> \| a remark" in markdown
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))


def test_warnings_of_the_run_are_told_once(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.count("cls@0 is the same vector for every sentence (2 times)") == 1


def test_a_table_is_rectangular() -> None:
    with pytest.raises(ValueError, match="a row of 1 cells under 2 names"):
        PageTable(caption="", header=("a", "b"), rows=((PageCell("1"),),))


def problems(browser: Any, url: str, width: int, scheme: str) -> Iterator[str]:
    """Everything about a page that a reader must not meet."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, service_workers="block"
    )
    page, found, requests = context.new_page(), [], []
    page.on("console", lambda message: found.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: found.append(f"error: {error}"))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(url)
    page.wait_for_load_state("networkidle")
    yield from found
    yield from (f"request: {other}" for other in requests if other != url)
    across, room = page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    if across > room:
        yield f"scrolls sideways: {across} px in {room}"
    for box in page.locator("svg").all():
        size = box.bounding_box()
        if size is None or size["width"] < 200 or size["height"] < 50:
            yield f"a figure of {size}"
    context.close()


@pytest.mark.slow
def test_the_page_in_a_browser(page: Path, measured: Run) -> None:
    with chromium() as browser:
        for path in (page, measured.report()):
            for width in (1280, 390):
                for scheme in ("light", "dark"):
                    assert not list(problems(browser, path.as_uri(), width, scheme)), (
                        width,
                        scheme,
                    )


def test_the_browser_test_sees_what_is_wrong(tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text(
        '<div style="width: 2000px">wide</div><img src="missing.png"><svg width="9"></svg>'
        "<script>console.error('oh'); throw new Error('no')</script>",
        encoding="utf-8",
    )
    with chromium() as browser:
        found = " ".join(problems(browser, bad.as_uri(), 390, "light"))
    for wanted in ("console: oh", "error: no", "missing.png", "scrolls sideways", "a figure of"):
        assert wanted in found


def test_tables_sort_and_colours_follow_the_reader(page: Path) -> None:
    with chromium() as browser:
        papers = []
        for scheme in ("light", "dark"):
            opened = browser.new_page(color_scheme=scheme)
            opened.goto(page.as_uri())
            papers.append(
                opened.evaluate(
                    "[getComputedStyle(document.body).backgroundColor,"
                    " getComputedStyle(document.querySelector('svg text')).fill]"
                )
            )
        assert papers[0][0] != papers[1][0]
        assert papers[0][1] != papers[1][1]
        opened.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")
        by_view = opened.get_by_role("button", name=re.compile(r"^view"))
        table = opened.locator("table", has=by_view).first
        head = table.locator("th", has_text="stsb").first
        column = head.evaluate("head => [...head.parentElement.children].indexOf(head)")
        read = (
            f"table => [...table.tBodies[0].rows].map(row => row.children[{column}].dataset.value)"
        )
        for direction in ("descending", "ascending"):
            head.get_by_role("button").click()
            assert head.get_attribute("aria-sort") == direction
            values = [float(text) for text in table.evaluate(read)]
            numbers = [value for value in values if not math.isnan(value)]
            assert values[: len(numbers)] == numbers  # NaN stands last either way
            assert numbers == sorted(numbers, reverse=direction == "descending")
            assert len(numbers) > 5
