"""The forward pass: tokenized sentences to vectors, every layer under every pooling at once."""

import ctypes
import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from probing.encoding.encoder import Encoder
from probing.encoding.onednn import WORTHWHILE_TOKENS
from probing.encoding.pass_setup import Setup, default_setup, set_up
from probing.encoding.pooling import TOKEN_POOLINGS, LayerTokens, TokenMasks, pool_with
from probing.encoding.tokenization import Batch, Tokenized, batches, make_batch
from probing.encoding.views import Pooling, View
from probing.errors import InputError
from probing.threads import in_threads

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

_HIGHEST_THRESHOLD: Final = 2**25
"""Bytes: glibc raises what it keeps of freed memory to twice the size of a block that is freed,
for blocks below this (``M_MMAP_THRESHOLD`` in mallopt(3))."""
_BATCHES_PER_THREAD: Final = 4
"""With fewer, one thread would wait for the last batch of another."""


def encode(
    encoder: Encoder,
    tokenized: Tokenized,
    views: Sequence[View],
    *,
    setup: Setup | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> dict[str, NDArray[np.float32]]:
    """The vectors of tokenized sentences: view id → ``(n_sentences, hidden_size)`` float32.

    ``setup`` says how the passes run, by default as `default_setup` does; ``advance`` is told how
    many sentences each batch had.
    """
    n_tokens = len(tokenized.ids)
    setup = for_so_many(n_tokens, setup or default_setup(encoder))
    vectors = _empty(encoder, tokenized, views)
    _keep_freed_memory()
    with set_up(encoder, setup, n_tokens):
        for n_done in _fill(vectors, encoder, tokenized, views, setup):
            advance(n_done)
    _give_back_freed_memory()
    return {str(view): values for view, values in zip(views, vectors, strict=True)}


def timed(
    encoder: Encoder, tokenized: Tokenized, views: Sequence[View], setup: Setup
) -> tuple[float, NDArray[np.float32]]:
    """Seconds of the passes, and the vectors ``(n_views, n_sentences, hidden_size)``.

    They run as the setup says, however few they are; to set it up is not counted.
    """
    vectors = _empty(encoder, tokenized, views)
    with set_up(encoder, setup, max(WORTHWHILE_TOKENS, len(tokenized.ids))):
        began = time.perf_counter()
        for _ in _fill(vectors, encoder, tokenized, views, setup):
            pass
        return time.perf_counter() - began, vectors


def run_batches(
    encoder: Encoder, tokenized: Tokenized, work: Callable[[Batch], Result]
) -> Iterator[Result]:
    """What ``work`` gives for each batch of the sentences, in order, by `default_setup`.

    Where each thread has a batch, ``work`` is called in several threads.
    """
    n_tokens = len(tokenized.ids)
    setup = for_so_many(n_tokens, default_setup(encoder))
    with set_up(encoder, setup, n_tokens):
        yield from _in_turn(encoder, tokenized, work, setup)


def for_so_many(n_tokens: int, setup: Setup) -> Setup:
    """All threads on one batch where there are too few for a batch per thread to be faster."""
    few = n_tokens < _BATCHES_PER_THREAD * torch.get_num_threads() * setup.batch_tokens
    return replace(setup, per_thread=False) if few else setup


def _in_turn(
    encoder: Encoder, tokenized: Tokenized, work: Callable[[Batch], Result], setup: Setup
) -> Iterator[Result]:
    passes = _passes(encoder, tokenized, setup)
    return in_threads(work, passes) if setup.per_thread else map(work, passes)


def _passes(encoder: Encoder, tokenized: Tokenized, setup: Setup) -> Iterator[Batch]:
    pad_id = encoder.tokenizer.pad_token_id
    return batches(tokenized, pad_id, setup.batch_tokens, encoder.batching)


def _empty(encoder: Encoder, tokenized: Tokenized, views: Sequence[View]) -> NDArray[np.float32]:
    return np.empty((len(views), len(tokenized), encoder.hidden_size), dtype=np.float32)


def _fill(
    vectors: NDArray[np.float32],
    encoder: Encoder,
    tokenized: Tokenized,
    views: Sequence[View],
    setup: Setup,
) -> Iterator[int]:
    """Fill ``vectors``, ``(n_views, n_sentences, hidden_size)``; how many sentences are done."""
    if encoder.device.type == "cuda":
        yield from _fill_from_gpu(vectors, encoder, tokenized, views, setup)
        return

    def fill(batch: Batch) -> int:
        vectors[:, batch.rows] = encode_batch(encoder, batch, views).cpu().numpy()
        return len(batch.rows)

    yield from _in_turn(encoder, tokenized, fill, setup)


def _fill_from_gpu(
    vectors: NDArray[np.float32],
    encoder: Encoder,
    tokenized: Tokenized,
    views: Sequence[View],
    setup: Setup,
) -> Iterator[int]:
    """As `_fill`; the device computes one batch while the one before arrives here."""
    arriving: deque[_Transfer] = deque()
    for rows, values in in_memory_there_is(encoder, tokenized, views, setup):
        arriving.append(_Transfer.start(rows, values))
        del values  # else its memory is held while the next batch is computed
        if len(arriving) > 1:
            arriving.popleft().finish(vectors)
        yield len(rows)
    for transfer in arriving:
        transfer.finish(vectors)


def in_memory_there_is(
    encoder: Encoder, tokenized: Tokenized, views: Sequence[View], setup: Setup
) -> Iterator[tuple[NDArray[np.int64], torch.Tensor]]:
    """Rows and vectors ``(n_views, n_rows, hidden_size)`` of each batch, on the device.

    A batch that does not fit into the memory of the device is halved, and so are all after it. In
    bfloat16 and float16 that can move the last bits of a vector, as any other batch would.
    """
    pad_id = encoder.tokenizer.pad_token_id
    n_parts = 1
    for whole in _passes(encoder, tokenized, setup):
        waiting = deque(np.array_split(whole.rows, min(n_parts, len(whole.rows))))
        while waiting:
            rows = waiting.popleft()
            is_whole = len(rows) == len(whole.rows)
            batch = whole if is_whole else make_batch(tokenized, rows, pad_id)
            try:
                values = encode_batch(encoder, batch, views)
            except torch.OutOfMemoryError:
                values = None
            if values is None:  # not in the handler, where the error still holds the memory
                if len(rows) == 1:
                    raise InputError(
                        f"{encoder.name}: a sentence of {batch.ids.shape[1]} tokens does not fit "
                        f"into the memory of {encoder.device}: use another device or a smaller "
                        "max length"
                    )
                torch.cuda.empty_cache()
                n_parts *= 2
                logger.warning(
                    "%s: a batch does not fit into the memory of %s; batches of %d tokens go on "
                    "in %d parts",
                    encoder.name,
                    encoder.device,
                    setup.batch_tokens,
                    n_parts,
                )
                rest = np.concatenate([rows, *waiting])
                waiting = deque(np.array_split(rest, -(-2 * len(rest) // len(rows))))
                continue
            yield rows, values
            del values


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
    arrived: torch.cuda.Event

    @classmethod
    def start(cls, rows: NDArray[np.int64], values: torch.Tensor) -> "_Transfer":
        host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
        host.copy_(values, non_blocking=True)
        arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
        arrived.record()
        return cls(rows=rows, values=host, arrived=arrived)

    def finish(self, vectors: NDArray[np.float32]) -> None:
        """Put the rows of this batch where they belong: ``(n_views, n_sentences, hidden_size)``."""
        self.arrived.synchronize()
        vectors[:, self.rows] = self.values.numpy()
