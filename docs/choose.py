"""How often the set of `probing choose` holds the best view, and how large it is.

    python docs/choose.py --data-dir DATA

writes ``choose.json`` and, from it only, ``choose.md`` beside this file; ``--render`` measures
nothing. Each case is a task under an encoder. In a draw the items are cut in two at random: the
views are chosen on one half, at most `N_ITEMS` of it, and the other half says which view is best.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from probing import load_encoder, load_task, random_twin
from probing.encoding.sharing import SharedExtraction
from probing.encoding.store.cache import cache_folder
from probing.probes.driver import fit_probes
from probing.results.names import TWIN_SUFFIX, is_twin
from probing.results.writing import write_text
from probing.similarity.cosine import cosine_similarities
from probing.statistics import (
    Aggregation,
    accuracy_interval,
    best_set,
    bootstrap_accuracies,
    bootstrap_correlations,
    spearman,
)
from probing.tasks import LabelledSentences
from probing.tasks.pairs import sharing_clusters

HERE: Final = Path(__file__).parent
RESULTS: Final = HERE / "choose.json"
ENCODERS: Final = ("minilm", "minilm-nsp")
PAIRS: Final = ("stsb", "sickr", "sts12", "sts13", "sts14", "sts15", "sts16")
LABELLED: Final = ("trec", "subj", "bigram_shift", "tree_depth", "past_present", "subj_number")
N_ITEMS: Final = 1000
DRAWS: Final = 60
DRAWS_OF_PROBES: Final = 4
N_RESAMPLES: Final = 500
"""Fewer than the 1,000 of the command, for there are thousands of draws."""
PROMISED: Final = 0.93
MOST_VIEWS: Final = 8

FloatArray = NDArray[np.float64]
Measured = Mapping[str, FloatArray]


def model_confidence_set(
    estimates: FloatArray, samples: FloatArray, *, level: float, of_range: bool
) -> NDArray[np.bool_]:
    """Hansen, Lunde & Nason (2011): the worst view is left out until all may be equally good.

    ``of_range`` tests by the largest difference between two views (T_R), else by the largest
    distance of a view from the mean of those that are left (T_max).
    """
    kept = list(range(len(estimates)))
    around = samples - estimates
    while len(kept) > 1:
        now, drawn = estimates[kept], around[:, kept]
        if of_range:
            errors = np.array([(drawn - drawn[:, [i]]).std(axis=0) for i in range(len(kept))])
            errors[errors == 0] = np.inf
            ahead = (now[None, :] - now[:, None]) / errors
            chance = np.max(
                [np.abs(drawn - drawn[:, [i]]) / errors[i] for i in range(len(kept))], axis=(0, 2)
            )
            found, worst = np.abs(ahead).max(), ahead.max(axis=1).argmax()
        else:
            below = now.mean() - now
            drawn = drawn.mean(axis=1, keepdims=True) - drawn
            errors = np.maximum(drawn.std(axis=0), 1e-12)
            chance = (drawn / errors).max(axis=1)
            found, worst = (below / errors).max(), (below / errors).argmax()
        if found <= np.quantile(chance, level):
            break
        kept.pop(int(worst))
    return np.isin(np.arange(len(estimates)), kept)


METHODS: Final[Mapping[str, Callable[[FloatArray, FloatArray], NDArray[np.bool_]]]] = {
    "comparison with the best": lambda values, samples: best_set(values, samples).may_be_best,
    "model confidence set, T_R": lambda values, samples: model_confidence_set(
        values, samples, level=0.95, of_range=True
    ),
    "model confidence set, T_max": lambda values, samples: model_confidence_set(
        values, samples, level=0.95, of_range=False
    ),
}


def halves(n: int, rng: np.random.Generator) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows to choose on, at most `N_ITEMS`, and the rest."""
    rows = rng.permutation(n)
    n_chosen = min(N_ITEMS, n // 2)
    return rows[:n_chosen], rows[n_chosen:]


def judged(estimates: FloatArray, samples: FloatArray, held_out: FloatArray, last: int) -> Any:
    """One draw: by each method the size of the set and whether it holds the best of the rest."""
    best = int(held_out.argmax())
    found = best_set(estimates, samples)
    row: dict[str, Any] = {}
    for name, method in METHODS.items():
        started = time.perf_counter()
        kept = method(estimates, samples)
        seconds = time.perf_counter() - started
        row[name] = [int(kept.sum()), int(kept[best]), round(seconds, 3)]
    cost = held_out.max() - held_out
    row["lost"] = round(float(cost[found.best]), 5)
    row["lost by the mean"] = round(float(cost[last]), 5)
    row["bounded"] = int(cost[found.best] <= found.at_most[found.best])
    return row


def pair_draws(encoder: SharedExtraction, name: str, folder: str) -> Iterator[Any]:
    """Pairs with scores: Spearman of the cosine."""
    task = load_task(name, folder, split="all")
    vectors = encoder(task.sentences1 + task.sentences2)
    views = tuple(vectors)
    columns = cosine_similarities(vectors, views)
    defined = ~np.isnan(columns).any(axis=0)
    columns, gold = columns[:, defined], task.scores
    last = _place(views, defined, encoder)
    for draw in range(DRAWS):
        rng = np.random.default_rng(draw)
        chosen, rest = halves(len(gold), rng)
        clusters = sharing_clusters(
            [task.sentences1[i] for i in chosen], [task.sentences2[i] for i in chosen]
        )
        samples = bootstrap_correlations(
            columns[chosen], gold[chosen], clusters=clusters, rng=rng, n_resamples=N_RESAMPLES
        )[Aggregation.ALL]
        estimates = spearman(columns[chosen], gold[chosen])
        yield judged(estimates, samples, spearman(columns[rest], gold[rest]), last)


def probe_draws(encoder: SharedExtraction, name: str, folder: str) -> Iterator[Any]:
    """Labelled sentences: accuracy of a linear probe in ten folds of the one half.

    The rest, at most as many, is read by probes that are trained on all of that half.
    """
    task = load_task(name, folder)
    if not isinstance(task, LabelledSentences):
        raise TypeError(f"{name} is no task of labelled sentences")
    rows = np.random.default_rng(0).permutation(len(task))[: 4 * N_ITEMS]
    rows = np.array([row for row in rows if task.sentences[row].strip()])
    task = replace(task, splits=("",) * len(task)).subset(rows.tolist())
    both = encoder(task.sentences)
    vectors = {view_id: both[view_id] for view_id in both}
    labels = np.array(task.labels)
    for draw in range(DRAWS_OF_PROBES):
        rng = np.random.default_rng(draw)
        chosen, rest = halves(len(labels), rng)
        rest = rest[:N_ITEMS]
        of_chosen = {view_id: matrix[chosen] for view_id, matrix in vectors.items()}
        within = fit_probes(of_chosen, labels[chosen], [""] * len(chosen), seed=draw)
        together = np.concatenate([chosen, rest])
        of_both = {view_id: matrix[together] for view_id, matrix in vectors.items()}
        splits = ["train"] * len(chosen) + ["test"] * len(rest)
        outside = fit_probes(of_both, labels[together], splits, seed=draw, missing_classes="accept")
        defined = ~np.isnan(within.correct).any(axis=0)
        correct = within.correct[:, defined]
        samples = bootstrap_accuracies(correct, rng=rng, n_resamples=N_RESAMPLES)
        held_out = outside.correct[:, defined].mean(axis=0)
        last = _place(within.view_ids, defined, encoder)
        yield judged(correct.mean(axis=0), samples, held_out, last)


def _place(views: Sequence[str], defined: NDArray[np.bool_], encoder: SharedExtraction) -> int:
    kept = [view for view, is_defined in zip(views, defined, strict=True) if is_defined]
    return kept.index(f"mean@{encoder.encoder.num_layers}")


def measure(options: argparse.Namespace) -> None:
    """Every case that is not in the results yet."""
    cases: list[Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    done = {(case["encoder"], case["task"]) for case in cases}
    for name in ENCODERS:
        loaded = load_encoder(name.removesuffix(TWIN_SUFFIX))
        loaded = random_twin(loaded, seed=0) if is_twin(name) else loaded
        encoder = SharedExtraction(loaded, cache_folder(options.cache_dir))
        for tasks, draws_of in ((PAIRS, pair_draws), (LABELLED, probe_draws)):
            for task in tasks if options.task is None else [t for t in tasks if t in options.task]:
                if (name, task) in done:
                    continue
                draws = list(draws_of(encoder, task, options.data_dir))
                cases.append(
                    {
                        "encoder": name,
                        "task": task,
                        "kind": "pairs" if draws_of is pair_draws else "labelled",
                        "views": len(encoder.encoder.views),
                        "draws": draws,
                    }
                )
                print(name, task, len(draws), flush=True)
                lines = ",\n".join(json.dumps(case) for case in cases)
                write_text(RESULTS, f"[\n{lines}\n]\n")


_ON = {"pairs": "pairs", "labelled": "labelled sentences"}


def markdown(cases: Sequence[Any]) -> str:
    """The page, every figure of it from the cases."""
    ours = next(iter(METHODS))
    kinds = {kind: [c for c in cases if c["kind"] == kind] for kind in ("pairs", "labelled")}
    lost, mean = (
        [100 * draw[key] for case in cases for draw in case["draws"]]
        for key in ("lost", "lost by the mean")
    )
    held_best = {
        kind: np.mean([draw[ours][1] for case in some for draw in case["draws"]])
        for kind, some in kinds.items()
        if some
    }
    held_in = " and ".join(
        f"{held:.1%} of draws on {_ON[kind]}" for kind, held in held_best.items()
    )
    lines = [
        "# Which view to use: how far `probing choose` can be trusted",
        "",
        (
            f"The view that `probing choose` recommends loses {np.mean(lost):.2f} points on "
            "average against the best view; the mean of the last layer loses "
            f"{np.mean(mean):.2f}. The set of views that it prints holds the best one in "
            f"{held_in}."
        ),
        "",
        (
            f"{len(cases)} cases were measured, each a task under an encoder. In every draw the "
            "items are cut in two at random: views are chosen on one half, "
            f"{N_ITEMS:,} items of it or as many as there are; the other half says which view is "
            "best and what a choice lost. The encoders differ only in their pooler, so a task "
            "that both have is not two independent cases. Made by "
            "`python docs/choose.py --data-dir DATA`."
        ),
        "",
    ]
    lines += ["## The promise", "", "| expected | found | holds |", "|---|---|---|"]
    for kind, some in kinds.items():
        if not some:
            continue
        draws = [draw[ours] for case in some for draw in case["draws"]]
        held, size = np.mean([d[1] for d in draws]), np.mean([d[0] for d in draws])
        lower, upper = (float(end[0]) for end in accuracy_interval([[d[1]] for d in draws]))
        lines += [
            (
                f"| {kind}: the best view of the other half is in the set in {PROMISED:.0%} of "
                f"{len(draws):,} draws | {held:.1%} [{lower:.1%}, {upper:.1%}] | "
                f"{_yes(held >= PROMISED)} |"
            ),
            (
                f"| {kind}: the set has at most {MOST_VIEWS} views on average | {size:.1f} | "
                f"{_yes(size <= MOST_VIEWS)} |"
            ),
        ]
    sizes = [np.mean([draw[ours][0] for draw in case["draws"]]) for case in cases]
    lines += [
        (
            f"| all: the set has at most {MOST_VIEWS} views, mean of {len(cases)} cases | "
            f"{np.mean(sizes):.1f} | {_yes(np.mean(sizes) <= MOST_VIEWS)} |"
        ),
        "",
        "## Why a comparison with the best",
        "",
        (
            "Both kinds of set hold the best view with 95 % confidence. The model confidence set "
            "of Hansen, Lunde & Nason (2011) promises more, to hold every view that is as good "
            "as the best, and pays for it; its T_max form compares each view with the mean "
            "of all, so that one poor view hides another. A comparison with the best (Hsu "
            "1981, 1984) tests each view against all others and needs no correction for the "
            "number of views, since only the best has to be kept. It also bounds what a "
            "choice can cost."
        ),
        "",
        "| method | cases | views in the set | most of a case | holds the best | seconds |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for kind, some in kinds.items():
        for method in METHODS:
            if not some:
                continue
            draws = [draw[method] for case in some for draw in case["draws"]]
            largest = max(np.mean([d[method][0] for d in case["draws"]]) for case in some)
            size, held, seconds = np.mean(np.array(draws, dtype=float), axis=0)
            lines.append(
                f"| {method} | {len(some)} of {kind} | {size:.1f} | {largest:.1f} | {held:.1%} | "
                f"{seconds:.2f} |"
            )
    bounded = np.mean([draw["bounded"] for case in cases for draw in case["draws"]])
    lines += [
        "",
        "## What the recommendation loses",
        "",
        (
            "The view that is recommended is the highest. Against the best view of the other "
            f"half it loses {np.mean(lost):.2f} points on average; `mean` of the last layer "
            f"loses {np.mean(mean):.2f}. The bound that is printed with it held in "
            f"{bounded:.1%} of draws."
        ),
        "",
        "## Every case",
        "",
        (
            "| encoder | task | draws | views | in the set, mean | holds the best | "
            "recommended loses | last-layer mean loses |"
        ),
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for case in cases:
        draws = case["draws"]
        size, held = (np.mean([draw[ours][place] for draw in draws]) for place in (0, 1))
        lost, mean = (np.mean([draw[k] for draw in draws]) for k in ("lost", "lost by the mean"))
        lines.append(
            f"| {case['encoder']} | {case['task']} | {len(draws)} | {case['views']} | {size:.1f} | "
            f"{held:.0%} | {100 * lost:.2f} | {100 * mean:.2f} |"
        )
    lines += [
        "",
        (
            "The other half has errors of its own: where views are close, which of them is "
            "its best is partly chance, so that a set which holds the best view of all items "
            "with 95 % may hold that of the other half less often. A probe's answers are "
            "resampled with the probes held fixed; what another training set would change is "
            "not in the bounds."
        ),
        "",
    ]
    return "\n".join(lines)


def _yes(holds: bool) -> str:  # noqa: FBT001
    return "yes" if holds else "**no**"


def main() -> None:
    """Measure what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir")
    parser.add_argument("--cache-dir")
    parser.add_argument("--task", action="append", help="this one only; may be repeated")
    parser.add_argument("--render", action="store_true", help="only write the page again")
    options = parser.parse_args()
    if not options.render:
        measure(options)
    write_text(HERE / "choose.md", markdown(json.loads(RESULTS.read_text())))


if __name__ == "__main__":
    main()
