"""How often each rule that decides is wrong, and how often it finds what was planted.

Everything that decides is the package's own code; only the data are made up, on the gold scores,
subsets and shared sentences of the seven STS sets where sizes and ties matter. A point is 0.01.
"""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from probing import load_task
from probing.claims.outcomes import SMALLEST_EFFECT, Test, decided
from probing.results.target import Target
from probing.statistics import (
    Aggregation,
    bootstrap_accuracies,
    bootstrap_correlations,
    effect_over_seeds,
    paired_difference,
    random_effects,
    spearman,
)
from probing.tasks import SentencePairs

FloatArray = NDArray[np.float64]
Row = dict[str, Any]

SETS: Final = ("sts12", "sts13", "sts14", "sts15", "sts16", "sickr", "stsb")
PLANTED: Final = -0.02
"""Two points."""
REPETITIONS: Final = 1000
OFTEN: Final = 4000
"""Repetitions of what needs no bootstrap."""
_RESAMPLES: Final = 200
_AT_ONCE: Final = 125
_SEED: Final = 0
_POINT: Final = 0.01
_RUN: Final = Path(__file__).parent / "runs" / "official" / "scores.csv"
_GUARD: Final = "the guard of the random-effects mean"
_FEW_TASKS: Final = "the few degrees of freedom (tasks less two) of an interval for one more"
_BOTH: Final = "two parts of the error of which each has its whole margin"
_WIDE: Final = "an error so large that hardly an interval fits between the margins"
_MANY: Final = "Holm's bound over tests that depend on each other"


def rules(options: argparse.Namespace) -> list[Row]:
    """Every rule under its null and with two points planted."""
    rows: list[Row] = []
    errors: dict[str, float] = {}
    for number, name in enumerate(SETS):
        print(f"rules: one task, {name}", flush=True)
        rng = np.random.default_rng([_SEED, number])
        task = load_task(name, options.data_dir)
        if not isinstance(task, SentencePairs):
            raise TypeError(f"{name} is not of sentence pairs")
        found, errors[name] = _one_task(task, _measured(name, "standard_error"), rng)
        rows += found
    # each part has draws of its own: a change to one leaves the figures of the others
    for number, part in enumerate((_accuracies, _families, _tasks, _seeds, _draws, _layers), 10):
        print(f"rules: {part.__name__.strip('_')}", flush=True)
        rows.extend(part(np.random.default_rng([_SEED, number]), errors))
    return rows


def _row(
    rule: str,
    setting: str,
    *,
    rejected: float | None = None,
    held: float | None = None,
    found: float | None = None,
    repetitions: int = REPETITIONS,
    conservative: str = "",
    must_find: bool = False,
    could_find: float | None = None,
) -> Row:
    """One line of the table; shares of the repetitions, None where they are not asked for."""
    return {
        "rule": rule,
        "setting": setting,
        "repetitions": repetitions,
        "rejected": rejected,
        "held": held,
        "found": found,
        "conservative": conservative,
        "must_find": must_find,
        "could_find": could_find,
    }


def _measured(name: str, metric: str) -> float:
    """A number of ``pooler - mean`` of minilm on this set, in the committed run."""
    scores = pd.read_csv(_RUN)
    cell = {"model": "minilm", "task": name, "view": "pooler@6 - mean@6", "transform": "raw"}
    cell |= {"probe": "cosine", "aggregation": "all", "metric": metric}
    rows = scores[(scores[list(cell)] == pd.Series(cell)).all(axis=1)]
    return float(rows["value"].iloc[0])


