"""Products in bfloat16 over float32 weights, and two losses whose gradients are clipped apart."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm
from transformers import BertForPreTraining

from probing.pretraining.processes import Processes

Gradients = list[Tensor | None]
"""One a parameter, float32; None where the loss does not reach it."""


class WorkingCopy:
    """The network that computes: the float32 one itself, or a bfloat16 copy of it.

    A copy costs one pass over the weights a step. Autocast would convert every weight at its use
    and back again, which is most of the time of a small network.
    """

    def __init__(self, model: BertForPreTraining, *, bfloat16: bool) -> None:
        self._masters: list[Tensor] = list(model.parameters())
        self.model: BertForPreTraining = copy.deepcopy(model).bfloat16() if bfloat16 else model
        self._copies: list[Tensor] = list(self.model.parameters()) if bfloat16 else []
        self.masters = [p for p in self._masters if p.requires_grad]
        """The float32 parameters that are trained."""
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        """What the losses are differentiated by, in the same order."""

    @torch.no_grad()
    def refresh(self) -> None:
        """Take over the float32 weights."""
        if self._copies:
            torch._foreach_copy_(self._copies, self._masters)

    def gradients(self, loss: Tensor, *, keep_graph: bool) -> Gradients:
        """Of one loss, in float32."""
        found = torch.autograd.grad(
            loss, self.parameters, retain_graph=keep_graph, allow_unused=True
        )
        return [None if gradient is None else gradient.float() for gradient in found]


def added(total: Gradients | None, more: Gradients) -> Gradients:
    """The sum over micro-batches so far."""
    if total is None:
        return more
    for ours, theirs in zip(total, more, strict=True):
        if ours is not None and theirs is not None:
            ours += theirs
    return total


def clipped(gradients: Gradients, norm: float) -> Gradients:
    """The gradient scaled down to `norm` where it is longer, in place."""
    present = [gradient for gradient in gradients if gradient is not None]
    factor = (norm / (get_total_norm(present) + 1e-6)).clamp(max=1.0)
    torch._foreach_mul_(present, factor)
    return gradients


def clipped_sum(
    losses: Sequence[tuple[Gradients, float]], norm: float, processes: Processes
) -> Gradients:
    """The weighted sum of the gradients of several losses, each clipped by itself.

    Args:
        losses: gradients, as this process has them, and weight of each loss.
        norm: of each gradient at most, before its weight.
        processes: that train together: a gradient is clipped as the sum over all of them.
    """
    result: Gradients | None = None
    for gradients, weight in losses:
        processes.add_up([gradient for gradient in gradients if gradient is not None])
        clipped(gradients, norm)
        if result is None:
            scaled = [gradient for gradient in gradients if gradient is not None]
            if weight != 1:
                torch._foreach_mul_(scaled, weight)
            result = gradients
            continue
        for index, gradient in enumerate(gradients):
            ours = result[index]
            if gradient is not None:
                result[index] = (
                    gradient * weight if ours is None else ours.add_(gradient, alpha=weight)
                )
    return result or []
