"""``probing inspect``: what is known of an encoder, in ten lines and without a task."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from probing.commands.options import Device, MaxLength, Revision, WeightForm
from probing.encoding.weight_forms import Weights

if TYPE_CHECKING:
    from probing.encoding.encoder import Encoder


def inspect_command(
    model: Annotated[str, typer.Argument(help="An alias, a Hub id or a folder.", metavar="MODEL")],
    revision: Revision = None,
    device: Device = None,
    max_length: MaxLength = None,
    weights: WeightForm = Weights.SAFETENSORS,
) -> None:
    """Say what an encoder is: layers, length, attention, pooler, how it will be batched."""
    from probing.encoding.encoder import load_encoder

    encoder = load_encoder(
        model, revision=revision, device=device, max_length=max_length, weights=weights
    )
    console = Console(highlight=False, soft_wrap=True)
    for name, fact in facts(encoder).items():
        console.print(f"[bold]{name}[/] {escape(fact)}")


def facts(encoder: "Encoder") -> dict[str, str]:
    """What is known of an encoder, a line each."""
    from probing.claims.verdict import POOLER_STATES

    last = encoder.num_layers
    returned = encoder.behaviour is not None and encoder.behaviour.returns_last_layer
    norm = (
        f"layer {last} is what the model returns, its final norm included"
        if returned
        else f"layer {last} is before the model's final norm"
    )
    attention = (
        "causal: a token sees those before it"
        if encoder.is_causal
        else "bidirectional: a token sees the whole sentence"
    )
    return {
        "model": f"{encoder.name} ({type(encoder.model).__name__}), revision {encoder.revision}",
        "weights": f"SHA-256 {encoder.weight_hash}"
        + (f", adapter of {encoder.adapter}" if encoder.adapter else ""),
        "layers": f"0 to {last}, width {encoder.hidden_size}; {norm}",
        "length": f"{encoder.max_length:,} tokens a sentence",
        "attention": attention,
        "batches": f"{encoder.batching}, filled up with {encoder.tokenizer.pad_token}",
        "poolings": ", ".join(encoder.token_poolings),
        "pooler": f"{encoder.pooler_state}: {POOLER_STATES[str(encoder.pooler_state)]}",
        "made for": "nothing is declared"
        if encoder.tuning is None
        else f"{encoder.tuning}; its own view is {encoder.declared_view or 'none of these'}",
        "runs on": f"{encoder.device}, {str(encoder.dtype).removeprefix('torch.')}",
    }
