"""The room that trains small BERTs: texts, pairs, masks, losses, twins and the finished folder."""

import json
import lzma
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import typer
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertForPreTraining,
    get_linear_schedule_with_warmup,
)
from typer.testing import CliRunner

import probing
from probing.commands import pretrain as command
from probing.encoding.pooler_state import PoolerState
from probing.errors import InputError
from probing.pretraining import training
from probing.pretraining.checkpoints import load_checkpoint
from probing.pretraining.config import Decay, Freeze, Objective, Precision, PretrainingConfig
from probing.pretraining.corpus import TokenizedCorpus, read_documents, tokenize_corpus
from probing.pretraining.export import command_line, export_encoder
from probing.pretraining.losses import pretraining_losses
from probing.pretraining.masking import mask_tokens
from probing.pretraining.processes import Processes
from probing.pretraining.segments import (
    SegmentPairs,
    gather_batch,
    make_segment_pairs,
    truncated_lengths,
)
from probing.pretraining.start import initial_model
from probing.pretraining.trainer import Evaluation, Schedule, Trainer, learning_rate
from probing.pretraining.training import pretrain
from probing.pretraining.vocabulary import load_vocabulary

TINY = PretrainingConfig(
    layers=2,
    hidden=16,
    heads=2,
    vocabulary_size=160,
    length=24,
    batch_size=8,
    steps=12,
    learning_rate=1e-3,
)
ALONE = Processes(rank=0, count=1, device=torch.device("cpu"))
TOPICS = {
    "sea": ["boat", "fish", "wave", "salt", "net", "harbour", "sail", "whale", "tide", "gull"],
    "law": ["court", "judge", "crime", "trial", "guilt", "prison", "oath", "lawyer", "fine"],
    "farm": ["cow", "milk", "barn", "hay", "field", "plough", "horse", "corn", "sheep", "fence"],
}


def write_corpus(folder: Path, documents: int = 60, seed: int = 0) -> Path:
    """Two sources of documents that keep to one topic each."""
    rng = np.random.default_rng(seed)
    texts = []
    for _ in range(documents):
        words = [*TOPICS[str(rng.choice(list(TOPICS)))], "the", "a", "and"]
        sentences = [
            " ".join(rng.choice(words, size=rng.integers(2, 12))) + " ."
            for _ in range(rng.integers(2, 14))
        ]
        texts.append("\n".join(sentences))
    folder.mkdir(parents=True, exist_ok=True)
    half = documents // 2
    (folder / "first.txt").write_text("\n\n".join(texts[:half]) + "\n", encoding="utf-8")
    with lzma.open(folder / "second.txt.xz", "wt", encoding="utf-8") as file:
        file.write("\n\n\n".join(texts[half:]))
    return folder


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def corpus(texts: Path, cache: Path) -> TokenizedCorpus:
    return tokenize_corpus(texts, cache, TINY)


@pytest.fixture(scope="module")
def schedule(cache: Path) -> Schedule:
    return Schedule(
        precision=Precision.FLOAT32,
        evaluate_every=5,
        held_out_pairs=16,
        final_held_out_pairs=40,
        cache=cache,
    )


