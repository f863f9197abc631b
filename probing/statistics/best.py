"""Which of several views may be the best, and what any of them costs against it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probing.statistics.correlation import FloatArray


@dataclass(frozen=True, kw_only=True)
class BestSet:
    """The confidence set of the best of k views, with bounds of what each view costs.

    The cost of a view is the value of the best view less its own: 0 for the best.
    """

    estimates: FloatArray
    """``(k,)``: the value of each view on the items."""
    may_be_best: NDArray[np.bool_]
    """``(k,)``: with probability ``level`` the best view is among these."""
    at_least: FloatArray
    """``(k,)`` lower bound of the cost, each at ``level``; above 0 where the view is left out."""
    at_most: FloatArray
    """``(k,)`` upper bound of the cost, all at once and together with the set at ``level``, so
    that they hold for a view that was chosen by its value too."""
    margins: FloatArray
    """``(k, k)``: how far view j must be above view i for i to be left out."""

    @property
    def best(self) -> int:
        """The view with the highest value."""
        return int(self.estimates.argmax())

    def items_factor(self, within: float = 0.0) -> float:
        """How many times as many items bring `at_most` of the highest view down to ``within``.

        Margins shrink with the root of the number of items, and the differences are taken to stay
        as they are; with ``within`` 0, only the highest view is left in the set. 1 where that is
        so already, infinite where another view has exactly the highest value.
        """
        ahead = self.estimates[self.best] - self.estimates
        rivals = np.arange(len(ahead)) != self.best
        with np.errstate(divide="ignore", invalid="ignore"):
            factors = (self.margins[rivals, self.best] / (within + ahead[rivals])) ** 2
        factors[np.isnan(factors)] = np.inf  # an exact copy: no margin, and nothing between them
        return float(factors.max(initial=1.0))


def best_set(estimates: FloatArray, samples: FloatArray, *, level: float = 0.95) -> BestSet:
    """The confidence set of the best view from resamples that all views share.

    A view is left out where another lies above it by more than the largest of all its differences
    would by chance: for view i the quantile of ``max_j (difference of j and i) / its standard
    error`` over resamples around the values. These are the simultaneous intervals of Hsu (1981,
    1984) for comparisons with the best, with the bootstrap in the place of Student's
    distribution. Only the best view has to be kept, so each is tested at ``1 - level`` without a
    correction for their number. docs/choose.md holds it against the model confidence set of Hansen,
    Lunde & Nason (2011), which keeps all views that are equally the best.

    Args:
        estimates: ``(k,)`` on the items themselves, without NaN.
        samples: ``(n_resamples, k)``; undefined resamples (NaN in a row) are left out.
        level: Probability with which the set holds the best view.

    Raises:
        ValueError: The shapes do not fit, a value is NaN, or fewer than two resamples are defined.
    """
    usable = samples[~np.isnan(samples).any(axis=1)]
    if samples.ndim != 2 or samples.shape[1:] != estimates.shape or np.isnan(estimates).any():
        raise ValueError(
            "expected estimates (k,) without NaN and samples (n_resamples, k), found "
            f"{estimates.shape} and {samples.shape}"
        )
    if len(usable) < 2:
        raise ValueError("expected at least two resamples in which every view is defined")
    around = usable - estimates
    margins = np.zeros((len(estimates), len(estimates)))
    for view in range(len(estimates)):
        differences = around - around[:, [view]]
        errors = differences.std(axis=0, ddof=1)
        apart = errors > 0  # a view differs from itself and its copies by nothing
        if apart.any():
            largest = (differences[:, apart] / errors[apart]).max(axis=1)
            margins[view] = max(float(np.quantile(largest, level)), 0.0) * errors
    above = estimates[None, :] - estimates[:, None]
    may_be_best: NDArray[np.bool_] = np.all(above <= margins, axis=1)
    reach = above.T + margins  # (i, j): how far i may be above j, in the case that i is the best
    return BestSet(
        estimates=estimates,
        may_be_best=may_be_best,
        at_least=np.maximum((above - margins).max(axis=1), 0.0),
        at_most=np.maximum(reach[may_be_best].max(axis=0), 0.0),
        margins=margins,
    )
