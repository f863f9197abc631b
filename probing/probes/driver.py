"""Probes of every view: settings chosen on dev, the choice tested once."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone

from probing.errors import InputError
from probing.probes.linear import LinearProbes
from probing.probes.mlp import MLP, MLP_SENTEVAL, SENTEVAL_LINEAR, TrainedProbes
from probing.probes.predictions import Predictions
from probing.probes.rounds import Round, rounds_of, usable_views

logger = logging.getLogger(__name__)


class MissingClasses(StrEnum):
    """What happens to a class that occurs in the task but not in train, or not in dev."""

    REFUSE = "refuse"
    """An error."""
    ACCEPT = "accept"
    """A warning: without rows in train it is never predicted and its test items count as wrong;
    without rows in dev it has no say in the choice of the settings."""


class Probes(Protocol):
    """A family of probes: one or more settings, of which the one to test is chosen on dev."""

    @property
    def name(self) -> str:
        """Value of the ``probe`` column."""

    @property
    def n_settings(self) -> int:
        """How many settings there are to choose from."""

    def predict(
        self,
        vectors: Mapping[str, Any],
        targets: NDArray[np.intp],
        *,
        n_classes: int,
        train: NDArray[np.intp],
        dev: NDArray[np.intp],
        evaluate: NDArray[np.intp],
        seed: int,
    ) -> NDArray[np.intp]:
        """Classes ``(n_views, n_settings, n_evaluate)`` predicted after fitting on train.

        Args:
            vectors: View id → n rows.
            targets: ``(n,)`` in ``range(n_classes)`` on the rows of train, each class at least
                once; -1 on other rows whose class is not in train.
            n_classes: At least two.
            train: ``(n_train,)`` rows to fit on.
            dev: ``(n_dev,)`` rows to stop early on, for probes that do; where they are among those
                of train, such a probe leaves them out of the fit.
            evaluate: ``(n_evaluate,)`` rows to predict.
            seed: Seed of anything random.
        """


@dataclass(frozen=True)
class Classifiers:
    """Any classifiers with sklearn's ``fit`` and ``predict``, given the rows as they are."""

    candidates: tuple[ClassifierMixin, ...]
    """The settings to choose from; a pipeline with a scaler standardises on train only."""
    name: str

    @property
    def n_settings(self) -> int:
        """How many candidates there are."""
        return len(self.candidates)

    def predict(
        self,
        vectors: Mapping[str, Any],
        targets: NDArray[np.intp],
        *,
        n_classes: int,  # noqa: ARG002
        train: NDArray[np.intp],
        dev: NDArray[np.intp],  # noqa: ARG002
        evaluate: NDArray[np.intp],
        seed: int,  # noqa: ARG002
    ) -> NDArray[np.intp]:
        """As in `Probes`; a candidate's own ``random_state`` is its seed."""
        found = np.empty((len(vectors), len(self.candidates), len(evaluate)), dtype=np.intp)
        for place, view_id in enumerate(vectors):
            rows = vectors[view_id]
            for number, candidate in enumerate(self.candidates):
                try:
                    fitted = clone(candidate).fit(rows[train], targets[train])
                    found[place, number] = fitted.predict(rows[evaluate])
                except Exception as error:  # a researcher's classifier may raise anything
                    raise InputError(
                        f"probe {self.name} failed on {view_id} ({type(error).__name__}: {error}): "
                        "expected a classifier with fit(rows, classes) and predict(rows)"
                    ) from error
        return found


NAMED: Final[Mapping[str, LinearProbes | TrainedProbes]] = {
    "linear": LinearProbes(),
    "mlp": MLP,
    "mlp-senteval": MLP_SENTEVAL,
    "senteval": SENTEVAL_LINEAR,
}
"""Families by name: ``linear`` is the default; ``mlp`` is the control of complexity,
``mlp-senteval`` the same with all nine settings of SentEval to choose from; ``senteval`` is the
logistic regression of SentEval, trained as there (`SENTEVAL_LINEAR`)."""


