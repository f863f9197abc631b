"""The label-free measures of every layer of an encoder, on sentences of one's own."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from probing.encoding.encoder import Encoder
from probing.encoding.extraction import distinct_sentences, extract
from probing.encoding.forward import run_batches
from probing.encoding.tokenization import Batch, tokenize
from probing.encoding.views import Pooling
from probing.errors import InputError
from probing.similarity.label_free import METRICS, curvature, prompt_entropy, view_metrics
from probing.study.settings import check_resampling
from probing.threads import over_views

logger = logging.getLogger(__name__)

FloatArray = NDArray[np.float64]

N_COPIES: Final = 4
"""Noisy copies of each sentence; pairs are the first two."""
N_SENTENCES: Final = 1000
"""Most sentences that are measured: the time of DiME grows with their cube."""
NOISE_SHARE: Final = 0.3
"""Of the words that can be changed, by each of the two kinds of noise."""
SHORTEST: Final = 4
"""Letters of a word that can be changed."""
_FEWEST: Final = 3


def noisy_copies(sentences: Sequence[str], n_copies: int, *, seed: int) -> list[list[str]]:
    """Copies of n sentences with slips of the pen, which leave the meaning as it is.

    Of a sentence's words of `SHORTEST` letters or more, `NOISE_SHARE`, at least one, are split in
    two at a random place; then, of the words that are left, as large a share has one random letter
    replaced by a letter drawn from all letters of the sentences. This needs no label, word list or
    keyboard, and so works in any language; it is what Skean et al. (2025) do with NLPAug (words
    split, characters replaced, keys mistaken) without the keyboard. Dropping words would change
    what is said, and so what a good layer should see.

    Args:
        sentences: n sentences.
        n_copies: Copies of each.
        seed: Seed of the noise; that of a sentence depends on its place.

    Returns:
        n lists of ``n_copies``. A sentence without such a word is copied as it is.
    """
    letters = sorted("".join(filter(str.isalpha, "".join(sentences).lower())))
    rng = np.random.default_rng(seed)
    return [
        [_with_slips(sentence, letters, rng) for _ in range(n_copies)] for sentence in sentences
    ]


def _with_slips(sentence: str, letters: Sequence[str], rng: np.random.Generator) -> str:
    words = sentence.split()
    for place in _chosen(words, rng):
        cut = int(rng.integers(1, len(words[place])))
        words[place] = f"{words[place][:cut]} {words[place][cut:]}"
    words = " ".join(words).split()
    for place in _chosen(words, rng):
        word = words[place]
        at = int(rng.choice([i for i, letter in enumerate(word) if letter.isalpha()]))
        words[place] = word[:at] + letters[int(rng.integers(len(letters)))] + word[at + 1 :]
    return " ".join(words)


def _chosen(words: Sequence[str], rng: np.random.Generator) -> list[int]:
    """Places of the words that are changed."""
    long = [i for i, word in enumerate(words) if sum(map(str.isalpha, word)) >= SHORTEST]
    n = min(len(long), max(1, round(NOISE_SHARE * len(long))))
    return [int(place) for place in rng.choice(long, size=n, replace=False)] if n else []


def token_metrics(encoder: Encoder, sentences: Sequence[str]) -> dict[str, FloatArray]:
    """The metrics that describe a sentence by its tokens, special tokens included.

    Returns:
        ``curvature`` and ``prompt_entropy`` → ``(num_layers + 1, n_sentences)`` float64; NaN where
        a sentence has fewer than three tokens.
    """
    tokenized = tokenize(encoder, sentences)
    measures = {"curvature": curvature, "prompt_entropy": prompt_entropy}
    found = {name: np.full((encoder.num_layers + 1, len(sentences)), np.nan) for name in measures}

    def measured(batch: Batch) -> tuple[NDArray[np.int64], dict[str, FloatArray]]:
        with torch.inference_mode():
            outputs = encoder.outputs(batch.inputs(encoder.device), output_hidden_states=True)
        mask = batch.attention_mask.to(encoder.device)
        return batch.rows, {
            name: np.array([measure(states, mask) for states in outputs.hidden_states])
            for name, measure in measures.items()
        }

    for rows, values in run_batches(encoder, tokenized, measured):
        for name, of_layers in values.items():
            found[name][:, rows] = of_layers
    return found


def label_free(
    encoder: Encoder,
    sentences: Sequence[str],
    *,
    pooling: str = Pooling.MEAN,
    seed: int = 0,
    cache_dir: Path | str | None = None,
) -> pd.DataFrame:
    """What the layers of an encoder look like without labels (Skean et al. 2025, and others).

    Whether any of these chooses a good layer is another question: ``docs/label-free.md`` has the
    answer for the shipped encoder. `choose` chooses with labels, and with a guarantee.

    Args:
        encoder: From `load_encoder` or `random_twin`.
        sentences: Sentences like those that the layer is wanted for; repeated ones count once. Of
            more than `N_SENTENCES` as many are drawn.
        pooling: Makes a vector of the tokens of a sentence at each layer.
        seed: Seed of the draw, of the noise in the copies (`noisy_copies`) and of DiME.
        cache_dir: As in `extract`.

    Returns:
        A row for each layer, a column for each metric of
        `probing.similarity.label_free.METRICS`. NaN where one is undefined.

    Raises:
        InputError: There are fewer than three distinct sentences, one is empty, ``encoder`` shows
            no layers or lacks the pooling at one.

    >>> task = probing.load_task("sts-mini")
    >>> table = probing.label_free(probing.load_encoder("minilm"), task.sentences1[:60])
    >>> table.shape, table["dime"].idxmax() in table.index
    ((7, 10), True)
    """
    if not isinstance(encoder, Encoder):
        raise InputError(
            f"{encoder!r} shows no layers: expected an encoder that load_encoder gives"
        )
    check_resampling(seed, n_resamples=1)
    distinct, _ = distinct_sentences(sentences)
    if len(distinct) < _FEWEST:
        raise InputError(f"found {len(distinct)} distinct sentences, expected at least {_FEWEST}")
    rng = np.random.default_rng(seed)
    if len(distinct) > N_SENTENCES:
        logger.info("%d of %d sentences are measured", N_SENTENCES, len(distinct))
        drawn = rng.choice(len(distinct), N_SENTENCES, replace=False)
        distinct = [distinct[i] for i in sorted(drawn)]
    views = [f"{pooling}@{layer}" for layer in range(encoder.num_layers + 1)]
    copies = noisy_copies(distinct, N_COPIES, seed=seed)
    together = [*distinct, *(copy for of_one in copies for copy in of_one)]
    vectors = extract(encoder, together, views=views, cache_dir=cache_dir)
    n = len(distinct)

    def of_view(view_id: str) -> dict[str, float]:
        matrix = vectors[view_id]
        return dict(
            view_metrics(
                matrix[:n], matrix[n:].reshape(n, N_COPIES, -1), rng=np.random.default_rng(seed)
            )
        )

    of_tokens = {name: _mean(values) for name, values in token_metrics(encoder, distinct).items()}
    table = pd.DataFrame(over_views(of_view, views)).assign(**of_tokens)
    table.index.name = "layer"
    return table[[metric.name for metric in METRICS]]


def _mean(values: FloatArray) -> FloatArray:
    """Mean over sentences, ``(n_layers,)``; NaN where none is defined."""
    return pd.DataFrame(values).mean(axis="columns").to_numpy()
