"""Linear probes of every view at every strength against a loop over scikit-learn.

    python benchmarks/probes.py --out runs/benchmarks

writes ``probes.md`` and ``probes.json``. One task of 10,000 sentences and 6 classes, 30 views of
width 384, 5 strengths. Views are made, not encoded, so that the figure needs no model, and as hard
as TREC on MiniLM's: on train the classes are read at 80 to 96 % at C = 1, and sklearn takes about
400 steps for the five strengths. Both sides standardise and fit; both have all cores. Groups of
views alternate between the two.
"""

import argparse
import json
import os
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from probing.encoding.description import describe_machine
from probing.probes.linear import STRENGTHS, LinearProbes
from probing.results.run_folder import describe_versions
from probing.results.writing import write_text
from probing.threads import over_views


def make_views(
    n: int, n_views: int, n_classes: int, width: int, seed: int = 0
) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.intp]]:
    """Views (n, width) of one hidden state with more and more noise, and the classes (n,)."""
    rng = np.random.default_rng(seed)
    spectrum = np.arange(1, width + 1) ** -0.6
    hidden = rng.normal(size=(n, width))
    told = hidden @ (rng.normal(size=(width, n_classes)) * spectrum[:, None])
    labels = (told / told.std() + 0.1 * rng.gumbel(size=told.shape)).argmax(axis=1)
    views = {}
    for number in range(n_views):
        noise = number / n_views / 2 * rng.normal(size=hidden.shape)
        rotation = np.linalg.qr(rng.normal(size=(width, width)))[0]
        views[f"mean@{number}"] = ((hidden + noise) * spectrum @ rotation).astype(np.float32)
    return views, labels


def fit_ours(
    views: dict[str, NDArray[np.float32]], labels: NDArray[np.intp], n_classes: int
) -> NDArray[np.float64]:
    """Losses (n_views, n_strengths)."""
    probes = LinearProbes()
    fits = over_views(
        lambda view: probes.fit(views[view], labels, n_classes=n_classes, name=view)[0], list(views)
    )
    assert all(fit.converged.all() for fit in fits)
    return np.array([fit.losses for fit in fits])


def fit_sklearn(
    views: dict[str, NDArray[np.float32]], labels: NDArray[np.intp]
) -> list[list[LogisticRegression]]:
    """Fits by view and strength."""
    fits = []
    for vectors in views.values():
        rows = StandardScaler().fit_transform(vectors)
        fits.append([LogisticRegression(C=c, max_iter=1000).fit(rows, labels) for c in STRENGTHS])
    return fits


def loss_of(
    fitted: LogisticRegression, vectors: NDArray[np.float32], labels: NDArray[np.intp]
) -> float:
    """The objective that both sides minimise, at sklearn's result."""
    rows = StandardScaler().fit_transform(vectors).astype(np.float64)
    logits = rows @ fitted.coef_.T.astype(np.float64) + fitted.intercept_
    chosen = torch.from_numpy(logits).log_softmax(1).numpy()[np.arange(len(labels)), labels]
    ridge = (fitted.coef_.astype(np.float64) ** 2).sum() / (2 * fitted.C * len(labels))
    return float(ridge - chosen.mean())


def seconds(function: Callable[[], Any]) -> tuple[float, Any]:
    """How long a call takes, and its result."""
    began = time.perf_counter()
    result = function()
    return time.perf_counter() - began, result


def bench_probes(
    n: int = 10_000, n_views: int = 30, n_classes: int = 6, width: int = 384, n_groups: int = 5
) -> dict[str, Any]:
    """Seconds of both sides, the ratio, and how far the losses lie apart."""
    views, labels = make_views(n, n_views, n_classes, width)
    fit_ours({"mean@0": views["mean@0"][:500]}, labels[:500], n_classes)
    times: dict[str, list[float]] = {"probing": [], "sklearn": []}
    apart, iterations = [], 0
    for group in range(n_groups):
        part = {view: views[view] for view in list(views)[group::n_groups]}
        sides = {
            "probing": lambda part=part: fit_ours(part, labels, n_classes),
            "sklearn": lambda part=part: fit_sklearn(part, labels),
        }
        results = {}
        for side in sorted(sides, reverse=group % 2 == 1):
            taken, results[side] = seconds(sides[side])
            times[side].append(taken)
        for losses, fits, vectors in zip(
            results["probing"], results["sklearn"], part.values(), strict=True
        ):
            for ours, fitted in zip(losses, fits, strict=True):
                theirs = loss_of(fitted, vectors, labels)
                apart.append(ours / theirs - 1)
                iterations += int(fitted.n_iter_[0])
    ratios = [
        theirs / ours for ours, theirs in zip(times["probing"], times["sklearn"], strict=True)
    ]
    return {
        "sentences": n,
        "views": n_views,
        "strengths": len(STRENGTHS),
        "classes": n_classes,
        "width": width,
        "groups": n_groups,
        "seconds": {side: sum(taken) for side, taken in times.items()},
        "ratio_median": statistics.median(ratios),
        "ratio_lowest": min(ratios),
        "loss_above_sklearn_highest": max(apart),
        "loss_above_sklearn_lowest": min(apart),
        "sklearn_iterations_mean": iterations / len(apart),
    }


def markdown(report: dict[str, Any]) -> str:
    """The report as a table."""
    about, found = report["machine"], report["probes"]
    fits = found["views"] * found["strengths"]
    lines = [
        "# Linear probes",
        "",
        (
            f"{about['processor']}, {about['cores']} cores, {about['threads']} threads; torch "
            f"{report['versions']['torch']}, scikit-learn {report['versions']['scikit-learn']}. "
            f"Load average before {report['load before'][0]:.1f}, after "
            f"{report['load after'][0]:.1f}."
        ),
        "",
        (
            f"{found['sentences']:,} sentences, {found['classes']} classes, {found['views']} views "
            f"of width {found['width']}, {found['strengths']} strengths: {fits} fits."
        ),
        "",
        "| | seconds |",
        "|---|---:|",
        f"| LinearProbes | {found['seconds']['probing']:.1f} |",
        f"| loop over LogisticRegression(max_iter=1000) | {found['seconds']['sklearn']:.1f} |",
        "",
        (
            f"The loop takes {found['ratio_median']:.1f}× as long (median of {found['groups']} "
            f"groups of views; lowest {found['ratio_lowest']:.1f}×). Loss over sklearn's, less "
            f"one: {found['loss_above_sklearn_lowest']:+.1e} to "
            f"{found['loss_above_sklearn_highest']:+.1e}."
        ),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sentences", type=int, default=10_000)
    parser.add_argument("--views", type=int, default=30)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"))
    options = parser.parse_args()
    report: dict[str, Any] = {
        "machine": describe_machine(),
        "versions": describe_versions(),
        "load before": os.getloadavg(),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the user's loop stops at 1,000 too
        report["probes"] = bench_probes(options.sentences, options.views)
    report["load after"] = os.getloadavg()
    options.out.mkdir(parents=True, exist_ok=True)
    write_text(options.out / "probes.json", json.dumps(report, indent=1) + "\n")
    write_text(options.out / "probes.md", markdown(report))
    print(markdown(report))


if __name__ == "__main__":
    main()
