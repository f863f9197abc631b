"""Hold the probes against scikit-learn, planted signals, known shapes and simulation.

    python docs/validation.py --data-dir DATA
    python docs/validation.py --data-dir DATA --parts rules

writes ``validation.json`` and, from it only, ``validation.md`` beside this file. With ``--parts``
only some parts are measured again, with ``--render`` none. Every n-th row of a split is taken, see
`EVERY`; ``--all`` takes every row.
"""

import argparse
import copy
import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from validation_rules import rules
from validation_tables import markdown

from probing import load_encoder, load_task
from probing.encoding.description import describe_machine
from probing.encoding.encoder import Encoder, random_twin
from probing.encoding.extraction import extract
from probing.encoding.pooler_state import seen_state
from probing.encoding.sharing import SharedExtraction
from probing.encoding.word_vectors import extract_words
from probing.probes.driver import fit_probes
from probing.probes.erasing import fit_erasers
from probing.probes.linear import STRENGTHS, LinearProbes
from probing.probes.predictions import probe_scores
from probing.probes.rounds import usable_views
from probing.results.run_folder import describe_versions
from probing.results.scores import Score
from probing.results.target import Target
from probing.results.writing import write_text
from probing.statistics import accuracy_interval, bootstrap_correlations, percentile_interval
from probing.study.floors import measure_floors
from probing.study.labelled import measure_labelled
from probing.study.settings import Settings
from probing.tasks import LabelledSentences, TaggedSentences

ENCODER: Final = "minilm"
HERE: Final = Path(__file__).parent
RESULTS: Final = HERE / "validation.json"

EVERY: Final[Mapping[str, Mapping[str, int]]] = {
    "trec": {"train": 10, "test": 1},
    "subj_number": {"train": 8, "dev": 8, "test": 16},
    "tree_depth": {"train": 10, "dev": 10, "test": 4},
    "sentence_length": {"train": 8, "dev": 4, "test": 8},
    "ewt:upos": {"train": 50, "dev": 20, "test": 16},
}
"""Every n-th row of each split is taken (sentence, for words)."""

OPTIMUM_TASKS: Final = ("trec", "subj_number", "tree_depth", "ewt:upos")

OPTIMUM_EVERY_WORD: Final = 3
"""Of the words of these sentences, for scikit-learn's sake."""

_SEED: Final = 0
_REPETITIONS: Final = 1000


def thinned(name: str, options: argparse.Namespace) -> Any:
    """The task, every n-th row of each split."""
    task = load_task(name, options.data_dir)
    if options.all:
        return task
    seen = dict.fromkeys(task.splits, 0)
    kept = []
    for row, split in enumerate(task.splits):
        if seen[split] % EVERY[name][split] == 0:
            kept.append(row)
        seen[split] += 1
    columns = ("sentences", "splits", "labels" if isinstance(task, LabelledSentences) else "tags")
    rows = {column: tuple(getattr(task, column)[row] for row in kept) for column in columns}
    return replace(task, **rows)


