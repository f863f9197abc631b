"""A loaded encoder: model, tokenizer and what is known about its pooler."""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from probing.encoding.adapters import merge_adapter, read_adapter
from probing.encoding.behaviour import Batching, Behaviour, PoolerOutput, measure_behaviour
from probing.encoding.dtypes import Dtype
from probing.encoding.loading import (
    check_vocabulary,
    first_line,
    in_one_line,
    load_model,
    load_tokenizer,
    longest_input,
    random_model,
)
from probing.encoding.locating import find_checkpoint
from probing.encoding.pooler_state import PoolerState, seen_state
from probing.encoding.pooling import EVERY_ENCODER, PoolingFunction
from probing.encoding.tuning import Tuning, read_tuning
from probing.encoding.views import Pooling, View
from probing.encoding.weight_forms import Weights
from probing.errors import InputError
from probing.results.names import twin_name

logger = logging.getLogger(__name__)


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
    pretraining: Mapping[str, Any] | None = field(default=None, repr=False)
    """What the checkpoint's own ``pretraining.json`` says of how it was trained; None without."""
    behaviour: Behaviour | None = None
    """What was measured when it was loaded."""
    has_cls: bool = True
    """Whether position 0 is a special token that sees the sentence."""
    tuning: Tuning | None = None
    """What sentence-transformers says the checkpoint was tuned for."""
    adapter: str = ""
    """Of what base it is an adapter; empty where it is none."""
    batch_tokens: int | None = None
    """Padded tokens in one forward pass; None for what suits the device."""
    tf32: bool = False
    """Whether products of a float32 encoder read 11 bits of each number (`Dtype.TF32`)."""

    @property
    def views(self) -> tuple[View, ...]:
        """Every view of this encoder: layers × poolings, then the pooler's, where present."""
        views = [
            View((layer,), pooling)
            for layer in range(self.num_layers + 1)
            for pooling in (*self.token_poolings, *self.poolings)
        ]
        if self.pooler_dense is not None:
            views.append(View((self.num_layers,), Pooling.POOLER_DENSE))
        if self.pooler_state is not PoolerState.ABSENT:
            views.append(View((self.num_layers,), Pooling.POOLER))
        return tuple(views)

    @property
    def token_poolings(self) -> tuple[str, ...]:
        """The project's poolings that mean something for this encoder.

        Without a ``[CLS]`` that sees the sentence there is no ``cls``; where a token sees only what
        is before it, the last token (``last``) and a mean that weighs later tokens more
        (``wmean``) are added; so is the pooling that the checkpoint was tuned with.
        """
        names = [name for name in EVERY_ENCODER if name != "cls" or self.has_cls]
        names += ["last", "wmean"] * self.is_causal
        names += [] if self.tuning is None else self.tuning.poolings
        return tuple(dict.fromkeys(names))

    @property
    def dtype_name(self) -> str:
        """Of the forward pass: ``float32``, ``bfloat16``, ``float16`` or ``tf32``."""
        return str(Dtype.TF32) if self.tf32 else str(self.dtype).removeprefix("torch.")

    @property
    def is_causal(self) -> bool:
        """Whether a token sees only the tokens before it."""
        return self.behaviour is not None and self.behaviour.causal

    @property
    def batching(self) -> Batching:
        """Which sentences may share a forward pass."""
        return Batching.PADDED if self.behaviour is None else self.behaviour.batching

    @property
    def declared_view(self) -> str | None:
        """The view that the checkpoint was tuned for; None where none is declared."""
        pooling = None if self.tuning is None else self.tuning.pooling
        if pooling is None or pooling not in self.token_poolings:
            return None
        return str(View((self.num_layers,), pooling))

    @property
    def lower_case(self) -> bool:
        """Whether sentences are lower-cased before the tokenizer, as the checkpoint declares."""
        return self.tuning is not None and self.tuning.lower_case

    @property
    def pooler_dense(self) -> torch.nn.Linear | None:
        """The pooler's dense layer ``W h_cls + b``; None where there is none."""
        return _pooler_dense(self.model)

    def outputs(self, inputs: Mapping[str, torch.Tensor], **options: bool) -> Any:
        """What the model returns for the inputs of a batch, its products in this dtype.

        All that runs the encoder as it is goes through here; ``options`` are the model's own, such
        as ``output_hidden_states``.
        """
        in_fewer_bits = self.dtype != torch.float32
        autocast = torch.autocast(
            self.device.type,
            dtype=self.dtype if in_fewer_bits else torch.bfloat16,
            enabled=in_fewer_bits,
            cache_enabled=False,
        )
        with autocast, _products_in_tf32() if self.tf32 else nullcontext():
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
        dtype: ``float32``, ``bfloat16``, ``float16``, ``tf32`` or ``auto`` (`Dtype`).
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
    found = find_checkpoint(str(name), revision, weights)
    checkpoint, adapter = found, None
    if found.is_adapter:
        adapter = read_adapter(found.folder)
        base = str(adapter.base_model_name_or_path)
        try:
            checkpoint = replace(find_checkpoint(base, adapter.revision, weights), name=base)
        except InputError as error:
            raise InputError(f"{found.name} is an adapter of {base}: {error}") from error
    tokenizer = load_tokenizer(checkpoint)
    model, missing = load_model(checkpoint)
    if adapter is not None:
        model = merge_adapter(model, found.folder, adapter)
    with in_one_line(found):
        model = model.to(torch_device)
        check_vocabulary(model, tokenizer, found.name)
        tuning = read_tuning(found.folder)
        longest = longest_input(model, tokenizer)
        behaviour = _measured(model, tokenizer, torch_device, found.name, longest)
        state = _pooler_state(model, missing, behaviour.pooler_output)
        encoder = Encoder(
            name=found.name,
            model=_with_products_in(torch_dtype, model),
            tokenizer=tokenizer,
            revision=found.revision,
            weight_hash=_joined(found.weight_hash, checkpoint.weight_hash if adapter else ""),
            tokenizer_hash=_tokenizer_hash(tokenizer, tuning),
            pooler_state=state,
            dtype=torch_dtype,
            device=torch_device,
            max_length=_max_length(tokenizer, max_length, longest, tuning, found.name),
            num_layers=behaviour.num_layers,
            hidden_size=behaviour.hidden_size,
            pretraining=_pretraining(found.folder),
            behaviour=behaviour,
            tf32=dtype == Dtype.TF32,
            has_cls=not behaviour.causal and _begins_special(tokenizer),
            tuning=tuning,
            adapter="" if adapter is None else f"{checkpoint.name} at {checkpoint.revision}",
        )
    for line in _news(encoder):
        logger.warning("%s: %s", encoder.name, line)
    return encoder


