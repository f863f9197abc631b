"""The road from mean pooling of the last layer to the pooler: what each step changes."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from scipy.stats import norm

from probing.results.differences import Difference, Place


@dataclass(frozen=True)
class Step:
    """One step: the plain mean of its changes over tasks, as a fraction, with two ends.

    Plain means of steps add up, as weighted ones would not.
    """

    name: str
    """The later view, or the transform that replaces it."""
    change: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Road:
    """The steps to the pooler, and the same steps with other poolers; all empty without one."""

    start: str
    """``mean@last``."""
    steps: tuple[Step, ...]
    """``cls@last``, ``pooler_dense@last``, ``pooler@last``, with 95 % intervals; their sum is
    ``pooler - mean``."""
    random: tuple[Step, ...]
    """``random-dense`` and ``random-dense+tanh``: mean over the random matrices, between the
    lowest and the highest of them."""
    n_random: int
    tanh_alone: Step | None
    """``tanh`` of ``[CLS]`` itself, with a 95 % interval."""


def road_to_pooler(
    differences: Mapping[Place, Sequence[Difference]],
    model: str,
    *,
    last: int,
    tasks: Collection[str],
) -> Road:
    """The road of a model over the tasks of a verdict.

    Args:
        differences: From `probing.results.differences.read_differences`.
        model: A model of the table.
        last: Its last layer.
        tasks: All of them must have a step, or the whole road is empty: the sum would not hold.
    """

    def measured(view: str, transform: str = "raw") -> list[Difference]:
        there = [d for d in differences.get(Place(model, view, transform), ()) if d.defined]
        return there if tasks and {d.task for d in there} == set(tasks) else []

    stations = [f"{pooling}@{last}" for pooling in ("mean", "cls", "pooler_dense", "pooler")]
    steps = [
        _with_interval(later, measured(f"{later} - {earlier}"))
        for earlier, later in pairwise(stations)
    ]
    names = ("random-dense", "random-dense+tanh")
    random = [
        _between_draws(name, measured(f"cls@{last}", f"{name} - {before}"))
        for before, name in pairwise(("raw", *names))
    ]
    n_random = len({d.seed for d in measured(f"cls@{last}", "random-dense - raw")})
    return Road(
        start=stations[0],
        steps=tuple(step for step in steps if step is not None) if None not in steps else (),
        random=tuple(step for step in random if step is not None) if None not in random else (),
        n_random=n_random,
        tanh_alone=_with_interval("tanh", measured(f"cls@{last}", "tanh - raw")),
    )


def _with_interval(name: str, of_tasks: Sequence[Difference]) -> Step | None:
    """The mean over tasks with its normal 95 % interval; None where there is nothing."""
    if not of_tasks:
        return None
    change = sum(d.value for d in of_tasks) / len(of_tasks)
    error = math.sqrt(sum(d.standard_error**2 for d in of_tasks)) / len(of_tasks)
    half = float(norm.isf(0.025)) * error
    return Step(name, change, change - half, change + half)


def _between_draws(name: str, of_tasks: Sequence[Difference]) -> Step | None:
    if not of_tasks:
        return None
    draws: dict[int, list[float]] = {}
    for difference in of_tasks:
        draws.setdefault(difference.seed, []).append(difference.value)
    means = [sum(values) / len(values) for values in draws.values()]
    return Step(name, sum(means) / len(means), min(means), max(means))
