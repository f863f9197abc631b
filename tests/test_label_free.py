"""Label-free measures against hand and other libraries, and what must not change them."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import entropy, special_ortho_group

import probing
from probing.errors import InputError
from probing.similarity.label_free import (
    METRICS,
    WITHIN_SHARE,
    alignment,
    curvature,
    dime,
    effective_rank,
    infonce,
    lidar,
    matrix_entropy,
    prompt_entropy,
    uniformity,
    view_metrics,
)
from probing.study.label_free import noisy_copies, token_metrics


def _drawn(seed: int, n: int = 30, k: int = 3, width: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Sentences of unequal spread away from the origin, and noisy copies of them."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(n, width)) * np.geomspace(2, 0.3, width) + rng.normal(size=width)
    return vectors, vectors[:, None] + 0.3 * rng.normal(size=(n, k, width))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _named(vectors: np.ndarray, copies: np.ndarray) -> dict[str, float]:
    return dict(view_metrics(vectors, copies, rng=np.random.default_rng(0)))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.floats(0.1, 50))
def test_turning_and_stretching_the_space_changes_nothing(seed: int, scale: float) -> None:
    vectors, copies = _drawn(seed)
    turn = scale * special_ortho_group.rvs(6, random_state=seed)
    before, after = _named(vectors, copies), _named(vectors @ turn, copies @ turn)
    assert before == pytest.approx(after, rel=1e-4, abs=1e-6)
    assert not any(map(math.isnan, before.values()))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.integers(3, 20), st.integers(2, 8))
def test_every_measure_stays_within_its_bounds(seed: int, n: int, width: int) -> None:
    vectors, copies = _drawn(seed, n=n, width=width)
    found = _named(vectors, copies)
    assert 1 <= found["effective_rank"] <= min(n, width) + 1e-9
    assert -1e-9 <= found["isoscore"] <= 1 + 1e-9
    assert -8 <= found["uniformity"] <= 0
    assert 0 <= found["alignment"] <= 4
    assert found["infonce"] <= 1
    assert 1 - 1e-9 <= found["lidar"] <= min(n - 1, width) + 1e-9


def test_rank_is_that_of_equal_and_of_single_directions() -> None:
    assert effective_rank(np.eye(5)) == pytest.approx(5)
    assert effective_rank(np.outer(np.arange(1, 5), np.ones(3))) == pytest.approx(1)
    values = np.array([3.0, 1.0])
    assert effective_rank(np.diag(values)) == pytest.approx(math.exp(entropy(values)))
    assert math.isnan(effective_rank(np.zeros((3, 2))))


def test_uniformity_and_alignment_by_hand() -> None:
    corners = np.array([[1.0, 0], [0, 2.0], [-3.0, 0]])  # squared distances 2, 4, 2
    expected = math.log((2 * math.exp(-4) + math.exp(-8)) / 3)
    assert uniformity(corners) == pytest.approx(expected)
    assert uniformity(np.ones((4, 3))) == pytest.approx(0)
    assert alignment(corners, 7 * corners) == pytest.approx(0)
    assert alignment(corners, -corners) == pytest.approx(4)
    assert math.isnan(alignment(corners, np.zeros((3, 2))))


def test_infonce_is_the_cross_entropy_of_finding_the_copy() -> None:
    _, copies = _drawn(1)
    logits = _unit(copies[:, 0]) @ _unit(copies[:, 1]).T / 0.1
    losses = [-(np.diag(logits) - logsumexp(logits, axis=axis)).mean() for axis in (0, 1)]
    expected = 1 - np.mean(losses) / math.log(len(logits))
    assert infonce(copies[:, 0], copies[:, 1]) == pytest.approx(expected)
    one_point = np.ones((4, 2))
    assert infonce(one_point, one_point) == pytest.approx(0)  # nothing tells them apart: chance


def test_entropy_of_a_matrix_is_that_of_its_eigenvalues() -> None:
    gram = np.cov(np.random.default_rng(0).normal(size=(4, 9)))
    found = matrix_entropy(torch.from_numpy(np.stack([gram, 5 * gram])))
    assert found.tolist() == pytest.approx([entropy(np.linalg.eigvalsh(gram))] * 2)
    assert matrix_entropy(torch.zeros(2, 2, dtype=torch.float64)).isnan()


def test_dime_is_the_difference_of_joint_entropies() -> None:
    _, copies = _drawn(2, n=12)
    grams = []
    for number in (0, 1):
        centred = _unit(copies[:, number] - copies[:, number].mean(axis=0))
        grams.append(centred @ centred.T)
    rng = np.random.default_rng(5)
    joint = entropy(np.linalg.eigvalsh(grams[0] * grams[1]).clip(0))
    strangers = []
    for _ in range(3):
        order = rng.permutation(12)
        strangers.append(entropy(np.linalg.eigvalsh(grams[0] * grams[1][order][:, order]).clip(0)))
    expected = (np.mean(strangers) - joint) / math.log(6)
    found = dime(copies[:, 0], copies[:, 1], rng=np.random.default_rng(5), n_permutations=3)
    assert found == pytest.approx(expected, abs=1e-6)


def test_dime_and_infonce_see_planted_copies_and_nothing_in_strangers() -> None:
    rng = np.random.default_rng(0)
    vectors, stranger = rng.normal(size=(2, 80, 20))
    copies = vectors + 0.1 * rng.normal(size=(80, 20))
    of_copies = dime(vectors, copies, rng=np.random.default_rng(0), n_permutations=10)
    of_strangers = dime(vectors, stranger, rng=np.random.default_rng(0), n_permutations=10)
    assert of_copies > 20 * abs(of_strangers)
    assert infonce(vectors, copies) > 0.5 > 0.1 > infonce(vectors, stranger)


def test_lidar_is_the_effective_rank_of_the_ratios_of_variance() -> None:
    _, copies = _drawn(3, n=40)
    means = copies.mean(axis=1)
    around = (copies - means[:, None]).reshape(-1, 6)
    within = around.T @ around / len(around)
    within += WITHIN_SHARE * np.trace(within) / 6 * np.eye(6)
    values, axes = np.linalg.eigh(within)
    root = axes @ np.diag(values**-0.5) @ axes.T
    ratios = np.linalg.eigvalsh(root @ np.cov(means.T, bias=True) @ root)
    assert lidar(copies) == pytest.approx(math.exp(entropy(ratios)))
    assert math.isnan(lidar(np.repeat(means[:, None], 3, axis=1)))  # no copy differs


def test_curvature_of_lines_and_corners() -> None:
    line, corner, back = (
        [[0, 0], [1, 0], [3, 0]],
        [[0, 0], [1, 0], [1, 2]],
        [[0, 0], [1, 0], [0, 0]],
    )
    states = torch.tensor([line, corner, back, line], dtype=torch.float32)
    mask = torch.tensor([[True] * 3] * 3 + [[True, True, False]])
    found = curvature(states, mask)
    assert found[:3].tolist() == pytest.approx([0, math.pi / 2, math.pi])
    assert math.isnan(found[3])


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.integers(3, 7))
def test_measures_of_tokens_do_not_see_padding_or_a_turn(seed: int, n_tokens: int) -> None:
    rng = np.random.default_rng(seed)
    states = rng.normal(size=(n_tokens, 5))
    turned = 3 * states @ special_ortho_group.rvs(5, random_state=seed)
    padded = torch.full((2, 9, 5), 7.0, dtype=torch.float64)
    mask = torch.zeros(2, 9, dtype=torch.bool)
    padded[0, :n_tokens], padded[1, :n_tokens] = torch.from_numpy(states), torch.from_numpy(turned)
    mask[:, :n_tokens] = True
    for measure, upper in ((curvature, math.pi), (prompt_entropy, 1.0)):
        alone = measure(torch.from_numpy(states)[None], torch.ones(1, n_tokens, dtype=torch.bool))
        assert measure(padded, mask).tolist() == pytest.approx([alone[0]] * 2)
        assert 0 <= alone[0] <= upper + 1e-9
    directions = _unit(states - states.mean(axis=0))
    expected = entropy(np.linalg.eigvalsh(directions @ directions.T).clip(0))
    limit = math.log(min(n_tokens, 5))
    assert prompt_entropy(padded, mask)[0] == pytest.approx(expected / limit)


def test_a_view_that_is_one_vector_has_no_measures() -> None:
    vectors = np.ones((5, 3), dtype=np.float32)
    assert all(map(math.isnan, _named(vectors, np.ones((5, 2, 3))).values()))
    vectors = np.eye(5, 3)
    vectors[0, 0] = np.nan
    assert all(map(math.isnan, _named(vectors, np.ones((5, 2, 3))).values()))


def test_copies_have_slips_and_the_same_letters_about() -> None:
    sentences = ["A large elephant slowly crossed another river.", "No, no!", "鏡花水月明鏡止水"]
    copies = noisy_copies(sentences, 3, seed=0)
    assert copies == noisy_copies(sentences, 3, seed=0) != noisy_copies(sentences, 3, seed=1)
    assert len(set(copies[0])) == 3
    assert copies[1] == ["No, no!"] * 3  # no word is long enough
    for copy in (*copies[0], *copies[2]):
        original = sentences[0] if copy in copies[0] else sentences[2]
        joined, read = copy.replace(" ", ""), original.replace(" ", "")
        assert len(joined) == len(read) and copy.count(" ") > original.count(" ")
        assert 1 <= sum(a != b for a, b in zip(joined, read, strict=True)) + 1 <= 5


def test_every_layer_of_an_encoder_is_described() -> None:
    encoder = probing.load_encoder("minilm-nsp")
    sentences = probing.load_task("sts-mini").sentences1[:12]
    table = probing.label_free(encoder, [*sentences, sentences[0]])
    assert isinstance(table, pd.DataFrame)
    assert table.index.tolist() == list(range(encoder.num_layers + 1))
    assert table.columns.tolist() == [metric.name for metric in METRICS]
    assert table.notna().all(axis=None)
    assert table.index.name == "layer"
    for name, values in token_metrics(encoder, sentences).items():
        assert values.shape == (encoder.num_layers + 1, 12)
        np.testing.assert_allclose(table[name], values.mean(axis=1))
    cls = probing.label_free(encoder, sentences, pooling="cls")
    of_tokens = ["curvature", "prompt_entropy"]
    assert cls.loc[0].drop(of_tokens).isna().all()  # one vector for every sentence
    pd.testing.assert_frame_equal(cls[of_tokens], table[of_tokens])


def test_measures_of_tokens_are_those_of_the_hidden_states() -> None:
    encoder = probing.load_encoder("minilm-nsp")
    sentences = list(probing.load_task("sts-mini").sentences1[:5])
    found = token_metrics(encoder, sentences)
    raw = probing.raw_outputs(encoder, sentences)
    for layer, states in enumerate(raw.hidden_states):
        expected = curvature(states, raw.attention_mask)
        assert found["curvature"][layer] == pytest.approx(expected, abs=1e-4)


def test_what_cannot_be_measured_is_said_in_one_line() -> None:
    encoder = probing.load_encoder("minilm-nsp")
    with pytest.raises(InputError, match="found 2 distinct sentences, expected at least 3"):
        probing.label_free(encoder, ["One.", "Two.", "One."])
    with pytest.raises(InputError, match="view 'nothing@0' was asked for"):
        probing.label_free(encoder, ["One.", "Two.", "Three."], pooling="nothing")
    source = probing.from_function(lambda sentences: np.ones((len(sentences), 2)), name="ones")
    with pytest.raises(InputError, match="shows no layers"):
        probing.label_free(source, ["One.", "Two.", "Three."])  # type: ignore[arg-type]
