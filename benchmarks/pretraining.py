"""Tokens a second of `probing.pretraining` against `transformers.Trainer` with default settings.

Same network, same pairs, same batch size, on the processor. The Trainer pads nothing away, scores
the whole vocabulary at every position and computes in float32: its defaults. Run with

    python benchmarks/pretraining.py
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from transformers import (
    BertForPreTraining,
    DataCollatorForLanguageModeling,
    TrainerCallback,
    TrainingArguments,
)
from transformers import Trainer as TransformersTrainer

from probing.pretraining.config import PretrainingConfig, Start
from probing.pretraining.corpus import TokenizedCorpus, tokenize_corpus
from probing.pretraining.initialisation import initial_model
from probing.pretraining.processes import Processes
from probing.pretraining.segments import gather_batch, make_segment_pairs
from probing.pretraining.training import Schedule, Trainer
from probing.pretraining.vocabulary import load_vocabulary

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


def ours(config: PretrainingConfig, corpus: TokenizedCorpus, n_steps: int) -> list[float]:
    """Seconds of every step of this project's loop, masks and batches included."""
    trainer = Trainer(config, Schedule(final_held_out_pairs=8), corpus, ALONE)
    return step_seconds(
        lambda step: trainer.train_step(step, trainer.training_batch(step)), n_steps
    )


class Clock(TrainerCallback):  # type: ignore[misc]
    """Notes when each step ends."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *_: object, **__: object) -> None:
        """Called by the Trainer after every update."""
        self.ends.append(time.perf_counter())


def theirs(config: PretrainingConfig, corpus: TokenizedCorpus, n_steps: int) -> list[float]:
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
        model: BertForPreTraining = initial_model(config, tokenizer, corpus)
        TransformersTrainer(
            model,
            arguments,
            data_collator=DataCollatorForLanguageModeling(tokenizer),
            train_dataset=examples,
            callbacks=[clock],
        ).train()
    return np.diff(clock.ends).tolist()


def main() -> None:
    """Print tokens a second of both, in turns, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20, help="steps a turn")
    parser.add_argument("--turns", type=int, default=2)
    options = parser.parse_args()
    config = replace(PretrainingConfig(), start=Start.RANDOM, steps=options.steps)
    with tempfile.TemporaryDirectory() as name:
        write_texts(Path(name))
        corpus = tokenize_corpus(Path(name), Path(name) / "cache", config)
        seconds: dict[str, list[float]] = {"probing": [], "transformers.Trainer": []}
        for _ in range(options.turns):
            # In turns, so that whatever else the machine does falls on both.
            seconds["probing"] += ours(config, corpus, options.steps)[2:]
            seconds["transformers.Trainer"] += theirs(config, corpus, options.steps)[2:]
    speed = {
        name: config.batch_size * config.length / statistics.median(times)
        for name, times in seconds.items()
    }
    for name, value in speed.items():
        print(f"{name}: {value:,.0f} tokens/s")
    print(f"ratio: {speed['probing'] / speed['transformers.Trainer']:.2f}")


if __name__ == "__main__":
    main()
