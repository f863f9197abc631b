"""A PEFT adapter merged into its base by PEFT's own merge, which is tried before it is believed."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from probing.encoding.behaviour import TOLERANCE
from probing.encoding.locating import ADAPTER_CONFIG
from probing.errors import InputError

logger = logging.getLogger(__name__)

_PREFIX: Final = "base_model.model."
"""What PEFT puts before the name of every module of the base."""
_TRIED: Final = 8
"""Tokens of the sentence on which the merged encoder is held against the adapted one."""


def read_adapter(folder: Path) -> Any:
    """The configuration of an adapter that can be merged, as PEFT reads it.

    Raises:
        InputError: It is damaged, names no base, or is of a kind that is not part of the weights.
    """
    from peft import PeftConfig  # slow to import, and needed for adapters only
    from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING

    path = folder / ADAPTER_CONFIG
    with _as_one_line(f"{path} cannot be read", "that of PEFT"):
        config = PeftConfig.from_pretrained(str(folder))
        kind = str(config.peft_type.value)
        tuner = PEFT_TYPE_TO_TUNER_MAPPING[config.peft_type]
    if not hasattr(tuner, "merge_and_unload"):
        raise InputError(
            f"{folder} is an adapter of the kind {kind}, which adds to what the encoder reads and "
            "cannot be merged into its weights: expected one that can be, such as LORA or IA3"
        )
    if not config.base_model_name_or_path:
        raise InputError(f"{path} names no base: expected base_model_name_or_path")
    return config


def merge_adapter(model: Any, folder: Path, config: Any) -> torch.nn.Module:
    """The base with the adapter in its weights.

    Args:
        model: The base, float32.
        folder: Of the adapter.
        config: From `read_adapter`.

    Raises:
        InputError: The weights do not fit the base, or merged they give other vectors than beside
            it.
    """
    from peft import PeftModel, set_peft_model_state_dict
    from peft.mapping import PEFT_TYPE_TO_PREFIX_MAPPING

    path = folder / "adapter_model.safetensors"
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} cannot be read ({error}): expected adapter weights") from error
    tensors = {_of_the_encoder(key, model): tensor for key, tensor in tensors.items()}
    mark = PEFT_TYPE_TO_PREFIX_MAPPING[config.peft_type]
    there = {name for name, _ in model.named_modules()}
    heads = [key for key in tensors if _is_head(key) and _module(key, mark) not in there]
    for key in heads:
        del tensors[key]
    changed = {_module(key, mark) for key in tensors if f".{mark}" in key}
    strange = sorted(changed - there)
    if strange or not changed:
        raise InputError(
            f"{folder} does not fit its base: {len(strange)} of its modules have no place there "
            f"({strange[0] if strange else 'it has no adapter weights'}); expected an adapter of "
            "the encoder"
        )
    # by full name: the base of a task's model has modules that the bare encoder lacks, and the
    # other way round
    config.target_modules = changed
    config.task_type, config.inference_mode = None, True
    saved = getattr(config, "modules_to_save", None) or ()
    config.modules_to_save = [
        name for name in saved if any(key.split(".")[-1] == name for key in there)
    ] or None
    with _as_one_line(f"{folder} does not fit its base", "its own base model"):
        adapted = PeftModel(model, config)
        found: Any = set_peft_model_state_dict(adapted, tensors)
        left = [key for key in found.missing_keys if mark in key] + list(found.unexpected_keys)
        if left:
            raise InputError(
                f"{folder} does not fit its base: {len(left)} of its weights, such as {left[0]}, "
                "have no place there or are missing; expected its own base model"
            )
        adapted.eval()
        expected = _tried(adapted)
        merged: torch.nn.Module = adapted.merge_and_unload().eval()
        distance = (_tried(merged) - expected).norm(dim=-1)
    if not (distance <= TOLERANCE * expected.norm(dim=-1) + 1e-6).all():
        raise InputError(
            f"{folder} gives other vectors merged than beside its base: an adapter of the kind "
            f"{config.peft_type.value} cannot be measured; expected one such as LORA or IA3"
        )
    if heads:
        logger.warning("%s: its head is left out (%s)", folder, heads[0])
    return merged


@torch.inference_mode()
def _tried(model: Any) -> torch.Tensor:
    """``(layers, 1, tokens, hidden_size)``: all hidden states of a few tokens."""
    rows = model.get_input_embeddings().weight.shape[0]
    ids = (torch.arange(_TRIED) * 7 + 5)[None] % rows
    return torch.stack(model(input_ids=ids, output_hidden_states=True).hidden_states)


def _of_the_encoder(key: str, model: Any) -> str:
    """The key without the name that a task's model has for its encoder."""
    inner = f"{_PREFIX}{getattr(model, 'base_model_prefix', '')}."
    own = {name.partition(".")[0] for name, _ in model.named_parameters()}
    if key.startswith(inner) and inner.split(".")[-2] not in own:
        return _PREFIX + key.removeprefix(inner)
    return key


def _module(key: str, mark: str) -> str:
    return key.removeprefix(_PREFIX).partition(f".{mark}")[0]


def _is_head(key: str) -> bool:
    """Whether a weight belongs to a task's head, which an encoder does not have."""
    return any(word in key.split(".") for word in ("classifier", "score", "lm_head", "cls", "head"))


@contextmanager
def _as_one_line(what: str, expected: str) -> Iterator[None]:
    """Whatever PEFT raises inside, as an `InputError`; its warnings go into the log."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
        for warning in caught:
            logger.info("%s: %s", what, str(warning.message).partition("\n")[0])
    except InputError:
        raise
    except Exception as error:  # a damaged file may make the library raise anything
        reason = (str(error).strip().splitlines() or [""])[0]
        raise InputError(
            f"{what} ({type(error).__name__}: {reason}): expected {expected}"
        ) from error
