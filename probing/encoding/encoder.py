"""A loaded encoder: model, tokenizer and what is known about its pooler."""

import hashlib
import logging
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from probing.encoding.dtypes import Dtype
from probing.encoding.locating import Checkpoint, find_checkpoint
from probing.encoding.pooling import TOKEN_POOLINGS, PoolingFunction
from probing.encoding.views import Pooling, View
from probing.encoding.weight_forms import Weights
from probing.errors import InputError
from probing.results.names import twin_name

logger = logging.getLogger(__name__)

# What transformers and tokenizers raise for a checkpoint that they cannot read.
_UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    ImportError,
    RuntimeError,
    EOFError,
    SafetensorError,
    pickle.UnpicklingError,
)


_VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")


class PoolerState(StrEnum):
    """Where the weights of an encoder's pooler come from."""

    TRAINED = "trained"
    """The checkpoint has it and its bias has moved away from zero."""
    UNTRAINED = "untrained"
    """The checkpoint has it, but its bias is exactly as initialised: zero in every unit."""
    NEWLY_INITIALISED = "newly initialised"
    """The checkpoint lacks it and the loader made it up: random numbers."""
    ABSENT = "absent"
    """The architecture has none, so there is no pooler_output."""


@dataclass(frozen=True)
class Encoder:
    """A Hugging Face encoder in evaluation mode with its fast tokenizer.

    Sentences are padded on the right and truncated to ``max_length`` tokens, special tokens
    included. ``weight_hash`` and ``tokenizer_hash`` are SHA-256 hex digests.
    """

    name: str
    """The name the user gave; ``name+random`` for a random-weight twin."""
    model: torch.nn.Module
    tokenizer: Any
    revision: str
    weight_hash: str
    tokenizer_hash: str
    pooler_state: PoolerState
    dtype: torch.dtype
    device: torch.device
    max_length: int
    num_layers: int
    hidden_size: int
    poolings: Mapping[str, PoolingFunction] = field(default_factory=dict, repr=False)
    """A researcher's own poolings by name, applied to every layer."""
    batch_tokens: int | None = None
    """Padded tokens in one forward pass; None for what suits the device."""

    @property
    def views(self) -> tuple[View, ...]:
        """Every view of this encoder: layers × poolings, then the pooler's, where present."""
        views = [
            View((layer,), pooling)
            for layer in range(self.num_layers + 1)
            for pooling in (*TOKEN_POOLINGS, *self.poolings)
        ]
        if self.pooler_dense is not None:
            views.append(View((self.num_layers,), Pooling.POOLER_DENSE))
        if self.pooler_state is not PoolerState.ABSENT:
            views.append(View((self.num_layers,), Pooling.POOLER))
        return tuple(views)

    @property
    def pooler_dense(self) -> torch.nn.Linear | None:
        """The pooler's dense layer ``W h_cls + b``; None where there is none."""
        return _pooler_dense(self.model)

    def outputs(self, inputs: Mapping[str, torch.Tensor], **options: bool) -> Any:
        """What the model returns for the inputs of a batch, its products in this dtype.

        All that runs the encoder as it is goes through here; ``options`` are the model's own, such
        as ``output_hidden_states``.
        """
        in_bfloat16 = self.dtype == torch.bfloat16
        with torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=in_bfloat16, cache_enabled=False
        ):
            return self.model(**inputs, **options)


