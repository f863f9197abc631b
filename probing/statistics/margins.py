"""Errors with several independent parts, each known from its own degrees of freedom."""

import math
import sys
from collections.abc import Sequence
from typing import NamedTuple

from scipy.optimize import brentq
from scipy.special import ndtr, ndtri, stdtr, stdtrit


class ErrorPart(NamedTuple):
    """One part of a standard error."""

    error: float
    freedom: float
    """Degrees of freedom of Student's t; infinite where the part is normal."""


def margin(parts: Sequence[ErrorPart], tail: float) -> float:
    """Half the width of the interval that leaves ``tail`` outside on either side.

    Each part has the margin that it would have by itself, and the squares of the margins add up
    (Graybill & Wang 1980; Zou & Donner 2008). Where one part is all there is, that is its own t
    interval; between, it is a little too wide, and it never has a wrong tail, as Satterthwaite's
    degrees of freedom have when a part with few of them comes out small by chance.
    """
    return math.hypot(*(_quantile(part.freedom, tail) * part.error for part in parts))


def tail_beyond(parts: Sequence[ErrorPart], distance: float) -> float:
    """The tail whose `margin` is as wide as this distance: half of a two-sided p.

    A negative distance has the tail of the other side. NaN where anything is.
    """
    total = math.hypot(*(part.error for part in parts))
    if math.isnan(distance) or math.isnan(total):
        return math.nan
    if distance < 0:
        return 1 - tail_beyond(parts, -distance)
    if total == 0:
        return 0.5 if distance == 0 else 0.0
    there = [part for part in parts if part.error > 0]
    # with the fewest degrees of freedom for all of it the tail is too heavy, else too light
    light, heavy = (
        _tail(pick(part.freedom for part in there), distance / total) for pick in (max, min)
    )
    if len(there) == 1 or heavy == 0:
        return heavy

    def too_wide(log_tail: float) -> float:
        return margin(there, math.exp(log_tail)) - distance

    ends = (math.log(light or sys.float_info.min), math.log(heavy))
    if not too_wide(ends[0]) > 0 > too_wide(ends[1]):  # a part that is next to nothing
        return light if too_wide(ends[0]) <= 0 else heavy
    return math.exp(brentq(too_wide, *ends, xtol=1e-10))


def _quantile(freedom: float, tail: float) -> float:
    return -float(ndtri(tail) if math.isinf(freedom) else stdtrit(freedom, tail))


def _tail(freedom: float, distance: float) -> float:
    return float(ndtr(-distance) if math.isinf(freedom) else stdtr(freedom, -distance))
