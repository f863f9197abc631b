"""Twins: differences between two encoders."""

from dataclasses import replace

import numpy as np
import pytest

from probing.encoding.encoder import load_encoder, random_twin
from probing.encoding.extraction import extract
from probing.results.scores import score_table
from probing.similarity.cosine import cosine_similarities
from probing.statistics import spearman
from probing.study.encoder_pairs import (
    contrast_names,
    twin_contrasts,
    twins_scores,
)
from probing.study.measurements import Settings
from probing.tasks import load_task

SETTINGS = Settings(seed=0, n_resamples=50, cache_dir=None)


@pytest.fixture
def encoder(tiny_encoder_folder):
    return load_encoder(tiny_encoder_folder("bert"))


def test_the_difference_between_twins_is_that_of_their_correlations(encoder):
    task = load_task("sts-mini")
    other = random_twin(encoder, seed=1)
    rows = score_table(twin_contrasts(encoder, other, task, SETTINGS))
    assert set(rows["model"]) == {f"{encoder.name} - {other.name}"}
    found = rows[(rows["metric"] == "spearman_difference") & (rows["aggregation"] == "all")]
    found = found.set_index("view")
    assert set(found.index) == {str(view) for view in encoder.views} - {"cls@0"}
    texts = task.sentences1 + task.sentences2
    one, two = (
        spearman(cosine_similarities(extract(e, texts), ["cls@3"]), task.scores)[0]
        for e in (encoder, other)
    )
    assert found.loc["cls@3", "value"] == pytest.approx(one - two)
    assert found.loc["cls@3", "transform"] == "raw"


def test_a_twin_is_no_better_than_itself(encoder):
    task = load_task("sts-mini")
    rows = score_table(twins_scores([(encoder, replace(encoder, name="itself"))], [task], SETTINGS))
    found = rows[rows["metric"].isin(["spearman_difference", "standard_error"])]
    np.testing.assert_allclose(found["value"], 0, atol=1e-12)


def test_the_mean_over_pairs_is_the_multi_bootstrap(encoder):
    task = load_task("sts-mini")
    pairs = [(encoder, random_twin(encoder, seed=1))]
    pairs += [
        tuple(replace(random_twin(encoder, seed=seed), name=f"{seed}") for seed in seeds)
        for seeds in ((2, 3), (4, 5))
    ]
    names = contrast_names([(one.name, other.name) for one, other in pairs])
    assert names[-1] == f"{encoder.name}, 2, 4 - {encoder.name}+random, 3, 5"
    rows = score_table(twins_scores(pairs, [task], replace(SETTINGS, n_resamples=2000)))
    rows = rows[(rows["aggregation"] == "all") & (rows["view"] == "mean@2")]
    values, errors = (
        rows[rows["metric"] == metric].set_index("model")["value"]
        for metric in ("spearman_difference", "standard_error")
    )
    assert list(values.index) == names
    assert values[names[-1]] == pytest.approx(values[names[:-1]].mean())
    # Weights and differences are drawn independently; the sentences by simulation here.
    spread = (np.eye(3) - 1 / 3) / 9  # covariance of the shares of three pairs, drawn three times
    rng = np.random.default_rng(0)
    texts = task.sentences1 + task.sentences2
    columns = np.concatenate(
        [cosine_similarities(extract(e, texts), ["mean@2"]) for pair in pairs for e in pair], axis=1
    )
    drawn = [rng.integers(len(task.scores), size=len(task.scores)) for _ in range(2000)]
    taken = np.array([spearman(columns[rows], task.scores[rows]) for rows in drawn])
    within = np.cov(taken[:, ::2] - taken[:, 1::2], rowvar=False)
    between = values[names[:-1]] @ spread @ values[names[:-1]] + np.trace(spread @ within)
    assert between > 0.1 * within.mean()
    assert errors[names[-1]] ** 2 == pytest.approx(within.mean() + between, rel=0.1)


def test_a_pair_drawn_twice_is_as_sure_as_its_sentences(encoder):
    """Between equal pairs nothing varies: their mean has the interval of one."""
    task = load_task("sts-mini")
    pair = (encoder, random_twin(encoder, seed=1))
    rows = score_table(twins_scores([pair, pair], [task], SETTINGS))
    first, *_, last = (rows[rows["model"] == name] for name in dict.fromkeys(rows["model"]))
    columns = ["metric", "view", "aggregation"]
    merged = first[first["metric"] != "p_williams"].drop_duplicates(columns).merge(last, on=columns)
    assert len(merged) == len(last)
    for column in ("value", "lower", "upper"):
        np.testing.assert_allclose(merged[f"{column}_x"], merged[f"{column}_y"], atol=1e-12)