def load_encoder(
    name: str | Path,
    revision: str | None = None,
    dtype: str = "float32",
    device: str | None = None,
    max_length: int | None = None,
    weights: str = Weights.SAFETENSORS,
) -> Encoder:
    """Load any encoder that `transformers.AutoModel` knows.

    Args:
        name: An alias (``minilm``), a Hub id, or a folder written by ``save_pretrained``.
        revision: Commit, tag or branch of a Hub id. The commit that was found is recorded.
        dtype: ``float32``, ``bfloat16`` or ``auto`` (`Dtype`).
        device: A torch device such as ``cpu`` or ``cuda:0``; by default CUDA where there is one.
        max_length: Tokens per sentence, special tokens included; by default what the model allows.
        weights: ``safetensors``, or ``restricted-pickle`` to read ``pytorch_model.bin`` where there
            is nothing else (`probing.encoding.weight_forms.Weights`).

    Raises:
        InputError: The name is unknown, the Hub cannot be reached, the folder has no safetensors
            weights, the hash is wrong, the checkpoint lacks weights of the encoder itself, or an
            argument is out of range.

    >>> encoder = probing.load_encoder("minilm")
    >>> encoder.num_layers, encoder.hidden_size, str(encoder.pooler_state)
    (6, 384, 'untrained')
    """
    torch_device = _device(device)
    torch_dtype = _dtype(dtype, torch_device)
    checkpoint = find_checkpoint(str(name), revision, weights)
    tokenizer = _load_tokenizer(checkpoint)
    model, pooler_state = _load_model(checkpoint)
    model = _with_products_in(torch_dtype, model).to(torch_device).eval()
    config: Any = model.config
    if len(tokenizer) > config.vocab_size:
        raise InputError(
            f"the tokenizer of {checkpoint.name} has {len(tokenizer)} tokens and the model "
            f"{config.vocab_size}: expected the tokenizer that the model was trained with"
        )
    return Encoder(
        name=checkpoint.name,
        model=model,
        tokenizer=tokenizer,
        revision=checkpoint.revision,
        weight_hash=checkpoint.weight_hash,
        tokenizer_hash=hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest(),
        pooler_state=pooler_state,
        dtype=torch_dtype,
        device=torch_device,
        max_length=_max_length(model, tokenizer, max_length, checkpoint),
        num_layers=config.num_hidden_layers,
        hidden_size=config.hidden_size,
    )


def random_twin(encoder: Encoder, seed: int) -> Encoder:
    """The same architecture, tokenizer and settings with weights drawn anew from ``seed``.

    The study's main control: what a view scores here it owes to the architecture and the word
    pieces, not to training.

    >>> probing.random_twin(probing.load_encoder("minilm"), seed=0).name
    'minilm+random'
    """
    config: Any = encoder.model.config
    with _seeded(seed):
        model = AutoModel.from_config(config, dtype=torch.float32, trust_remote_code=False)
    model = _with_products_in(encoder.dtype, model).to(encoder.device).eval()
    return replace(
        encoder,
        name=twin_name(encoder.name),
        model=model,
        revision=f"random:{seed}",
        weight_hash=_state_hash(model),
        pooler_state=_pooler_state(model, missing=()),
    )


def _load_model(checkpoint: Checkpoint) -> tuple[torch.nn.Module, PoolerState]:
    try:
        # A pooler that the checkpoint lacks is drawn by the loader: seeded, so that it is the same
        # made-up pooler in every run.
        with _quiet(), _seeded(0):
            model, report = AutoModel.from_pretrained(
                checkpoint.folder,
                dtype=torch.float32,
                use_safetensors=checkpoint.weights is Weights.SAFETENSORS,
                weights_only=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
            )
    except _UNREADABLE as error:
        raise _not_an_encoder(checkpoint, error) from error
    if getattr(model.config, "is_encoder_decoder", False):
        raise InputError(
            f"{checkpoint.name} is an encoder-decoder ({model.config.model_type}): expected an "
            "encoder such as BERT, RoBERTa or ModernBERT"
        )
    missing = sorted(report["missing_keys"])
    mismatched = sorted(str(key) for key in report.get("mismatched_keys", ()))
    body = [key for key in missing if "pooler" not in key] + mismatched
    if body:
        raise InputError(
            f"the checkpoint of {checkpoint.name} lacks {len(body)} weights of the encoder "
            f"({body[0]}, …): they would be random numbers; use a complete checkpoint"
        )
    return model, _pooler_state(model, missing=missing)


def _with_products_in(dtype: torch.dtype, model: torch.nn.Module) -> torch.nn.Module:
    """The same model with its weights in ``dtype``, but embeddings and norms in float32.

    With all of it in bfloat16, the ``[CLS]`` vectors of the lower layers, which hardly differ from
    sentence to sentence, would lose what they differ in.
    """
    for module in model.modules():
        # Many models have norms of their own, which share nothing but the name.
        if not (isinstance(module, torch.nn.Embedding) or "Norm" in type(module).__name__):
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(dtype)
    return model


def _not_an_encoder(checkpoint: Checkpoint, error: BaseException) -> InputError:
    return InputError(
        f"{checkpoint.folder} cannot be loaded as an encoder ({_first_line(error)}): expected a "
        "model that transformers.AutoModel knows, with safetensors weights and no code of its own"
    )