def _one_task(
    task: SentencePairs, error: float, rng: np.random.Generator
) -> tuple[list[Row], float]:
    """The test of one claim on one set: equal views, and one that is two points worse.

    Half of the variance of the noise is that of the sentences, so that pairs which share one are
    alike; how far the two views agree is set so that the standard error is the measured one.
    """
    target = Target(
        task=task.name,
        gold=task.scores,
        subsets=task.subsets,
        clusters=task.clusters,
        n_resamples=_RESAMPLES,
    )
    views = _Views(task, rng)
    own = 0.5
    for _ in range(2):  # the error of a difference grows with the noise that views do not share
        _, errors = _differences(views, target, own, 0.0, rng, 50)
        own *= error / float(np.median(errors))
    lost = _lost_gold(views, own)
    effects, errors = _differences(views, target, own, 0.0, rng, REPETITIONS)
    rejected = _share(effects, errors, 0.0)
    planted, planted_errors = _differences(views, target, own, lost, rng, REPETITIONS)
    truth = float(planted.mean())
    setting = (
        f"{task.name}: {len(task):,} pairs in {len(set(task.clusters.tolist())):,} clusters, "
        f"error {100 * float(np.median(errors)):.2f} points"
    )
    found = np.mean(
        [
            decision.rejected and effect < 0
            for effect, one in zip(planted, planted_errors, strict=True)
            for decision in decided([_test(effect, one)], SMALLEST_EFFECT)
        ]
    )
    middle = float(np.median(planted_errors))
    enough = middle <= abs(PLANTED) / 2.9  # a little more than 1.96 + 0.84
    rows = [
        _row("one claim on one task", setting, rejected=rejected, found=float(found),
             must_find=enough, could_find=float(norm.cdf(abs(truth) / middle - norm.isf(0.025)))),
        _row(
            "a threshold of its own",
            setting,
            rejected=_share(planted, planted_errors, truth),
            held=1 - _share(planted, planted_errors, truth),
        ),
        _row(
            "negligible, at the margin",
            setting,
            rejected=float(
                np.mean(
                    [
                        decided([_test(effect, one)], abs(truth))[0].negligible
                        for effect, one in zip(planted, planted_errors, strict=True)
                    ]
                )
            ),
            conservative=_WIDE if middle > abs(truth) / 3.3 else "",  # twice 1.645
        ),
    ]  # fmt: skip
    return rows, float(np.median(errors))


class _Views:
    """Similarities of made-up views of one task, all columns with the same truth."""

    def __init__(self, task: SentencePairs, rng: np.random.Generator) -> None:
        self.gold = (task.scores - task.scores.mean()) / task.scores.std()
        names = {s: i for i, s in enumerate(dict.fromkeys((*task.sentences1, *task.sentences2)))}
        self.one, self.other = (
            np.array([names[s] for s in column]) for column in (task.sentences1, task.sentences2)
        )
        self.n_sentences = len(names)
        self.rng = rng

    def noise(self, n_columns: int) -> FloatArray:
        """``(n_pairs, n_columns)`` of variance one, half of it that of the two sentences."""
        sentences = self.rng.standard_normal((self.n_sentences, n_columns))
        shared = (sentences[self.one] + sentences[self.other]) / 2**0.5
        own = self.rng.standard_normal((len(self.gold), n_columns))
        both: FloatArray = (shared + own) / 2**0.5
        return both

    def pair(self, own: float, lost: float, n: int) -> tuple[FloatArray, FloatArray]:
        """Two views ``(n_pairs, n)``; the first has lost a share of the gold scores."""
        common = self.gold[:, None] + 0.7 * self.noise(n)
        one = common - lost * self.gold[:, None] + own * self.noise(n)
        return one, common + own * self.noise(n)


def _lost_gold(views: _Views, own: float) -> float:
    """Which share of the gold a view must lose to be two points worse, to a tenth of a point."""
    low, high = 0.0, 0.5
    for _ in range(9):
        middle = (low + high) / 2
        one, other = views.pair(own, middle, 100)
        gap = float((spearman(one, views.gold) - spearman(other, views.gold)).mean())
        low, high = (middle, high) if gap > PLANTED else (low, middle)
    return (low + high) / 2


