"""Online codelength: a valid code, short where labels are easy to learn."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from probing.errors import InputError
from probing.probes.codelength import (
    FRACTIONS,
    _frequency_bits,
    codelength_scores,
    online_codelength,
)
from probing.probes.controls import control_labels
from probing.probes.linear import LinearProbes
from probing.results.target import Target

N = 1500


def made(k: int = 3, *, n: int = N, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(n, 10)).astype(np.float32)
    return vectors, (vectors[:, :k] + 0.1 * rng.normal(size=(n, k))).argmax(axis=1)


def test_easy_labels_are_short_and_random_ones_are_not() -> None:
    vectors, labels = made()
    noise = np.random.default_rng(1).normal(size=vectors.shape).astype(np.float32)
    lengths = online_codelength({"mean@0": vectors, "mean@1": noise}, labels, seed=0)
    easy, hard = lengths.compression
    assert easy > 4
    assert 0.9 < hard < 1.0
    assert lengths.uniform_bits == pytest.approx(N * math.log2(3))
    assert lengths.bits == pytest.approx(lengths.block_bits.sum(axis=0))
    control = control_labels([str(i) for i in range(N)], labels, seed=0)
    assert 0.9 < online_codelength({"mean@0": vectors}, control, seed=0).compression[0] < 1.01


def test_blocks_end_where_the_paper_ends_them() -> None:
    vectors, labels = made(n=2000)
    lengths = online_codelength({"mean@0": vectors}, labels, seed=0)
    assert lengths.block_ends.tolist() == [2, 4, 8, 16, 32, 64, 125, 250, 500, 1000, 2000]
    assert lengths.block_bits[0, 0] == pytest.approx(2 * math.log2(3))
    assert len(FRACTIONS) == 11


def test_a_block_costs_what_sklearn_takes_to_encode_it() -> None:
    vectors, labels = made()
    lengths = online_codelength(
        {"mean@0": vectors}, labels, seed=4, probes=LinearProbes((0.1,), tolerance=1e-8)
    )
    order = np.random.default_rng(4).permutation(N)
    first, last = lengths.block_ends[-2:]
    known, sent = order[:first], order[first:last]
    scaler = StandardScaler().fit(vectors[known])
    model = LogisticRegression(C=0.1, tol=1e-8, max_iter=1000)
    model.fit(scaler.transform(vectors[known]), labels[known])
    learned = model.predict_proba(scaler.transform(vectors[sent]))[
        np.arange(len(sent)), labels[sent]
    ]
    mixed = (first * learned + 1 / 3) / (first + 1)
    assert lengths.block_bits[-1, 0] == pytest.approx(-np.log2(mixed).sum(), rel=1e-3)


def test_the_strength_for_a_block_is_chosen_by_the_blocks_before_it() -> None:
    vectors, labels = made()
    strengths = (1e-4, 1.0)
    alone = [
        online_codelength({"mean@0": vectors}, labels, seed=0, probes=LinearProbes((c,))).block_bits
        for c in strengths
    ]
    both = online_codelength(
        {"mean@0": vectors}, labels, seed=0, probes=LinearProbes(strengths)
    ).block_bits
    spent = np.zeros(2)
    for block in range(1, len(both)):
        chosen = spent.argmin()
        assert both[block, 0] == pytest.approx(alone[chosen][block, 0], rel=1e-3)
        spent += [bits[block, 0] for bits in alone]
    changed = labels.copy()
    order = np.random.default_rng(0).permutation(N)
    changed[order[N // 2 :]] = labels[order[N // 2 :]][::-1]
    other = online_codelength(
        {"mean@0": vectors}, changed, seed=0, probes=LinearProbes(strengths)
    ).block_bits
    assert (other[:-1] == both[:-1]).all()
    assert other[-1, 0] > both[-1, 0]


def test_a_class_not_seen_yet_can_be_sent() -> None:
    vectors, labels = made(2, n=400)
    order = np.random.default_rng(0).permutation(400)
    labels[order[-2:]] = 2
    lengths = online_codelength({"mean@0": vectors}, labels, seed=0)
    assert np.isfinite(lengths.bits).all()
    labels[:] = 0
    labels[order[-2:]] = 1
    # the classes' frequencies say nearly all there is to say, and the vectors no more
    told = online_codelength({"mean@0": vectors}, labels, seed=0)
    assert told.uniform_bits / told.bits[0] > 10
    assert told.compression[0] == pytest.approx(1, abs=0.05)


def test_the_seed_draws_the_order() -> None:
    vectors, labels = made(n=300)
    one, same, other = (
        online_codelength({"mean@0": vectors}, labels, seed=seed).bits[0] for seed in (0, 0, 1)
    )
    assert one == same != other


def test_several_orders_give_an_interval() -> None:
    vectors, labels = made(n=300)
    views = {"mean@0": vectors, "cls@0": np.ones_like(vectors)}
    lengths = [online_codelength(views, labels, seed=seed) for seed in range(3)]
    row, constant = codelength_scores(lengths, Target(task="t", seed=0))[:2]
    each = np.array([length.bits[0] for length in lengths])
    assert row.value == pytest.approx(each.mean())
    # Student's t for two degrees of freedom
    assert row.upper - row.value == pytest.approx(4.303 * each.std(ddof=1) / 3**0.5, rel=1e-3)
    assert row.value - row.lower == pytest.approx(row.upper - row.value)
    assert np.isnan([constant.value, constant.lower]).all()


def test_rows_and_undefined_views(caplog: pytest.LogCaptureFixture) -> None:
    vectors, labels = made(n=300)
    lost = vectors.copy()
    lost[3] = np.nan
    views = {"cls@0": np.ones_like(vectors), "mean@1": lost, "mean@0": vectors}
    lengths = online_codelength(views, labels, seed=2)
    rows = codelength_scores(lengths, Target(task="t", seed=2), labels="control")
    assert [row.metric for row in rows] == ["bits"] * 3 + ["compression"] * 3
    assert [math.isnan(row.value) for row in rows] == [True, True, False] * 2
    assert (rows[-1].probe, rows[-1].n, rows[-1].labels) == ("codelength", 300, "control")
    assert rows[-1].value == pytest.approx(lengths.frequency_bits / rows[2].value)
    assert math.isnan(rows[-1].lower)
    assert "cls@0: it is the same vector" in caplog.text
    assert "mean@1: 1 of 300 vectors are not finite" in caplog.text


def test_bad_input_is_refused() -> None:
    vectors, labels = made(n=50)
    for views, wrong, match in (
        ({}, labels, "no view"),
        ({"mean@0": vectors}, labels[:9], "50 rows for 9 labels"),
        ({"mean@0": vectors}, np.zeros(50), "every label of the 50 rows .* is .0.0."),
        ({"mean@0": vectors}, np.arange(50), "50 classes in 50 rows"),
    ):
        with pytest.raises(InputError, match=match):
            online_codelength(views, wrong, seed=0)


@pytest.mark.parametrize("majority", [0.5, 0.9])
def test_noise_compresses_nothing_whatever_the_majority(majority: float) -> None:
    """Against the uniform code, vectors of pure noise at 90 % majority gave 2.16."""
    rng = np.random.default_rng(0)
    labels = np.where(rng.random(2000) < majority, "a", "b")
    noise = rng.normal(size=(2000, 16)).astype(np.float32)
    lengths = online_codelength({"mean@0": noise}, labels, seed=0)
    assert lengths.compression[0] == pytest.approx(1.0, abs=0.04)
    if majority == 0.9:
        assert lengths.uniform_bits / lengths.bits[0] > 1.9


def test_the_frequency_code_by_hand() -> None:
    """Two rows cost a bit each; each later block is told from the counts before it."""
    codes = np.array([0, 1, 0, 0])
    found = _frequency_bits(codes, np.array([2, 4]), 2)
    assert found == pytest.approx(2 + 2 * -np.log2((1 + 0.5) / 3))
