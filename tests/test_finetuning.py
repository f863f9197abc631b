"""Fine-tuning: one code path for full and frozen, equal conditions, resumption, rows and claims."""

import copy
import json
import math
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from probing.claims.deciding import Finding, decide
from probing.claims.outcomes import Outcome
from probing.claims.verdict import verdict_text
from probing.commands.learning_tables import learning_tables
from probing.encoding.encoder import Encoder, load_encoder
from probing.encoding.tokenization import tokenize
from probing.errors import InputError
from probing.finetuning import cell_training
from probing.finetuning.cell_training import (
    Finetuned,
    Progress,
    _training_batches,
    finetune,
)
from probing.finetuning.data import load_material, tokenized_data
from probing.finetuning.experiment import UNFINISHED, FinetuningStudy, run_finetuning
from probing.finetuning.frozen_limit import linear_limit
from probing.finetuning.heads import Head, Summary, available_heads, pair_features
from probing.finetuning.network import (
    FinetuningData,
    stored_states,
    untouched_features,
)
from probing.finetuning.recipes import FROZEN, TrainingRecipe, recipes_for
from probing.finetuning.saved_cells import CheckpointKeeper, load_cell, save_cell
from probing.finetuning.score_rows import Trained, finetuning_scores, majority_rows
from probing.reporting.figures import learning_curves
from probing.reporting.frozen_gap import frozen_gap
from probing.reporting.run import load_run
from probing.results.differences import ITEMS_ERROR
from probing.results.scores import Score, score_table
from tests.warm_process import completed, started

SHORT = TrainingRecipe(least_steps=6, most_steps=6, looks=3, batch_size=8)
SHORT_FROZEN = replace(FROZEN, least_steps=3, most_steps=3)