def _load_tokenizer(checkpoint: Checkpoint) -> Any:
    # transformers makes up an empty vocabulary where there is none
    if not any(any(checkpoint.folder.glob(pattern)) for pattern in _VOCABULARIES):
        raise InputError(
            f"{checkpoint.folder} has no tokenizer: expected tokenizer.json or the vocabulary "
            "files beside the weights"
        )
    try:
        with _quiet():
            config = AutoConfig.from_pretrained(
                checkpoint.folder, local_files_only=True, trust_remote_code=False
            )
    except _UNREADABLE as error:
        raise _not_an_encoder(checkpoint, error) from error
    try:
        with _quiet():
            tokenizer = AutoTokenizer.from_pretrained(
                checkpoint.folder,
                config=config,
                local_files_only=True,
                trust_remote_code=False,
                use_fast=True,
            )
    except _UNREADABLE as error:
        raise InputError(
            f"{checkpoint.folder} has no tokenizer that can be loaded ({_first_line(error)}): "
            "expected tokenizer.json or the vocabulary files beside the weights"
        ) from error
    if not getattr(tokenizer, "is_fast", False) or tokenizer.pad_token_id is None:
        lacks = "no padding token" if getattr(tokenizer, "is_fast", False) else "no fast form"
        raise InputError(
            f"the tokenizer of {checkpoint.name} has {lacks}: expected that of an encoder such as "
            "BERT, with tokenizer.json"
        )
    tokenizer.padding_side = "right"
    tokenizer.truncation_side = "right"
    return tokenizer


def _pooler_dense(model: torch.nn.Module) -> torch.nn.Linear | None:
    pooler = getattr(model, "pooler", None)
    dense = getattr(pooler, "dense", pooler)  # ALBERT's pooler is the dense layer itself
    return dense if isinstance(dense, torch.nn.Linear) else None


def _pooler_state(model: torch.nn.Module, missing: list[str] | tuple[str, ...]) -> PoolerState:
    if getattr(model, "pooler", None) is None:
        return PoolerState.ABSENT
    if any("pooler" in key for key in missing):
        return PoolerState.NEWLY_INITIALISED
    dense = _pooler_dense(model)
    if dense is not None and dense.bias is not None and not dense.bias.any():
        return PoolerState.UNTRAINED
    return PoolerState.TRAINED


def _max_length(
    model: torch.nn.Module, tokenizer: Any, requested: int | None, checkpoint: Checkpoint
) -> int:
    config: Any = model.config
    limits = [tokenizer.model_max_length]
    positions = getattr(config, "max_position_embeddings", None)
    if positions:
        table = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
        padding = getattr(table, "padding_idx", None)
        # RoBERTa and MPNet number positions from padding_idx + 1
        limits.append(positions if padding is None else positions - padding - 1)
    limit = int(min(limits))
    shortest = tokenizer.num_special_tokens_to_add() + 1
    if requested is None:
        return limit
    if not shortest <= requested <= limit:
        raise InputError(
            f"max_length {requested} does not fit {checkpoint.name}: expected {shortest} to {limit}"
        )
    return requested


def _device(device: str | None) -> torch.device:
    try:
        chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"device {device!r} is not to be had here ({_first_line(error)}): use cpu"
        ) from error
    return chosen


def _dtype(dtype: str, device: torch.device) -> torch.dtype:
    if dtype not in list(Dtype):
        raise InputError(f"unknown dtype {dtype!r}: expected one of {', '.join(Dtype)}")
    if dtype == Dtype.FLOAT32:
        return torch.float32
    if dtype == Dtype.BFLOAT16 or _computes_in_bfloat16(device):
        return torch.bfloat16
    return torch.float32


def _computes_in_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return False


def _state_hash(model: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for key, tensor in sorted(model.state_dict().items()):
        digest.update(key.encode())
        digest.update(tensor.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draw from ``seed`` inside, and leave the caller's random state as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the loader's tables and bars off the terminal; what matters is reported by us."""
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def _first_line(error: BaseException) -> str:
    if isinstance(error, pickle.UnpicklingError):
        return "its pickle holds something else than tensors, or is damaged"
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
