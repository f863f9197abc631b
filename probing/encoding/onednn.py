"""What oneDNN does in a forward pass on the CPU: packed bfloat16 products, and activations.

In bfloat16 PyTorch lays out the weights of a linear layer again in each call; oneDNN takes weights
that were laid out once, and gives the same bits. These are the operators that ``torch.compile``
puts in place of ``torch.nn.Linear`` on a CPU. In float32 its products are no faster than PyTorch's
own, and are not used.

PyTorch leaves the activation to oneDNN by itself, which takes two thirds of the time of PyTorch's
own. But oneDNN keeps a kernel for each of the last 1,024 shapes of batch that it saw, some hundred
MB in a long run; here it keeps fewer, and makes one again in less time than it saves.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

# Read when oneDNN is first used in the process.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "8")

WORTHWHILE_TOKENS = 4096
"""Fewer tokens than these take less time than laying out the weights."""
PACKED = torch.bfloat16
"""The dtype of the layers that are packed."""


@contextmanager
def packed_linears(model: torch.nn.Module, batch_tokens: int, n_tokens: int) -> Iterator[None]:
    """Inside, bfloat16 linear layers have packed weights where that pays.

    The weights are packed again each time, so that nothing stale is ever used; the model itself
    holds what it held, and all is as before afterwards.

    Args:
        model: On whatever device; only what is on an x86 CPU is changed.
        batch_tokens: About how many tokens a forward pass has.
        n_tokens: How many tokens there are in all.
    """
    layers = packable(model) if n_tokens >= WORTHWHILE_TOKENS else []
    for layer in layers:
        vars(layer)["forward"] = _packed_forward(layer, batch_tokens)
    try:
        yield
    finally:
        for layer in layers:
            del vars(layer)["forward"]


def packable(model: torch.nn.Module) -> list[torch.nn.Linear]:
    """The linear layers that can have packed weights here."""
    if hasattr(model, "_orig_mod") or not _has_operators():
        return []  # a compiled model has its own
    return [
        module
        for module in model.modules()
        if type(module) is torch.nn.Linear  # a subclass may compute something else
        and "forward" not in vars(module)
        and module.weight.device.type == "cpu"
        and module.weight.dtype == PACKED
    ]


def _has_operators() -> bool:
    operators: Any = torch.ops.mkldnn
    return (
        torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and torch.backends.cpu.get_cpu_capability().startswith("AVX")
        and (torch.bfloat16 != PACKED or operators._is_mkldnn_bf16_supported())
        and hasattr(operators, "_linear_pointwise")
        and hasattr(operators, "_reorder_linear_weight")
    )


def _packed_forward(
    layer: torch.nn.Linear, batch_tokens: int
) -> Callable[[torch.Tensor], torch.Tensor]:
    operators: Any = torch.ops.mkldnn
    weight = operators._reorder_linear_weight(layer.weight.detach(), batch_tokens)
    bias = layer.bias

    def forward(inputs: torch.Tensor) -> torch.Tensor:
        rows = inputs.to(layer.weight.dtype)  # what autocast does before a layer of PyTorch
        outputs: torch.Tensor = operators._linear_pointwise(rows, weight, bias, "none", [], "")
        return outputs

    return forward
