"""Does a label-free measure choose a better layer than "the last one"?

    python docs/label_free.py --data-dir DATA

writes ``label-free.json`` and, from it only, ``label-free.md`` beside this file; ``--render``
measures nothing. Each case is a task under an encoder and a pooling: what every layer scores, and
what every measure of `probing.similarity.label_free.METRICS` says of it on sentences of the task.

The rule of the verdicts is in ``label_free_rules.py``; it was written down before anything was
measured.
"""

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from label_free_rules import ENCODER, LABELLED, N_HALVES, N_ITEMS, N_SENTENCES, N_TWIN_PAIRS, PAIRS
from label_free_tables import markdown
from numpy.typing import NDArray

from probing import Encoder, extract, load_encoder, load_task, random_twin
from probing.encoding.store.cache import cache_folder
from probing.probes.driver import fit_probes
from probing.results.names import TWIN_SUFFIX
from probing.results.writing import write_text
from probing.similarity.cosine import cosine_similarities
from probing.similarity.label_free import METRICS, view_metrics
from probing.statistics import (
    Aggregation,
    bootstrap_accuracies,
    bootstrap_correlations,
    spearman,
)
from probing.study.label_free import N_COPIES, noisy_copies, token_metrics
from probing.tasks import LabelledSentences, SentencePairs
from probing.tasks.pairs import numbered
from probing.threads import over_views

HERE: Final = Path(__file__).parent
RESULTS: Final = HERE / "label-free.json"
PAGE: Final = HERE / "label-free.md"
TWIN: Final = ENCODER + TWIN_SUFFIX
POOLINGS: Final = {ENCODER: ("mean", "cls"), TWIN: ("mean",)}
N_RESAMPLES: Final = 1000

FloatArray = NDArray[np.float64]


Scored = tuple[FloatArray, FloatArray]
"""Score of every layer ``(n_layers,)``, and their covariance over items."""


def performance(
    encoder: Encoder, name: str, options: argparse.Namespace
) -> tuple[dict[str, Scored], list[str]]:
    """Pooling → what its layers score on a task; and the sentences of the task."""
    views = views_of(encoder)
    if name in PAIRS:
        columns, sentences = _of_pairs(encoder, name, options, _together(views))
    else:
        columns, sentences = _of_labels(encoder, name, options, _together(views))
    scores, covariance = columns
    found, start = {}, 0
    for pooling, layers in views.items():
        part = slice(start, start := start + len(layers))
        found[pooling] = scores[part], covariance[part, part]
    return found, sentences


def views_of(encoder: Encoder) -> dict[str, list[str]]:
    """Pooling → the view of every layer."""
    layers = range(encoder.num_layers + 1)
    return {pooling: [f"{pooling}@{i}" for i in layers] for pooling in POOLINGS[encoder.name]}


def _together(views: Mapping[str, Sequence[str]]) -> list[str]:
    return [view for layers in views.values() for view in layers]


def _of_pairs(
    encoder: Encoder, name: str, options: argparse.Namespace, views: Sequence[str]
) -> tuple[Scored, list[str]]:
    """Spearman of the cosine."""
    task = load_task(name, options.data_dir)
    if not isinstance(task, SentencePairs):
        raise TypeError(f"{name} is no task of pairs")
    n_pairs = min(len(task), N_TWIN_PAIRS if encoder.name == TWIN else len(task))
    rows = np.sort(np.random.default_rng(1).permutation(len(task))[:n_pairs])
    pairs = [[column[row] for row in rows] for column in (task.sentences1, task.sentences2)]
    vectors = extract(
        encoder, [*pairs[0], *pairs[1]], views=views, cache_dir=cache_folder(options.cache_dir)
    )
    columns, gold = cosine_similarities(vectors, views), task.scores[rows]
    samples = bootstrap_correlations(
        columns,
        gold,
        clusters=numbered(task.clusters[rows].tolist()),
        rng=np.random.default_rng(0),
        n_resamples=N_RESAMPLES,
    )[Aggregation.ALL]
    scored = spearman(columns, gold), np.cov(samples.T)
    return scored, [*task.sentences1, *task.sentences2]


