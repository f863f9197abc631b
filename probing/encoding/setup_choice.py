"""Which setup of the forward pass is fastest here, by a measurement that is made once.

A call that is long enough for it has a few setups run on some of its own sentences; what is found
is kept in the cache folder, for this machine, this shape of encoder and texts of this length.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from probing.encoding.description import describe_machine
from probing.encoding.dtypes import Dtype
from probing.encoding.encoder import Encoder, bfloat16_units, computes_in_bfloat16
from probing.encoding.forward import timed
from probing.encoding.pass_setup import (
    BATCH_TOKENS,
    BATCH_TOKENS_GPU,
    Setup,
    default_setup,
    is_compiled,
    most_tokens,
)
from probing.encoding.store.cache import cache_folder, setups_folder
from probing.encoding.tokenization import Tokenized, tokenize
from probing.encoding.views import View
from probing.errors import InputError
from probing.results.writing import write_text

logger = logging.getLogger(__name__)

_LARGE: Final = 2**15
"""Tokens of a call, about: with fewer nothing is measured."""
_SHARE: Final = 0.05
"""Of a call, the measurement takes so much at most …"""
_SECONDS: Final = 4.0
"""… or, on hardware with units for bfloat16, so many seconds."""
_RUNS: Final = 16
"""Runs of the sample that the measurement takes at most, about."""
_MARGIN: Final = 0.05
"""By how much another setup must be faster than the default."""
_HOPELESS: Final = 1.25
"""What takes so many times the best in its first run is not run again."""
_REPEATS: Final = 2
_CHARACTERS_PER_TOKEN: Final = 4
_DRAWN: Final = 4096
"""Sentences that are tokenized for the sample."""
_TOLERANCE: Final = 1e-5
"""How far a float32 vector may move."""
_TYPES: Final = {"batch_tokens": int, "per_thread": bool, "attention": str, "packed": bool}
_COARSE: Final = 0.05
"""The same in bfloat16 and float16, as a share of the largest number: more is no rounding."""


@dataclass(frozen=True)
class _Found:
    """What was found for calls of one kind; a call that was decided is decided in the same way."""

    default_up_to: int = 0
    """Tokens of the longest call that was too short for a measurement: it took the default."""
    setup: Setup | None = None
    """The fastest; None where nothing was measured."""


_found: dict[Path, _Found] = {}
"""What this process goes by: it goes on as it began, whatever becomes of the file."""


def choose_setup(
    encoder: Encoder,
    sentences: Sequence[str],
    views: Sequence[View],
    *,
    batch_tokens: int | None = None,
    n_sentences: int | None = None,
) -> Setup:
    """How a call of the forward pass runs: by measurement where that is worth it, else the default.

    Nothing is measured where batch tokens were asked for or the encoder declares them, where the
    model is compiled, or where the call is short: then the default is taken. What is chosen depends
    on the call and on what was measured first, so that the same call runs the same way again.

    Args:
        encoder: The encoder.
        sentences: The sentences of the call, or some of them.
        views: The views that are kept.
        batch_tokens: As the user asked.
        n_sentences: How many there are in all; by default these.

    Raises:
        InputError: Fewer than one token was asked for.
    """
    usual = default_setup(encoder, batch_tokens)
    if batch_tokens is not None or encoder.batch_tokens is not None or is_compiled(encoder):
        return usual
    lengths = np.fromiter(map(len, sentences), dtype=np.int64, count=len(sentences))
    lengths = (-(-lengths // _CHARACTERS_PER_TOKEN)).clip(max=encoder.max_length)
    n_tokens = int(lengths.mean() * (n_sentences or len(lengths))) if len(lengths) else 0
    if n_tokens < _LARGE:
        return usual
    candidates = other_setups(usual, encoder)
    budget = _tokens_of_sample(usual, candidates)
    is_long = _RUNS * budget <= _SHARE * n_tokens
    if not is_long and not _has_units(encoder):
        return usual
    about = describe_call(encoder, lengths)
    digest = hashlib.sha256(json.dumps(about).encode()).hexdigest()
    path = setups_folder(cache_folder()) / f"{digest[:32]}.json"
    found = _found.get(path) or _kept(path, about)
    if n_tokens > found.default_up_to and found.setup is None:
        sample = _drawn(encoder, sentences, budget)
        if is_long or _RUNS * timed(encoder, sample, views, usual)[0] <= _SECONDS:
            setup, rates = _measured(encoder, sample, views, usual, candidates)
            found = replace(found, setup=setup)
            told = "; ".join(f"{rate:.0f} with {setup}" for setup, rate in rates.items())
            logger.info("%s: measured, in sentences/s: %s", encoder.name, told)
        else:
            found = replace(found, default_up_to=n_tokens)
        _keep(path, about, found)
    _found[path] = found
    chosen = usual if n_tokens <= found.default_up_to else (found.setup or usual)
    logger.info("%s: forward passes have %s", encoder.name, chosen)
    return chosen


def _has_units(encoder: Encoder) -> bool:
    """Whether what this encoder computes is fast here, so that a second may be enough."""
    is_gpu = encoder.device.type == "cuda"
    return is_gpu or (encoder.dtype != torch.float32 and computes_in_bfloat16(encoder.device))


def _tokens_of_sample(usual: Setup, candidates: Sequence[Setup]) -> int:
    """So many that every setup has a whole batch, for every thread where each has its own."""
    n_threads = torch.get_num_threads()
    return max(
        setup.batch_tokens * (n_threads if setup.per_thread else 1)
        for setup in (usual, *candidates)
    )


def describe_call(encoder: Encoder, lengths: NDArray[np.int64]) -> dict[str, Any]:
    """What a choice holds for: the machine, the shape of the encoder, and how long its texts are.

    Lengths count by their median and their 95th percentile, each to a factor of two.
    """
    config: Any = encoder.model.config
    machine = describe_machine()
    return {
        "processor": machine["processor"],
        "units": bfloat16_units(),
        "gpu": machine["gpu"] if encoder.device.type == "cuda" else None,
        "threads": machine["threads"],
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "architecture": type(encoder.model).__name__,
        "layers": encoder.num_layers,
        "hidden size": encoder.hidden_size,
        "intermediate size": getattr(config, "intermediate_size", None),
        "heads": getattr(config, "num_attention_heads", None),
        "batching": str(encoder.batching),
        "dtype": encoder.dtype_name,
        "lengths": [int(length).bit_length() for length in np.percentile(lengths, (50, 95))],
    }


def other_setups(usual: Setup, encoder: Encoder) -> list[Setup]:
    """Setups that may be faster than the default, which differ in what a batch is."""
    if encoder.device.type == "cuda":
        most = most_tokens(encoder)
        sizes = [size for size in (BATCH_TOKENS_GPU // 4, 4 * BATCH_TOKENS_GPU) if size <= most]
        found = [replace(usual, batch_tokens=size) for size in sizes]
    elif encoder.device.type == "cpu":
        found = [
            replace(usual, batch_tokens=size, per_thread=per_thread)
            for size, per_thread in (
                (BATCH_TOKENS // 2, True),
                (BATCH_TOKENS, True),
                (2 * BATCH_TOKENS, True),
                (2 * BATCH_TOKENS, False),
                (4 * BATCH_TOKENS, False),
            )
            if not per_thread or torch.get_num_threads() > 1
        ]
    else:
        found = []
    return [setup for setup in found if setup != usual]


def fastest(
    setups: Sequence[Setup], run: Callable[[Setup], float], seconds: dict[Setup, list[float]]
) -> Setup:
    """The setup with the shortest run, in turns; what is hopeless is run once.

    Args:
        setups: Those that are compared.
        run: Runs the sample: seconds, infinite where the setup cannot be taken.
        seconds: What runs took before, and then also those that are made here.
    """
    for setup in setups:
        seconds.setdefault(setup, []).append(run(setup))
    best = min(min(seconds[setup]) for setup in setups)
    close = [setup for setup in setups if min(seconds[setup]) <= _HOPELESS * best]
    for _ in range(_REPEATS - 1):
        for setup in close:
            seconds[setup].append(run(setup))
    return min(setups, key=lambda setup: min(seconds[setup]))


def choose_from(
    usual: Setup, candidates: Sequence[Setup], run: Callable[[Setup], float]
) -> tuple[Setup, dict[Setup, list[float]]]:
    """The best setup and the seconds of every run: first what a batch is, then each kernel.

    The default is kept unless another is faster by more than the margin.
    """
    seconds: dict[Setup, list[float]] = {}
    best = fastest([usual, *candidates], run, seconds)
    if best.attention == "sdpa":
        best = fastest([best, replace(best, attention="eager")], run, seconds)
    if best.packed:
        best = fastest([best, replace(best, packed=False)], run, seconds)
    if best != usual:
        best = fastest([usual, best], run, seconds)
    is_faster = min(seconds[best]) < (1 - _MARGIN) * min(seconds[usual])
    return (best if is_faster else usual), seconds


def _measured(
    encoder: Encoder,
    sample: Tokenized,
    views: Sequence[View],
    usual: Setup,
    candidates: Sequence[Setup],
) -> tuple[Setup, dict[str, float]]:
    """The best setup, and the sentences per second of each that was run."""
    _, expected = timed(encoder, sample, views, usual)  # warms up

    def run(setup: Setup) -> float:
        taken, vectors = timed(encoder, sample, views, setup)
        return taken if agree(vectors, expected, encoder.dtype_name) else float("inf")

    best, seconds = choose_from(usual, candidates, run)
    return best, {str(setup): len(sample) / min(times) for setup, times in seconds.items()}


def agree(one: NDArray[np.float32], other: NDArray[np.float32], dtype: str) -> bool:
    """Whether vectors are the same but for rounding, which is coarse in less than float32."""
    largest = float(np.nanmax(np.abs(other)))
    tolerance = _TOLERANCE if dtype == Dtype.FLOAT32 else _COARSE * largest
    return bool(np.allclose(one, other, rtol=0, atol=tolerance, equal_nan=True))


def _drawn(encoder: Encoder, sentences: Sequence[str], n_tokens: int) -> Tokenized:
    """Sentences of about so many tokens in all, of nearly one length, as most batches are.

    Half of the tokens of the call are in sentences that are longer.
    """
    some = sentences[:: max(1, len(sentences) // _DRAWN)]
    lengths = tokenize(encoder, some).lengths
    order = np.argsort(lengths, kind="stable")
    ends = np.cumsum(lengths[order])
    middle = ends[-1] // 2
    start = int(np.searchsorted(ends, max(0, middle - n_tokens // 2)))
    stop = int(np.searchsorted(ends, middle + n_tokens // 2)) + 1
    return tokenize(encoder, [some[row] for row in order[start:stop]])


def _kept(path: Path, about: Mapping[str, Any]) -> _Found:
    """What was found before; where the file is damaged, nothing."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["of"] != about:
            raise ValueError(f"it is of {content['of']}")
        fields = content["setup"]
        types = {name: type(value) for name, value in (fields or {}).items()}
        if fields is not None and (types != _TYPES or fields["batch_tokens"] < 1):
            raise ValueError(f"{fields} is no setup")
        setup = None if fields is None else Setup(**fields)
        return _Found(default_up_to=int(content["default up to"]), setup=setup)
    except FileNotFoundError:
        return _Found()
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        logger.warning("%s is damaged (%s): measuring again", path, error)
        return _Found()


def _keep(path: Path, about: Mapping[str, Any], found: _Found) -> None:
    content = {
        "of": about,
        "default up to": found.default_up_to,
        "setup": None if found.setup is None else asdict(found.setup),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(content, indent=1) + "\n")
    except (OSError, InputError) as error:
        logger.warning(
            "what was measured holds for this process only: %s cannot be written (%s)", path, error
        )