def optimum(encoder: Encoder, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Every view at every strength: both losses, both accuracies on test."""
    rows = []
    for name in OPTIMUM_TASKS:
        task = thinned(name, options)
        vectors, labels, splits = _arrays(encoder, task, options)
        train, test = splits == "train", splits == "test"
        names, codes = np.unique(labels[train], return_inverse=True)
        places = np.searchsorted(names, labels[test]).clip(max=len(names) - 1)
        gold = np.where(names[places] == labels[test], places, -1)
        for view_id in usable_views(vectors, len(labels)):
            print(f"optimum {name} {view_id}", flush=True)
            fit = (vectors[view_id][train], codes, vectors[view_id][test], gold)
            rows += [
                {"task": name, "view": view_id, "classes": len(names), **row}
                for row in _both_fits(*fit, len(names))
            ]
    return rows


def _both_fits(
    rows: NDArray[np.float32],
    codes: NDArray[np.intp],
    tested: NDArray[np.float32],
    gold: NDArray[np.intp],
    n_classes: int,
) -> list[dict[str, Any]]:
    path, standardisation = LinearProbes().fit(rows, codes, n_classes=n_classes, name="view")
    scaler = StandardScaler().fit(rows.astype(np.float64))
    features = scaler.transform(rows.astype(np.float64))
    unseen = scaler.transform(tested.astype(np.float64))
    found = []
    for place, strength in enumerate(STRENGTHS):
        model = LogisticRegression(C=strength, tol=1e-6, max_iter=20_000).fit(features, codes)
        told = model.predict_log_proba(features)[np.arange(len(codes)), codes]
        ridge = (model.coef_**2).sum() / (2 * strength * len(codes))
        ours = path.logits(place, standardisation.apply(tested)).argmax(0).numpy()
        found.append(
            {
                "strength": strength,
                "train": len(codes),
                "test": len(gold),
                "loss": float(path.losses[place]),
                "sklearn_loss": float(ridge - told.mean()),
                "accuracy": float((ours == gold).mean()),
                "sklearn_accuracy": float((model.predict(unseen) == gold).mean()),
            }
        )
    return found


def _arrays(
    encoder: Encoder, task: LabelledSentences | TaggedSentences, options: argparse.Namespace
) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.str_], NDArray[np.str_]]:
    """Vectors of every view, labels and splits; of words every n-th that has a vector."""
    if isinstance(task, LabelledSentences):
        found = extract(encoder, task.sentences, cache_dir=options.cache_dir)
        return {v: found[v] for v in found}, np.array(task.labels), np.array(task.splits)
    words = extract_words(encoder, task.sentences, cache_dir=options.cache_dir)
    every = 1 if options.all else OPTIMUM_EVERY_WORD
    kept = np.flatnonzero(~words.lost)[::every]
    tags = np.array([tag for sentence in task.tags for tag in sentence])
    splits = np.repeat(task.splits, [len(sentence) for sentence in task.sentences])
    return {view_id: words[view_id][kept] for view_id in words}, tags[kept], splits[kept]


def shapes(encoder: Encoder, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Accuracy rows of sentence length and of parts of speech, with controls, twin and floors."""
    twin = random_twin(encoder, seed=_SEED)
    plain = Settings(seed=_SEED, n_resamples=1000, cache_dir=options.cache_dir)
    controlled = replace(plain, probes=("linear", "mlp"), controls=True)
    length, words = thinned("sentence_length", options), thinned("ewt:upos", options)
    scores: list[Score] = []
    for measured, settings in ((encoder, controlled), (twin, plain)):
        print(f"shapes {measured.name}", flush=True)
        found = measure_labelled(SharedExtraction(measured, plain.cache_dir), length, plain)[0]
        found += measure_labelled(SharedExtraction(measured, None), words, settings)[0]
        scores += [replace(score, model=measured.name) for score in found]
    scores += [*measure_floors(length, plain), *measure_floors(words, plain)]
    kept = [s for s in scores if s.metric == "accuracy" and s.pooling in _SHOWN]
    return [{key: value for key, value in asdict(s).items() if key in _KEPT} for s in kept]


_SHOWN: Final = ("mean", "cls", "max", "word_first", "none")
_KEPT: Final = (
    *("model", "task", "view", "layer", "pooling", "probe", "labels"),
    *("value", "lower", "upper", "n"),
)


def erasure(encoder: Encoder, options: argparse.Namespace) -> list[dict[str, Any]]:
    """A direction planted in noise, and the number of the subject, before and after LEACE."""
    rng = np.random.default_rng(_SEED)
    n, width, n_classes = 6000, 64, 4
    labels = rng.integers(n_classes, size=n)
    direction = rng.normal(size=width) / width**0.5
    noise = rng.normal(size=(n, width))
    planted = noise - np.outer(noise @ direction, direction) + 60 * np.outer(labels, direction)
    splits = np.array(["train", "train", "train", "dev", "test"])[np.arange(n) % 5]
    rows = _erased("planted in noise", planted.astype(np.float32), labels.astype(str), splits)
    task = thinned("subj_number", options)
    vectors, numbers, parts = _arrays(encoder, task, options)
    return rows + _erased("subj_number, mean@3", vectors["mean@3"], numbers, parts)


def _erased(
    name: str, vectors: NDArray[np.float32], labels: NDArray[np.str_], splits: NDArray[np.str_]
) -> list[dict[str, Any]]:
    eraser = fit_erasers({"mean@0": vectors}, labels, splits, seed=_SEED)["leace"]["mean@0"]
    erased = eraser(vectors)
    test = np.unique(labels, return_inverse=True)[1][splits == "test"]
    # a probe that knows nothing does best with the most frequent class
    chance = float(np.bincount(test).max() / len(test))
    found = []
    for when, view in (("before", vectors), ("after", erased)):
        predictions = fit_probes({"mean@0": view}, labels, splits, seed=_SEED)
        score = probe_scores(predictions, Target(task=name, seed=_SEED))[0]
        row = {"signal": name, "when": when, "chance": chance, "n": score.n}
        found.append({**row, "value": score.value, "lower": score.lower, "upper": score.upper})
    return found


def coverage(encoder: Encoder, options: argparse.Namespace) -> list[dict[str, Any]]:  # noqa: ARG001
    """How many of 1,000 simulated 95 % intervals hold the truth."""
    rng = np.random.default_rng(_SEED)
    rows = []
    for n, truth in ((100, 0.7), (500, 0.8), (500, 0.95)):
        lower, upper = accuracy_interval(rng.random((n, _REPETITIONS)) < truth)
        rows.append(_held("accuracy", n, truth, lower, upper))
    for n, truth in ((100, 0.3), (250, 0.6), (250, 0.9)):
        pearson = 2 * np.sin(np.pi * truth / 6)  # of normal variables with this Spearman
        # each repetition has gold scores of its own; sorted, they all have the same ranks
        gold = np.sort(rng.normal(size=(n, _REPETITIONS)), axis=0)
        views = pearson * gold + (1 - pearson**2) ** 0.5 * rng.normal(size=gold.shape)
        samples = bootstrap_correlations(views, np.arange(n), rng=rng, n_resamples=500)
        (interval,) = (percentile_interval(sample) for sample in samples.values())
        rows.append(_held("Spearman", n, truth, interval.lower, interval.upper))
    return rows


def _held(
    metric: str, n: int, truth: float, lower: NDArray[np.float64], upper: NDArray[np.float64]
) -> dict[str, Any]:
    held = float(np.mean((lower <= truth) & (truth <= upper)))
    return {"metric": metric, "n": n, "truth": truth, "repetitions": len(lower), "held": held}


def every_rule(encoder: Encoder, options: argparse.Namespace) -> list[dict[str, Any]]:  # noqa: ARG001
    """The rules of the verdict under their nulls and with two points planted."""
    return rules(options)


def left_behind(encoder: Encoder, options: argparse.Namespace) -> list[dict[str, Any]]:  # noqa: ARG001
    """Whether a pooler fits its body, where the body goes on without it, or is another one."""
    torch.manual_seed(_SEED)
    own = load_encoder("minilm-nsp", device="cpu")
    task = load_task("stsb", options.data_dir, split="train")
    rows = [_fit("its own", own, own)]
    model = copy.deepcopy(own.model)
    trained = [p for name, p in model.named_parameters() if "pooler" not in name]
    optimizer = torch.optim.AdamW(trained, lr=2e-4)
    order = np.random.default_rng(_SEED).permutation(len(task))
    for step in range(1, 25):
        model.train()
        some = order[8 * step : 8 * step + 8]
        texts = [side[row] for side in (task.sentences1, task.sentences2) for row in some]
        inputs = own.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        states = model(**inputs).last_hidden_state
        mask = inputs["attention_mask"][..., None].float()
        means = (states * mask).sum(1) / mask.sum(1)
        cosines = torch.nn.functional.cosine_similarity(means[:8], means[8:])
        optimizer.zero_grad()
        (cosines - torch.tensor(task.scores[some] / 5).float()).square().mean().backward()
        optimizer.step()
        if step in (4, 12, 24):
            moved = replace(own, model=copy.deepcopy(model).eval(), weight_hash=str(step))
            rows.append(_fit(f"trained on, {step} steps", own, moved))
    rows.append(_fit("random weights", own, random_twin(own, seed=_SEED)))
    return rows


def _fit(name: str, own: Encoder, body: Encoder) -> dict[str, Any]:
    """How much more of the variance of ``[CLS]`` a pooler reads than with its columns shuffled."""
    task = load_task("sts-mini")
    sentences = task.sentences1[:250]
    view = f"cls@{own.num_layers}"
    before, cls = (extract(one, sentences, views=[view])[view] for one in (own, body))
    dense = own.pooler_dense
    weight, bias = dense.weight.detach().numpy(), dense.bias.detach().numpy()
    rng = np.random.default_rng(_SEED)
    shuffled = [weight[:, rng.permutation(weight.shape[1])] for _ in range(200)]
    centred = cls - cls.mean(axis=0)
    read = np.array([float(np.square(centred @ one.T).sum()) for one in (weight, *shuffled)])
    pooled = [np.tanh(vectors @ weight.T + bias) for vectors in (before, cls)]
    alike = [
        float(np.mean((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)))
        for a, b in ((before, cls), pooled)
    ]
    return {
        "body": name,
        "cls": alike[0],
        "pooler": alike[1],
        "read": read[0] / read[1:].mean(),
        "spread": float(read[1:].std() / read[1:].mean()),
        "state": str(seen_state(dense.weight, dense.bias)),
    }


PARTS: Final[Mapping[str, Callable[[Encoder, argparse.Namespace], list[dict[str, Any]]]]] = {
    "rules": every_rule,
    "coverage": coverage,
    "shapes": shapes,
    "erasure": erasure,
    "left_behind": left_behind,
    "optimum": optimum,
}


def main() -> None:
    """Measure what was asked for, write the figures and the document."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data-dir", default=os.environ.get("PROBING_DATA"))
    parser.add_argument("--cache-dir", type=Path, help="where vectors are kept; nowhere by default")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--all", action="store_true", help="every row of every split")
    parser.add_argument("--render", action="store_true", help="only write the document again")
    options = parser.parse_args()
    logging.basicConfig(format="%(message)s")
    if not options.render:
        encoder = load_encoder(ENCODER)
        for part in options.parts:
            measured = {
                "machine": describe_machine(),
                "versions": describe_versions(),
                "every": None if options.all else EVERY,
                "rows": PARTS[part](encoder, options),
            }
            # read again: another part may have been measured meanwhile
            found = {**results(), part: measured}
            write_text(RESULTS, json.dumps(found, indent=1) + "\n")
    write_text(HERE / "validation.md", markdown(results()))


def results() -> dict[str, Any]:
    """What was measured, by part."""
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}


if __name__ == "__main__":
    main()
