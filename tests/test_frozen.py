"""The frozen body (E1): batched training is that of every seed, planted effects are found."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from probing.cause.estimands import sentence_clusters
from probing.cause.frozen import Poolers, read_frozen_rows, run_frozen, train_poolers
from probing.cause.frozen_vectors import (
    Frozen,
    FrozenArm,
    FrozenPlan,
    Material,
    word_overlap_accuracy,
)
from probing.errors import InputError
from probing.pretraining.config import Negatives, PretrainingConfig
from probing.pretraining.corpus import tokenize_corpus
from probing.pretraining.segments import least_like, make_segment_pairs
from probing.pretraining.start import find_start
from tests.test_continuation import write_pairs
from tests.test_pretraining import write_corpus


def material(n: int = 256, width: int = 6) -> Material:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(n, width)).astype(np.float32)
    labels = (inputs[:, 0] > 0).astype(np.int64)
    none = np.empty((0, width), dtype=np.float32)
    return Material(inputs, labels, none, inputs[:32], labels[:32], 0.5)


def test_all_seeds_at_once_are_each_seed_by_itself() -> None:
    looks = (0, 3, 12)
    start = Poolers.drawn(3, 6)
    together = train_poolers(start, material(), looks, batch=32)
    for seed in range(3):
        dense, head = torch.nn.Linear(6, 6), torch.nn.Linear(6, 2)
        with torch.no_grad():
            for parameter, drawn in zip(
                (*dense.parameters(), *head.parameters()), start.tensors, strict=True
            ):
                parameter.copy_(drawn[seed])
        optimizer = torch.optim.AdamW((*dense.parameters(), *head.parameters()), lr=1e-3)
        data = material()
        inputs, labels = torch.from_numpy(data.inputs), torch.from_numpy(data.labels)
        for step in range(looks[-1]):
            epoch, place = divmod(step, len(inputs) // 32)
            order = np.random.default_rng([32, seed, epoch]).permutation(len(inputs))
            rows = order[place * 32 : (place + 1) * 32]
            loss = cross_entropy(head(torch.tanh(dense(inputs[rows]))), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        torch.testing.assert_close(together[-1].weight[seed], dense.weight, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(together[-1].head_bias[seed], head.bias, atol=1e-5, rtol=1e-4)
    assert torch.equal(together[0].weight, start.weight)


def test_a_pooler_learns_what_was_planted_and_nothing_from_permuted_labels() -> None:
    data = material(512)
    permuted = replace(data, labels=np.random.default_rng(1).permutation(data.labels))
    reached = []
    for taught in (data, permuted):
        poolers = train_poolers(Poolers.drawn(2, 6), taught, (0, 400), batch=64, learning_rate=1e-2)
        inputs = torch.from_numpy(data.inputs).expand(2, -1, -1)
        right = poolers[-1].logits(inputs).argmax(2) == torch.from_numpy(data.labels)
        reached.append(float(right.float().mean()))
    assert reached[0] > 0.97
    assert abs(reached[1] - 0.5) < 0.25


def test_a_seed_may_have_labels_of_its_own() -> None:
    data = material()
    own = np.stack([data.labels, 1 - data.labels])
    shared, apart = (
        train_poolers(Poolers.drawn(2, 6), taught, (0, 8), batch=32)[-1]
        for taught in (data, replace(data, labels=own))
    )
    assert torch.equal(shared.weight[0], apart.weight[0])
    assert not torch.equal(shared.weight[1], apart.weight[1])


def test_the_semantic_control_learns_to_pick_the_next_segment() -> None:
    data = material(512)
    turned = np.linalg.qr(np.random.default_rng(2).normal(size=(6, 6)))[0].astype(np.float32)
    taught = replace(data, targets=np.tanh(data.inputs @ turned), labels=np.empty(0, np.int64))
    first, last = train_poolers(Poolers.drawn(1, 6), taught, (0, 600), batch=64, learning_rate=1e-2)
    keys = torch.nn.functional.normalize(torch.from_numpy(taught.targets), dim=1)
    found = []
    for poolers in (first, last):
        pooled = poolers.pooled(torch.from_numpy(data.inputs)[None])[0]
        nearest = (torch.nn.functional.normalize(pooled, dim=1) @ keys.T).argmax(1)
        found.append(float((nearest == torch.arange(len(keys))).float().mean()))
    assert found[0] < 0.1
    assert found[1] > 0.5
    assert torch.equal(first.head, last.head)  # it has no part in this


def test_word_overlap_is_told_by_the_best_threshold_of_training() -> None:
    shares, labels = [0.0, 0.1, 0.2, 0.3], np.array([1, 1, 0, 0])
    assert word_overlap_accuracy(shares, labels, [0.05, 0.25, 0.05], np.array([1, 0, 0])) == (
        pytest.approx(2 / 3)
    )
    everything = word_overlap_accuracy(shares, np.zeros(4, np.int64), [0.0], np.array([0]))
    assert everything == 1.0


def test_pairs_that_share_a_sentence_are_one_cluster() -> None:
    pairs = np.array([[0, 1], [1, 2], [3, 4], [5, 0], [6, 7]])
    codes = sentence_clusters(pairs)
    assert codes.tolist()[:2] == [codes[3]] * 2
    assert len(set(codes.tolist())) == 3


@pytest.fixture(scope="module")
def frozen(
    tiny_encoder_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Frozen:
    folder = tmp_path_factory.mktemp("e1")
    plan = FrozenPlan(
        pairs=640,
        held_out_pairs=32,
        seeds=2,
        looks=(0, 12),
        arms=(FrozenArm.NSP, FrozenArm.FEW),
        tasks=("stsb",),
    )
    return Frozen(
        str(tiny_encoder_folder("bert")),
        write_corpus(folder / "texts"),
        folder / "e1",
        plan,
        write_pairs(folder / "data"),
    )


def test_an_arm_is_added_to_a_finished_folder(frozen: Frozen) -> None:
    assert run_frozen(frozen)
    done = {path: path.stat().st_mtime_ns for path in frozen.out.glob("*.parquet")}
    assert {path.stem for path in done} == {"nsp", "nsp-few"}
    arms = (*frozen.plan.arms, FrozenArm.EASY, FrozenArm.FRESH)
    more = replace(frozen, plan=replace(frozen.plan, arms=arms))
    assert run_frozen(more)
    assert {path: path.stat().st_mtime_ns for path in done} == done
    rows = read_frozen_rows(more.out, more.plan)
    assert set(rows.arm) == {"nsp", "nsp-few", "nsp-easy", "nsp-fresh"}
    start = rows[(rows.steps == 0) & (rows["view"] == "pooler")]
    assert start.groupby("seed").value.nunique().eq(1).all()  # every arm starts with one pooler
    end = rows[(rows.steps == 12) & (rows["view"] == "pooler") & (rows.seed == 0)]
    assert end.value.nunique() == 4
    fresh = more.out / "vectors"
    assert len(list(fresh.glob("nsp-fresh-train-*"))) == 1
    with pytest.raises(InputError, match="another encoder, corpus or size"):
        run_frozen(replace(more, plan=replace(more.plan, seeds=3)))


def test_easy_negatives_are_of_another_genre(tmp_path: Path, frozen: Frozen) -> None:
    rng = np.random.default_rng(0)
    words = {"sea": "boat fish wave", "tide": "boat fish wave net", "law": "court judge crime"}
    for name, some in {**words, "farm": "cow milk barn"}.items():
        texts = [
            "\n".join(" ".join(rng.choice(some.split(), 6)) for _ in range(8)) for _ in range(6)
        ]
        (tmp_path / f"{name}.txt").write_text("\n\n".join(texts), encoding="utf-8")
    tokenizer = find_start(frozen.encoder).tokenizer
    corpus = tokenize_corpus(tmp_path, tmp_path / "cache", PretrainingConfig(), tokenizer)
    assert corpus.sources == ("farm", "law", "sea", "tide")
    assert 2 not in least_like(corpus, range(4))[3]
    made = {"count": 60, "length": 20, "held_out": False, "sentence_order": False, "seed": 0}
    pairs = make_segment_pairs(
        corpus,
        **made,
        short_share=0.0,
        negatives=Negatives.OTHER_GENRE,  # type: ignore[arg-type]
    )
    owner = np.repeat(
        np.repeat(corpus.document_source, np.diff(corpus.document_starts)),
        np.diff(corpus.sentence_starts),
    )
    one, other = owner[pairs.starts].T
    random = pairs.labels == 1
    assert random.any()
    assert (one[~random] == other[~random]).all()
    assert (one[random] != other[random]).all()
    assert {2, 3} not in [{int(a), int(b)} for a, b in zip(one[random], other[random], strict=True)]
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "sea.txt").write_text((tmp_path / "sea.txt").read_text(), encoding="utf-8")
    alone = tokenize_corpus(tmp_path / "one", tmp_path / "cache", PretrainingConfig(), tokenizer)
    with pytest.raises(InputError, match="need two sources"):
        make_segment_pairs(
            alone,
            **made,
            short_share=0.0,
            negatives=Negatives.OTHER_GENRE,  # type: ignore[arg-type]
        )


def test_runs_begun_before_negatives_were_a_choice_go_on() -> None:
    fields = PretrainingConfig().as_dict()
    assert fields["negatives"] == "other-document"
    assert PretrainingConfig().digest() == "7e50ee283ecf6175"
    assert PretrainingConfig(negatives=Negatives.SAME_SOURCE).digest() != "7e50ee283ecf6175"
