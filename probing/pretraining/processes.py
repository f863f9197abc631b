"""One process or many (`torchrun`): who computes what, and the sum of what they found."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from probing.errors import InputError


@dataclass(frozen=True)
class Processes:
    """The place of this process among those that train together."""

    rank: int
    count: int
    device: torch.device

    def share(self, batch_size: int) -> slice:
        """The rows of a batch that are this process's."""
        return slice(
            self.rank * batch_size // self.count, (self.rank + 1) * batch_size // self.count
        )

    def add_up(self, tensors: list[Tensor]) -> None:
        """Replace every tensor by its sum over the processes, in one exchange."""
        if self.count == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        distributed.all_reduce(flat)
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def wait(self) -> None:
        """Return when every process is here."""
        if self.count > 1:
            distributed.barrier()


@contextmanager
def joined_processes(device: str) -> Iterator[Processes]:
    """Join the processes `torchrun` started (its environment variables), or go alone.

    Args:
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, …; ``auto`` takes a GPU where there is one.

    Raises:
        InputError: no such device.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    name = device
    if device == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and count > 1:
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    try:
        place = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"no device {device!r}: expected auto, cpu, cuda or cuda:N") from error
    if place.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"no GPU for --device {device}: use --device cpu or auto")
    if count > 1:
        distributed.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield Processes(rank=rank, count=count, device=place)
    finally:
        if count > 1:
            distributed.destroy_process_group()
