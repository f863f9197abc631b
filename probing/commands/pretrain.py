"""``probing pretrain``: the options of a run, from the command line to `pretrain`."""

from pathlib import Path
from typing import Annotated

import typer

from probing.errors import InputError
from probing.pretraining.config import Objective, Precision, PretrainingConfig, Start

_DEFAULT = PretrainingConfig()


def pretrain_command(
    corpus: Annotated[
        Path,
        typer.Option(help="Folder of NAME.txt[.xz]: a sentence a line, a blank line a document."),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the run; the same again resumes it.")],
    objective: Annotated[Objective, typer.Option(help="What is learnt.")] = _DEFAULT.objective,
    layers: Annotated[int, typer.Option(help="Number of layers.")] = _DEFAULT.layers,
    hidden: Annotated[int, typer.Option(help="Hidden size.")] = _DEFAULT.hidden,
    heads: Annotated[int, typer.Option(help="Attention heads a layer.")] = _DEFAULT.heads,
    vocab_size: Annotated[int, typer.Option(help="Word pieces.")] = _DEFAULT.vocabulary_size,
    length: Annotated[int, typer.Option(help="Tokens a sequence.")] = _DEFAULT.length,
    batch_size: Annotated[
        int, typer.Option(help="Sequences a step, over all processes.")
    ] = _DEFAULT.batch_size,
    steps: Annotated[int | None, typer.Option(help="Updates in all.")] = None,
    tokens: Annotated[
        int | None, typer.Option(help="In place of --steps: tokens in all, padding counted.")
    ] = None,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = _DEFAULT.learning_rate,
    embedding_rate: Annotated[
        float, typer.Option(help="Of the embeddings over --lr, where they start from counts.")
    ] = _DEFAULT.embedding_rate,
    sentence_weight: Annotated[
        float, typer.Option(help="Of the sentence loss in the sum of the two; 1 in BERT.")
    ] = _DEFAULT.sentence_weight,
    dropout: Annotated[float, typer.Option(help="In hidden and attention.")] = _DEFAULT.dropout,
    start: Annotated[Start, typer.Option(help="Weights before the first step.")] = _DEFAULT.start,
    seed: Annotated[int, typer.Option(help="Of weights, data order and masks.")] = _DEFAULT.seed,
    dtype: Annotated[Precision, typer.Option(help="Number format.")] = Precision.AUTO,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    micro_batches: Annotated[
        int, typer.Option(help="Parts each process cuts its share of a batch into.")
    ] = 1,
) -> None:
    """Train a small BERT with a chosen objective; alone, or in many processes under torchrun."""
    from probing.pretraining.training import Schedule, pretrain

    if steps is not None and tokens is not None:
        raise InputError("both --steps and --tokens are given: expected one of them")
    if tokens is not None:
        steps = max(1, round(tokens / (batch_size * length)))
    config = PretrainingConfig(
        objective=objective,
        layers=layers,
        hidden=hidden,
        heads=heads,
        vocabulary_size=vocab_size,
        length=length,
        batch_size=batch_size,
        steps=_DEFAULT.steps if steps is None else steps,
        learning_rate=lr,
        embedding_rate=embedding_rate,
        sentence_weight=sentence_weight,
        dropout=dropout,
        start=start,
        seed=seed,
    )
    schedule = Schedule(precision=dtype, device=device, micro_batches=micro_batches)
    evaluation = pretrain(config, corpus, out, schedule)
    typer.echo(
        f"{out}: held-out MLM loss {evaluation.mlm_loss:.3f}, "
        f"sentence accuracy {evaluation.sentence_accuracy:.3f}"
    )


def export_command(
    run: Annotated[Path, typer.Argument(help="Folder of a finished probing pretrain.")],
    target: Annotated[Path, typer.Argument(help="Folder to write.")],
    corpus: Annotated[
        Path | None, typer.Option(help="The corpus, whose manifest.json has the licences.")
    ] = None,
) -> None:
    """Make an encoder folder of a pre-training run: float16 weights, tokenizer, log, model card."""
    from probing.pretraining.export import export_encoder

    typer.echo(f"encoder: {export_encoder(run, target, corpus)}")
