"""Control tasks, floors and selectivity: what a probe's accuracy is to be compared with."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder
from threadpoolctl import threadpool_limits

from probing.errors import InputError
from probing.probes.driver import Classifiers, MissingClasses, fit_probes
from probing.probes.predictions import Predictions
from probing.results.names import floor_name
from probing.results.scores import COLUMNS

_HASH_BYTES: Final = 8

_WORD: Final = r"\w+|[^\w\s]"
"""Unlike sklearn's default, "a", "I" and "?" count."""


def control_labels(items: Sequence[str], labels: ArrayLike, *, seed: int) -> NDArray[np.str_]:
    """A random label for each distinct item, drawn from the distribution of the real labels.

    With words as items this is the control task of Hewitt & Liang (2019): every word type has one
    label, wherever it occurs, so that a probe can only succeed by memorising types. With
    sentences, of which few recur, it can only fail: what it reaches on test is chance.

    The label of an item depends on the seed, its text and the distribution of the labels only, not
    on the other items or their order.

    Args:
        items: n words or sentences; case counts.
        labels: ``(n,)`` real labels.
        seed: from 0 up.

    Returns:
        ``(n,)`` labels.

    Raises:
        InputError: The lengths differ or there is no item.
    """
    classes, counts = np.unique(np.asarray(labels).astype(str), return_counts=True)
    if len(items) != counts.sum() or not len(items):
        raise InputError(f"found {counts.sum()} labels for {len(items)} items, expected as many")
    ends = np.cumsum(counts) / counts.sum()
    places = {item: _uniform(item, seed) for item in set(items)}
    drawn = np.searchsorted(ends, [places[item] for item in items], side="right")
    return classes[np.minimum(drawn, len(classes) - 1)]


def _uniform(item: str, seed: int) -> float:
    """A number in [0, 1) that looks random and is a function of item and seed."""
    key = seed.to_bytes(_HASH_BYTES, "big")
    digest = hashlib.blake2b(item.encode(), digest_size=_HASH_BYTES, key=key).digest()
    return int.from_bytes(digest, "big") / float(1 << 8 * _HASH_BYTES)


def _lengths(sentences: Iterable[str]) -> NDArray[np.intp]:
    """``(n, 1)`` numbers of whitespace tokens."""
    return np.array([[len(sentence.split())] for sentence in sentences])


FLOORS: Final[Mapping[str, Classifiers]] = MappingProxyType(
    {
        floor_name("majority"): Classifiers(
            candidates=(DummyClassifier(strategy="most_frequent"),), name="none"
        ),
        floor_name("bag-of-words"): Classifiers(
            candidates=tuple(
                make_pipeline(
                    CountVectorizer(token_pattern=_WORD),
                    LogisticRegression(C=strength, max_iter=1000),
                )
                for strength in (0.1, 1.0, 10.0)
            ),
            name="linear",
        ),
        floor_name("length"): Classifiers(
            candidates=tuple(
                make_pipeline(
                    FunctionTransformer(_lengths),
                    OneHotEncoder(handle_unknown="ignore"),
                    LogisticRegression(C=strength, max_iter=1000),
                )
                for strength in (0.1, 1.0, 10.0)
            ),
            name="linear",
        ),
    }
)
"""What is reached without an encoder, by the name for the ``model`` column: the most frequent label
of train, the counts of words (lower-cased) and punctuation marks, the number of whitespace tokens
(each number by itself, so that any dependence on it can be learned)."""


def fit_floor(
    floor: str,
    sentences: Sequence[str],
    labels: ArrayLike,
    splits: ArrayLike,
    *,
    seed: int,
    missing_classes: str = MissingClasses.REFUSE,
) -> Predictions:
    """Fit one of `FLOORS` to texts, by the same rules as `fit_probes`; its one view is ``none``.

    Args:
        floor: A name of `FLOORS`.
        sentences: n texts.
        labels: ``(n,)``.
        splits: ``(n,)``, as for `fit_probes`.
        seed: Seed of the folds.
        missing_classes: One of `MissingClasses`.

    Raises:
        InputError: As `fit_probes`, or the floor is unknown, or no text has a word.
    """
    if floor not in FLOORS:
        raise InputError(f"unknown floor {floor!r}: expected one of {', '.join(FLOORS)}")
    texts = np.array(sentences, dtype=object)
    # L-BFGS makes many small products, for which threads only wait on each other: beside another
    # process they take fifty times as long as one thread
    with threadpool_limits(1, user_api="blas"):
        return fit_probes(
            {"none": texts},
            labels,
            splits,
            probe=FLOORS[floor],
            seed=seed,
            missing_classes=missing_classes,
        )


_KEY: Final = [name for name in COLUMNS if name not in ("labels", "value", "lower", "upper", "n")]


def selectivity(scores: pd.DataFrame) -> pd.DataFrame:
    """Real minus control (Hewitt & Liang 2019), wherever a table of scores has both.

    Args:
        scores: A table as `probing.results.scores.score_table` makes it.

    Returns:
        One row for each pair of rows that differ only in ``labels``: the other columns that
        identify a row, then ``real``, ``control`` and ``selectivity``, float64.
    """
    values = scores.set_index([*_KEY, "labels"])["value"].unstack("labels")  # noqa: PD010
    paired = values.reindex(columns=["real", "control"]).dropna()
    paired["selectivity"] = paired["real"] - paired["control"]
    return paired.reset_index().rename_axis(columns=None)
