"""An encoder folder that is a difference from a base: which base, and the tensors that changed.

``difference.json`` names the base (alias, Hub id or folder) and the hash of its weights;
``changed.safetensors`` has the tensors that replace the base's, by their names in `AutoModel`.
The tokenizer and the configuration are the base's. Encoders that share a body are so a few hundred
kilobytes each, and that they share it can be seen.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from probing.errors import InputError
from probing.results.writing import write_bytes, write_text

_RECORD: Final = "difference.json"
_CHANGED: Final = "changed.safetensors"


@dataclass(frozen=True)
class Difference:
    """What a folder says of itself.

    Attributes:
        base: alias, Hub id or folder of the base.
        base_weight_hash: SHA-256 of the base's weights.
        changed: file of the tensors that replace the base's.
    """

    base: str
    base_weight_hash: str
    changed: Path

    def weight_hash(self) -> str:
        """SHA-256 of the base's hash and the changed tensors."""
        digest = hashlib.sha256(self.base_weight_hash.encode())
        digest.update(self.changed.read_bytes())
        return digest.hexdigest()


def read_difference(folder: Path) -> Difference | None:
    """The difference that a folder holds; None where it is an encoder of its own.

    Raises:
        InputError: the record is damaged, or the changed tensors are not there.
    """
    record, changed = folder / _RECORD, folder / _CHANGED
    if not record.is_file():
        return None
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
        base, weight_hash = str(found["base"]), str(found["base_weight_hash"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{record} is damaged: expected a JSON object with base and base_weight_hash"
        ) from error
    if not changed.is_file():
        raise InputError(f"{folder} has no {_CHANGED}: expected the tensors that changed")
    return Difference(base, weight_hash, changed)


def write_difference(
    folder: Path, *, base: str, base_weight_hash: str, tensors: Mapping[str, torch.Tensor]
) -> Path:
    """Write an encoder folder that differs from a base in `tensors`.

    Args:
        folder: to write; existing files are replaced.
        base: alias, Hub id or folder of the base.
        base_weight_hash: SHA-256 of its weights (`Encoder.weight_hash`).
        tensors: by name in `AutoModel`, such as ``pooler.dense.weight``.

    Returns:
        `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes(folder / _CHANGED, save(kept))
    record = {"base": base, "base_weight_hash": base_weight_hash, "changed": sorted(tensors)}
    write_text(folder / _RECORD, json.dumps(record, indent=1) + "\n")
    return folder


@torch.no_grad()
def put_in_place(model: torch.nn.Module, changed: Path) -> set[str]:
    """Replace the weights of a base by the changed ones.

    Returns:
        The names of the tensors that were replaced.

    Raises:
        InputError: the file cannot be read, or has a tensor that the base does not have.
    """
    try:
        tensors = load_file(changed)
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{changed} cannot be read ({error}): make or download it again"
        ) from error
    state = model.state_dict()
    for name, tensor in tensors.items():
        if name not in state or state[name].shape != tensor.shape:
            there = tuple(state[name].shape) if name in state else "no such tensor"
            raise InputError(
                f"{changed} changes {name} {tuple(tensor.shape)}, of which the base has {there}: "
                "expected a difference from this base"
            )
        state[name].copy_(tensor)
    return set(tensors)
