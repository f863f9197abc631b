"""In which files weights may be; imports nothing heavy."""

from enum import StrEnum


class Weights(StrEnum):
    """In which files weights may be."""

    SAFETENSORS = "safetensors"
    RESTRICTED_PICKLE = "restricted-pickle"
    """``pytorch_model.bin`` too, where there is no safetensors file; read by
    ``torch.load(weights_only=True)``, which makes tensors and runs nothing."""
