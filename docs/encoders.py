"""``docs/encoders.md``: every architecture of the installed transformers, tried as an encoder.

Each is made from a tiny configuration with random weights, saved, loaded by `load_encoder` and held
against the model itself on single sentences. Run ``python docs/encoders.py`` to write the table,
``python docs/encoders.py bert gpt2`` to try some.
"""

import logging
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

from probing.encoding.encoder import Encoder, load_encoder
from probing.encoding.extraction import extract
from probing.encoding.pooler_state import PoolerState
from probing.errors import InputError

PAGE: Final = Path(__file__).with_name("encoders.md")
SENTENCES: Final = (
    "the cat sat on the mat",
    "a dog runs",
    "the unlikely dog is not running, is it?",
    "red and big dogs are small dogs",
    "no",
)
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
_WORDS: Final = (
    *("the", "a", "cat", "dog", "sat", "on", "mat", "run", "un", "not", "is", "big", "small"),
    *("red", "it", "and", "are", "no"),
)
_POOLERS: Final = {
    PoolerState.ABSENT: "no pooler",
    PoolerState.WITHOUT_WEIGHTS: "a pooler without weights",
    PoolerState.END_OF_TEXT: "the end of the text for a pooler",
}
_SPECIAL: Final = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_SIZES: Final[dict[str, Any]] = {
    "hidden_size": 16,
    "d_model": 16,
    "dim": 16,
    "n_embd": 16,
    "emb_dim": 16,
    "num_hidden_layers": 2,
    "num_layers": 2,
    "n_layer": 2,
    "n_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "num_heads": 2,
    "n_head": 2,
    "n_heads": 2,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "ffn_dim": 32,
    "d_ff": 32,
    "d_kv": 8,
    "d_inner": 32,
    "head_dim": 8,
    "intermediate_size": 32,
    "hidden_dim": 32,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
    "num_experts": 2,
    "num_local_experts": 2,
    "n_routed_experts": 2,
    "num_experts_per_tok": 1,
    "embedding_size": 16,
    "max_position_embeddings": 64,
    "n_positions": 64,
    "initializer_range": 0.2,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "attention_window": 8,
    "layer_types": None,
}


@dataclass(frozen=True)
class Tried:
    """One architecture and what came of it."""

    architecture: str
    outcome: str
    """``right``, ``refused``, ``not made`` or ``wrong``."""
    said: str


def try_architecture(name: str, folder: Path) -> Tried:
    """Make, load and compare a tiny model of one architecture (``bert``, ``gpt2``, ...)."""
    try:
        _save_tiny(name, folder)
    except Exception as error:  # an architecture may ask for anything
        return Tried(name, "not made", _line(error))
    try:
        encoder = load_encoder(folder)
        distance = _farthest(encoder)
    except InputError as error:
        return Tried(name, "refused", str(error).replace(f"{folder}", name).replace("|", "/"))
    except Exception as error:  # would reach the user as an internal error
        return Tried(name, "wrong", _line(error))
    said = ", ".join(
        (
            "causal" if encoder.is_causal else "bidirectional",
            f"batched {encoder.batching}",
            _POOLERS.get(encoder.pooler_state, "a pooler"),
        )
    )
    return Tried(name, "right" if distance <= 1e-4 else "wrong", said)


