"""Encoders held against each other: pairs, several seeds of a pair, and random weights."""

from dataclasses import replace

import numpy as np
import pytest

from probing.claims.catalogue import Claim
from probing.encoding.encoder import load_encoder, random_twin
from probing.encoding.extraction import extract
from probing.encoding.pooler_state import PoolerState
from probing.encoding.sharing import SharedExtraction
from probing.results.differences import ITEMS_ERROR
from probing.results.scores import score_table
from probing.similarity.cosine import cosine_similarities
from probing.statistics import spearman
from probing.study.encoder_pairs import contrast_names, pair_scores, random_draw_scores
from probing.study.settings import Settings
from probing.tasks import load_task

SETTINGS = Settings(seed=0, n_resamples=50, cache_dir=None)


@pytest.fixture
def encoder(tiny_encoder_folder):
    return load_encoder(tiny_encoder_folder("bert"))


def test_the_difference_between_two_encoders_is_that_of_their_correlations(encoder):
    task = load_task("sts-mini")
    other = random_twin(encoder, seed=1)
    rows = score_table(pair_scores([(encoder, other)], [task], SETTINGS))
    assert set(rows["model"]) == {f"{encoder.name} - {other.name}"}
    found = rows[(rows["metric"] == "spearman_difference") & (rows["aggregation"] == "all")]
    found = found.set_index("view")
    lost = {"pooler@3 - mean@3", "pooler@3 - cls@3"}
    assert set(found.index) == ({str(view) for view in encoder.views} - {"cls@0"}) | lost
    values = found["value"]
    for view in lost:
        pooler, against = view.split(" - ")
        assert values[view] == pytest.approx(values[pooler] - values[against])
    texts = task.sentences1 + task.sentences2
    one, two = (
        spearman(cosine_similarities(extract(e, texts), ["cls@3"]), task.scores)[0]
        for e in (encoder, other)
    )
    assert found.loc["cls@3", "value"] == pytest.approx(one - two)
    assert found.loc["cls@3", "transform"] == "raw"


def test_an_encoder_is_no_better_than_itself(encoder):
    task = load_task("sts-mini")
    rows = score_table(pair_scores([(encoder, replace(encoder, name="itself"))], [task], SETTINGS))
    found = rows[rows["metric"].isin(["spearman_difference", "standard_error"])]
    np.testing.assert_allclose(found["value"], 0, atol=1e-12)


def _three_pairs(encoder):
    pairs = [(encoder, random_twin(encoder, seed=1))]
    pairs += [
        tuple(replace(random_twin(encoder, seed=seed), name=f"{seed}") for seed in seeds)
        for seeds in ((2, 3), (4, 5))
    ]
    return pairs


@pytest.mark.slow
def test_the_mean_over_pairs_is_a_paired_t_with_the_error_of_the_items(encoder):
    task = load_task("sts-mini")
    pairs = _three_pairs(encoder)
    names = contrast_names([(one.name, other.name) for one, other in pairs])
    assert names[-1] == f"{encoder.name}, 2, 4 - {encoder.name}+random, 3, 5"
    rows = score_table(pair_scores(pairs, [task], replace(SETTINGS, n_resamples=2000)))
    rows = rows[(rows["aggregation"] == "all") & (rows["view"] == "mean@2")]
    values, errors, items = (
        rows[rows["metric"] == metric].set_index("model")["value"]
        for metric in ("spearman_difference", "standard_error", ITEMS_ERROR)
    )
    assert list(values.index) == names
    assert list(items.index) == names[-1:]
    assert values[names[-1]] == pytest.approx(values[names[:-1]].mean())
    # the items, which all pairs share, by simulation
    rng = np.random.default_rng(0)
    texts = task.sentences1 + task.sentences2
    columns = np.concatenate(
        [cosine_similarities(extract(e, texts), ["mean@2"]) for pair in pairs for e in pair], axis=1
    )
    drawn = [rng.integers(len(task.scores), size=len(task.scores)) for _ in range(2000)]
    taken = np.array([spearman(columns[rows], task.scores[rows]) for rows in drawn])
    within = (taken[:, ::2] - taken[:, 1::2]).mean(axis=1).std()
    assert items[names[-1]] == pytest.approx(within, rel=0.1)
    seeds = values[names[:-1]].std() / 3**0.5
    assert errors[names[-1]] == pytest.approx(np.hypot(seeds, items[names[-1]]))


def test_a_pair_counted_twice_is_as_sure_as_its_sentences_and_no_surer(encoder):
    task = load_task("sts-mini")
    pair = (encoder, random_twin(encoder, seed=1))
    rows = score_table(pair_scores([pair, pair], [task], SETTINGS))
    single, *_, mean = dict.fromkeys(rows["model"])
    rows = rows[(rows["view"] == "mean@2") & (rows["metric"] == "standard_error")]
    errors = rows.drop_duplicates("model").set_index("model")["value"]
    assert errors[mean] == pytest.approx(errors[single])
    assert pair_scores([], [task], SETTINGS) == []


@pytest.mark.slow
def test_the_deficit_less_that_of_each_draw(encoder):
    task = load_task("sts-mini")
    settings = replace(SETTINGS, n_draws=3, seed=4)
    own, twin = (
        SharedExtraction(one, None) for one in (encoder, random_twin(encoder, seed=settings.seed))
    )
    rows = score_table(random_draw_scores(own, twin, [task], settings))
    assert set(rows["model"]) == {f"{encoder.name} - {encoder.name}+random"}
    assert set(rows["view"]) == {"pooler@3 - mean@3"}
    rows = rows[rows["aggregation"] == "all"]
    found = rows[rows["metric"] == "spearman_difference"].set_index("seed")["value"]
    assert list(found.index) == [4, 5, 6]
    texts = task.sentences1 + task.sentences2

    def deficit(e):
        both = cosine_similarities(extract(e, texts), ["pooler@3", "mean@3"])
        pooler, mean = spearman(both, task.scores)
        return pooler - mean

    for seed in (4, 5, 6):
        expected = deficit(encoder) - deficit(random_twin(encoder, seed=seed))
        assert found[seed] == pytest.approx(expected)
    assert (rows["metric"] == ITEMS_ERROR).sum() == 1
    mine = Claim(id="M", sentence="mine", view="max@{last} - mean@{last}", control=True)
    mine_rows = random_draw_scores(own, twin, [task], replace(settings, claims=(mine,), n_draws=1))
    assert {row.view for row in mine_rows} == {"max@3 - mean@3"}
    without = replace(own, encoder=replace(encoder, pooler_state=PoolerState.ABSENT))
    assert random_draw_scores(without, twin, [task], settings) == []
