"""What an encoder does with a few sentences, alone and together: measured when it is loaded.

Nothing here goes by the name of an architecture. An encoder whose vectors move with the sentences
of the batch is given batches in which they do not; one for which there are none is refused.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import torch

from probing.errors import InputError

TOLERANCE: Final = 1e-4
"""How far a token vector may move, as a share of its length, and count as the same."""

_TEXTS: Final = (
    "A cat.",
    "The dog sat on the red mat, and it was not big.",
    "It is not a big dog that ran to the small cat, or is it so?",
)
_LONGEST: Final = 24
"""Tokens of a sentence that is tried."""

Run = Callable[[torch.Tensor, torch.Tensor | None], Any]
"""Token ids ``(n, tokens)`` and mask, or None where nothing is padded → the model's outputs."""


class Batching(StrEnum):
    """Which sentences may share a forward pass without moving each other's vectors."""

    PADDED = "padded"
    """Any: padding is masked."""
    ONE_LENGTH = "one length"
    """Those of one length: this encoder does not mask padding."""
    ALONE = "alone"
    """None: this encoder mixes the sentences of a batch."""


class PoolerOutput(StrEnum):
    """What ``pooler_output`` is."""

    NONE = "none"
    FIRST_TOKEN = "first token"  # noqa: S105
    """The vector at position 0, unchanged."""
    OTHER_TOKEN = "other token"  # noqa: S105
    """The vector of another token, unchanged, such as the end of the text."""
    COMPUTED = "computed"


@dataclass(frozen=True)
class Behaviour:
    """What was measured of an encoder."""

    batching: Batching
    causal: bool
    """Whether a token's vector does not depend on the tokens after it."""
    num_layers: int
    hidden_size: int
    pooler_output: PoolerOutput
    returns_last_layer: bool
    """Whether ``last_hidden_state`` is the last of the hidden states, its final norm included."""


def measure_behaviour(
    run: Run, tokenizer: Any, *, name: str, num_layers: int | None, max_length: int
) -> Behaviour:
    """Try an encoder on a few sentences alone, twice, together and changed.

    Args:
        run: One forward pass in evaluation mode, float32.
        tokenizer: Its fast tokenizer.
        name: Of the encoder, for messages.
        num_layers: As its configuration states; None where it does not.
        max_length: Tokens per sentence that it takes.

    Raises:
        InputError: It fails on a sentence, shows no hidden states or some that do not fit the
            layer convention, or gives other vectors for the same sentence each time.
    """
    sentences = _token_ids(tokenizer, min(max_length, _LONGEST))
    if not sentences:
        raise InputError(f"the tokenizer of {name} makes no tokens of plain English: found none")
    alone = [_layers(run, [ids], None, name) for ids in sentences]
    _check_layers(alone[-1], len(sentences[-1]), name, num_layers)
    again = _layers(run, [sentences[-1]], None, name)
    if not _same(alone[-1][:, 0], again[:, 0]):
        raise InputError(
            f"{name} gives other vectors for the same sentence each time: expected an encoder "
            "without dropout or noise in evaluation mode"
        )
    outputs = run(torch.tensor([sentences[-1]]), None)
    return Behaviour(
        batching=_batching(run, sentences, alone, tokenizer.pad_token_id, name),
        causal=_is_causal(run, sentences[-1], alone[-1], name),
        num_layers=len(alone[-1]) - 1,
        hidden_size=alone[-1].shape[-1],
        pooler_output=_pooler_output(outputs),
        returns_last_layer=_same(
            _last_layer(outputs).float().cpu(), outputs.hidden_states[-1].float().cpu()
        ),
    )


def _token_ids(tokenizer: Any, length: int) -> list[list[int]]:
    """A few sentences of different length, and one more of the same length as the longest."""
    rows = [tokenizer(text, truncation=True, max_length=length)["input_ids"] for text in _TEXTS]
    rows = [list(ids) for ids in rows if len(ids)]
    return sorted(rows, key=len)


