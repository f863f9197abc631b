"""Tokens a second of `probing.pretraining` against `transformers.Trainer` with default settings.

Same network, same pairs, same batch size, both losses, on the processor. The Trainer scores the
whole vocabulary at every position and computes in float32: its defaults. Ours differentiates each
loss by itself, to clip them apart, and computes in bfloat16 where the processor does.

    python benchmarks/pretraining.py --out runs/benchmarks

writes ``pretraining.md`` and ``pretraining.json``. Both take turns; a figure is the median step.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    BertForPreTraining,
    DataCollatorForLanguageModeling,
    TrainerCallback,
    TrainingArguments,
)
from transformers import Trainer as TransformersTrainer

from probing.encoding.description import describe_machine
from probing.pretraining.config import PretrainingConfig
from probing.pretraining.corpus import TokenizedCorpus, tokenize_corpus
from probing.pretraining.processes import Processes
from probing.pretraining.segments import gather_batch, make_segment_pairs
from probing.pretraining.start import Start, find_start, initial_model
from probing.pretraining.trainer import Schedule, Trainer
from probing.pretraining.vocabulary import load_vocabulary
from probing.results.run_folder import describe_versions
from probing.results.writing import write_text

ALONE = Processes(rank=0, count=1, device=torch.device("cpu"))


def write_texts(folder: Path) -> None:
    """Random words in English letters: the speed does not depend on what they say."""
    rng = np.random.default_rng(0)
    letters = np.array(list("etaoinshrdlucmfwypvbgk"))
    words = ["".join(rng.choice(letters, size=rng.integers(2, 9))) for _ in range(20_000)]
    ranks = 1 / np.arange(1, len(words) + 1)
    documents = [
        "\n".join(" ".join(rng.choice(words, size=18, p=ranks / ranks.sum())) for _ in range(30))
        for _ in range(300)
    ]
    (folder / "texts.txt").write_text("\n\n".join(documents), encoding="utf-8")


def step_seconds(step: Callable[[int], object], n_steps: int) -> list[float]:
    """Seconds of every step."""
    times = []
    for number in range(n_steps):
        began = time.perf_counter()
        step(number)
        times.append(time.perf_counter() - began)
    return times


def ours(
    config: PretrainingConfig, corpus: TokenizedCorpus, n_steps: int, start: Start | None
) -> list[float]:
    """Seconds of every step of this project's loop, masks and batches included."""
    trainer = Trainer(config, Schedule(final_held_out_pairs=8), corpus, ALONE, start)
    return step_seconds(
        lambda step: trainer.train_step(step, trainer.training_batch(step)), n_steps
    )


class Clock(TrainerCallback):
    """Notes when each step ends."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *_: object, **__: object) -> None:
        """Called by the Trainer after every update."""
        self.ends.append(time.perf_counter())


def theirs(
    config: PretrainingConfig, corpus: TokenizedCorpus, n_steps: int, start: Start | None
) -> list[float]:
    """Seconds of every step of `transformers.Trainer`."""
    tokenizer = load_vocabulary(corpus.vocabulary)
    count = config.batch_size * n_steps
    pairs = make_segment_pairs(
        corpus,
        count=count,
        length=config.length,
        held_out=False,
        sentence_order=False,
        short_share=config.short_share,
        seed=config.seed,
    )
    batch = gather_batch(
        corpus,
        pairs,
        slice(0, count),
        length=config.length,
        cls_id=tokenizer.cls_token_id,
        sep_id=tokenizer.sep_token_id,
        pad_id=tokenizer.pad_token_id,
    )
    examples = [
        {
            "input_ids": batch.ids[row].tolist(),
            "token_type_ids": batch.segments[row].tolist(),
            "attention_mask": batch.attended[row].astype(int).tolist(),
            "next_sentence_label": int(batch.labels[row]),
        }
        for row in range(count)
    ]
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            per_device_train_batch_size=config.batch_size,
            num_train_epochs=1,
            use_cpu=True,
            report_to=[],
            disable_tqdm=True,
            save_strategy="no",
        )
        model: BertForPreTraining = initial_model(config, tokenizer, start)
        TransformersTrainer(
            model,
            arguments,
            data_collator=DataCollatorForLanguageModeling(tokenizer),
            train_dataset=examples,
            callbacks=[clock],
        ).train()
    return np.diff(clock.ends).tolist()


def measured(n_steps: int, n_turns: int, model: str | None) -> dict[str, Any]:
    """Tokens a second of both, in turns, and their ratio."""
    config = replace(PretrainingConfig(), steps=n_steps)
    start = None if model is None else find_start(model)
    tokenizer = None if start is None else start.tokenizer
    seconds: dict[str, list[float]] = {"probing": [], "transformers.Trainer": []}
    with tempfile.TemporaryDirectory() as name:
        write_texts(Path(name))
        corpus = tokenize_corpus(Path(name), Path(name) / "cache", config, tokenizer)
        for _ in range(n_turns):
            # In turns, so that whatever else the machine does falls on both.
            seconds["probing"] += ours(config, corpus, n_steps, start)[2:]
            seconds["transformers.Trainer"] += theirs(config, corpus, n_steps, start)[2:]
    speed = {
        name: config.batch_size * config.length / statistics.median(times)
        for name, times in seconds.items()
    }
    return {
        "model": model or f"{config.layers} layers of width {config.hidden}, from nothing",
        "batch_size": config.batch_size,
        "length": config.length,
        "seconds per step": seconds,
        "tokens per second": speed,
        "ratio": speed["probing"] / speed["transformers.Trainer"],
    }


def markdown(report: dict[str, Any]) -> str:
    """The report as a table."""
    about, found = report["machine"], report["pretraining"]
    lines = [
        "# Pre-training",
        "",
        (
            f"{about['processor']}, {about['cores']} cores, {about['threads']} threads; torch "
            f"{report['versions']['torch']}, transformers {report['versions']['transformers']}. "
            f"Load average before {report['load before'][0]:.1f}, after "
            f"{report['load after'][0]:.1f}."
        ),
        "",
        (
            f"{found['model']}, batches of "
            f"{found['batch_size']} pairs of {found['length']} tokens, padding counted as tokens."
        ),
        "",
        "| | tokens/s |",
        "|---|---:|",
        *(f"| {name} | {speed:,.0f} |" for name, speed in found["tokens per second"].items()),
        "",
        f"Ratio: {found['ratio']:.2f}×.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--steps", type=int, default=12, help="steps a turn")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--model", help="BERT to continue, such as minilm; from nothing without")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"))
    options = parser.parse_args()
    report: dict[str, Any] = {
        "machine": describe_machine(),
        "versions": describe_versions(),
        "load before": os.getloadavg(),
        "pretraining": measured(options.steps, options.turns, options.model),
        "load after": os.getloadavg(),
    }
    options.out.mkdir(parents=True, exist_ok=True)
    write_text(options.out / "pretraining.json", json.dumps(report, indent=1) + "\n")
    write_text(options.out / "pretraining.md", markdown(report))
    print(markdown(report))


if __name__ == "__main__":
    main()
