"""Twins: next sentences read from every view, and differences between two encoders."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from probing.encoding.encoder import load_encoder, random_twin
from probing.encoding.extraction import extract
from probing.errors import InputError
from probing.measurements import Settings
from probing.measuring.similarity import cosine_similarities
from probing.pretraining.corpus import choose_held_out, held_out_documents
from probing.scores import score_table
from probing.statistics import spearman
from probing.tasks import load_task
from probing.twins import (
    NEXT_SENTENCE,
    _encoded,
    _pairs,
    contrast_names,
    next_sentence_scores,
    twin_contrasts,
    twins_scores,
)

SETTINGS = Settings(seed=0, n_resamples=50, cache_dir=None)
N_SOURCES, N_DOCUMENTS = 6, 5
WORDS = ("cat", "dog", "mat", "red", "big", "small", "unlikely", "runs")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    for source in range(N_SOURCES):
        documents = []
        for number in range(N_DOCUMENTS):
            topic = WORDS[(source + number) % len(WORDS)]
            lines = (f"the {topic} {rng.choice(WORDS)} is {topic}" for _ in range(30))
            documents.append("\n".join(lines))
        (folder / f"s{source}.txt").write_text("\n\n".join(documents), encoding="utf-8")
    return folder


@pytest.fixture
def encoder(tiny_encoder_folder):
    return load_encoder(tiny_encoder_folder("bert"))


def test_only_held_out_documents_are_read(corpus, encoder):
    documents = held_out_documents(corpus, encoder.tokenizer, corpus)
    chosen = [choose_held_out(N_DOCUMENTS, 0.01, 0, source) for source in range(N_SOURCES)]
    assert len(documents.document_starts) - 1 == sum(int(flags.sum()) for flags in chosen)
    assert documents.held_out.tolist() == [False, True] * (N_SOURCES // 2)
    first = documents.tokens[: documents.sentence_starts[1]].tolist()
    place = int(np.flatnonzero(chosen[0])[0])
    text = (corpus / "s0.txt").read_text(encoding="utf-8").split("\n\n")[place].splitlines()[0]
    assert first == encoder.tokenizer(text, add_special_tokens=False)["input_ids"]


def test_next_sentences_are_read_from_every_view(corpus, encoder):
    sizes = {"train": 200, "dev": 60, "test": 100}
    rows = score_table(next_sentence_scores(encoder, corpus, SETTINGS, sizes=sizes))
    accuracy = rows[(rows["metric"] == "accuracy") & (rows["task"] == NEXT_SENTENCE)]
    assert set(accuracy["view"]) == {str(view) for view in encoder.views} - {"cls@0"}
    assert (accuracy["n"] == 100).all()
    by_view = accuracy.set_index("view")["value"]
    differences = rows[rows["metric"] == "accuracy_difference"].set_index("view")
    for pooling in ("pooler", "cls"):
        found = differences.loc[f"{pooling}@3 - mean@3"]
        assert found["value"] == pytest.approx(by_view[f"{pooling}@3"] - by_view["mean@3"])
        assert found["lower"] <= found["value"] <= found["upper"]


def test_both_segments_are_in_one_input(corpus, encoder):
    documents = held_out_documents(corpus, encoder.tokenizer, corpus)
    pairs = _pairs(documents, 4, 24, held_out=True)
    vectors = _encoded(encoder, documents, pairs, 24)
    spans = zip(pairs.starts[0], pairs.lengths[0], strict=True)
    first, second = (documents.tokens[start : start + size].tolist() for start, size in spans)
    tokenizer = encoder.tokenizer
    ids = [tokenizer.cls_token_id, *first, tokenizer.sep_token_id]
    kinds = [0] * len(ids) + [1] * (len(second) + 1)
    ids += [*second, tokenizer.sep_token_id]
    with torch.inference_mode():
        outputs = encoder.model(torch.tensor([ids]), token_type_ids=torch.tensor([kinds]))
    np.testing.assert_allclose(
        vectors["mean@3"][0], outputs.last_hidden_state[0].mean(dim=0), atol=1e-5
    )
    np.testing.assert_allclose(vectors["pooler@3"][0], outputs.pooler_output[0], atol=1e-5)


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


def test_no_corpus_is_refused(encoder, tmp_path):
    with pytest.raises(InputError, match=r"no NAME.txt or NAME.txt.xz"):
        next_sentence_scores(encoder, tmp_path, SETTINGS)