def _news(encoder: Encoder) -> list[str]:
    """What a user of this encoder would not expect."""
    lines = []
    if encoder.adapter:
        lines.append(f"an adapter, merged into {encoder.adapter}")
    if encoder.batching is not Batching.PADDED:
        how = {
            Batching.ONE_LENGTH: "does not mask padding: sentences of one length share a batch",
            Batching.ALONE: "mixes the sentences of a batch: each is encoded by itself",
        }
        lines.append(how[encoder.batching])
    if encoder.is_causal:
        lines.append(
            "its attention is causal: position 0 does not see the sentence, so there is no cls; "
            "last and wmean are measured too; batches are filled up with "
            f"{encoder.tokenizer.pad_token}, which is masked"
        )
    elif not encoder.has_cls:
        lines.append("its sentences do not begin with a [CLS]: there is no cls")
    return lines


def random_twin(encoder: Encoder, seed: int) -> Encoder:
    """The same architecture, tokenizer and settings with weights drawn anew from ``seed``.

    The study's main control: what a view scores here it owes to the architecture and the word
    pieces, not to training.

    >>> probing.random_twin(probing.load_encoder("minilm"), seed=0).name
    'minilm+random'
    """
    config: Any = encoder.model.config
    model = random_model(config, seed).to(encoder.device)
    model = _with_products_in(encoder.dtype, model)
    pooled = PoolerOutput.COMPUTED
    if encoder.behaviour is not None:
        pooled = encoder.behaviour.pooler_output
    return replace(
        encoder,
        name=twin_name(encoder.name),
        model=model,
        revision=f"random:{seed}",
        weight_hash=_state_hash(model),
        pooler_state=_pooler_state(model, [], pooled),
        pretraining=None,
        tuning=None if encoder.tuning is None else replace(encoder.tuning, further=()),
    )


def _measured(
    model: torch.nn.Module, tokenizer: Any, device: torch.device, name: str, longest: int
) -> Behaviour:
    config: Any = model.config

    @torch.inference_mode()
    def run(ids: torch.Tensor, mask: torch.Tensor | None) -> Any:
        inputs = {"input_ids": ids.to(device)}
        if mask is not None:
            inputs["attention_mask"] = mask.to(device)
        return model(**inputs, output_hidden_states=True)

    return measure_behaviour(
        run,
        tokenizer,
        name=name,
        num_layers=getattr(config, "num_hidden_layers", None),
        max_length=longest,
    )


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


