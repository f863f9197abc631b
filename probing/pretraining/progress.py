"""A live line on a terminal; a plain log line now and then elsewhere."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Final

from probing.progress import progress, unseen

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
    smoothed = math.nan
    first: ProgressReport | None = None
    spoken = time.monotonic()
    done = 0
    with progress("pre-training", steps) if visible else nullcontext(unseen) as advance:

        def report(now: ProgressReport) -> None:
            nonlocal smoothed, first, spoken, done
            if first is None:
                first, smoothed = now, now.mlm_loss
            smoothed = _SMOOTHING * smoothed + (1 - _SMOOTHING) * now.mlm_loss
            passed = now.seconds - first.seconds
            speed = (now.tokens - first.tokens) / passed if passed > 0 else math.nan
            text = (
                f"MLM loss {smoothed:.3f}, held-out sentence accuracy "
                f"{now.held_out_accuracy:.3f}, {speed:,.0f} tokens/s"
            )
            advance(now.step - done, text)
            done = now.step
            if visible and time.monotonic() - spoken > _SECONDS_BETWEEN_LINES:
                spoken = time.monotonic()
                logger.info("step %d of %d: %s", now.step, steps, text)

        yield report
