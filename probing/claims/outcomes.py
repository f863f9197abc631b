"""Four outcomes from an effect and its standard error, and the interval that decides."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from probing.statistics import ErrorPart, holm, holm_levels, margin, tail_beyond

LEVEL: Final = 0.05
"""Share of families in which a true null is rejected, at most."""
SMALLEST_EFFECT: Final = 0.01
"""The smallest effect of interest: one point of Spearman × 100, or of accuracy in percent."""


class Outcome(StrEnum):
    """What the numbers say of a claim."""

    SUPPORTED = "supported"
    """The corrected test rejects, and the effect lies where the claim says."""
    REFUTED = "refuted"
    """The corrected test rejects, and the effect lies on the other side."""
    NEGLIGIBLE = "negligible"
    """Both one-sided tests put the effect inside plus and minus the smallest effect of interest."""
    UNDECIDED = "undecided"
    """Neither test rejects, or what the claim presupposes is not supported."""


@dataclass(frozen=True, kw_only=True)
class Test:
    """An effect that is to be tested against a threshold; NaN where it is undefined."""

    effect: float
    error: float
    freedom: float
    """Degrees of freedom of Student's t; infinite for a normal test."""
    threshold: float = 0.0
    more: tuple[ErrorPart, ...] = ()
    """Further parts of the error, independent of it and with degrees of freedom of their own."""

    @property
    def p(self) -> float:
        """Two-sided, of the effect being equal to the threshold."""
        # a tail is at most one half here, so that this is at most one
        return 2 * tail_beyond(self._parts, abs(self.effect - self.threshold))

    def negligible_p(self, smallest_effect: float) -> float:
        """The higher p of two one-sided tests (Schuirmann 1987), of the effect being outside.

        NaN where the claim has a threshold of its own: it then asks another question.
        """
        if self.threshold:
            return math.nan
        return tail_beyond(self._parts, smallest_effect - abs(self.effect))

    def interval(self, level: float) -> tuple[float, float]:
        """The two ends of the interval that leaves ``level`` outside."""
        half = margin(self._parts, level / 2)
        return self.effect - half, self.effect + half

    @property
    def _parts(self) -> tuple[ErrorPart, ...]:
        return (ErrorPart(self.error, self.freedom), *self.more)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a test came to in its family."""

    negligible: bool
    rejected: bool
    """Whether the effect differs from the threshold."""
    lower: float
    upper: float
    level: float
    """Share of intervals at this level that hold the truth; of two one-sided tests it is one less
    twice their level."""
    corrected_p: float
    negligible_p: float
    """Corrected."""

    def __post_init__(self) -> None:
        if self.lower > self.upper:
            raise ValueError(f"lower {self.lower} is above upper {self.upper}")


def decided(tests: Sequence[Test], smallest_effect: float) -> tuple[Decision, ...]:
    """Decide a family of tests, corrected by Holm's method.

    There are two families, of the tests against the threshold and of those against the smallest
    effect of interest; each is corrected over all of its tests.
    """
    p = [test.p for test in tests]
    inside_p = [test.negligible_p(smallest_effect) for test in tests]
    rows = zip(
        tests,
        holm(p).tolist(),
        holm_levels(p, level=LEVEL).tolist(),
        holm(inside_p).tolist(),
        holm_levels(inside_p, level=LEVEL).tolist(),
        strict=True,
    )
    decisions = []
    for test, corrected_p, level, negligible_p, inside_level in rows:
        negligible = negligible_p <= LEVEL
        outside = 2 * inside_level if negligible else level
        lower, upper = test.interval(outside) if not math.isnan(outside) else (math.nan, math.nan)
        decisions.append(
            Decision(
                negligible=negligible,
                rejected=corrected_p <= LEVEL,
                lower=lower,
                upper=upper,
                level=1 - outside,
                corrected_p=corrected_p,
                negligible_p=negligible_p,
            )
        )
    return tuple(decisions)