def _differences(
    views: _Views,
    target: Target,
    own: float,
    lost: float,
    rng: np.random.Generator,
    repetitions: int,
) -> tuple[FloatArray, FloatArray]:
    """Differences of Spearman ``(repetitions,)`` and their standard errors, as in a run."""
    _, codes, _ = target.coded_subsets()
    found = []
    for start in range(0, repetitions, _AT_ONCE):
        n = min(_AT_ONCE, repetitions - start)
        one, other = views.pair(own, lost, n)
        both = np.concatenate([one, other], axis=1)
        samples = bootstrap_correlations(
            both,
            target.gold,
            rng=rng,
            subsets=codes,
            clusters=target.clusters,
            n_resamples=_RESAMPLES,
        )[Aggregation.ALL]
        values = spearman(both, target.gold)
        difference = paired_difference(
            samples[:, :n], samples[:, n:], estimate_a=values[:n], estimate_b=values[n:]
        )
        found.append((difference.difference, difference.standard_error))
    effects, errors = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return effects, errors


def _test(effect: float, error: float, freedom: float = np.inf, threshold: float = 0.0) -> Test:
    return Test(effect=float(effect), error=float(error), freedom=freedom, threshold=threshold)


def _share(effects: FloatArray, errors: FloatArray, truth: float) -> float:
    """Share of tests against the truth that reject, each a family of one."""
    tests = [_test(e, s, threshold=truth) for e, s in zip(effects, errors, strict=True)]
    return float(np.mean([decided([test], SMALLEST_EFFECT)[0].rejected for test in tests]))