def fit_probes(
    vectors: Mapping[str, Any],
    labels: ArrayLike,
    splits: ArrayLike,
    *,
    probe: str | Probes | ClassifierMixin = "linear",
    seed: int,
    missing_classes: str = MissingClasses.REFUSE,
    device: str = "cpu",
) -> Predictions:
    """Fit a family of probes to every view, choose each view's setting on dev, test it once.

    With ``train``, ``dev`` and ``test``, the final probe is the chosen one fitted only on train,
    as in SentEval. Without ``dev`` the setting is chosen by stratified five-fold cross-validation
    within train, as there. Without splits there are ten stratified folds, each tested once; in
    each round the setting is chosen on the next fold, with the eight others to fit on, and the
    probe refitted on nine (SentEval: on inner folds, at five times the cost).

    Args:
        vectors: View id → ``(n, hidden_size)`` float32, a row for each sentence or word.
        labels: ``(n,)`` strings or integers.
        splits: ``(n,)`` of ``train``, ``dev`` and ``test``, or the empty string in every entry.
        probe: A name of `NAMED`, a family such as ``LinearProbes(strengths=…)``, or a classifier
            with sklearn's interface, which gets the vectors as they are and is named after its
            class.
        seed: Seed of the folds, and of the probes where they are random.
        missing_classes: One of `MissingClasses`.
        device: Where a probe of `NAMED` is fitted, as torch names it.

    Returns:
        Predictions of the test items. A view with vectors that are not finite, or that is the same
        for every item, has none: -1, with the reason in the log.

    Raises:
        InputError: No view, rows that do not match, no train or no test rows, an unknown split or
            probe, one class only, more classes than rows, or a missing class.
    """
    names, codes = np.unique(np.asarray(labels).astype(str), return_inverse=True)
    family = _family(probe, device)
    usable = usable_views(vectors, len(codes))
    rounds = rounds_of(splits, strata=codes, seed=seed)
    _check_classes(names, codes, rounds, MissingClasses(missing_classes))
    items = np.concatenate([part.test for part in rounds])
    predicted = np.full((len(items), len(vectors)), -1)
    dev_accuracies = np.full((len(rounds), len(vectors), family.n_settings), np.nan)
    columns = [column for column, view_id in enumerate(vectors) if view_id in set(usable)]
    first = 0
    for number, part in enumerate(rounds if usable else ()):
        found, accuracies = _play(part, family, usable, codes, seed)
        dev_accuracies[number, columns] = accuracies
        last = first + len(part.test)
        best = accuracies.argmax(axis=1)
        predicted[first:last, columns] = found[np.arange(len(columns)), best].T
        first = last
    order = np.argsort(items, kind="stable")
    return Predictions(
        probe=family.name,
        view_ids=tuple(vectors),
        classes=tuple(names.tolist()),
        items=items[order],
        gold=codes[items][order],
        predicted=predicted[order],
        dev_accuracies=dev_accuracies,
    )


def _play(
    part: Round, family: Probes, vectors: Mapping[str, Any], codes: NDArray[np.intp], seed: int
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Test predictions ``(n_views, n_settings, n_test)``, dev accuracies ``(…, n_settings)``."""
    right, n_dev = np.zeros((len(vectors), family.n_settings)), 0
    for train, dev in part.choices:
        # where dev is apart from train the final probe is this one: one fit serves both
        final = len(part.choices) == 1 and np.array_equal(train, part.train)
        evaluate = np.concatenate([dev, part.test]) if final else dev
        found = _predict(family, vectors, codes, train, dev, evaluate, seed)
        right += (found[:, :, : len(dev)] == codes[dev]).sum(axis=2)
        n_dev += len(dev)
    if final:
        tested = found[:, :, len(dev) :]
    else:
        tested = _predict(family, vectors, codes, part.train, dev, part.test, seed)
    return tested, right / n_dev


def _predict(
    family: Probes,
    vectors: Mapping[str, Any],
    codes: NDArray[np.intp],
    train: NDArray[np.intp],
    dev: NDArray[np.intp],
    evaluate: NDArray[np.intp],
    seed: int,
) -> NDArray[np.intp]:
    """As `Probes.predict`, with classes that train lacks left out of the fit."""
    present = np.unique(codes[train])
    if len(present) == 1:
        return np.full((len(vectors), family.n_settings, len(evaluate)), present[0])
    places = np.full(int(codes.max()) + 1, -1)
    places[present] = np.arange(len(present))
    found = family.predict(
        vectors,
        places[codes],
        n_classes=len(present),
        train=train,
        dev=dev,
        evaluate=evaluate,
        seed=seed,
    )
    return present[found]


def _family(probe: str | Probes | ClassifierMixin, device: str) -> Probes:
    if isinstance(probe, str):
        if probe not in NAMED:
            raise InputError(f"unknown probe {probe!r}: expected one of {', '.join(NAMED)}")
        return replace(NAMED[probe], device=device)
    if isinstance(probe, BaseEstimator):
        return Classifiers((probe,), name=type(probe).__name__)
    return probe


def _check_classes(
    names: NDArray[np.str_],
    codes: NDArray[np.intp],
    rounds: tuple[Round, ...],
    missing_classes: MissingClasses,
) -> None:
    if len(names) < 2:
        raise InputError(f"every label is {str(names[0])!r}: expected at least two classes")
    for part in rounds:
        if len(part.train) < len(names):
            raise InputError(
                f"found {len(names)} classes in {len(part.train)} rows to fit on: expected more "
                "rows than classes; are the labels scores or ids?"
            )
    everywhere = set(range(len(names)))
    lacking = {
        "train": set().union(*(everywhere - set(codes[part.train]) for part in rounds)),
        "dev": everywhere
        - {code for part in rounds for _, dev in part.choices for code in codes[dev]},
    }
    for split, classes in lacking.items():
        if not classes:
            continue
        some = ", ".join(repr(str(names[code])) for code in sorted(classes)[:3])
        found = f"{len(classes)} of {len(names)} classes have no row in {split}, such as {some}"
        if missing_classes is MissingClasses.REFUSE:
            raise InputError(f"{found}: leave out their rows, or accept missing classes")
        logger.warning("%s", found)