def _pooler_dense(model: torch.nn.Module) -> torch.nn.Linear | None:
    pooler = getattr(model, "pooler", None)
    dense = getattr(pooler, "dense", pooler)  # ALBERT's pooler is the dense layer itself
    return dense if isinstance(dense, torch.nn.Linear) else None


def _pooler_state(model: torch.nn.Module, missing: list[str], output: PoolerOutput) -> PoolerState:
    if output is PoolerOutput.NONE:
        return PoolerState.ABSENT
    if output is PoolerOutput.OTHER_TOKEN:
        return PoolerState.END_OF_TEXT
    if output is PoolerOutput.FIRST_TOKEN:
        return PoolerState.WITHOUT_WEIGHTS
    if any("pooler" in key for key in missing):
        return PoolerState.NEWLY_INITIALISED
    dense = _pooler_dense(model)
    # without a dense layer of the usual kind there is nothing to look at but that it is there
    return PoolerState.TRAINED if dense is None else seen_state(dense.weight, dense.bias)


_RECORDED = ("config", "sources", "tokens", "bfloat16")
"""What of ``pretraining.json`` says how an encoder was trained."""


def _pretraining(folder: Path) -> Mapping[str, Any] | None:
    """What the checkpoint says of its own training, as `probing pretrain` writes it."""
    try:
        record = json.loads((folder / "pretraining.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict):
        return None
    return {name: record[name] for name in _RECORDED if name in record}


def _begins_special(tokenizer: Any) -> bool:
    mask = tokenizer("a", return_special_tokens_mask=True)["special_tokens_mask"]
    return bool(mask) and mask[0] == 1


def _tokenizer_hash(tokenizer: Any, tuning: Tuning | None) -> str:
    text = tokenizer.backend_tokenizer.to_str()
    if tuning is not None and tuning.lower_case:
        text += "lower-cased"
    return hashlib.sha256(text.encode()).hexdigest()


def _joined(weight_hash: str, base: str) -> str:
    """The hash of an adapter and its base together; of a checkpoint, its own."""
    return hashlib.sha256(f"{weight_hash}{base}".encode()).hexdigest() if base else weight_hash


def _max_length(
    tokenizer: Any, requested: int | None, longest: int, tuning: Tuning | None, name: str
) -> int:
    shortest = tokenizer.num_special_tokens_to_add() + 1
    if requested is None:
        declared = longest if tuning is None else tuning.max_length or longest
        return min(longest, declared)
    if not shortest <= requested <= longest:
        raise InputError(
            f"max_length {requested} does not fit {name}: expected {shortest} to {longest}"
        )
    return requested


def _device(device: str | None) -> torch.device:
    try:
        chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"device {device!r} is not available ({first_line(error)}): use cpu"
        ) from error
    return chosen


def _dtype(dtype: str, device: torch.device) -> torch.dtype:
    if dtype not in list(Dtype):
        raise InputError(f"unknown dtype {dtype!r}: expected one of {', '.join(Dtype)}")
    if dtype in (Dtype.FLOAT16, Dtype.TF32) and device.type != "cuda":
        raise InputError(f"dtype {dtype} is for a GPU and the device is {device}: use auto")
    if dtype == Dtype.TF32 and torch.cuda.get_device_capability(device) < _FIRST_WITH_TF32:
        raise InputError(f"{torch.cuda.get_device_name(device)} has no tf32: use float32")
    if dtype == Dtype.FLOAT16:
        return torch.float16
    if dtype == Dtype.BFLOAT16 or (dtype == Dtype.AUTO and computes_in_bfloat16(device)):
        return torch.bfloat16
    return torch.float32


_FIRST_WITH_TF32 = (8, 0)
"""Compute capability."""


@contextmanager
def _products_in_tf32() -> Iterator[None]:
    """A setting of the whole process, put back as it was."""
    products = torch.backends.cuda.matmul
    before = products.fp32_precision
    products.fp32_precision = "tf32"
    try:
        yield
    finally:
        products.fp32_precision = before


def computes_in_bfloat16(device: torch.device) -> bool:
    """Whether the device has units for bfloat16; others imitate it, many times slower."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(bfloat16_units())


def bfloat16_units() -> list[str]:
    """The units for bfloat16 that the processor has: ``avx512_bf16``, ``amx_bf16``."""
    capabilities = torch.cpu.get_capabilities()
    return [name for name in ("avx512_bf16", "amx_bf16") if capabilities.get(name)]


def _state_hash(model: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for key, tensor in sorted(model.state_dict().items()):
        digest.update(key.encode())
        digest.update(tensor.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()