@pytest.fixture
def encoder(tiny_encoder_folder: Callable[[str], Path]) -> Encoder:
    return load_encoder(tiny_encoder_folder("bert"))


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 sentences about cats and dogs, of four lengths; the label is which."""
    path = tmp_path_factory.mktemp("toy") / "toy.tsv"
    rng = np.random.default_rng(0)
    lines = ["split\tlabel\tsentence"]
    for item in range(120):
        label = str(rng.choice(["cat", "dog"]))
        rest = " ".join(["on the mat", "is not big", "a red run", ""][: 1 + item % 4])
        split = ("train", "train", "dev", "test")[item // 4 % 4]
        lines.append(f"{split}\t{label}\tthe {rng.choice(['big', 'red'])} {label} sat {rest}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def data(encoder: Encoder, toy: Path) -> FinetuningData:
    return tokenized_data(encoder, load_material(str(toy), None))


def test_a_summary_by_hand(encoder: Encoder) -> None:
    states = torch.arange(2.0 * 3 * 16).reshape(2, 3, 16)
    is_token = torch.tensor([[True, True, True], [True, True, False]])
    first = states[:, 0]
    expected = {
        Head.CLS: first,
        Head.MEAN: torch.stack([states[0].mean(0), states[1, :2].mean(0)]),
        Head.MAX: torch.stack([states[0, 2], states[1, 1]]),
        Head.ATTENTION: torch.stack([states[0].mean(0), states[1, :2].mean(0)]),
    }
    for head, wanted in expected.items():
        torch.testing.assert_close(Summary(head, encoder, seed=0)(states, is_token), wanted)
    pooler: Any = encoder.model.pooler
    found = Summary(Head.POOLER, encoder, seed=0)(states / 100, is_token)
    torch.testing.assert_close(found, pooler(states / 100))
    fresh, other, again = (Summary(Head.POOLER_FRESH, encoder, seed=s).dense for s in (0, 1, 0))
    assert fresh is not None
    assert other is not None
    assert again is not None
    assert torch.equal(fresh.weight, again.weight)
    assert not torch.equal(fresh.weight, other.weight)
    assert not torch.equal(fresh.weight, pooler.dense.weight)


def test_attention_leaves_padding_out(encoder: Encoder) -> None:
    summary = Summary(Head.ATTENTION, encoder, seed=0)
    assert summary.query is not None
    summary.query.data.normal_()
    states = torch.randn(1, 4, 16)
    whole = summary(states[:, :3], torch.ones(1, 3, dtype=torch.bool))
    padded = summary(states, torch.tensor([[True, True, True, False]]))
    torch.testing.assert_close(whole, padded)


def test_features_of_pairs_by_hand() -> None:
    both = torch.tensor([[1.0, 2.0], [3.0, -1.0]])  # one pair
    found = pair_features(both, sides=2)
    assert found.tolist() == [[2.0, 3.0, 3.0, -2.0]]
    assert pair_features(both, sides=1) is both


def test_stored_states_are_those_of_the_encoder(encoder: Encoder, data: FinetuningData) -> None:
    stored = stored_states(encoder, data)
    starts = data.tokenized.starts
    for row in (0, 1, 50):
        ids = torch.from_numpy(data.tokenized.ids[starts[row] : starts[row + 1]])[None]
        with torch.no_grad():
            alone = encoder.model(input_ids=ids).last_hidden_state[0]
        torch.testing.assert_close(stored[starts[row] : starts[row + 1]], alone)
    mean = untouched_features(encoder, data, stored, np.array([50, 1]), head=Head.MEAN, seed=0)
    torch.testing.assert_close(torch.from_numpy(mean[1]), stored[starts[1] : starts[2]].mean(0))


def test_batches_are_a_function_of_seed_and_step(data: FinetuningData) -> None:
    def played(seed: int, start: int) -> list[tuple[int, list[int]]]:
        found = _training_batches(data, data.train, SHORT, seed, start, 20)
        return [(step, rows.tolist()) for step, rows in found]

    assert played(0, 7) == played(0, 0)[7:]
    assert played(0, 0) != played(1, 0)
    assert [step for step, _ in played(0, 0)] == list(range(20))
    an_epoch = [row for _, rows in played(0, 0)[:8] for row in rows]
    assert sorted(an_epoch) == sorted(data.train.tolist())


def test_by_default_every_row_is_gone_through_as_often_as_the_epochs_say() -> None:
    for n in (100, 5452, 200_000):
        recipe = TrainingRecipe()
        assert recipe.steps(n) == max(60, math.ceil(3 * math.ceil(n / 16)))
    assert recipes_for(epochs=0.5)[0].steps(16_000) == 500


def test_steps_grow_with_the_rows_between_two_bounds() -> None:
    recipe = TrainingRecipe(batch_size=10, epochs=2, least_steps=5, most_steps=50)
    assert [recipe.steps(n) for n in (1, 100, 105, 10_000)] == [5, 20, 22, 50]
    with pytest.raises(InputError, match="at most 3 steps and at least 5"):
        TrainingRecipe(least_steps=5, most_steps=3)
    assert recipes_for(encoder_rate=0) == (FROZEN,)
    assert recipes_for(with_frozen=True, most_steps=3)[0].steps(10_000) == 3


def test_looks_at_dev_are_counted() -> None:
    log = [(1.0, 0.0, 0.0, 0.5), (2.0, 0.0, 0.0, math.nan), (3.0, 0.0, 0.0, 0.5)]
    progress = Progress(log=log)
    assert progress.best_look == (1, 0.5)  # the first of equals
    assert progress.exhausted(1)
    assert not progress.exhausted(2)


def _train(
    encoder: Encoder, data: FinetuningData, head: Head = Head.MEAN, **settings: Any
) -> Finetuned:
    given = {"train": data.train, "penalty": 0.01, "recipe": SHORT, "seed": 0} | settings
    return finetune(encoder, data, stored_states(encoder, data), head=head, **given)


def test_training_stops_by_dev(encoder: Encoder, data: FinetuningData) -> None:
    """With rates of nearly nothing the first look stays the best: two more end the training."""
    still = TrainingRecipe(
        least_steps=20, most_steps=20, looks=10, patience=2, head_rate=1e-12, encoder_rate=1e-12
    )
    found = _train(encoder, data, recipe=still)
    assert (found.steps, found.best_step) == (6, 2)
    patient = _train(encoder, data, recipe=replace(still, patience=10))
    assert patient.steps == 20


@pytest.mark.parametrize("head", Head)
def test_every_head_learns_and_leaves_the_encoder_alone(
    encoder: Encoder, data: FinetuningData, head: Head
) -> None:
    before = {name: p.clone() for name, p in encoder.model.named_parameters()}
    recipe = TrainingRecipe(
        least_steps=100,
        most_steps=100,
        batch_size=16,
        head_rate=5e-3,
        encoder_rate=2e-3,
        patience=20,
    )
    found = _train(encoder, data, head, recipe=recipe)
    assert data.score(data.test, found.predicted) > 0.7
    assert all(torch.equal(p, before[name]) for name, p in encoder.model.named_parameters())


def test_a_bfloat16_encoder_is_trained_in_float32(
    tiny_encoder_folder: Callable[[str], Path], data: FinetuningData
) -> None:
    rough = load_encoder(tiny_encoder_folder("bert"), dtype="bfloat16")
    found = _train(rough, data, Head.POOLER)
    assert np.isfinite(found.predicted).all()
    assert {str(p.dtype) for p in rough.model.parameters()} == {"torch.float32", "torch.bfloat16"}


class _InterruptedError(Exception):
    pass


class _Fragile(CheckpointKeeper):
    """Keeps every step and dies after some."""

    def keep(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress
    ) -> None:
        super().keep(network, optimizer, progress)
        if progress.step == 4:
            raise _InterruptedError


@pytest.mark.parametrize("head", [Head.POOLER, Head.ATTENTION])
def test_a_killed_cell_goes_on_to_the_same_end(
    encoder: Encoder, data: FinetuningData, head: Head, tmp_path: Path
) -> None:
    whole = _train(encoder, data, head, recipe=SHORT)
    keeper = _Fragile(tmp_path / "cell", "digest", every_seconds=0)
    with pytest.raises(_InterruptedError):
        _train(encoder, data, head, recipe=SHORT, keeper=keeper)
    newest = max((tmp_path / "cell").glob("step-*"))
    (newest / "weights.safetensors").write_bytes(b"broken")  # then the one before serves
    other = CheckpointKeeper(tmp_path / "cell", "other", every_seconds=0)
    with pytest.raises(InputError, match="another configuration"):
        _train(encoder, data, head, recipe=SHORT, keeper=other)
    keeper = CheckpointKeeper(tmp_path / "cell", "digest", every_seconds=math.inf)
    resumed = _train(encoder, data, head, recipe=SHORT, keeper=keeper)
    assert (whole.resumed_from, resumed.resumed_from) == (None, 3)
    assert np.array_equal(whole.predicted, resumed.predicted)
    assert (whole.best_step, whole.dev_score) == (resumed.best_step, resumed.dev_score)


def test_a_finished_cell_is_read_back_or_trained_again(tmp_path: Path) -> None:
    cell = Finetuned(np.array([0.0, 1.0]), 6, 4, 0.5, None, 1.5)
    path = tmp_path / "cell.safetensors"
    save_cell(path, cell, "digest")
    found = load_cell(path, "digest")
    assert found is not None
    assert found.predicted.tolist() == [0.0, 1.0]
    assert (found.steps, found.best_step, found.resumed_from) == (6, 4, None)
    assert load_cell(path, "other") is None
    path.write_bytes(path.read_bytes()[:40])
    assert load_cell(path, "digest") is None


def _frozen_and_probe(
    encoder: Encoder, data: FinetuningData, train: Any, head: Head, recipe: TrainingRecipe
) -> tuple[float, float]:
    """Test score of the frozen limit, and of the probe by its own solver."""
    stored = stored_states(encoder, data)
    rows = np.concatenate([train, data.dev, data.test])
    features = untouched_features(encoder, data, stored, rows, head=head, seed=0)
    limit = linear_limit(features, data, train=train, rows=rows, seed=0)
    cell = finetune(
        encoder, data, stored, head=head, train=train, penalty=limit.penalty, recipe=recipe, seed=0
    )
    return data.score(data.test, cell.predicted), data.score(data.test, limit.predicted)


def _random_data(encoder: Encoder, *, classes: int, sides: int) -> FinetuningData:
    """Sentences of random words with gold that follows from the untouched mean, and noise."""
    rng = np.random.default_rng(0)
    words = ["the", "a", "cat", "dog", "sat", "on", "mat", "not", "is", "big", "small", "red"]
    sentences = [" ".join(rng.choice(words, rng.integers(2, 9))) for _ in range(500 * sides)]
    rows = np.arange(500)
    empty = FinetuningData(
        task="random",
        tokenized=tokenize(encoder, sentences),
        sides=sides,
        gold=np.zeros(500),
        classes=("a", "b", "c")[:classes],
        train=rows[:300],
        dev=rows[300:400],
        test=rows[400:],
        pad_id=encoder.tokenizer.pad_token_id,
    )
    features = untouched_features(
        encoder, empty, stored_states(encoder, empty), rows, head=Head.MEAN, seed=0
    )
    scaled = (features - features.mean(0)) / features.std(0)
    gold = scaled[:, :3] @ np.eye(3) + rng.normal(0, 0.7, (500, 3))
    if classes == 0:
        return replace(empty, gold=gold[:, 0].astype(np.float64))
    return replace(empty, gold=gold[:, :classes].argmax(1).astype(np.float64))


@pytest.mark.parametrize(("classes", "sides"), [(2, 1), (3, 1), (0, 2), (3, 2)])
def test_the_frozen_limit_is_the_linear_probe(encoder: Encoder, classes: int, sides: int) -> None:
    data = _random_data(encoder, classes=classes, sides=sides)
    frozen, probe = _frozen_and_probe(encoder, data, data.train, Head.MEAN, FROZEN)
    assert probe > 0.5
    assert abs(frozen - probe) <= 0.005


def test_a_dead_dimension_does_not_stop_training(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gain of 1e-28 in the last norm, as minilm has: the gradient of it would be all there is."""
    data = _random_data(encoder, classes=2, sides=1)
    model = copy.deepcopy(encoder.model)
    with torch.no_grad():
        norm = model.encoder.layer[-1].output.LayerNorm
        norm.weight[3], norm.bias[3] = 1e-28, 0.0
    recipe = TrainingRecipe(least_steps=60, epochs=1)

    def trained(one: Encoder) -> Finetuned:
        return finetune(
            one,
            data,
            stored_states(one, data),
            head=Head.MEAN,
            train=data.train,
            penalty=1e-3,
            recipe=recipe,
            seed=0,
        )

    alive, dead = trained(encoder), trained(replace(encoder, model=model))
    scores = [data.score(data.test, found.predicted) for found in (alive, dead)]
    assert abs(scores[0] - scores[1]) <= 0.1
    assert min(alive.best_step, dead.best_step) > 60 // recipe.looks  # not the first look
    monkeypatch.setattr(cell_training, "_LEAST_SCALE", 0.0)
    with pytest.raises(InputError, match="the gradient of mean on random became inf at step 3"):
        trained(replace(encoder, model=model))


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("head", [Head.POOLER, Head.MEAN])
def test_the_frozen_limit_on_real_data(real_data: Path, head: Head) -> None:
    encoder = replace(load_encoder("minilm"), max_length=64)
    whole = load_material("trec", real_data)
    train = np.sort(np.random.default_rng(0).permutation(whole.train)[:1000])
    kept = np.concatenate([train, whole.dev, whole.test])  # what no head reads is not encoded
    ends = np.cumsum([len(train), len(whole.dev), len(whole.test)])
    rows = np.split(np.arange(ends[-1]), ends[:-1])
    assert whole.clusters is None
    material = replace(
        whole,
        sentences=tuple(whole.sentences[row] for row in kept),
        gold=whole.gold[kept],
        **dict(zip(("train", "dev", "test"), rows, strict=True)),
    )
    data = tokenized_data(encoder, material)
    frozen, probe = _frozen_and_probe(encoder, data, data.train, head, FROZEN)
    assert probe > 0.5
    assert abs(frozen - probe) <= 0.005