def _of_labels(
    encoder: Encoder, name: str, options: argparse.Namespace, views: Sequence[str]
) -> tuple[Scored, list[str]]:
    """Accuracy of a linear probe."""
    task = load_task(name, options.data_dir)
    if not isinstance(task, LabelledSentences):
        raise TypeError(f"{name} is no task of labelled sentences")
    rng = np.random.default_rng(0)
    rows = _train_and_test(task, rng)
    task = replace(task, splits=("",) * len(task)).subset(rows)
    splits = ["train"] * (len(rows) // 2) + ["test"] * (len(rows) // 2)
    vectors = extract(
        encoder, task.sentences, views=views, cache_dir=cache_folder(options.cache_dir)
    )
    found = fit_probes(
        {view: vectors[view] for view in views},
        task.labels,
        splits,
        seed=0,
        missing_classes="accept",
    )
    correct = np.asarray(found.correct, dtype=np.float64)
    samples = bootstrap_accuracies(correct, rng=rng, n_resamples=N_RESAMPLES)
    return (correct.mean(axis=0), np.cov(samples.T)), list(task.sentences)


def _train_and_test(task: LabelledSentences, rng: np.random.Generator) -> list[int]:
    """Rows to train on, then as many to test on, of all splits together."""
    rows = [int(row) for row in rng.permutation(len(task)) if task.sentences[row].strip()]
    return rows[: min(2 * N_ITEMS, len(rows) // 2 * 2)]


def measures(
    encoder: Encoder, sentences: Sequence[str], options: argparse.Namespace
) -> dict[str, Any]:
    """Pooling → what every measure says of every layer, on all sentences and on random halves."""
    rng = np.random.default_rng(0)
    distinct = list(dict.fromkeys(sentences))
    drawn = rng.choice(len(distinct), min(N_SENTENCES, len(distinct)), replace=False)
    chosen = [distinct[i] for i in sorted(drawn)]
    n = len(chosen)
    copies = [copy for of_one in noisy_copies(chosen, N_COPIES, seed=0) for copy in of_one]
    views = views_of(encoder)
    vectors = extract(
        encoder,
        [*chosen, *copies],
        views=_together(views),
        cache_dir=cache_folder(options.cache_dir),
    )
    of_tokens = token_metrics(encoder, chosen)
    parts = [np.arange(n), *(np.sort(rng.permutation(n)[: n // 2]) for _ in range(N_HALVES))]

    def of_view(view: str) -> list[Mapping[str, float]]:
        matrix = vectors[view]
        noisy = matrix[n:].reshape(n, N_COPIES, -1)
        return [
            view_metrics(matrix[:n][part], noisy[part], rng=np.random.default_rng(number))
            for number, part in enumerate(parts)
        ]

    found = {}
    for pooling, of_pooling in views.items():
        layers = over_views(of_view, of_pooling)
        values = {}
        for metric in METRICS:
            if metric.of_tokens:
                rows = [np.nanmean(of_tokens[metric.name][:, part], axis=1) for part in parts]
                table = np.array(rows)
            else:
                table = np.array(
                    [[layer[i][metric.name] for layer in layers] for i in range(len(parts))]
                )
            values[metric.name] = [[_rounded(value) for value in row] for row in table]
        found[pooling] = values
    return found


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else float(f"{value:.5g}")


def measure(options: argparse.Namespace) -> None:
    """Every case that is not in the results yet."""
    cases: list[Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    done = {(case["encoder"], case["task"]) for case in cases}
    trained = load_encoder(ENCODER)
    for encoder in (trained, random_twin(trained, seed=0)):
        for task in (*PAIRS, *LABELLED):
            if (encoder.name, task) in done:
                continue
            scored, sentences = performance(encoder, task, options)
            said = measures(encoder, sentences, options)
            for pooling, (scores, covariance) in scored.items():
                cases.append(
                    {
                        "encoder": encoder.name,
                        "task": task,
                        "pooling": pooling,
                        "scores": [_rounded(value) for value in scores],
                        "covariance": [[_rounded(value) for value in row] for row in covariance],
                        "measures": said[pooling],
                    }
                )
            print(encoder.name, task, flush=True)
            lines = ",\n".join(json.dumps(case) for case in cases)
            write_text(RESULTS, f"[\n{lines}\n]\n")


def main() -> None:
    """Measure what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir")
    parser.add_argument("--cache-dir")
    parser.add_argument("--render", action="store_true", help="only write the page again")
    options = parser.parse_args()
    if not options.render:
        measure(options)
    write_text(PAGE, markdown(json.loads(RESULTS.read_text())))


if __name__ == "__main__":
    main()
