"""A PEFT adapter merged into its base: the low-rank products are added to the weights."""

import json
import logging
import re
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from probing.encoding.locating import ADAPTER_CONFIG
from probing.errors import InputError

logger = logging.getLogger(__name__)

_FACTOR: Final = re.compile(r"(?P<module>.+)\.lora_(?P<which>A|B)(?:\.default)?\.weight")
_PREFIX: Final = "base_model.model."


def read_adapter(folder: Path) -> dict[str, Any]:
    """The configuration of an adapter that can be merged.

    Raises:
        InputError: It is damaged, or of a kind that is not a sum of products.
    """
    path = folder / ADAPTER_CONFIG
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        kind = config["peft_type"]
        base = config["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be read ({error}): expected that of PEFT") from error
    if kind != "LORA" or config.get("use_dora") or config.get("bias", "none") != "none":
        what = "DoRA" if config.get("use_dora") else f"{kind} with bias {config.get('bias')}"
        raise InputError(
            f"{folder} is an adapter of the kind {what}: expected LoRA without bias; merge it with "
            "peft's merge_and_unload() and save the result"
        )
    if not base:
        raise InputError(f"{path} names no base: expected base_model_name_or_path")
    return config


def merge_adapter(model: torch.nn.Module, folder: Path, config: dict[str, Any]) -> None:
    """Add ``scale * B @ A`` of every module to its weight, in place.

    Args:
        model: The base, float32.
        folder: Of the adapter.
        config: From `read_adapter`.

    Raises:
        InputError: The weights do not fit the base.
    """
    path = folder / "adapter_model.safetensors"
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} cannot be read ({error}): expected LoRA weights") from error
    factors: dict[str, dict[str, torch.Tensor]] = {}
    others = []
    for key, tensor in tensors.items():
        match = _FACTOR.fullmatch(key)
        if match is None:
            others.append(key)
        else:
            factors.setdefault(match["module"], {})[match["which"]] = tensor.float()
    modules = dict(model.named_modules())
    merged = 0
    for name, pair in factors.items():
        module = _find(modules, name.removeprefix(_PREFIX), model)
        if module is None:
            others.append(name)
            continue
        _add(module, pair, _scale(config, name), folder, name, turned=_turned(config, module))
        merged += 1
    left = [key for key in others if not _is_head(key)]
    if left or not merged:
        raise InputError(
            f"{folder} does not fit its base: {len(left)} of its weights have no place there "
            f"({left[0] if left else 'no LoRA weights at all'}); expected LoRA of the encoder"
        )
    if others:
        logger.warning("%s: its head is left out (%s)", folder, others[0])


def _find(
    modules: dict[str, torch.nn.Module], name: str, model: torch.nn.Module
) -> torch.nn.Module | None:
    """The module of that name in the encoder, with or without the prefix of a task's model."""
    prefix = f"{getattr(model, 'base_model_prefix', '')}."
    return modules.get(name) or modules.get(name.removeprefix(prefix))


def _scale(config: dict[str, Any], name: str) -> float:
    def of(pattern: str, default: str) -> float:
        for end, value in (config.get(pattern) or {}).items():
            if name.endswith(f".{end}") or name == end:
                return float(value)
        return float(config[default])

    rank, alpha = of("rank_pattern", "r"), of("alpha_pattern", "lora_alpha")
    return alpha / (rank**0.5 if config.get("use_rslora") else rank)


def _turned(config: dict[str, Any], module: torch.nn.Module) -> bool:
    """Whether the weight is stored as ``(inputs, outputs)``, as GPT-2 does."""
    return type(module).__name__ == "Conv1D" or bool(config.get("fan_in_fan_out"))


def _add(
    module: torch.nn.Module,
    pair: dict[str, torch.Tensor],
    scale: float,
    folder: Path,
    name: str,
    *,
    turned: bool,
) -> None:
    weight = module.weight
    try:
        change = scale * pair["B"] @ pair["A"]
        change = change.T if turned else change
        if not isinstance(weight, torch.Tensor) or weight.shape != change.shape:
            raise ValueError(f"shape {tuple(change.shape)}")
    except (KeyError, RuntimeError, ValueError) as error:
        raise InputError(
            f"{folder} does not fit its base at {name} ({error}): expected its own base model"
        ) from error
    with torch.no_grad():
        weight += change


def _is_head(key: str) -> bool:
    """Whether a weight belongs to a task's head, which an encoder does not have."""
    return any(word in key.split(".") for word in ("classifier", "score", "lm_head", "cls", "head"))
