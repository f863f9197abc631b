"""How a forward pass runs: how much at once, on which threads, by which attention and products.

In float32 no choice moves a vector by more than 1e-5. In fewer bits it moves a vector more, so that
what can do so is in the key of a store (`Setup.what_counts`).
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch

from probing.encoding.encoder import Encoder, bfloat16_units
from probing.encoding.onednn import packable, packed_linears
from probing.errors import InputError

BATCH_TOKENS: Final = 1024
"""Padded tokens in one forward pass on a CPU: its activations stay in the cache."""
BATCH_TOKENS_GPU: Final = 32_768
"""The same on a GPU with enough memory."""
_LEAST_TOKENS_GPU: Final = 512
_SHORTEST: Final = 4
"""Tokens of a short sentence: how many vectors are made of so many tokens at most."""


@dataclass(frozen=True)
class Setup:
    """How a forward pass runs."""

    batch_tokens: int
    """Padded tokens in one forward pass, at least one sentence."""
    per_thread: bool
    """A batch for each thread; else all threads work on one batch."""
    attention: str
    """The implementation of transformers: ``sdpa`` is one kernel, ``eager`` plain products; empty
    where the model has but its own."""
    packed: bool
    """Weights of linear layers are laid out once (`probing.encoding.onednn`): the same bits."""

    def __str__(self) -> str:
        return f"{self.what_counts}, {'packed' if self.packed else 'plain'} linear layers"

    @property
    def what_counts(self) -> str:
        """What of it can change the last bits of a vector."""
        threads = "a batch per thread" if self.per_thread else "one batch at a time"
        attention = f"{self.attention or 'its own'} attention"
        return f"{self.batch_tokens} tokens a batch, {threads}, {attention}"


def default_setup(encoder: Encoder, batch_tokens: int | None = None) -> Setup:
    """How a forward pass runs where nothing was measured.

    On a GPU it goes by the memory that is free, and so may differ where another process holds most
    of it.

    Args:
        encoder: The encoder.
        batch_tokens: As the user asked; else as the encoder or the device has it.

    Raises:
        InputError: Fewer than one token was asked for.
    """
    if batch_tokens is not None and batch_tokens < 1:
        raise InputError(f"{batch_tokens} batch tokens: expected one or more")
    usual, per_thread = _usual(encoder)
    return Setup(
        batch_tokens=batch_tokens or encoder.batch_tokens or usual,
        per_thread=per_thread,
        attention=_attention(encoder.model),
        packed=bool(packable(encoder.model)),
    )


@contextmanager
def set_up(encoder: Encoder, setup: Setup, n_tokens: int) -> Iterator[None]:
    """Inside, the model runs as the setup says; afterwards it is as before.

    ``n_tokens`` are the tokens of all passes.
    """
    model: Any = encoder.model
    before = _attention(model)
    with ExitStack() as stack:
        if setup.attention != before:
            model.set_attn_implementation(setup.attention)
            stack.callback(model.set_attn_implementation, before)
        if setup.packed:
            stack.enter_context(packed_linears(model, setup.batch_tokens, n_tokens))
        yield


def is_compiled(encoder: Encoder) -> bool:
    """Whether the model went through ``torch.compile``, which decides much of this itself."""
    return hasattr(encoder.model, "_orig_mod")


def tokens_that_fit(
    free_bytes: int,
    *,
    hidden_size: int,
    intermediate_size: int,
    num_layers: int,
    n_views: int,
    product_bytes: int,
) -> int:
    """Padded tokens whose forward pass takes at most half of the memory that is free.

    A power of two, so that a little more or less of free memory does not change it.

    Args:
        free_bytes: Free memory of the device.
        hidden_size: Width of the hidden states.
        intermediate_size: Width of the feed-forward layer.
        num_layers: Blocks; the hidden states of each are kept until they are pooled.
        n_views: Vectors of each sentence, float32, held twice while they are put together.
        product_bytes: Bytes of a number in a matrix product.
    """
    kept = 4 * hidden_size * (num_layers + 1)
    # of one block at a time: residual, norm and two copies in float32; query, key, value, context
    # and both sides of the activation
    passing = 4 * 4 * hidden_size + product_bytes * (4 * hidden_size + 2 * intermediate_size)
    pooled = 2 * 4 * n_views * hidden_size // _SHORTEST
    fit = free_bytes // 2 // (kept + passing + pooled)
    return int(max(_LEAST_TOKENS_GPU, 2 ** (int(fit).bit_length() - 1) if fit else 0))


def most_tokens(encoder: Encoder) -> int:
    """`tokens_that_fit` of an encoder on its GPU, now."""
    model: Any = encoder.model
    config = model.config
    free, _ = torch.cuda.mem_get_info(encoder.device)
    return tokens_that_fit(
        free,
        hidden_size=encoder.hidden_size,
        intermediate_size=getattr(config, "intermediate_size", None) or 4 * encoder.hidden_size,
        num_layers=encoder.num_layers,
        n_views=len(encoder.views),
        product_bytes=encoder.dtype.itemsize,
    )


def _usual(encoder: Encoder) -> tuple[int, bool]:
    """Tokens in a batch, and whether each thread has one: what suits the device."""
    if encoder.device.type == "cuda":
        if encoder.batch_tokens is not None:
            return encoder.batch_tokens, False
        return min(BATCH_TOKENS_GPU, most_tokens(encoder)), False
    if encoder.device.type != "cpu":
        return BATCH_TOKENS, False
    if encoder.dtype == torch.bfloat16:
        units = bfloat16_units()
        if "amx_bf16" in units:  # its products are fast when they are large
            return 8 * BATCH_TOKENS, False
        if units:
            return 2 * BATCH_TOKENS, not is_compiled(encoder)
    return BATCH_TOKENS, not is_compiled(encoder)


def _attention(model: torch.nn.Module) -> str:
    return getattr(getattr(model, "config", None), "_attn_implementation", None) or ""