def _planted(accuracies: dict[tuple[str, Head, int], float], n: int = 400) -> list[Trained]:
    """Predictions that are right on the first items, as many as wanted; gold is 1."""
    return [
        Trained(head, trained_on, seed, (np.arange(n) < round(share * n)).astype(float))
        for (trained_on, head, seed), share in accuracies.items()
    ]


def _data_of_ones(encoder: Encoder, n: int = 400) -> FinetuningData:
    rows = np.arange(n)
    pad = encoder.tokenizer.pad_token_id
    # a class of its own in train, so that always saying the most frequent one is never right
    gold = np.concatenate([np.ones(n), np.zeros(n)])
    tokenized = tokenize(encoder, ["the cat"] * (2 * n))
    train = rows + n
    return FinetuningData("toy", tokenized, 1, gold, ("a", "b", "c"), train, rows, rows, pad)


def _rows(encoder: Encoder, accuracies: dict[tuple[str, Head, int], float]) -> pd.DataFrame:
    found = finetuning_scores(
        _planted(accuracies),
        _data_of_ones(encoder),
        probe="finetuned",
        layer=3,
        seed=0,
        n_resamples=500,
    )
    return score_table(replace(row, model="toy") for row in found)


def _cells(few: float, many: float, spread: float = 0.0) -> dict[tuple[str, Head, int], float]:
    """The pooler head below the mean head by so much on few and on many items; three seeds."""
    cells: dict[tuple[str, Head, int], float] = {}
    for trained_on, gap in (("100", few), ("all", many)):
        for seed in range(3):
            cells[trained_on, Head.POOLER, seed] = 0.8 - gap + spread * (seed - 1)
        for seed in range(3):
            cells[trained_on, Head.MEAN, seed] = 0.8
    return cells


