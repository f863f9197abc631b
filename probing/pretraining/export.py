"""A finished run as an encoder folder small enough to ship: float16 weights and a model card."""

import json
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import pandas as pd
import torch
from transformers import BertForPreTraining

from probing.errors import InputError
from probing.pretraining.config import Objective, PretrainingConfig
from probing.pretraining.vocabulary import load_vocabulary

MEGABYTES_SHIPPED: Final = 20
_OBJECTIVES: Final = {
    Objective.MLM_NSP: "masked language modelling and next sentence prediction",
    Objective.MLM: "masked language modelling; its pooler is exactly as at the start",
    Objective.MLM_SOP: "masked language modelling and sentence order prediction",
    Objective.MLM_SHUFFLED: (
        "masked language modelling and next sentence prediction with permuted labels"
    ),
}
_OPTIONS: Final = {"vocabulary_size": "vocab-size", "learning_rate": "lr"}
_OF_A_NEW_NETWORK: Final = ("layers", "hidden", "heads", "vocabulary_size")


def export_encoder(run: Path, target: Path, corpus: Path | None = None) -> Path:
    """Write a finished run to `target`: weights, tokenizer, training log and ``README.md``.

    The weights are those of `BertForPreTraining` in float16 (safetensors), so that both heads can
    still be evaluated; `AutoModel` reads the encoder and the pooler out of them.

    Args:
        run: folder of a finished `pretrain`.
        target: folder to write; its files are replaced.
        corpus: the corpus folder; licences are taken from its ``manifest.json``.

    Returns:
        `target`.

    Raises:
        InputError: the run is not finished, or the weights exceed 20 MB.
    """
    result = _result(run)
    model = BertForPreTraining.from_pretrained(run, dtype=torch.float16, local_files_only=True)
    size = sum(p.numel() * p.element_size() for p in model.parameters()) / 1e6
    if size > MEGABYTES_SHIPPED:
        raise InputError(
            f"{run} has {size:.1f} MB of float16 weights, more than {MEGABYTES_SHIPPED}: "
            "train a smaller network, or keep the run's folder, which is an encoder too"
        )
    target.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(target)
    (target / "model.safetensors").chmod(0o644)  # safetensors makes it private
    load_vocabulary(run).save_pretrained(target)
    log = pd.read_parquet(run / "training_log.parquet")
    log.to_parquet(target / "training_log.parquet", index=False)
    (target / "pretraining.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    card = model_card(result, log, _licences(corpus))
    (target / "README.md").write_text(card, encoding="utf-8")
    return target


def _result(run: Path) -> dict[str, Any]:
    path = run / "pretraining.json"
    if not path.is_file():
        raise InputError(f"{run} is not a finished run: run the same probing pretrain to its end")
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return result


def _licences(corpus: Path | None) -> dict[str, str]:
    manifest = corpus / "manifest.json" if corpus else None
    if manifest is None or not manifest.is_file():
        return {}
    sources = json.loads(manifest.read_text(encoding="utf-8"))["sources"]
    return {source["file"].removesuffix(".txt"): source["licence"] for source in sources}


def command_line(config: PretrainingConfig, start: str | None = None) -> str:
    """The ``probing pretrain`` that repeats a run: the options that differ from the defaults."""
    defaults = PretrainingConfig()
    words = ["probing", "pretrain", "--corpus", "CORPUS", "--out", "OUT"]
    if start is not None:
        words += ["--from", start]
    words += ["--objective", str(config.objective)]
    for field in fields(config):
        value = getattr(config, field.name)
        if field.name in ("objective", *(_OF_A_NEW_NETWORK if start else ())):
            continue
        if field.name == "source_weights":
            for name, weight in value:
                words += ["--source-weight", f"{name}={weight:g}"]
        elif value != getattr(defaults, field.name):
            words += [f"--{_OPTIONS.get(field.name, field.name.replace('_', '-'))}", str(value)]
    return shlex.join(words)


def model_card(result: dict[str, Any], log: pd.DataFrame, licences: dict[str, str]) -> str:
    """The card of a run, every figure of it from the run.

    Args:
        result: what ``pretraining.json`` holds.
        log: the training log.
        licences: of the sources, by name; unnamed ones are listed without.
    """
    config = PretrainingConfig(**result["config"])
    evaluation = result["evaluation"]
    with_sentence = config.objective.has_sentence_loss
    start = result["start"] and result["start"]["name"]
    kind = "sentence order" if config.objective is Objective.MLM_SOP else "next sentence"
    rows = [
        ("steps", f"{config.steps:,} of {config.batch_size} pairs"),
        ("tokens seen", f"{result['tokens']:,}"),
        ("MLM loss, last tenth of training", f"{log.mlm_loss.tail(len(log) // 10 + 1).mean():.3f}"),
        ("MLM loss, held-out", f"{evaluation['mlm_loss']:.3f} nats a masked token"),
        ("MLM accuracy, held-out", f"{evaluation['mlm_accuracy']:.1%}"),
    ]
    if with_sentence:
        rows += [
            (f"weight of the {kind} loss", f"{config.sentence_weight:g}"),
            (f"{kind} loss, held-out", f"{evaluation['sentence_loss']:.3f} nats (chance 0.693)"),
            (f"{kind} accuracy, held-out", f"{evaluation['sentence_accuracy']:.1%} (chance 50 %)"),
        ]
    looks = log.dropna(subset=["held_out_mlm_loss"])
    looks = looks.iloc[:: max(1, len(looks) // 10)]
    header = "| step | tokens | MLM loss |" + (f" {kind} accuracy |" if with_sentence else "")
    curve = [header, "|" + "---:|" * (4 if with_sentence else 3)]
    for look in looks.itertuples():
        line = f"| {look.step:,} | {look.tokens:,} | {look.held_out_mlm_loss:.3f} |"
        curve.append(f"{line} {look.held_out_sentence_accuracy:.1%} |" if with_sentence else line)
    sources = [
        f"- `{name}`" + (f": {licences[name]}" if name in licences else "")
        for name in result["sources"]
    ]
    if start is None:
        title = f"# A small BERT: {config.layers} layers, hidden {config.hidden}"
        made = (
            f"English, lower-cased, {config.vocabulary_size:,} word pieces, sequences of up to "
            f"{config.length} tokens. Weights start as `transformers` initialises a BERT. It has "
            "seen little text: it serves to study what an objective does, not as a general encoder."
        )
    else:
        title = f"# {start} continued: {config.objective}"
        made = (
            f"Continued from `{start}` (revision {result['start']['revision']}, weights "
            f"{result['start']['weight_hash'][:16]}…) with sequences of up to {config.length} "
            "tokens. It serves to study what an objective does, not as a general encoder."
        )
    summary = (
        f"Trained on {_OBJECTIVES[config.objective]}. Runs that differ only in the objective share "
        "initial weights, order of the data, masks and number of steps."
    )
    held_out = (
        f"Held-out figures are of {evaluation['pairs']:,} pairs of segments from documents never "
        "trained on, in float32 weights; the weights here are float16."
    )
    weights = ", ".join(f"`{name}` {weight:g}" for name, weight in config.source_weights)
    data = f"{config.held_out_share:.0%} of the documents of every source were held out." + (
        f" Documents were drawn by weight (1 where not named): {weights}." if weights else ""
    )
    table = ["| | |", "|---|---|", *[f"| {name} | {value} |" for name, value in rows]]
    paragraphs = [title, summary, made, "\n".join(table), held_out]
    paragraphs += ["## Curve on held-out pairs", "\n".join(curve)]
    paragraphs += ["Every step is in `training_log.parquet`.", "## Data", data]
    again = [command_line(config, start), "probing export OUT ENCODER"]
    paragraphs += ["\n".join(sources), "## Again", "\n".join(f"    {line}" for line in again)]
    return "\n\n".join(paragraphs) + "\n"
