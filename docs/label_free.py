"""Does a label-free measure choose a better layer than "the last one"?

    python docs/label_free.py --data-dir DATA

writes ``label-free.json`` and, from it only, ``label-free.md`` beside this file; ``--render``
measures nothing. Each case is a task under an encoder and a pooling: what every layer scores, and
what every measure of `probing.similarity.label_free.METRICS` says of it on sentences of the task.

The rule, written down before anything was measured. A measure's *gain* on a task is the score of
the layer it picks less that of the last layer, × 100; its direction is that of `METRICS`. The claim
"picks a better layer than the last one" is, for mean pooling over all tasks,

- supported, where the mean gain lies above zero (two-sided p of Holm over the measures at most
  `LEVEL`) and so, by its 95 % interval, does the gain over the layer that the same measure picks in
  the random-weight twin: a choice that random weights make as well is one of the architecture;
- else refuted, where a gain of `MARGIN` points or more is ruled out (one-sided p of Holm at most
  `LEVEL`);
- else undecided.

The same rule holds for "than the layer at half depth". Tests and intervals are of t with a degree
of freedom fewer than there are tasks; the standard error is that of a bootstrap which draws tasks,
in a task the scores of its layers given how items vary, and the picks of a random half of the
sentences.
"""

import argparse
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from scipy.stats import t as student

from probing import Encoder, extract, load_encoder, load_task, random_twin
from probing.encoding.store.cache import cache_folder
from probing.probes.driver import fit_probes
from probing.results.names import TWIN_SUFFIX
from probing.results.quantities import points, signed, written
from probing.results.writing import write_text
from probing.similarity.cosine import cosine_similarities
from probing.similarity.label_free import METRICS, LabelFreeMetric, view_metrics
from probing.statistics import (
    Aggregation,
    bootstrap_accuracies,
    bootstrap_correlations,
    holm,
    spearman,
)
from probing.study.label_free import N_COPIES, noisy_copies, token_metrics
from probing.tasks import LabelledSentences, SentencePairs
from probing.threads import over_views

HERE: Final = Path(__file__).parent
RESULTS: Final = HERE / "label-free.json"
PAGE: Final = HERE / "label-free.md"
ENCODER: Final = "minilm"
TWIN: Final = ENCODER + TWIN_SUFFIX
PAIRS: Final = ("stsb", "sickr", "sts12", "sts13", "sts14", "sts15", "sts16")
LABELLED: Final = ("trec", "subj", "sst2", "ewt:bigram_shift", "ewt:subj_number")
POOLINGS: Final = {ENCODER: ("mean", "cls"), TWIN: ("mean",)}
N_SENTENCES: Final = 600
"""That the measures are taken on, of each task."""
N_HALVES: Final = 8
"""Random halves of them: what a half says varies around what all say as all vary around the truth,
and none is drawn twice, which measures of pairs could not bear."""
N_ITEMS: Final = 1000
"""Labelled sentences to train a probe on, and to test it on."""
N_RESAMPLES: Final = 1000
N_DRAWS: Final = 4000
LEVEL: Final = 0.05
MARGIN: Final = 0.5
"""Points: a gain below this would change no one's choice."""

FloatArray = NDArray[np.float64]


# What is measured


def performance(encoder: Encoder, name: str, options: argparse.Namespace, pooling: str) -> Any:
    """Score of every layer, the covariance of the scores over items, and the task's sentences."""
    views = [f"{pooling}@{layer}" for layer in range(encoder.num_layers + 1)]
    cache = cache_folder(options.cache_dir)
    rng = np.random.default_rng(0)
    if name in PAIRS:
        task = load_task(name, options.data_dir)
        if not isinstance(task, SentencePairs):
            raise TypeError(f"{name} is no task of pairs")
        sentences = [*task.sentences1, *task.sentences2]
        columns = cosine_similarities(extract(encoder, sentences, cache_dir=cache), views)
        scores = spearman(columns, task.scores)
        samples = bootstrap_correlations(
            columns, task.scores, clusters=task.clusters, rng=rng, n_resamples=N_RESAMPLES
        )[Aggregation.ALL]
        return scores, np.cov(samples.T), sentences
    labelled = load_task(name, options.data_dir)
    if not isinstance(labelled, LabelledSentences):
        raise TypeError(f"{name} is no task of labelled sentences")
    rows = _train_and_test(labelled, rng)
    labelled = replace(labelled, splits=("",) * len(labelled)).subset(rows)
    splits = ["train"] * (len(rows) // 2) + ["test"] * (len(rows) - len(rows) // 2)
    both = extract(encoder, labelled.sentences, cache_dir=cache)
    found = fit_probes(
        {view: both[view] for view in views},
        labelled.labels,
        splits,
        seed=0,
        missing_classes="accept",
    )
    correct = np.asarray(found.correct, dtype=np.float64)
    samples = bootstrap_accuracies(correct, rng=rng, n_resamples=N_RESAMPLES)
    return correct.mean(axis=0), np.cov(samples.T), list(labelled.sentences)


def _train_and_test(task: LabelledSentences, rng: np.random.Generator) -> list[int]:
    """Rows to train on, then as many to test on, of all splits together."""
    rows = [int(row) for row in rng.permutation(len(task)) if task.sentences[row].strip()]
    return rows[: min(2 * N_ITEMS, len(rows) // 2 * 2)]


def measures(
    encoder: Encoder, sentences: Sequence[str], options: argparse.Namespace, poolings: Sequence[str]
) -> dict[str, Any]:
    """Pooling → what every measure says of every layer, on all sentences and on random halves."""
    rng = np.random.default_rng(0)
    distinct = list(dict.fromkeys(sentences))
    drawn = rng.choice(len(distinct), min(N_SENTENCES, len(distinct)), replace=False)
    chosen = [distinct[i] for i in sorted(drawn)]
    n = len(chosen)
    copies = [copy for of_one in noisy_copies(chosen, N_COPIES, seed=0) for copy in of_one]
    vectors = extract(encoder, [*chosen, *copies], cache_dir=cache_folder(options.cache_dir))
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
    for pooling in poolings:
        layers = over_views(of_view, [f"{pooling}@{i}" for i in range(encoder.num_layers + 1)])
        values = {}
        for metric in METRICS:
            if metric.of_tokens:
                rows = [np.nanmean(of_tokens[metric.name][:, part], axis=1) for part in parts]
                table = np.array(rows)
            else:
                table = np.array([[layer[i][metric.name] for layer in layers] for i in range(len(parts))])
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
            poolings = POOLINGS[encoder.name]
            scored = {
                pooling: performance(encoder, task, options, pooling) for pooling in poolings
            }
            said = measures(encoder, scored[poolings[0]][2], options, poolings)
            for pooling in poolings:
                scores, covariance, _ = scored[pooling]
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
    #write_text(PAGE, markdown(json.loads(RESULTS.read_text())))


if __name__ == "__main__":
    main()