def test_differences_carry_the_chance_of_items_and_of_seeds(encoder: Encoder) -> None:
    calm, noisy = (_rows(encoder, _cells(0.2, 0.05, spread)) for spread in (0.0, 0.04))
    key = {"view": "pooler@3 - mean@3", "trained_on": "all"}

    def values(table: pd.DataFrame, metric: str) -> list[float]:
        """Of every seed."""
        rows = (table["metric"] == metric) & (table[list(key)] == pd.Series(key)).all(axis=1)
        return [float(value) for value in table.loc[rows, "value"]]

    def decided(table: pd.DataFrame) -> Finding:
        (finding,) = [f for f in decide(table, "toy").by_task if f.claim == "C8"]
        return finding

    # 20 of 400 items differ: the standard error of a share of one in twenty
    error = math.sqrt(0.05 * 0.95 / 400)
    assert values(calm, "accuracy_difference") == pytest.approx([-0.05] * 3)
    assert values(calm, "standard_error") == pytest.approx([error] * 3, rel=0.15)
    assert values(calm, ITEMS_ERROR) == pytest.approx([error], rel=0.15)
    assert values(noisy, "accuracy_difference") == pytest.approx([-0.09, -0.05, -0.01])
    still, moving = decided(calm), decided(noisy)
    assert (still.n_seeds, still.degrees_of_freedom) == (3, 2)
    assert still.standard_error == pytest.approx(error, rel=0.15)
    assert moving.effect == pytest.approx(-0.05)
    (items,) = values(noisy, ITEMS_ERROR)
    assert moving.standard_error == pytest.approx(math.hypot(0.04 / math.sqrt(3), items))
    # Student's t of the seeds, with two degrees of freedom, and the normal of the items
    half = math.hypot(4.303 * 0.04 / math.sqrt(3), 1.96 * items)
    assert moving.p > 0.05
    assert (moving.upper - moving.lower) / 2 == pytest.approx(half, rel=0.01)
    change = calm[(calm["trained_on"] == "all - 100") & (calm["metric"] == "accuracy_difference")]
    assert change["value"].tolist() == pytest.approx([0.15] * 3)
    single = calm[(calm["metric"] == "accuracy") & (calm["aggregation"] == "none")]
    assert len(single) == 12
    assert (single["lower"] < single["value"]).all()
    with pytest.raises(ValueError, match="11 cells, expected 12"):
        _rows(encoder, dict(list(_cells(0.1, 0.1).items())[:-1]))


