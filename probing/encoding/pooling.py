"""Token vectors of one layer to sentence vectors."""

from dataclasses import dataclass

import torch

from probing.encoding.views import TOKEN_POOLINGS, Pooling


@dataclass(frozen=True)
class TokenMasks:
    """Which positions of a batch hold tokens and words, in the form that pooling needs.

    Made once for a batch and used for each of its layers: nothing here waits for the device.
    """

    weights: torch.Tensor
    """``(n_sentences, 2, n_tokens)`` float32: 1 on tokens, then 1 on words; 0 elsewhere."""
    counts: torch.Tensor
    """``(n_sentences, 2, 1)`` float32: how many tokens and how many words."""
    shortest: int
    """Tokens of the shortest sentence: no position before it is padded."""
    padding: torch.Tensor | None
    """``(n_sentences, n_tokens - shortest, 1)`` bool, True on padding; None where there is none."""

    @classmethod
    def of(
        cls,
        attention_mask: torch.Tensor,
        word_mask: torch.Tensor,
        device: torch.device | None = None,
    ) -> "TokenMasks":
        """Prepare the masks of a batch that is padded on the right.

        Args:
            attention_mask: ``(n_sentences, n_tokens)`` bool, True on every non-padding token.
            word_mask: ``(n_sentences, n_tokens)`` bool, True on non-padding tokens that are not
                special tokens.
            device: Where the layers will be; by default where the masks are.
        """
        weights = torch.stack([attention_mask, word_mask], dim=1).float()
        counts = weights.sum(dim=2, keepdim=True)
        shortest = int(counts[:, 0].min())
        padding = None
        if shortest < attention_mask.shape[1]:
            padding = ~attention_mask[:, shortest:, None]
        if device is not None and device != weights.device:
            weights, counts = (_moved(tensor, device) for tensor in (weights, counts))
            padding = None if padding is None else _moved(padding, device)
        return cls(weights=weights, counts=counts, shortest=shortest, padding=padding)


def pool(hidden: torch.Tensor, masks: TokenMasks) -> dict[Pooling, torch.Tensor]:
    """Pool one layer in every way that any layer has.

    Args:
        hidden: ``(n_sentences, n_tokens, hidden_size)``, any float dtype, padded on the right.
        masks: Of this batch.

    Returns:
        For each of `TOKEN_POOLINGS` a ``(n_sentences, hidden_size)`` float32 tensor; sums are
        accumulated in float32. A sentence without a word token has NaN under ``mean_words``.
    """
    means = torch.bmm(masks.weights, hidden.float()) / masks.counts
    if masks.padding is None:
        maxima = hidden.amax(dim=1)
    else:
        # Only the columns where a sentence has ended are copied and masked.
        tail = hidden[:, masks.shortest :].masked_fill(masks.padding, -torch.inf).amax(dim=1)
        maxima = torch.maximum(hidden[:, : masks.shortest].amax(dim=1), tail)
    pooled = {
        Pooling.CLS: hidden[:, 0].float(),
        Pooling.MEAN: means[:, 0],
        Pooling.MEAN_WORDS: means[:, 1],
        Pooling.MAX: maxima.float(),
    }
    return {pooling: pooled[pooling] for pooling in TOKEN_POOLINGS}


def _moved(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
