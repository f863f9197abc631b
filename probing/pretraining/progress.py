"""A live line on a terminal; a plain log line now and then elsewhere."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES: Final = 30.0
_SMOOTHING: Final = 0.98


@dataclass(frozen=True)
class ProgressReport:
    """Where a run stands after a step."""

    step: int
    tokens: int
    mlm_loss: float
    held_out_accuracy: float
    """NaN before the first look, and for the objective ``mlm``."""
    seconds: float


@contextmanager
def training_progress(steps: int, *, visible: bool) -> Iterator[Callable[[ProgressReport], None]]:
    """A function to call after every step."""
    console = Console(stderr=True)
    live = Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
        console=console,
        disable=not (visible and console.is_terminal),
    )
    smoothed = math.nan
    first: ProgressReport | None = None
    spoken = time.monotonic()
    with live:
        task = live.add_task("", total=steps)

        def report(now: ProgressReport) -> None:
            nonlocal smoothed, first, spoken
            if first is None:
                first, smoothed = now, now.mlm_loss
            smoothed = _SMOOTHING * smoothed + (1 - _SMOOTHING) * now.mlm_loss
            passed = now.seconds - first.seconds
            speed = (now.tokens - first.tokens) / passed if passed > 0 else math.nan
            text = (
                f"MLM loss {smoothed:.3f}, held-out sentence accuracy "
                f"{now.held_out_accuracy:.3f}, {speed:,.0f} tokens/s"
            )
            live.update(task, completed=now.step, description=text)
            if visible and live.disable and time.monotonic() - spoken > _SECONDS_BETWEEN_LINES:
                spoken = time.monotonic()
                logger.info("step %d of %d: %s", now.step, steps, text)

        yield report
