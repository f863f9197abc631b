"""Pre-training from a checkpoint: what is kept, what is drawn, what is trained, what is refused."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModel, AutoTokenizer, BertForPreTraining

from probing.errors import InputError
from probing.pretraining.config import (
    Decay,
    Freeze,
    Negatives,
    Objective,
    Pooler,
    Precision,
    PretrainingConfig,
)
from probing.pretraining.corpus import tokenize_corpus
from probing.pretraining.export import export_encoder
from probing.pretraining.gradients import Gradients, clipped_sum
from probing.pretraining.losses import pretraining_losses
from probing.pretraining.start import find_start, initial_model
from probing.pretraining.trainer import Schedule, Trainer
from probing.pretraining.training import pretrain
from tests.test_pretraining import ALONE, write_corpus

CONFIG = PretrainingConfig(length=24, batch_size=8, steps=8, learning_rate=1e-3)
POOLER = "bert.pooler.dense.weight"
BODY = "bert.encoder.layer.0.output.dense.weight"


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def bert(tiny_encoder_folder: Callable[[str], Path]) -> Path:
    """A `BertModel` with a pooler and no heads."""
    return tiny_encoder_folder("bert")


@pytest.fixture(scope="module")
def schedule(tmp_path_factory: pytest.TempPathFactory) -> Schedule:
    return Schedule(
        precision=Precision.FLOAT32,
        evaluate_every=4,
        held_out_pairs=16,
        final_held_out_pairs=16,
        cache=tmp_path_factory.mktemp("cache"),
    )


@pytest.fixture
def trainer(texts: Path, bert: Path, schedule: Schedule) -> Callable[..., Trainer]:
    def made(**choices: Any) -> Trainer:
        config, start = replace(CONFIG, **choices), find_start(bert)
        assert schedule.cache is not None
        corpus = tokenize_corpus(texts, schedule.cache, config, start.tokenizer)
        return Trainer(config, schedule, corpus, ALONE, start)

    return made


def weights(folder: Path) -> dict[str, torch.Tensor]:
    model = BertForPreTraining.from_pretrained(folder, dtype=torch.float32)
    return dict(model.named_parameters())


def test_body_and_pooler_are_the_checkpoint_s_and_heads_are_drawn(bert: Path) -> None:
    start = find_start(bert)
    models = [initial_model(replace(CONFIG, seed=seed), start.tokenizer, start) for seed in (0, 1)]
    given = AutoModel.from_pretrained(bert)
    for model in models:
        for name, weight in given.named_parameters():
            assert torch.equal(model.get_parameter(f"bert.{name}"), weight), name
        table = model.bert.embeddings.word_embeddings.weight
        assert model.cls.predictions.decoder.weight is table
    first, second = (model.cls.predictions.transform.dense.weight for model in models)
    assert not torch.equal(first, second)
    again = initial_model(CONFIG, start.tokenizer, start)
    assert torch.equal(first, again.cls.predictions.transform.dense.weight)


def test_a_drawn_pooler_is_a_function_of_the_seed(bert: Path) -> None:
    start = find_start(bert)

    def pooler(objective: Objective, seed: int) -> torch.Tensor:
        config = replace(CONFIG, objective=objective, seed=seed, pooler=Pooler.DRAW)
        return initial_model(config, start.tokenizer, start).get_parameter(POOLER)

    one = pooler(Objective.MLM, 3)
    assert torch.equal(one, pooler(Objective.MLM_SOP, 3))
    assert not torch.equal(one, pooler(Objective.MLM, 4))
    assert not torch.equal(one, AutoModel.from_pretrained(bert).pooler.dense.weight)
    assert one.std().item() == pytest.approx(CONFIG.initializer_range, rel=0.2)


def test_padding_and_truncation_of_the_checkpoint_s_tokenizer_are_not_used(
    bert: Path, texts: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(bert, tmp_path / "bert")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_padding(length=7)
    tokenizer.enable_truncation(4)
    tokenizer.save(str(folder / "tokenizer.json"))
    found, wanted = (
        tokenize_corpus(texts, tmp_path / f"cache{i}", CONFIG, find_start(start).tokenizer)
        for i, start in enumerate((folder, bert))
    )
    np.testing.assert_array_equal(found.tokens, wanted.tokens)
    assert np.diff(wanted.sentence_starts).max() > 7
    assert found.digest == wanted.digest


def test_each_loss_is_clipped_by_itself(trainer: Callable[..., Trainer]) -> None:
    found = trainer(sentence_weight=0.5, gradient_norm=0.1)
    batch = found.training_batch(0)
    losses = pretraining_losses(found.model, batch, with_sentence=True)
    names = [name for name, _ in found.model.named_parameters()]
    parts = []
    for loss in (losses.mlm / len(batch.targets), losses.sentence / len(batch.labels)):
        found.model.zero_grad()
        loss.backward(retain_graph=True)  # type: ignore[no-untyped-call]
        assert torch.nn.utils.clip_grad_norm_(found.model.parameters(), 0.1) > 0.1
        parts.append({n: found.model.get_parameter(n).grad for n in names})
    mlm, sentence = ({n: None if g is None else g.clone() for n, g in p.items()} for p in parts)
    found.model.zero_grad()
    found.optimizer.zero_grad = lambda **_: None  # type: ignore[method-assign]
    found.train_step(0, batch)
    for name in names:
        ours = found.model.get_parameter(name).grad
        wanted = sum(g * w for g, w in ((mlm[name], 1.0), (sentence[name], 0.5)) if g is not None)
        torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-7)


def test_a_huge_sentence_gradient_leaves_the_other_as_it_is() -> None:
    mlm: Gradients = [torch.full((4,), 0.1), None]
    sentence: Gradients = [torch.full((4,), 1e6), torch.ones(2)]
    body, head = clipped_sum([(mlm, 1.0), (sentence, 1.0)], 1.0, ALONE)
    assert body is not None
    assert head is not None
    torch.testing.assert_close(body, torch.full((4,), 0.1 + 0.5))
    assert head.norm() < 1e-5


def test_permuted_labels_are_as_many_and_mean_nothing(trainer: Callable[..., Trainer]) -> None:
    real, placebo = (
        trainer(objective=objective, steps=400)
        for objective in (Objective.MLM_NSP, Objective.MLM_SHUFFLED)
    )
    labels = [found.training_pairs.labels for found in (real, placebo)]
    assert labels[0].sum() == labels[1].sum()
    assert abs(np.corrcoef(labels[0], labels[1])[0, 1]) < 4 / np.sqrt(3200)
    one, other = vars(real.training_batch(5)), vars(placebo.training_batch(5))
    assert all(torch.equal(one[name], other[name]) for name in one if name != "labels")
    np.testing.assert_array_equal(real.held_out_pairs.labels, placebo.held_out_pairs.labels)


@pytest.mark.parametrize("negatives", Negatives)
def test_a_segment_that_does_not_follow_is_from_where_it_was_asked(
    negatives: Negatives, trainer: Callable[..., Trainer]
) -> None:
    found = trainer(negatives=negatives, held_out_share=0.2)
    corpus = found.corpus
    sentences, tokens = np.diff(corpus.document_starts), np.diff(corpus.sentence_starts)
    owner = np.repeat(np.repeat(corpus.document_source, sentences), tokens)
    for pairs in (found.training_pairs, found.held_out_pairs):
        random = pairs.labels == 1
        one, other = owner[pairs.starts[random]].T
        assert random.any()
        share = {Negatives.SAME_SOURCE: {1.0}, Negatives.OTHER_GENRE: {0.0}}
        same = float((one == other).mean())
        assert same in share.get(negatives, {same})


def test_a_frozen_body_does_not_move(
    texts: Path, bert: Path, schedule: Schedule, tmp_path: Path
) -> None:
    config = replace(CONFIG, freeze=Freeze.BODY)
    pretrain(config, texts, tmp_path / "run", schedule, start=bert)
    end, given = weights(tmp_path / "run"), AutoModel.from_pretrained(bert)
    for name, weight in given.named_parameters():
        assert torch.equal(end[f"bert.{name}"], weight) == ("pooler" not in name), name
    start = initial_model(config, find_start(bert).tokenizer, find_start(bert))
    for name in ("cls.predictions.transform.dense.weight", "cls.seq_relationship.weight"):
        assert not torch.equal(end[name], start.get_parameter(name))


def test_snapshots_are_encoders_on_the_way(
    texts: Path, bert: Path, schedule: Schedule, tmp_path: Path
) -> None:
    size = CONFIG.length * CONFIG.batch_size
    wanted = replace(schedule, snapshots=(0, 3 * size, 8 * size))
    config = replace(CONFIG, decay=Decay.CONSTANT)
    pretrain(config, texts, tmp_path, wanted, start=bert)
    folders = sorted((tmp_path / "snapshots").iterdir())
    assert [int(folder.name) for folder in folders] == [0, 3 * size, 8 * size]
    first, middle, last = (weights(folder) for folder in folders)
    end = weights(tmp_path)
    assert all(torch.equal(last[name], end[name]) for name in end)
    assert torch.equal(first[BODY], AutoModel.from_pretrained(bert).get_parameter(BODY[5:]))
    assert not torch.equal(middle[BODY], last[BODY])
    assert AutoTokenizer.from_pretrained(folders[1]).mask_token_id is not None
    with pytest.raises(InputError, match="snapshot at"):
        pretrain(
            config, texts, tmp_path / "x", replace(schedule, snapshots=(9 * size,)), start=bert
        )


def test_training_ends_when_the_loss_is_low_enough(
    texts: Path, bert: Path, schedule: Schedule, tmp_path: Path
) -> None:
    pretrain(replace(CONFIG, until_loss=100.0), texts, tmp_path, schedule, start=bert)
    log = pd.read_parquet(tmp_path / "training_log.parquet")
    assert log.step.tolist() == [1, 2, 3, 4]


def test_a_source_is_drawn_by_its_weight(trainer: Callable[..., Trainer]) -> None:
    found = trainer(source_weights=(("second", 5.0),), steps=500)
    corpus = found.corpus
    bounds = corpus.sentence_starts[corpus.document_starts]
    documents = np.searchsorted(bounds, found.training_pairs.starts[:, 0], side="right") - 1
    drawn = np.bincount(corpus.document_source[documents], minlength=2)
    there = np.bincount(corpus.document_source[~corpus.held_out], minlength=2)
    share = (drawn / there)[1] / (drawn / there)[0]
    assert 3 < share < 7
    with pytest.raises(InputError, match="third"):
        trainer(source_weights=(("third", 2.0),))


def test_what_cannot_be_continued_is_refused(
    tiny_encoder_folder: Callable[[str], Path],
    bert: Path,
    texts: Path,
    schedule: Schedule,
    tmp_path: Path,
) -> None:
    with pytest.raises(InputError, match="expected a BERT"):
        find_start(tiny_encoder_folder("distilbert"))
    with pytest.raises(InputError, match="positions"):
        pretrain(replace(CONFIG, length=512), texts, tmp_path, schedule, start=bert)
    with pytest.raises(InputError, match="unknown model"):
        find_start("no such model")


def test_a_run_records_its_start_and_is_refused_to_another(
    texts: Path, bert: Path, schedule: Schedule, tmp_path: Path
) -> None:
    pretrain(CONFIG, texts, tmp_path / "run", schedule, start=bert)
    record = json.loads((tmp_path / "run" / "pretraining.json").read_text())
    assert record["start"]["weight_hash"] == find_start(bert).weight_hash
    with pytest.raises(InputError, match="another"):
        pretrain(CONFIG, texts, tmp_path / "run", schedule, start=tmp_path / "run")


def test_the_card_of_a_continued_encoder_names_its_start(
    texts: Path, bert: Path, schedule: Schedule, tmp_path: Path
) -> None:
    config = replace(CONFIG, objective=Objective.MLM_SHUFFLED, source_weights=(("second", 2.0),))
    pretrain(config, texts, tmp_path / "run", schedule, start=bert)
    folder = export_encoder(tmp_path / "run", tmp_path / "shipped")
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "permuted labels" in card
    assert find_start(bert).weight_hash[:16] in card
    assert "`second` 2" in card
    (command,) = [line for line in card.splitlines() if "probing pretrain" in line]
    assert f"--from {bert} --objective mlm+shuffled" in command
    assert "--source-weight second=2" in command
    assert "--layers" not in command