@pytest.fixture(scope="module")
def runs(texts: Path, schedule: Schedule, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Finished runs of all three objectives."""
    folder = tmp_path_factory.mktemp("runs")
    for objective in Objective:
        pretrain(replace(TINY, objective=objective), texts, folder / objective, schedule)
    return folder


def pairs_of(corpus: TokenizedCorpus, **choices: Any) -> SegmentPairs:
    defaults = {"length": 24, "held_out": False, "sentence_order": False, "short_share": 0.1}
    return make_segment_pairs(corpus, **({"count": 2000, "seed": 0} | defaults | choices))


def document_of(corpus: TokenizedCorpus, offsets: np.ndarray) -> np.ndarray:
    token_bounds = corpus.sentence_starts[corpus.document_starts]
    return np.searchsorted(token_bounds, offsets, side="right") - 1


# Texts


def test_documents_are_separated_by_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "source.txt"
    path.write_text("\n\none\ntwo\n \n\nthree\n", encoding="utf-8")
    assert list(read_documents(path)) == [["one", "two"], ["three"]]


def test_text_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    (tmp_path / "broken.txt.xz").write_bytes(b"not an archive")
    for name in ("latin.txt", "broken.txt.xz"):
        with pytest.raises(InputError, match=name):
            list(read_documents(tmp_path / name))
    with pytest.raises(InputError, match="one sentence a line"):
        tokenize_corpus(tmp_path / "nothing", tmp_path / "cache", TINY)


def test_ids_are_those_of_the_tokenizer(texts: Path, corpus: TokenizedCorpus) -> None:
    tokenizer = load_vocabulary(corpus.vocabulary)
    documents = [*read_documents(texts / "first.txt"), *read_documents(texts / "second.txt.xz")]
    sentences = [sentence for document in documents for sentence in document]
    expected = tokenizer(sentences, add_special_tokens=False)["input_ids"]
    bounds = corpus.sentence_starts
    found = [corpus.tokens[a:b].tolist() for a, b in pairwise(bounds)]
    assert found == expected
    assert np.diff(corpus.document_starts).tolist() == [len(document) for document in documents]


def test_whole_documents_of_every_source_are_held_out(corpus: TokenizedCorpus) -> None:
    for source in range(len(corpus.sources)):
        flags = corpus.held_out[corpus.document_source == source]
        assert 1 <= flags.sum() < len(flags)


def test_no_pair_mixes_training_and_held_out(texts: Path, tmp_path: Path) -> None:
    corpus = tokenize_corpus(texts, tmp_path, replace(TINY, held_out_share=0.2))
    for held_out in (False, True):
        found = pairs_of(corpus, held_out=held_out)
        assert (corpus.held_out[document_of(corpus, found.starts)] == held_out).all()


def test_the_cache_is_used_again_and_notices_other_texts(tmp_path: Path) -> None:
    texts = write_corpus(tmp_path / "texts")
    first = tokenize_corpus(texts, tmp_path / "cache", TINY)
    stamp = (first.vocabulary.parent / "tokens.npy").stat().st_mtime_ns
    again = tokenize_corpus(texts, tmp_path / "cache", replace(TINY, seed=7, steps=99))
    assert again.digest == first.digest
    assert (again.vocabulary.parent / "tokens.npy").stat().st_mtime_ns == stamp
    write_corpus(texts, seed=1)
    assert tokenize_corpus(texts, tmp_path / "cache", TINY).digest != first.digest
    assert not list((tmp_path / "cache").glob(".building*"))


# Pairs


def test_half_of_the_pairs_are_from_another_document(corpus: TokenizedCorpus) -> None:
    found = pairs_of(corpus, count=4000)
    assert abs(found.labels.mean() - 0.5) < 4 * 0.5 / np.sqrt(4000)
    documents = document_of(corpus, found.starts)
    last = document_of(corpus, found.starts + found.lengths - 1)
    assert (last == documents).all()
    same = documents[:, 0] == documents[:, 1]
    assert (same == (found.labels == 0)).all()
    assert (found.lengths.sum(axis=1) <= 24 - 3).all()


def test_a_true_pair_is_consecutive(corpus: TokenizedCorpus) -> None:
    found = pairs_of(corpus, length=400)  # nothing is cut at this length
    follows = found.starts[:, 0] + found.lengths[:, 0] == found.starts[:, 1]
    assert (follows == (found.labels == 0)).mean() > 0.99
    assert follows[found.labels == 0].all()


def test_sentence_order_swaps_consecutive_segments(corpus: TokenizedCorpus) -> None:
    found = pairs_of(corpus, length=400, sentence_order=True)
    ends = found.starts + found.lengths
    swapped = found.labels == 1
    assert 0.45 < swapped.mean() < 0.55
    assert (ends[~swapped, 0] == found.starts[~swapped, 1]).all()
    assert (ends[swapped, 1] == found.starts[swapped, 0]).all()


def test_pairs_are_a_function_of_the_seed(corpus: TokenizedCorpus) -> None:
    one, same, other = (pairs_of(corpus, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.starts, same.starts)
    assert (one.starts != other.starts).any()


def test_too_few_documents_are_refused(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("a cat sat .\nit sat .\n", encoding="utf-8")
    corpus = tokenize_corpus(tmp_path, tmp_path / "cache", TINY)
    with pytest.raises(InputError, match="training documents"):
        pairs_of(corpus)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(2, 60))
def test_truncation_is_that_of_bert(first: int, second: int, capacity: int) -> None:
    a, b = first, second
    while a + b > capacity:
        if a > b:
            a -= 1
        else:
            b -= 1
    found = truncated_lengths(np.array([first]), np.array([second]), capacity)
    assert (found[0].item(), found[1].item()) == (a, b)


def test_a_batch_is_laid_out_as_the_tokenizer_does(corpus: TokenizedCorpus) -> None:
    tokenizer = load_vocabulary(corpus.vocabulary)
    found = pairs_of(corpus, count=50)
    batch = gather_batch(corpus, found, slice(0, 50), length=24, cls_id=2, sep_id=3, pad_id=0)
    for row in range(50):
        spans = zip(found.starts[row], found.lengths[row], strict=True)
        first, second = (corpus.tokens[start : start + size].tolist() for start, size in spans)
        ids = [2, *first, 3, *second, 3]
        padding = [0] * (24 - len(ids))
        assert batch.ids[row].tolist() == ids + padding
        assert batch.attended[row].tolist() == [True] * len(ids) + [False] * len(padding)
        kinds = [0] * (len(first) + 2) + [1] * (len(second) + 1)
        assert batch.segments[row].tolist() == kinds + padding
    special = np.isin(batch.ids, [0, 2, 3])
    assert (batch.maskable == ~special).all()
    assert (tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id) == (2, 3, 0)


# Masks


def test_fifteen_percent_are_masked_eighty_ten_ten() -> None:
    rng = np.random.default_rng(0)
    ids = rng.integers(10, 5000, size=(800, 64))
    maskable = np.ones_like(ids, dtype=bool)
    maskable[:, [0, 30, 63]] = False
    masked = mask_tokens(
        ids, maskable, share=0.15, mask_id=4, vocabulary_size=5000, rng=np.random.default_rng(1)
    )
    assert (np.bincount(masked.rows) == round(0.15 * 64)).all()
    assert maskable[masked.rows, masked.columns].all()
    np.testing.assert_array_equal(masked.targets, ids[masked.rows, masked.columns])
    now = masked.ids[masked.rows, masked.columns]
    assert abs((now == 4).mean() - 0.8) < 0.02
    assert abs((now == masked.targets).mean() - 0.1) < 0.02
    untouched = np.ones_like(maskable)
    untouched[masked.rows, masked.columns] = False
    np.testing.assert_array_equal(masked.ids[untouched], ids[untouched])


def test_a_short_sequence_has_one_mask_and_an_empty_one_none() -> None:
    maskable = np.array([[False, True, False, False], [False, False, False, False]])
    masked = mask_tokens(
        np.full((2, 4), 9),
        maskable,
        share=0.15,
        mask_id=4,
        vocabulary_size=10,
        rng=np.random.default_rng(0),
    )
    assert masked.rows.tolist() == [0]
    assert masked.columns.tolist() == [1]


def test_twins_see_the_same_inputs_and_start_alike(
    corpus: TokenizedCorpus, schedule: Schedule
) -> None:
    twins = [
        Trainer(replace(TINY, objective=objective), schedule, corpus, ALONE)
        for objective in (Objective.MLM_NSP, Objective.MLM)
    ]
    for step in (0, 5, 11):
        one, other = (vars(twin.training_batch(step)) for twin in twins)
        assert all(torch.equal(one[name], other[name]) for name in one)
    one, other = (dict(twin.model.named_parameters()) for twin in twins)
    assert all(torch.equal(one[name], other[name]) for name in one)
    first, second = (twins[0].training_batch(step) for step in (0, 1))
    assert not torch.equal(first.columns, second.columns)


# Losses and updates


def test_the_losses_are_those_of_transformers(corpus: TokenizedCorpus, schedule: Schedule) -> None:
    trainer = Trainer(TINY, schedule, corpus, ALONE)
    batch = trainer.training_batch(0)
    labels = torch.full_like(batch.ids, -100)
    labels[batch.rows, batch.columns] = batch.targets
    naive = trainer.model(
        input_ids=batch.ids,
        attention_mask=batch.attended,
        token_type_ids=batch.segments,
        labels=labels,
        next_sentence_label=batch.labels,
    )
    ours = pretraining_losses(trainer.model, batch, with_sentence=True)
    total = ours.mlm / len(batch.targets) + ours.sentence / len(batch.labels)
    torch.testing.assert_close(total, naive.loss)
    gradients = [
        torch.autograd.grad(loss, list(trainer.model.parameters()), retain_graph=True)
        for loss in (total, naive.loss)
    ]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_micro_batches_change_nothing(corpus: TokenizedCorpus, schedule: Schedule) -> None:
    curves = []
    for parts in (1, 3):
        trainer = Trainer(TINY, replace(schedule, micro_batches=parts), corpus, ALONE)
        steps = trainer.training_batches(0)
        curves.append([trainer.train_step(step, batch) for step, batch in steps])
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-4)


def test_dropout_is_a_function_of_the_step(corpus: TokenizedCorpus, schedule: Schedule) -> None:
    def loss() -> float:
        trainer = Trainer(replace(TINY, dropout=0.2), schedule, corpus, ALONE)
        return trainer.train_step(3, trainer.training_batch(3))[0]

    before = torch.random.get_rng_state()
    assert loss() == loss()
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_rate_falls_as_in_transformers() -> None:
    config = replace(TINY, steps=100, warmup_share=0.1, learning_rate=0.5)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    oracle = get_linear_schedule_with_warmup(optimizer, 10, 100)
    rates = []
    for _ in range(100):
        rates.append(oracle.get_last_lr()[0])
        optimizer.step()
        oracle.step()
    ours = [learning_rate(config, step) for step in range(100)]
    # The oracle wastes its first update on a rate of 0.
    np.testing.assert_allclose(ours[:10], [*rates[1:10], 0.5])
    np.testing.assert_allclose(ours[10:], rates[10:])


def test_the_sentence_loss_is_weighed(corpus: TokenizedCorpus, schedule: Schedule) -> None:
    gradients = {}
    for weight in (1.0, 0.1):
        config = replace(TINY, sentence_weight=weight, gradient_norm=1e9)
        trainer = Trainer(config, schedule, corpus, ALONE)
        trainer.optimizer.zero_grad = lambda **_: None  # type: ignore[method-assign]
        trainer.train_step(0, trainer.training_batch(0))
        gradient = trainer.model.get_parameter("bert.pooler.dense.weight").grad
        assert gradient is not None
        gradients[weight] = gradient
    torch.testing.assert_close(gradients[0.1], 0.1 * gradients[1.0])


def test_a_random_start_is_that_of_transformers(corpus: TokenizedCorpus) -> None:
    tokenizer = load_vocabulary(corpus.vocabulary)
    model = initial_model(replace(TINY, seed=5), tokenizer, None)
    torch.manual_seed(5)
    oracle = BertForPreTraining(model.config)
    for name, weight in oracle.named_parameters():
        assert torch.equal(model.get_parameter(name), weight), name


# Runs


def test_the_log_has_every_step(runs: Path) -> None:
    log = pd.read_parquet(runs / "mlm+nsp" / "training_log.parquet")
    assert tuple(log.columns) == training.LOG_COLUMNS
    assert log.step.tolist() == list(range(1, 13))
    assert log.tokens.is_monotonic_increasing
    assert log.step[log.held_out_mlm_loss.notna()].tolist() == [5, 10, 12]
    assert log.sentence_loss.notna().all()


def test_without_a_sentence_objective_the_pooler_stays_as_initialised(
    runs: Path, corpus: TokenizedCorpus
) -> None:
    start = initial_model(TINY, load_vocabulary(corpus.vocabulary), None)
    untouched = BertForPreTraining.from_pretrained(runs / "mlm")
    trained = BertForPreTraining.from_pretrained(runs / "mlm+nsp")
    parts = ("bert.pooler.dense.weight", "bert.pooler.dense.bias", "cls.seq_relationship.weight")
    for name in parts:
        assert torch.equal(untouched.get_parameter(name), start.get_parameter(name))
        assert not torch.equal(trained.get_parameter(name), start.get_parameter(name))
    name = "bert.encoder.layer.0.output.dense.weight"
    assert not torch.equal(untouched.get_parameter(name), start.get_parameter(name))
    log = pd.read_parquet(runs / "mlm" / "training_log.parquet")
    assert log.sentence_loss.isna().all()
    assert log.mlm_loss.notna().all()


def test_a_run_is_an_encoder_like_any_other(runs: Path) -> None:
    model = AutoModel.from_pretrained(runs / "mlm+nsp")
    tokenizer = AutoTokenizer.from_pretrained(runs / "mlm+nsp")
    assert model.pooler is not None
    assert tokenizer.model_max_length == TINY.length
    ids = tokenizer("The BOAT", return_tensors="pt")
    assert (
        ids["input_ids"].tolist() == tokenizer("the boat", return_tensors="pt").input_ids.tolist()
    )
    states = {name: probing.load_encoder(runs / name).pooler_state for name in ("mlm", "mlm+nsp")}
    assert states == {"mlm": PoolerState.UNTRAINED, "mlm+nsp": PoolerState.MOVED_BIAS_ONLY}


def test_a_finished_run_is_not_trained_again(
    runs: Path, texts: Path, schedule: Schedule, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "Trainer", None)
    found = pretrain(TINY, texts, runs / "mlm+nsp", schedule)
    assert found.pairs == 40
    with pytest.raises(InputError, match="another"):
        pretrain(replace(TINY, seed=1), texts, runs / "mlm+nsp", schedule)


def test_a_checkpoint_of_another_configuration_is_refused(
    runs: Path, texts: Path, schedule: Schedule, tmp_path: Path
) -> None:
    (tmp_path / "checkpoints").symlink_to(runs / "mlm" / "checkpoints")
    with pytest.raises(InputError, match="another configuration"):
        pretrain(replace(TINY, seed=1), texts, tmp_path, schedule)


@pytest.mark.parametrize("name", ["weights.safetensors", "state.json", "log.parquet"])
def test_a_broken_checkpoint_gives_way_to_the_one_before(
    texts: Path, schedule: Schedule, tmp_path: Path, name: str
) -> None:
    pretrain(TINY, texts, tmp_path, replace(schedule, checkpoint_seconds=0))
    folders = sorted((tmp_path / "checkpoints").iterdir())
    assert [folder.name for folder in folders] == ["step-00000011", "step-00000012"]
    path = folders[1] / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    digest = json.loads((folders[0] / "state.json").read_text())["config"]
    found = load_checkpoint(tmp_path / "checkpoints", digest)
    assert found is not None
    assert found.step == 11


def test_wrong_choices_are_refused(texts: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="attention heads"):
        replace(TINY, heads=3)
    with pytest.raises(InputError, match="length"):
        replace(TINY, length=4)
    with pytest.raises(InputError, match="steps"):
        replace(TINY, steps=0)
    with pytest.raises(InputError, match="no device"):
        pretrain(TINY, texts, tmp_path, Schedule(device="abacus"))


def test_a_loss_that_is_no_number_stops_the_run(
    corpus: TokenizedCorpus, schedule: Schedule
) -> None:
    trainer = Trainer(TINY, schedule, corpus, ALONE)
    with torch.no_grad():
        trainer.model.bert.embeddings.word_embeddings.weight.fill_(torch.nan)
    with pytest.raises(InputError, match="lower --lr"):
        trainer.train_step(0, trainer.training_batch(0))


# Shipping and the command line


def test_what_is_shipped_is_the_run_in_float16(runs: Path, tmp_path: Path) -> None:
    folder = export_encoder(runs / "mlm+nsp", tmp_path / "shipped")
    model = BertForPreTraining.from_pretrained(folder)
    assert model.dtype == torch.float16
    for name, weight in BertForPreTraining.from_pretrained(runs / "mlm+nsp").named_parameters():
        torch.testing.assert_close(model.get_parameter(name).float(), weight, atol=1e-3, rtol=1e-3)
    card = (folder / "README.md").read_text(encoding="utf-8")
    evaluation = json.loads((runs / "mlm+nsp" / "pretraining.json").read_text())["evaluation"]
    assert f"{evaluation['mlm_loss']:.3f}" in card
    assert f"next sentence accuracy, held-out | {evaluation['sentence_accuracy']:.1%}" in card
    assert "`second`" in card
    other = export_encoder(runs / "mlm", tmp_path / "twin")
    assert "accuracy (chance" not in (other / "README.md").read_text(encoding="utf-8")
    assert "nan" not in (other / "README.md").read_text(encoding="utf-8")


def test_an_unfinished_run_is_not_shipped(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a finished run"):
        export_encoder(tmp_path, tmp_path / "shipped")


def test_the_card_s_command_repeats_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[PretrainingConfig] = []

    def recorded(config: PretrainingConfig, *_: object, **__: object) -> Evaluation:
        seen.append(config)
        return Evaluation(1.0, 0.1, 0.6, 0.7, 8)

    monkeypatch.setattr(training, "pretrain", recorded)
    app = typer.Typer()
    app.command()(command.pretrain_command)
    config = replace(TINY, objective=Objective.MLM_SOP, seed=4, dropout=0.1, sentence_weight=0.5)
    config = replace(config, freeze=Freeze.BODY, decay=Decay.CONSTANT)
    config = replace(config, source_weights=(("first", 2.5),))
    words = command_line(config).split()[2:]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0
    assert seen == [config]
    both = ["--corpus", "x", "--out", "y", "--steps", "3", "--tokens", "3"]
    with pytest.raises(InputError, match="one of them"):
        CliRunner().invoke(app, both, catch_exceptions=False)
    tokens = ["--corpus", "x", "--out", "y", "--tokens", "64000", "--batch-size", "10"]
    CliRunner().invoke(app, tokens, catch_exceptions=False)
    assert seen[-1].steps == 100
    for wrong, message in (
        (["--tokens", "2G"], "2M"),
        (["--source-weight", "first"], "NAME=NUMBER"),
        (["--from", "minilm", "--layers", "2"], "leave --layers"),
    ):
        with pytest.raises(InputError, match=message):
            CliRunner().invoke(app, ["--corpus", "x", "--out", "y", *wrong], catch_exceptions=False)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": -1}, "seed -1: expected a whole number from 0 up"),
        ({"sentence_weight": float("nan")}, "sentence_weight must be at least 0, found nan"),
        ({"learning_rate": float("nan")}, "learning_rate must be positive, found nan"),
    ],
)
def test_numbers_that_nothing_can_be_trained_with(change, said):
    with pytest.raises(InputError, match=said):
        replace(TINY, **change)
