"""The forward pass: tokenized sentences to vectors, every layer under every pooling at once."""

import ctypes
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from probing.encoding.encoder import Encoder
from probing.encoding.onednn import packed_linears
from probing.encoding.pooling import TOKEN_POOLINGS, LayerTokens, TokenMasks, pool_with
from probing.encoding.tokenization import Batch, Tokenized, batches
from probing.encoding.views import Pooling, View
from probing.errors import InputError
from probing.threads import in_threads

BATCH_TOKENS = 1024
"""Padded tokens in one forward pass on a CPU: its activations stay in the cache."""
BATCH_TOKENS_GPU = 32_768
"""Padded tokens in one forward pass on a GPU."""

_HIGHEST_THRESHOLD = 2**25
"""Bytes: glibc raises what it keeps of freed memory to twice the size of a block that is freed,
for blocks below this (``M_MMAP_THRESHOLD`` in mallopt(3))."""


def default_batch_tokens(encoder: Encoder, asked: int | None = None) -> int:
    """Padded tokens in one forward pass: as asked, else as the encoder or the device has it."""
    if asked is not None:
        if asked < 1:
            raise InputError(f"{asked} batch tokens: expected one or more")
        return asked
    if encoder.batch_tokens is not None:
        return encoder.batch_tokens
    return BATCH_TOKENS_GPU if encoder.device.type == "cuda" else BATCH_TOKENS


def encode(
    encoder: Encoder,
    tokenized: Tokenized,
    views: Sequence[View],
    *,
    batch_tokens: int | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> dict[str, NDArray[np.float32]]:
    """The vectors of tokenized sentences: view id → ``(n_sentences, hidden_size)`` float32.

    ``advance`` is told how many sentences each batch had.
    """
    shape = (len(views), len(tokenized), encoder.hidden_size)
    vectors = np.empty(shape, dtype=np.float32)
    batch_tokens = default_batch_tokens(encoder, batch_tokens)
    _keep_freed_memory()
    passes = batches(tokenized, encoder.tokenizer.pad_token_id, batch_tokens, encoder.batching)
    with packed_linears(encoder.model, batch_tokens, len(tokenized.ids)):
        if _fills_threads(encoder, len(tokenized.ids) / batch_tokens):

            def fill(batch: Batch) -> int:
                vectors[:, batch.rows] = encode_batch(encoder, batch, views).numpy()
                return len(batch.rows)

            for n_done in in_threads(fill, passes):
                advance(n_done)
        else:
            arriving: deque[_Transfer] = deque()
            for batch in passes:
                arriving.append(_Transfer.start(batch.rows, encode_batch(encoder, batch, views)))
                if len(arriving) > 1:  # the device computes this batch while the last one arrives
                    arriving.popleft().finish(vectors)
                advance(len(batch.rows))
            for transfer in arriving:
                transfer.finish(vectors)
    _give_back_freed_memory()
    return {str(view): values for view, values in zip(views, vectors, strict=True)}


def _keep_freed_memory() -> None:
    """Let the C library keep what one layer frees for the next one.

    Otherwise it gives the memory back to the system and has it cleared again, layer by layer: a
    twentieth of the forward pass on a CPU. Elsewhere than under glibc this does nothing.
    """
    torch.empty(_HIGHEST_THRESHOLD - 2**16, dtype=torch.uint8)  # made and freed, never touched


def _give_back_freed_memory() -> None:
    """Let glibc give back what `_keep_freed_memory` made it keep.

    Otherwise that grows, in pieces that fit less and less, from shard to shard of a store.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries lack it
        if trim is not None:
            trim(0)


def _fills_threads(encoder: Encoder, n_batches: float) -> bool:
    """Whether a batch per thread is faster than all threads on each: a quarter so on two cores."""
    compiled = hasattr(encoder.model, "_orig_mod")  # its first call compiles it
    on_cpu = encoder.device.type == "cpu"
    return on_cpu and not compiled and n_batches >= 4 * torch.get_num_threads()


@torch.inference_mode()
def encode_batch(encoder: Encoder, batch: Batch, views: Sequence[View]) -> torch.Tensor:
    """One batch: ``(n_views, n_sentences, hidden_size)`` float32 on the encoder's device."""
    masks = TokenMasks.of(batch.attention_mask, batch.word_mask, encoder.device)
    outputs = encoder.outputs(batch.inputs(encoder.device), output_hidden_states=True)
    layers = [LayerTokens(hidden, masks) for hidden in outputs.hidden_states]
    mask = batch.attention_mask.to(encoder.device) if encoder.poolings else batch.attention_mask
    vectors = []
    for view in views:
        layer = layers[view.layers[0]]
        if view.pooling in encoder.poolings:
            own = encoder.poolings[view.pooling]
            vectors.append(pool_with(view.pooling, own, layer.hidden, mask))
        elif view.pooling == Pooling.POOLER:
            vectors.append(outputs.pooler_output.float())
        elif view.pooling == Pooling.POOLER_DENSE and encoder.pooler_dense is not None:
            first_token = layer.hidden[:, 0]
            weight = encoder.pooler_dense.weight
            vectors.append(encoder.pooler_dense(first_token.to(weight.dtype)).float())
        else:
            vectors.append(TOKEN_POOLINGS[view.pooling](layer))
    return torch.stack(vectors)


@dataclass(frozen=True)
class _Transfer:
    """Pooled vectors of one batch on their way from the device."""

    rows: NDArray[np.int64]
    values: torch.Tensor
    arrived: torch.cuda.Event | None

    @classmethod
    def start(cls, rows: NDArray[np.int64], values: torch.Tensor) -> "_Transfer":
        if values.device.type != "cuda":
            return cls(rows=rows, values=values.cpu(), arrived=None)
        host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
        host.copy_(values, non_blocking=True)
        arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
        arrived.record()
        return cls(rows=rows, values=host, arrived=arrived)

    def finish(self, vectors: NDArray[np.float32]) -> None:
        """Put the rows of this batch where they belong: ``(n_views, n_sentences, hidden_size)``."""
        if self.arrived is not None:
            self.arrived.synchronize()
        vectors[:, self.rows] = self.values.numpy()
