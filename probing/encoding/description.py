"""What the manifest of a run says of an encoder, of the libraries and of the machine."""

import os
import platform
from collections.abc import Sequence
from typing import Any

import torch

from probing.encoding.encoder import Encoder
from probing.encoding.pooler_state import PoolerState
from probing.encoding.vector_sources import VectorSource


def describe_encoder(
    encoder: Encoder, truncated: dict[str, int], setups: Sequence[str] = ()
) -> dict[str, Any]:
    """What the manifest says of an encoder, and how many sentences of each task it cut short.

    ``setups`` are how its forward passes ran (`Representations.setups`).
    """
    return {
        "name": encoder.name,
        "revision": encoder.revision,
        "architecture": type(encoder.model).__name__,
        "pooler": str(encoder.pooler_state),
        "weights_sha256": encoder.weight_hash,
        "tokenizer_sha256": encoder.tokenizer_hash,
        "dtype": encoder.dtype_name,
        "device": str(encoder.device),
        "max_length": encoder.max_length,
        "num_layers": encoder.num_layers,
        "hidden_size": encoder.hidden_size,
        "batching": str(encoder.batching),
        "attention": "causal" if encoder.is_causal else "bidirectional",
        "tuned_for": "" if encoder.tuning is None else str(encoder.tuning),
        "declared_view": encoder.declared_view or "",
        "adapter_of": encoder.adapter,
        "forward_passes": list(setups),
        "truncated_sentences": truncated,
        "pretraining": encoder.pretraining,
    }


def describe_model(
    model: Encoder | VectorSource, truncated: dict[str, int], setups: Sequence[str] = ()
) -> dict[str, Any]:
    """As `describe_encoder`, of anything that gives vectors."""
    if isinstance(model, Encoder):
        return describe_encoder(model, truncated, setups)
    return {
        "name": model.name,
        "revision": model.revision,
        "architecture": "none: vectors from outside",
        "pooler": str(PoolerState.ABSENT),
        "weights_sha256": model.revision.rpartition(":")[2],
        "tokenizer_sha256": "",
        "dtype": "float32",
        "device": "",
        "max_length": None,
        "num_layers": 0,
        "hidden_size": None,
        "truncated_sentences": truncated,
    }


def describe_machine() -> dict[str, str | int | None]:
    """Python, system, processor and threads; nothing that names the machine or its user."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "processor": str(torch.cpu.get_capabilities().get("cpu_name", platform.machine())),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