def test_heads_that_learned_nothing_are_not_compared(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The most frequent class is right in 85 % here, and no head in more."""
    assert _rows(encoder, _cells(0.3, 0.1))["value"].notna().all()
    monkeypatch.setattr("probing.finetuning.score_rows.majority_share", lambda _: 0.85)
    table = _rows(encoder, _cells(0.3, 0.1))
    compared = table["metric"].isin(["accuracy_difference", "standard_error", ITEMS_ERROR])
    assert table.loc[compared, "value"].isna().all()
    assert table.loc[~compared, "value"].notna().all()
    verdict = decide(table, "toy")
    assert {finding.outcome for finding in verdict.by_task} == {Outcome.UNDECIDED}


def test_fine_tuned_heads_know_the_clusters_of_the_test_items(encoder: Encoder) -> None:
    """Forty clusters of ten items: a standard error three times as large, and counted."""
    cells, data = _planted(_cells(0.3, 0.1)), _data_of_ones(encoder)
    kept = {"probe": "finetuned", "layer": 3, "seed": 0, "n_resamples": 500}
    errors = []
    for clusters in (None, np.tile(np.repeat(np.arange(40), 10), 2)):
        rows = finetuning_scores(cells, replace(data, clusters=clusters), **kept)  # type: ignore[arg-type]
        (row,) = [
            row
            for row in rows
            if (row.metric, row.view, row.trained_on) == (ITEMS_ERROR, "pooler@3 - mean@3", "all")
        ]
        assert (row.clusters, row.largest_cluster) == ((None, None) if not errors else (40, 10))
        errors.append(row.value)
    assert errors[1] > 2.5 * errors[0]


def test_the_majority_is_a_floor(encoder: Encoder) -> None:
    data = replace(_data_of_ones(encoder), train=np.arange(100))
    (row,) = majority_rows(data, seed=0)
    assert (row.model, row.value, row.n) == ("floor:majority", 1.0, 400)
    assert majority_rows(replace(data, classes=()), seed=0) == []


def test_the_claims_of_fine_tuning(encoder: Encoder) -> None:
    def outcomes(few: float, many: float) -> dict[str, Outcome]:
        verdict = decide(_rows(encoder, _cells(few, many)), "toy")
        return {finding.claim: finding.outcome for finding in verdict.by_task}

    supported, refuted, negligible = Outcome.SUPPORTED, Outcome.REFUTED, Outcome.NEGLIGIBLE
    assert outcomes(0.3, 0.1) == {"C8": supported, "C8a": supported, "C9": supported}
    assert outcomes(0.3, 0.0) == {"C8": negligible, "C8a": supported, "C9": supported}
    assert outcomes(0.1, 0.3) == {"C8": supported, "C8a": supported, "C9": refuted}
    assert outcomes(-0.1, -0.1) == {"C8": refuted, "C8a": refuted, "C9": negligible}
    verdict = decide(_rows(encoder, _cells(0.3, 0.1)), "toy")
    text = verdict_text(verdict, pooler="trained")
    assert "Differences of accuracy × 100" in text
    assert re.search(
        r"C8 supported on toy: after fine-tuning on all items, pooler_output is 10\.0 points "
        r"\(\d.* below mean pooling of layer 3",
        text,
    )
    assert re.search(
        r"C9 supported on toy: after fine-tuning on all items in place of 100, pooler_output minus "
        r"mean pooling of layer 3 rises by 20\.0 points",
        text,
    )
    one_size = {key: share for key, share in _cells(0.3, 0.1).items() if key[0] == "all"}
    assert "C9" in {claim.id for claim in decide(_rows(encoder, one_size), "toy").not_tested}


def test_the_learning_curve_says_what_it_shows(encoder: Encoder) -> None:
    table = _rows(encoder, _cells(0.3, 0.1))
    described = learning_curves(table, model="toy", task="toy")
    assert "on 100 items pooler 50.0 [" in described.sentence
    assert "on all items pooler 70.0 [" in described.sentence
    texts = [text.get_text() for text in described.figure.axes[0].texts]
    assert texts == ["pooler", "mean"]
    with pytest.raises(InputError, match="was not fine-tuned on stsb"):
        learning_curves(table, model="toy", task="stsb")


def _study(folder: Path, task: str, **settings: Any) -> FinetuningStudy:
    given: dict[str, Any] = {
        "heads": (Head.POOLER, Head.MEAN),
        "train_sizes": (16, None),
        "seeds": (0, 1),
        "recipes": (SHORT, SHORT_FROZEN),
        "n_resamples": 20,
    }
    return FinetuningStudy(model=str(folder), tasks=(task,), **(given | settings))


@pytest.mark.slow
def test_a_run_is_a_run_folder(
    tiny_encoder_folder: Callable[[str], Path],
    toy: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = tiny_encoder_folder("bert")
    out = tmp_path / "run"
    lines: list[Any] = []
    study = _study(folder, str(toy))
    run = run_finetuning(study, out, command=["probing", "finetune"], watch=lines.append)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
    found = load_run(out)
    pd.testing.assert_frame_equal(found.scores, run.scores)
    assert len(found.manifest["cells"]) == len(lines) == 2 * 2 * 2 * 2
    assert {cell["resumed_from_step"] for cell in found.manifest["cells"]} == {None}
    # 64 items are 8 batches an epoch: six steps do not go through all of them, and that is said
    tuned = [cell for cell in found.manifest["cells"] if not cell["frozen"]]
    assert all(cell["epochs"] <= (0.75 if cell["trained_on"] == "all" else 3) for cell in tuned)
    assert "all: training ends after 6 steps, which are 0.75 of 3 epochs" in caplog.text
    assert "16: training ends" not in caplog.text
    assert set(found.scores["probe"]) == {"finetuned", "finetuned-frozen", "linear", "none"}
    assert {"accuracy", "matthews", "accuracy_difference"} < set(found.scores["metric"])
    page = found.report().read_text(encoding="utf-8")
    assert "by training items" in page
    assert "C8" in page
    name = found.manifest["encoders"][0]["name"]
    (table,) = learning_tables(found.scores, name)
    assert [str(column.header) for column in table.columns] == ["head", "16", "all"]
    gap = frozen_gap(found.scores)
    assert gap is not None
    assert gap.n_cells == 8
    again = run_finetuning(study, tmp_path / "again")
    pd.testing.assert_frame_equal(found.scores, again.scores)


def test_an_encoder_without_a_pooler(
    tiny_encoder_folder: Callable[[str], Path],
    toy: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = tiny_encoder_folder("distilbert")
    assert Head.POOLER not in available_heads(load_encoder(folder))
    with pytest.raises(InputError, match="has no pooler, so there is no head 'pooler'"):
        run_finetuning(_study(folder, str(toy)), tmp_path / "run")
    study = _study(folder, str(toy), heads=(), recipes=(SHORT,), seeds=(0,), train_sizes=(16,))
    run = run_finetuning(study, tmp_path / "run")
    assert {cell["head"] for cell in run.manifest["cells"]} == {"pooler-fresh", "mean"}
    assert "the head pooler is left out" in caplog.text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_sizes": (1,)}, "at least 2"),
        ({"seeds": (0, 0)}, "'0' is named twice"),
        ({"seeds": (-1,)}, "seed -1"),
        ({"train_sizes": (5000,)}, "64 training items: expected a smaller --train-size"),
    ],
)
def test_settings_that_do_not_serve(
    tiny_encoder_folder: Callable[[str], Path],
    toy: Path,
    tmp_path: Path,
    settings: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(InputError, match=message):
        run_finetuning(_study(tiny_encoder_folder("bert"), str(toy), **settings), tmp_path / "run")
    assert not any(tmp_path.iterdir())


def test_tasks_that_cannot_be_trained_on(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="sts-mini cannot be trained on"):
        load_material("sts-mini", None)
    path = tmp_path / "folds.tsv"
    path.write_text("sentence\tlabel\nthe cat\ta\nthe dog\tb\n", encoding="utf-8")
    with pytest.raises(InputError, match="no train split"):
        load_material(str(path), None)


def test_a_task_without_dev_gives_up_a_tenth_of_train(tmp_path: Path) -> None:
    path = tmp_path / "task.tsv"
    lines = [f"{'test' if i % 5 == 0 else 'train'}\t{'ab'[i % 2]}\tthe cat {i}" for i in range(100)]
    path.write_text("\n".join(["split\tlabel\tsentence", *lines]) + "\n", encoding="utf-8")
    material = load_material(str(path), None)
    assert [len(rows) for rows in (material.train, material.dev, material.test)] == [72, 8, 20]
    assert not set(material.train) & set(material.dev)
    assert "8 items of train were held out" in material.remark


def test_pairs_are_loaded_with_all_their_splits(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    lines = [
        f"{split}\t{i}\tthe cat\tthe dog {i}"
        for split in ("train", "dev", "test")
        for i in range(4)
    ]
    path.write_text("\n".join(["split\tscore\tsentence1\tsentence2", *lines]) + "\n", "utf-8")
    material = load_material(str(path), None)
    assert [rows.tolist() for rows in (material.train, material.test)] == [
        [0, 1, 2, 3],
        [8, 9, 10, 11],
    ]
    assert material.gold.tolist() == [0.0, 1.0, 2.0, 3.0] * 3
    assert sorted(material.dev.tolist()) == [4, 5, 6, 7]


@pytest.mark.slow
def test_a_killed_command_goes_on_and_the_rows_say_so(
    tiny_encoder_folder: Callable[[str], Path], toy: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    command = ["probing", "finetune", "--out", str(out)]
    command += ["--model", str(tiny_encoder_folder("bert")), "--task", str(toy)]
    command += ["--head", "mean", "--head", "pooler", "--train-size", "all", "--seed", "0"]
    command += ["--checkpoint-seconds", "0"]
    killed = started(command)
    unfinished = tmp_path / f"run{UNFINISHED}"
    cell = unfinished / "toy.tsv-mean-all-seed0"
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and not any(cell.glob("step-0000000[3-9]")):
        assert killed.is_alive(), "it ended before it could be killed"
        time.sleep(0.02)
    killed.kill()
    killed.join()
    assert not out.exists()
    done = completed(command)
    assert done.returncode == 0, done.stderr
    assert "resumed from step" in done.stdout
    assert not unfinished.exists()
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    steps = {cell["head"]: cell["resumed_from_step"] for cell in manifest["cells"]}
    assert steps["pooler"] is None
    assert steps["mean"] >= 3
    scores = load_run(out).scores
    row = scores[scores["metric"] == "resumed_from_step"]
    assert row[["view", "value"]].to_numpy().tolist() == [["mean@3", steps["mean"]]]
    shutil.rmtree(out)
    whole = completed(command)
    assert whole.returncode == 0, whole.stderr
    assert "resumed" not in whole.stdout
    kept = scores[scores["metric"] != "resumed_from_step"].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, load_run(out).scores)


def test_a_score_row_of_fine_tuning_is_in_the_contract(encoder: Encoder) -> None:
    table = _rows(encoder, _cells(0.3, 0.1))
    assert set(table.columns) == set(Score.__dataclass_fields__)
    assert set(table["labels"]) == {"real"}
