"""``probing pretrain``: the options of a run, from the command line to `pretrain`."""

import math
from pathlib import Path
from typing import Annotated

import typer

from probing.commands.options import SourceWeights
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

_DEFAULT = PretrainingConfig()
_SUFFIXES = {"k": 1_000, "m": 1_000_000}


def pretrain_command(
    corpus: Annotated[
        str,
        typer.Option(
            help="Folder of NAME.txt[.xz]: a sentence a line, a blank line a document; or a Hub "
            "data set, as OWNER/NAME, /CONFIG where it has one, @REVISION and :COLUMN in one word."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the run; rerun the command to resume it.")],
    start: Annotated[
        str | None,
        typer.Option(
            "--from", help="BERT to continue: alias, Hub id or folder. Without it: from nothing."
        ),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Of a Hub id given to --from.")] = None,
    objective: Annotated[Objective, typer.Option(help="What is learnt.")] = _DEFAULT.objective,
    sentence_weight: Annotated[
        float, typer.Option(help="Of the sentence loss's gradient, clipped by itself.")
    ] = _DEFAULT.sentence_weight,
    negatives: Annotated[
        Negatives, typer.Option(help="Where a segment is from that does not follow.")
    ] = _DEFAULT.negatives,
    freeze: Annotated[Freeze, typer.Option(help="What is not trained.")] = _DEFAULT.freeze,
    pooler: Annotated[
        Pooler, typer.Option(help="Keep the checkpoint's pooler and sentence head, or draw them.")
    ] = _DEFAULT.pooler,
    layers: Annotated[
        int | None, typer.Option(help="Number of layers, from nothing: by default 4.")
    ] = None,
    hidden: Annotated[
        int | None, typer.Option(help="Hidden size, from nothing: by default 256.")
    ] = None,
    heads: Annotated[
        int | None, typer.Option(help="Attention heads a layer, from nothing: by default 4.")
    ] = None,
    vocab_size: Annotated[
        int | None, typer.Option(help="Word pieces, from nothing: by default 8192.")
    ] = None,
    length: Annotated[int, typer.Option(help="Tokens a sequence.")] = _DEFAULT.length,
    batch_size: Annotated[
        int, typer.Option(help="Sequences a step, over all processes.")
    ] = _DEFAULT.batch_size,
    steps: Annotated[int | None, typer.Option(help="Updates in all.")] = None,
    tokens: Annotated[
        str | None,
        typer.Option(help="In place of --steps: tokens in all, padding counted, such as 2M."),
    ] = None,
    until_loss: Annotated[
        float, typer.Option(help="Stop at a held-out MLM loss this low, looked at now and then.")
    ] = _DEFAULT.until_loss,
    snapshots: Annotated[
        str, typer.Option(help="Tokens after which the encoder is kept: 0,250k,500k,1M.")
    ] = "",
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = _DEFAULT.learning_rate,
    decay: Annotated[Decay, typer.Option(help="The rate after the warm-up.")] = _DEFAULT.decay,
    dropout: Annotated[float, typer.Option(help="In hidden and attention.")] = _DEFAULT.dropout,
    source_weight: SourceWeights = None,
    seed: Annotated[int, typer.Option(help="Of weights, data order and masks.")] = _DEFAULT.seed,
    dtype: Annotated[Precision, typer.Option(help="Number format.")] = Precision.AUTO,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    micro_batches: Annotated[
        int, typer.Option(help="Parts each process cuts its share of a batch into.")
    ] = 1,
) -> None:
    """Train a BERT with a chosen objective, from an encoder or from nothing.

    In one process, or in many under torchrun.
    """
    from probing.pretraining.trainer import Schedule
    from probing.pretraining.training import pretrain

    if steps is not None and tokens is not None:
        raise InputError("both --steps and --tokens are given: expected one of them")
    if tokens is not None:
        steps = max(1, round(_tokens(tokens, "--tokens") / (batch_size * length)))
    sizes = {"layers": layers, "hidden": hidden, "heads": heads, "vocabulary_size": vocab_size}
    given = {name: size for name, size in sizes.items() if size is not None}
    if start is not None and given:
        raise InputError(
            f"--from {start} has its own sizes and vocabulary: leave --layers, --hidden, --heads "
            "and --vocab-size out"
        )
    config = PretrainingConfig(
        objective=objective,
        length=length,
        batch_size=batch_size,
        steps=_DEFAULT.steps if steps is None else steps,
        learning_rate=lr,
        decay=decay,
        until_loss=until_loss,
        sentence_weight=sentence_weight,
        negatives=negatives,
        freeze=freeze,
        pooler=pooler,
        dropout=dropout,
        source_weights=source_weights(source_weight or []),
        seed=seed,
        **given,
    )
    schedule = Schedule(
        precision=dtype,
        device=device,
        micro_batches=micro_batches,
        snapshots=tuple(_tokens(part, "--snapshots") for part in snapshots.split(",") if part),
    )
    evaluation = pretrain(config, corpus, out, schedule, start=start, revision=revision)
    accuracy = evaluation.sentence_accuracy
    typer.echo(
        f"{out}: held-out MLM loss {evaluation.mlm_loss:.3f}"
        + (f", sentence accuracy {accuracy:.3f}" if objective.has_sentence_loss else "")
    )


def _tokens(text: str, option: str) -> int:
    """``250k`` → 250,000; ``2M`` → 2,000,000."""
    number = text.strip().lower()
    factor = _SUFFIXES.get(number[-1:], 1)
    try:
        value = float(number[:-1] if factor > 1 else number) * factor
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise InputError(f"{option} {text!r}: expected tokens such as 250000, 250k or 2M")
    return round(value)


def source_weights(options: list[str]) -> tuple[tuple[str, float], ...]:
    """``NAME=6`` → how often the documents of a source are drawn."""
    weights = {}
    for option in options:
        name, _, weight = option.rpartition("=")
        try:
            weights[name] = float(weight)
        except ValueError:
            name = ""
        if not name:
            raise InputError(f"--source-weight {option!r}: expected NAME=NUMBER, such as plos=6")
    return tuple(weights.items())


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
