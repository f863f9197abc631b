"""The pairs that the project ships are what their data card says."""

import hashlib
import re
from collections import Counter
from itertools import chain

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from probing.similarity.cosine import token_jaccard
from probing.sources.shipped import shipped_data

FOLDER = shipped_data() / "sts-mini"
CARD = (FOLDER / "README.md").read_text(encoding="utf-8")
GRADES = range(6)


@pytest.fixture(scope="module")
def pairs() -> pd.DataFrame:
    return pd.read_csv(FOLDER / "sts-mini.tsv", sep="\t", quoting=3, keep_default_na=False)


@pytest.fixture(scope="module")
def overlap(pairs: pd.DataFrame) -> np.ndarray:
    return token_jaccard(list(pairs["sentence1"]), list(pairs["sentence2"]))


def _card_row(name: str) -> list[str]:
    """The cells of a row of one of the card's tables."""
    (row,) = re.findall(rf"^\| (?:\*\*)?{name}(?:\*\*)? \|(.*)\|$", CARD, flags=re.MULTILINE)
    return [cell.strip() for cell in row.split("|")]


def test_the_file_is_the_one_of_the_card() -> None:
    assert hashlib.sha256((FOLDER / "sts-mini.tsv").read_bytes()).hexdigest() in CARD


def test_there_are_enough_pairs_of_enough_genres_and_none_twice(pairs: pd.DataFrame) -> None:
    assert len(pairs) == 684
    assert pairs["subset"].nunique() >= 5
    sentences = list(chain(pairs["sentence1"], pairs["sentence2"]))
    assert len(set(sentences)) == len(sentences) == 1368
    words = [len(sentence.split(" ")) for sentence in sentences]
    assert (min(words), max(words), np.median(words)) == (5, 28, 9)


def test_every_genre_has_every_grade_as_often(pairs: pd.DataFrame) -> None:
    counts = Counter(zip(pairs["subset"], pairs["score"], strict=True))
    assert set(counts.values()) == {19}
    assert {grade for _, grade in counts} == set(GRADES)
    for genre, rows in pairs.groupby("subset"):
        split = Counter(zip(rows["score"], rows["split"], strict=True))
        cells = [f"{split[grade, 'dev']}+{split[grade, 'test']}" for grade in GRADES]
        assert _card_row(str(genre))[:6] == cells


def test_word_overlap_does_not_solve_it(pairs: pd.DataFrame, overlap: np.ndarray) -> None:
    found = {
        split: float(spearmanr(overlap[rows], pairs["score"][rows]).statistic)
        for split, rows in (
            ("dev", pairs["split"] == "dev"),
            ("test", pairs["split"] == "test"),
            ("all", pairs["split"] != ""),
        )
    }
    assert max(found.values()) <= 0.55
    assert "| {dev:.4f} | {test:.4f} | {all:.4f} |".format(**found) in CARD
    means = ", ".join(f"{overlap[pairs['score'] == grade].mean():.3f}" for grade in GRADES)
    assert f"grades 0 to 5: {means}" in CARD


def test_overlap_misleads_in_both_directions(pairs: pd.DataFrame, overlap: np.ndarray) -> None:
    score = pairs["score"]
    counts = (
        ((overlap >= 0.5) & (score <= 3)).sum(),
        ((overlap >= 0.5) & (score <= 2)).sum(),
        ((overlap >= 0.5) & (score == 5)).sum(),
        ((overlap < 0.15) & (score >= 4)).sum(),
        ((overlap < 0.15) & (score == 0)).sum(),
    )
    assert counts == (92, 40, 56, 40, 59)
    assert all(str(count) in CARD for count in counts)