def _accuracies(rng: np.random.Generator, _: Mapping[str, float]) -> Iterator[Row]:
    """Two views that read next sentences equally well, their right answers alike.

    Items are by themselves, or of documents that one view reads better and another worse.
    """
    n = 4000
    for gap, size in ((0.0, 1), (0.02, 1), (0.0, 8), (0.02, 8)):
        documents = np.repeat(np.arange(n // size), size)
        easy = rng.random((n, REPETITIONS)) < 0.5
        one, other = (
            easy | (rng.random(easy.shape) < p + _of_documents(documents, rng))
            for p in (0.4 + 2 * gap, 0.4)
        )
        columns = np.concatenate([one, other], axis=1)
        groups = None if size == 1 else documents
        samples = bootstrap_accuracies(columns, rng=rng, groups=groups, n_resamples=_RESAMPLES)
        values = columns.mean(axis=0)
        k = REPETITIONS
        found = paired_difference(
            samples[:, :k], samples[:, k:], estimate_a=values[:k], estimate_b=values[k:]
        )
        effects, errors = np.asarray(found.difference), np.asarray(found.standard_error)
        setting = f"{n:,} next sentences, error {100 * float(np.median(errors)):.2f} points"
        if size > 1:
            setting += f", {size} from each document"
        share = _share(effects, errors, 0.0)
        if gap:
            yield _row(
                "a difference of accuracies",
                setting,
                held=1 - _share(effects, errors, gap),
                found=share,
            )
        else:
            yield _row("a difference of accuracies", setting, rejected=share)


def _of_documents(documents: NDArray[np.intp], rng: np.random.Generator) -> FloatArray:
    """``(n, REPETITIONS)``: how much better a view reads the items of a document; none of one."""
    if len(set(documents.tolist())) == len(documents):
        return np.zeros((len(documents), 1))
    by_document = rng.uniform(-0.3, 0.3, (int(documents.max()) + 1, REPETITIONS))
    return by_document[documents]


def _families(rng: np.random.Generator, errors: Mapping[str, float]) -> Iterator[Row]:
    """Holm over the claims of a run on seven sets, of which some are sums of others."""
    sizes = np.array([errors[name] for name in SETS])
    for planted in (0.0, PLANTED):
        wrong, found = 0, 0.0
        for _ in range(REPETITIONS):
            steps = rng.normal(0, sizes / 2**0.5, (2, len(sizes)))
            steps[0] += planted
            own = rng.normal(0, sizes, (4, len(sizes)))
            # C1 is C2 and C3 together; the others share half of their variance with it
            claims = np.stack([steps.sum(axis=0), *steps, *(own + steps.sum(axis=0)) / 2**0.5])
            scale = np.array([1, 2**-0.5, 2**-0.5, 1, 1, 1, 1])[:, None] * sizes
            tests = [_test(e, s) for e, s in zip(claims.ravel(), scale.ravel(), strict=True)]
            decisions = decided(tests, SMALLEST_EFFECT)
            null = decisions[2 * len(sizes) : 3 * len(sizes)] if planted else decisions
            wrong += any(decision.rejected for decision in null)
            found += float(np.mean([d.rejected for d in decisions[: len(sizes)]]))
        if planted:
            yield _row(
                "Holm, a true null among false ones",
                "7 claims on 7 sets, two points planted in six of the claims",
                rejected=wrong / REPETITIONS,
                found=found / REPETITIONS,
                conservative=_MANY,
            )
        else:
            yield _row(
                "Holm, all nulls true",
                "7 dependent claims on 7 sets: any wrong outcome",
                rejected=wrong / REPETITIONS,
                conservative=_MANY,
            )


def _tasks(rng: np.random.Generator, errors: Mapping[str, float]) -> Iterator[Row]:
    """The mean over tasks with their unequal errors, and the interval for one more."""
    measured = np.array([errors[name] for name in SETS])
    found = random_effects(
        *([_measured(s, m) for s in SETS[:-1]] for m in ("spearman_difference", "standard_error"))
    )
    of_minilm = found.tau_squared**0.5 / _POINT
    for n in (2, 4, 6, 7):
        for between in (0.0, 1.0, 3.0, *([of_minilm] if n == 6 else [])):
            held = inside = shown = finds = 0
            for _ in range(OFTEN):
                sizes = rng.permutation(measured)[:n]
                truth = rng.normal(0, between * _POINT, n + 1)
                effects = truth[:n] + rng.normal(0, sizes)
                pooled = random_effects(effects, sizes)
                held += pooled.lower <= 0 <= pooled.upper
                finds += pooled.upper + PLANTED < 0  # of effects that are two points lower
                if pooled.tau_squared > 0:  # as in the verdict
                    shown += 1
                    inside += pooled.prediction_lower <= truth[n] <= pooled.prediction_upper
            guarded = between < 3.0 or n == 2
            said = f"{n} sets, {between:.2g} points between sets"
            said += ", as pooler - mean of minilm" if between == of_minilm else ""
            note = "; a run says nothing of all tasks here" if n == 2 else ""
            yield _row(
                "mean over tasks",
                said + note,
                rejected=1 - held / OFTEN,
                held=held / OFTEN,
                found=finds / OFTEN,
                repetitions=OFTEN,
                conservative=_GUARD if guarded else "",
                must_find=n >= 6 and between <= 1.0,
            )
            if n > 2 and between:
                yield _row(
                    "one more task",
                    said,
                    held=inside / shown,
                    repetitions=shown,
                    conservative=_GUARD if guarded else _FEW_TASKS if n < 6 else "",
                )


def _seeds(rng: np.random.Generator, errors: Mapping[str, float]) -> Iterator[Row]:
    """Several pairs of encoders on six sets: a seed's deviation is the same on each."""
    sizes = np.array([errors[name] for name in SETS if name != "stsb"])
    for n in (2, 5, 10):
        for of_seeds, between in ((0.0, 0.0), (1.0, 0.0), (2.0, 1.0), (4.4, 1.0)):
            held = found = 0
            for _ in range(OFTEN):
                effects = (
                    rng.normal(0, of_seeds * _POINT, (n, 1))
                    + rng.normal(0, between * _POINT, len(sizes))
                    + rng.normal(0, sizes)
                )
                mean = effect_over_seeds(effects, sizes)
                held += mean.lower <= 0 <= mean.upper
                found += mean.upper + PLANTED < 0
            yield _row(
                "several pairs of encoders",
                f"{n} pairs, {of_seeds:g} points between seeds, {between:g} between sets",
                rejected=1 - held / OFTEN,
                held=held / OFTEN,
                found=found / OFTEN,
                repetitions=OFTEN,
                conservative=_BOTH,
                must_find=(n, of_seeds) in ((5, 0.0), (10, 0.0), (10, 1.0)),
            )


def _draws(rng: np.random.Generator, errors: Mapping[str, float]) -> Iterator[Row]:
    """An encoder less five draws of random weights; heads fine-tuned from three seeds or five."""
    sizes = np.array([errors[name] for name in SETS if name != "stsb"])
    less, tuned = "less five draws of random weights", "a head fine-tuned from several seeds"
    for rule, name, n, used in (
        (less, "one set", 5, sizes[:1]),
        (less, "6 sets", 5, sizes),
        (tuned, "4,000 items, 3 seeds", 3, np.array([0.0077])),
        (tuned, "4,000 items, 5 seeds", 5, np.array([0.0077])),
    ):
        for of_draws in (0.5, 2.0):
            held = found = 0
            for _ in range(OFTEN):
                effects = rng.normal(0, of_draws * _POINT, (n, 1)) + rng.normal(0, used)
                mean = effect_over_seeds(effects, used)
                held += mean.lower <= 0 <= mean.upper
                found += mean.upper + PLANTED < 0
            yield _row(
                rule,
                f"{name}, {of_draws:g} points between {'draws' if rule == less else 'seeds'}",
                rejected=1 - held / OFTEN,
                held=held / OFTEN,
                found=found / OFTEN,
                repetitions=OFTEN,
                conservative=_BOTH,
                must_find=name == "6 sets" and of_draws <= 0.5,
            )


def _layers(rng: np.random.Generator, _: Mapping[str, float]) -> Iterator[Row]:
    """The best of twelve equal layers is chosen on pairs that are not tested on, or that are."""
    n_development, n_test, layers = 369, 1379, 12
    pool = rng.normal(size=n_development + n_test)
    tested = slice(n_development, None)
    for kind, rows in (
        ("chosen on 369 pairs that are not tested on", slice(0, n_development)),
        ("chosen on the tested pairs, as a warning", tested),
    ):
        found = []
        for start in range(0, REPETITIONS, _AT_ONCE):
            n = min(_AT_ONCE, REPETITIONS - start)
            common = pool[:, None, None] + 0.7 * rng.standard_normal((len(pool), n, 1))
            views = common + 0.5 * rng.standard_normal((len(pool), n, layers + 1))
            earlier = views[:, :, :layers].reshape(len(pool), -1)
            chosen = spearman(earlier[rows], pool[rows]).reshape(n, layers).argmax(axis=1)
            last = views[tested, :, layers]
            best = views[tested][:, np.arange(n), chosen]
            both, gold = np.concatenate([last, best], axis=1), pool[tested]
            (samples,) = bootstrap_correlations(
                both, gold, rng=rng, n_resamples=_RESAMPLES
            ).values()
            values = spearman(both, gold)
            difference = paired_difference(
                samples[:, :n], samples[:, n:], estimate_a=values[:n], estimate_b=values[n:]
            )
            found.append((difference.difference, difference.standard_error))
        effects, errors = (np.concatenate(parts) for parts in zip(*found, strict=True))
        share = _share(effects, errors, 0.0)
        if kind.startswith("chosen on 369"):
            yield _row("a layer that was chosen", kind, rejected=share, held=1 - share)
        else:
            yield _row("not done: a layer chosen on the tested pairs", kind, rejected=None,
                       held=1 - share)  # fmt: skip