def _layers(
    run: Run, rows: Sequence[Sequence[int]], mask: torch.Tensor | None, name: str
) -> torch.Tensor:
    """``(n_layers + 1, n, tokens, hidden_size)`` float32 on the CPU."""
    try:
        states = run(torch.tensor(rows), mask).hidden_states
    except Exception as error:  # an architecture may raise anything
        reason = (str(error).strip().splitlines() or [""])[0]
        raise InputError(
            f"{name} cannot be run on a sentence ({type(error).__name__}: {reason}): expected an "
            "encoder of text alone, such as BERT"
        ) from error
    if not states:
        raise InputError(f"{name} shows no hidden states: expected an encoder such as BERT")
    shapes = [tuple(state.shape) for state in states]
    odd = next((shape for shape in shapes if shape != shapes[0] or len(shape) != 3), None)
    if odd is not None:
        raise InputError(
            f"{name} has hidden states of different shapes, {shapes[0]} and {odd}: expected one "
            "vector of one width for each token at each layer"
        )
    return torch.stack([state.detach().float().cpu() for state in states])


def _check_layers(layers: torch.Tensor, n_tokens: int, name: str, stated: int | None) -> None:
    if layers.shape[2] != n_tokens:
        raise InputError(
            f"{name} gives {layers.shape[2]} vectors for {n_tokens} tokens: expected one for each"
        )
    if stated is not None and len(layers) != stated + 1:
        raise InputError(
            f"{name} states {stated} layers and shows {len(layers)} hidden states: expected the "
            "embedding output and one for each layer"
        )
    if not layers.isfinite().all():
        raise InputError(f"{name} gives vectors that are not finite: its weights are damaged")


def _batching(
    run: Run, sentences: list[list[int]], alone: list[torch.Tensor], pad_id: int, name: str
) -> Batching:
    longest = len(sentences[-1])
    if len({len(ids) for ids in sentences}) > 1:
        filler = [ids + [pad_id] * (longest - len(ids)) for ids in sentences]
        mask = torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids in sentences])
        if _agree(run, filler, mask, [len(ids) for ids in sentences], alone, name):
            return Batching.PADDED
    pair = [sentences[-1], [sentences[-1][0], *sentences[-1][:0:-1]]]
    both = [alone[-1], _layers(run, [pair[1]], None, name)]
    if _agree(run, pair, None, [longest, longest], both, name):
        return Batching.ONE_LENGTH
    return Batching.ALONE


def _agree(
    run: Run,
    rows: list[list[int]],
    mask: torch.Tensor | None,
    lengths: list[int],
    alone: list[torch.Tensor],
    name: str,
) -> bool:
    """Whether sentences together have the vectors that they have alone."""
    try:
        together = _layers(run, rows, mask, name)
    except InputError:  # takes no mask, or no batch
        return False
    return all(
        _same(together[:, row, :length], single[:, 0])
        for row, (length, single) in enumerate(zip(lengths, alone, strict=True))
    )


def _is_causal(run: Run, ids: list[int], alone: torch.Tensor, name: str) -> bool:
    others = [token for token in ids if token != ids[-1]]
    if len(ids) < 2 or not others:
        return False
    changed = _layers(run, [[*ids[:-1], others[-1]]], None, name)
    before, after = alone[:, 0, :-1], changed[:, 0, :-1]
    return _same(before, after) and not _same(alone[:, 0, -1], changed[:, 0, -1])


def _pooler_output(outputs: Any) -> PoolerOutput:
    pooled = getattr(outputs, "pooler_output", None)
    if pooled is None:
        return PoolerOutput.NONE
    tokens = _last_layer(outputs)[0].float()
    if tokens.shape[-1] != pooled.shape[-1]:
        return PoolerOutput.COMPUTED
    found = [row for row, token in enumerate(tokens) if _same(token, pooled[0].float())]
    if not found:
        return PoolerOutput.COMPUTED
    return PoolerOutput.FIRST_TOKEN if 0 in found else PoolerOutput.OTHER_TOKEN


def _last_layer(outputs: Any) -> Any:
    """``(1, tokens, hidden_size)``: what the model returns of its last layer."""
    returned = getattr(outputs, "last_hidden_state", None)
    return outputs.hidden_states[-1] if returned is None else returned


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    distance = (one - other).norm(dim=-1)
    size = torch.maximum(one.norm(dim=-1), other.norm(dim=-1))
    return bool((distance <= TOLERANCE * size + 1e-6).all())
