"""Number formats, of a forward pass and on disk; imports nothing heavy."""

from enum import StrEnum


class Dtype(StrEnum):
    """The number format of the forward pass."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    """Matrix products in bfloat16; embeddings, layer norms and the sums from layer to layer stay
    in float32. Where a product maps the embeddings to the hidden size (ALBERT, ELECTRA), those sums
    are bfloat16 on a CPU."""
    FLOAT16 = "float16"
    """The same in float16, which has three bits more and a smaller range; on a GPU."""
    TF32 = "tf32"
    """float32 whose products read 11 bits of each number; on an NVIDIA GPU from 2020 on."""
    AUTO = "auto"
    """bfloat16 where the hardware computes in it natively, else float32."""


class StorageDtype(StrEnum):
    """The number format on disk; vectors are read as float32 from either."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    """Half the size; rounds to 11 bits and cannot hold more than 65,504."""
