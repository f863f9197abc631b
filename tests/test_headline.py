"""The headline of README.md: from committed rows alone, and what is shipped measured again."""

import json
import re
from pathlib import Path

import cause
import headline
import numpy as np
import pytest

import probing
from probing.similarity.cosine import cosine_similarities, token_jaccard
from probing.statistics import spearman

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
NAMES = sorted(path.name for path in headline.RESULTS.iterdir())


def _rows() -> list[list[str]]:
    lines = headline.PAGE.read_text(encoding="utf-8").splitlines()
    table = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    assert tuple(table[0]) == headline.HEAD
    return table[1:]


def test_readme_page_and_figure_are_what_the_script_makes_of_the_committed_rows() -> None:
    assert README.count(headline.BEGIN) == README.count(headline.END) == 1
    assert headline.block() == README.partition(headline.BEGIN)[2].partition(headline.END)[0]
    assert headline.PAGE.read_text(encoding="utf-8") == headline.results()
    assert headline.FIGURE.read_text(encoding="utf-8") == headline.headline()[0]


def test_no_number_about_an_encoder_stands_outside_the_marked_block() -> None:
    prose = README
    for script in (headline, cause):  # each writes a block of its own
        before, _, rest = prose.partition(script.BEGIN)
        prose = before + rest.partition(script.END)[2]
    for number in ("Spearman ×", " points", " %]"):
        assert number not in prose


@pytest.mark.parametrize("name", NAMES)
def test_results_are_small_and_come_with_their_manifest(name: str) -> None:
    scores, manifest = headline.kept(name)
    files = sorted((headline.RESULTS / name).iterdir())
    assert [path.name for path in files] == ["manifest.json", "scores.csv"]
    assert sum(path.stat().st_size for path in files) < 300_000
    assert set(scores["task"]) <= {task["name"] for task in manifest["tasks"]} | {"none"}
    assert all("sha256:" in task["origin"] for task in manifest["tasks"])
    assert manifest["command"].startswith("probing run ")
    assert not re.search(r"/(home|root|work|tmp|Users)/", json.dumps(manifest))


@pytest.mark.real
def test_the_embedded_part_is_measured_again() -> None:
    rows = [row for row in _rows() if row[2] == "sts-mini"]
    assert [row[0] for row in rows][:1] == ["minilm"]
    task = probing.load_task("sts-mini")
    assert isinstance(task, probing.SentencePairs)
    for row in rows:
        encoder = probing.load_encoder(row[0])
        last = encoder.num_layers
        measured = []
        for one, poolings in (
            (encoder, ("mean", "cls", "pooler")),
            (probing.random_twin(encoder, seed=0), ("mean",)),
        ):
            views = [f"{pooling}@{last}" for pooling in poolings]
            vectors = probing.extract(one, task.sentences1 + task.sentences2, views=views)
            measured += list(spearman(cosine_similarities(vectors, views), task.scores))
        overlap = token_jaccard(task.sentences1, task.sentences2)[:, np.newaxis]
        measured += list(spearman(overlap, task.scores))
        mean, cls, pooler, random, floor = (100 * value for value in measured)
        shown = [float(row[i].split(" ")[0].replace("−", "-")) for i in range(3, 10)]
        wanted = [len(task), mean, cls, pooler, pooler - mean, random, floor]
        np.testing.assert_allclose(shown, wanted, atol=0.051)