def _save_tiny(name: str, folder: Path) -> None:
    vocabulary = [*_SPECIAL, *_LETTERS, *(f"##{letter}" for letter in _LETTERS), ".", ",", "?"]
    vocabulary += _WORDS
    tokenizer = transformers.BertTokenizer(
        vocab={piece: number for number, piece in enumerate(dict.fromkeys(vocabulary))}
    )
    tokenizer.model_max_length = 64
    config_class = CONFIG_MAPPING[name]
    known = set(config_class().to_dict())
    sizes = {key: value for key, value in _SIZES.items() if key in known and value is not None}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = config_class(**sizes, vocab_size=len(tokenizer))
        if _parameters(config) > 50_000_000:
            raise ValueError("its configuration has no sizes that can be set by their usual names")
        model = transformers.AutoModel.from_config(config)
        for key, parameter in model.named_parameters():
            if key.endswith("bias"):
                torch.nn.init.normal_(parameter, std=0.1)
    if config.is_encoder_decoder and hasattr(
        transformers, f"{type(model).__name__[:-5]}EncoderModel"
    ):
        model = getattr(transformers, f"{type(model).__name__[:-5]}EncoderModel")(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _parameters(config: Any) -> int:
    with torch.device("meta"):
        model = transformers.AutoModel.from_config(config)
    return sum(parameter.numel() for parameter in model.parameters())


def _farthest(encoder: Encoder) -> float:
    """The largest distance from the model by hand, as a share of a token's length.

    Less what float32 itself loses: the distance of the model by hand from itself in float64.
    """
    found = extract(encoder, SENTENCES)
    by_hand = [_by_hand(encoder, sentence) for sentence in SENTENCES]
    try:
        encoder.model.double()
        exact = [_by_hand(encoder, sentence) for sentence in SENTENCES]
    except RuntimeError:  # some compute in float32 whatever the weights are
        exact = by_hand
    encoder.model.float()
    farthest = 0.0
    for row, (single, double) in enumerate(zip(by_hand, exact, strict=True)):
        for view_id, (expected, length) in single.items():
            lost = np.linalg.norm(expected - double[view_id][0])
            distance = np.linalg.norm(found[view_id][row] - expected) - lost
            farthest = max(farthest, float(distance / (length + 1e-6)))
    return farthest


@torch.inference_mode()
def _by_hand(encoder: Encoder, sentence: str) -> dict[str, tuple[Any, float]]:
    """View id → vector and mean length of a token's vector: the model on this sentence alone."""
    ids = encoder.tokenizer(
        sentence, truncation=True, max_length=encoder.max_length, return_tensors="pt"
    )["input_ids"]
    model: Any = encoder.model
    outputs = model(input_ids=ids.to(encoder.device), output_hidden_states=True)
    vectors: dict[str, tuple[Any, float]] = {}
    for layer, hidden in enumerate(outputs.hidden_states):
        tokens = hidden[0].double().cpu().numpy()
        # a mean of tokens may all but vanish
        length = float(np.linalg.norm(tokens, axis=1).mean())
        pooled = {"mean": tokens.mean(axis=0), "max": tokens.max(axis=0)}
        if encoder.is_causal:
            pooled["last"] = tokens[-1]
        elif encoder.has_cls:
            pooled["cls"] = tokens[0]
        vectors |= {f"{name}@{layer}": (vector, length) for name, vector in pooled.items()}
    return vectors


def _line(error: BaseException) -> str:
    text = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {text}"[:120].replace("|", "/")


def page(tried: list[Tried]) -> str:
    """The table as Markdown."""
    counts = Counter(one.outcome for one in tried)
    made = len(tried) - counts["not made"]
    summary = f"""# Which encoders load

Every architecture of transformers {transformers.__version__} that `AutoModel` knows and that a tiny
configuration can make was tried with random weights: saved, loaded by `load_encoder` and held
against the model itself on single sentences, every layer, to 1e-4 of a token vector's length. This
page is written by `python docs/encoders.py`.

{made} made: {counts["right"]} right, {counts["refused"]} refused in one line, {counts["wrong"]}
wrong. {counts["not made"]} architectures are of images, sound or several parts, or have no sizes
that can be set by their usual names.
"""
    lines = [
        summary,
        "| architecture | outcome | what is said |",
        "|---|---|---|",
    ]
    order = {"wrong": 0, "right": 1, "refused": 2}
    shown = sorted(
        (one for one in tried if one.outcome in order),
        key=lambda one: (order[one.outcome], one.architecture),
    )
    lines += [f"| {one.architecture} | {one.outcome} | {one.said} |" for one in shown]
    names = ", ".join(one.architecture for one in tried if one.outcome == "not made")
    return "\n".join([*lines, "", f"Not made: {names}.", ""])


def _quietly(name: str) -> Tried:
    logging.disable(logging.WARNING)
    transformers.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as folder:
        return try_architecture(name, Path(folder))


def main(names: list[str]) -> None:
    """Try the named architectures, or all, and write the page where all were tried."""
    tried = []
    for name in names or sorted(MODEL_MAPPING_NAMES):
        one = _quietly(name)
        tried.append(one)
        print(f"{one.architecture}: {one.outcome}: {one.said}", flush=True)
    if not names:
        PAGE.write_text(page(tried), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
