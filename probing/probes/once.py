"""Probes of vectors that were probed before: encoders of one body share most of their views."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin

from probing.encoding.lazy import LazyViews
from probing.probes.driver import MissingClasses, Probes, fit_probes
from probing.probes.predictions import Predictions
from probing.threads import over_views


@dataclass(frozen=True, eq=False)
class FitOnce:
    """Gives what `fit_probes` gives, and fits the same probe to the same vectors only once.

    Predictions are kept, not vectors. Only probes that go by a name are remembered: nobody knows
    whether another classifier does the same twice. A view on which nothing can be measured is not
    remembered either, so that the log gives the reason each time.
    """

    _found: dict[bytes, Predictions] = field(default_factory=dict, repr=False)
    """Of one view each, by the digest of its vectors and of all else that a fit depends on."""

    def __call__(
        self,
        vectors: Mapping[str, Any],
        labels: ArrayLike,
        splits: ArrayLike,
        *,
        probe: str | Probes | ClassifierMixin = "linear",
        seed: int,
        missing_classes: str = MissingClasses.REFUSE,
        device: str = "cpu",
    ) -> Predictions:
        """As `fit_probes`."""

        def fit(views: Mapping[str, Any]) -> Predictions:
            return fit_probes(
                views,
                labels,
                splits,
                probe=probe,
                seed=seed,
                missing_classes=missing_classes,
                device=device,
            )

        if not isinstance(probe, str):
            return fit(vectors)
        given = [np.asarray(values).astype(str).tolist() for values in (labels, splits)]
        about = hashlib.sha256(repr((probe, seed, missing_classes, given)).encode()).digest()
        digests = over_views(lambda view_id: _digest(vectors[view_id], about), list(vectors))
        keys = dict(zip(vectors, digests, strict=True))
        new = {key: view_id for view_id, key in keys.items() if key not in self._found}
        columns = {key: self._found[key] for key in digests if key not in new}
        if new or not keys:
            fitted = fit(LazyViews(new.values(), vectors.__getitem__))
            columns |= dict(zip(new, map(fitted.of_view, new.values()), strict=True))
            self._found.update(
                {key: each for key, each in columns.items() if (each.predicted >= 0).all()}
            )
        one = columns[digests[0]]
        return replace(
            one,
            view_ids=tuple(vectors),
            predicted=np.hstack([columns[key].predicted for key in digests]),
            dev_accuracies=np.concatenate([columns[key].dev_accuracies for key in digests], axis=1),
        )


def _digest(rows: NDArray[np.generic], about: bytes) -> bytes:
    """Of vectors ``(n, d)`` with their type and shape, and of what else the fit depends on."""
    digest = hashlib.sha256(about + repr((rows.dtype.str, rows.shape)).encode())
    digest.update(np.ascontiguousarray(rows).data)
    return digest.digest()
