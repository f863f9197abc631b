"""What PyTorch leaves to oneDNN in a forward pass on the CPU: bfloat16 products, no float32.

In bfloat16 PyTorch lays out the weights of a linear layer anew in each call; oneDNN takes weights
that were laid out once, and gives the same bits. These are the operators that ``torch.compile``
puts in place of ``torch.nn.Linear`` on a CPU.

In float32 oneDNN is no faster than PyTorch's own kernels. PyTorch leaves the activation to it
nevertheless, and oneDNN keeps a kernel for each of the last 1,024 shapes of batch that it saw: some
hundred MB in a long run.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

WORTHWHILE_TOKENS = 4096
"""Fewer tokens than these take less time than laying out the weights."""
PACKED = torch.bfloat16
"""The dtype of the layers that are packed."""


@contextmanager
def onednn_for(model: torch.nn.Module, batch_tokens: int, n_tokens: int) -> Iterator[None]:
    """Inside, bfloat16 linear layers have packed weights where that pays; float32 has no oneDNN.

    The weights are packed anew each time, so that nothing stale is ever used; the model itself
    holds what it held, and all is as before afterwards.

    Args:
        model: On whatever device; only what is on an x86 CPU is changed.
        batch_tokens: About how many tokens a forward pass has.
        n_tokens: How many tokens there are in all.
    """
    layers = _packable(model) if n_tokens >= WORTHWHILE_TOKENS else []
    for layer in layers:
        vars(layer)["forward"] = _packed_forward(layer, batch_tokens)
    backend: Any = torch.backends.mkldnn  # its own context manager warns of TF32 each time
    was_enabled = backend.enabled
    if _is_plain_float32(model):
        backend.enabled = False
    try:
        yield
    finally:
        backend.enabled = was_enabled
        for layer in layers:
            del vars(layer)["forward"]


def _is_plain_float32(model: torch.nn.Module) -> bool:
    parameters = list(model.parameters())
    return (
        len(parameters) > 0
        and not hasattr(model, "_orig_mod")  # compiled code has oneDNN's operators in it
        and all(p.dtype == torch.float32 and p.device.type == "cpu" for p in parameters)
    )


def _packable(model: torch.nn.Module) -> list[torch.nn.Linear]:
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
        outputs: torch.Tensor = operators._linear_pointwise(inputs, weight, bias, "none", [], "")
        return outputs

    return forward
