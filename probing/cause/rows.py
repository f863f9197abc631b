"""One table of what E1, E2, E3 and S5 have found so far, and the common table made of it."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from safetensors import safe_open
from safetensors.numpy import load_file
from transformers import BertModel

from probing.cause.continuation import (
    MLM,
    NSP,
    SHUFFLED,
    Arm,
    Cell,
    Continuation,
    common_look,
    has_look,
    read_rows,
)
from probing.cause.dissection import read_out, read_out_frozen, swapped
from probing.cause.estimands import OUTCOME, ROW_COLUMNS, START, item_error_rows, tasks_of, values
from probing.cause.frozen import read_frozen_rows
from probing.cause.frozen_vectors import Frozen, FrozenArm, shared_tokens, word_overlap_accuracy
from probing.cause.suite import Suite, last_layer, suite_cosines, suite_scores
from probing.pretraining.config import PretrainingConfig
from probing.pretraining.corpus import tokenize_corpus
from probing.pretraining.segments import make_segment_pairs
from probing.pretraining.start import Start, find_start, initial_model
from probing.pretraining.trainer import native_bfloat16
from probing.results.names import MINUS, difference, floor_name, is_floor, sides
from probing.results.scores import Score, score_table
from probing.similarity.cosine import token_jaccard
from probing.statistics.correlation import spearman

Column = npt.NDArray[np.float32]

JACCARD: Final = floor_name("jaccard")
RANDOM: Final = floor_name("random")
UNITS: Final = {"E1": "steps", "E2": "tokens", "E3": "tokens", "S5": "tokens"}


def frozen_rows(work: Frozen, suite: Suite) -> pd.DataFrame:
    """E1: what was looked at, and the error over items of what is compared.

    Returns:
        `ROW_COLUMNS`.
    """
    rows = read_frozen_rows(work.out, work.plan)
    rows = rows[rows["view"] != "pooler_dense"].rename(columns={"steps": "dose"})
    rows = rows.assign(experiment="E1", variant="")
    found: list[dict[str, object]] = []
    arms = rows["arm"].unique().tolist()
    seeds, last = range(work.plan.seeds), work.plan.looks[-1]

    def columns(arm: str, dose: int, task: str) -> list[Column]:
        at = "" if dose == last else f"@{dose}"
        with safe_open(work.out / f"{arm}.safetensors", framework="numpy") as kept:
            return [kept.get_tensor(f"cosines{at}/{seed}/{task}/pooler") for seed in seeds]

    def kept_looks(arm: str) -> set[int]:
        with safe_open(work.out / f"{arm}.safetensors", framework="numpy") as kept:
            names = list(kept.keys())
        at = {name.split("/")[0] for name in names if name.startswith("cosines")}
        return {int(name.partition("@")[2] or last) for name in at}

    compared = [(FrozenArm.NSP.value, other) for other in arms if other != FrozenArm.NSP]
    for one, other in compared if FrozenArm.NSP in arms else []:
        for dose in sorted(kept_looks(one) & kept_looks(other)):
            if dose and (dose == last or other == FrozenArm.PERMUTED):
                found += item_error_rows(
                    suite,
                    difference(one, other),
                    "E1",
                    dose,
                    lambda task, pair=(one, other), at=dose: _less(  # type: ignore[misc]
                        columns(pair[0], at, task), columns(pair[1], at, task)
                    ),
                )
    for arm in arms:
        if 0 in kept_looks(arm):
            found += item_error_rows(
                suite,
                difference(arm, START),
                "E1",
                last,
                lambda task, arm=arm: _less(columns(arm, last, task), columns(arm, 0, task)),  # type: ignore[misc]
            )
    read = read_out_frozen(work, suite).rename(columns={"readout": "variant"})
    parts = [_table(rows, found), _table(read.assign(experiment="E1", dose=last), [])]
    return pd.concat([part for part in parts if len(part)], ignore_index=True)


def continued_rows(work: Continuation, suite: Suite) -> pd.DataFrame:
    """E2 up to the last look that all pairs have come to; E3 and S5 where that is the last of all.

    Pairs are compared at a look when all of them are there, so that none is chosen by its outcome.

    Returns:
        `ROW_COLUMNS`; empty where the pairs have no look in common yet.
    """
    plan, out = work.plan, work.out
    dose, seeds = common_look(out, plan), max(plan.seeds.values())
    if not dose:
        return pd.DataFrame(columns=list(ROW_COLUMNS))
    done = [cell for cell in plan.cells() if has_look(out, cell, dose)]
    rows = read_rows(out, plan)
    names = {(cell.arm.name, cell.seed) for cell in done}
    rows = rows[[pair in names for pair in zip(rows["arm"], rows["seed"], strict=True)]]
    rows = rows[(rows["view"] != "pooler_dense") & (rows["tokens"] <= dose)]
    rows = rows.rename(columns={"tokens": "dose"})
    rows = rows.assign(experiment="E2", variant="")
    found: list[dict[str, object]] = []
    both = [seed for seed in range(seeds) if {(MLM.name, seed), (NSP.name, seed)} <= names]

    def columns(arm: Arm, at: int, task: str, view: str) -> list[Column]:
        looks = [out / Cell(arm, seed).folder / "looks" for seed in both]
        return [
            load_file(look / f"{at:010d}.cosines.safetensors")[f"{task}/{view}"] for look in looks
        ]

    for at in (look for look in plan.looks[1:] if look <= dose):
        for view in (OUTCOME, difference("pooler", "mean"), "cls", "mean"):
            if view != OUTCOME and at != dose:
                continue

            def cosines(
                task: str, at: int = at, view: str = view
            ) -> tuple[list[Column], list[float]]:
                made: list[Column] = []
                weights: list[float] = []
                for arm, sign in ((NSP, 1.0), (MLM, -1.0)):
                    for side, factor in zip(sides(view), (1.0, -1.0), strict=False):
                        made += columns(arm, at, task, side)
                        weights += [sign * factor / len(both)] * len(both)
                return made, weights

            name = difference(NSP.name, MLM.name)
            found += item_error_rows(suite, name, "E2", at, cosines, view)
    parts = [_table(rows, found)]
    if dose == plan.looks[-1]:
        parts += _end_rows(work, suite, done)
    overlap = {"arm": MLM.name, "seed": 0, "dose": 0, "task": "held-out", "view": ""}
    overlap |= {"experiment": "E2", "variant": "", "metric": "overlap_accuracy"}
    overlap |= {"value": held_out_overlap(work), "n": plan.held_out_pairs}
    parts.append(_table(pd.DataFrame([overlap]), []))
    return pd.concat([part for part in parts if len(part)], ignore_index=True)


def _end_rows(work: Continuation, suite: Suite, done: Sequence[Cell]) -> list[pd.DataFrame]:
    """E3 and S5, which are of finished cells."""
    plan, out, parts = work.plan, work.out, []
    dose = plan.looks[-1]
    for sentence in (NSP, SHUFFLED):
        swap = swapped(out, suite, max(plan.seeds.values()), sentence)
        body = np.where(swap["body"] == MLM.name, "mlm", "own")
        variant = pd.Series(body, dtype=object) + "/" + swap["pooler"].astype(object)
        parts.append(
            _table(swap.assign(experiment="E3", arm=sentence.name, variant=variant, dose=dose), [])
        )
    arms = {cell.arm: plan.seeds[cell.arm.name] for cell in done}
    read = read_out(out, suite, arms).rename(columns={"readout": "variant"})
    return [*parts, _table(read.assign(experiment="S5", dose=dose), [])]


def held_out_overlap(work: Continuation) -> float:
    """Share of E2's held-out pairs that word overlap tells apart by itself, in [0, 1]."""
    config = work.config(work.plan.looks[-1])
    tokenizer = find_start(work.encoder).tokenizer
    corpus = tokenize_corpus(work.corpus, work.cache, config, tokenizer)
    made = [
        make_segment_pairs(
            corpus,
            count=work.plan.held_out_pairs * (1 if held_out else 8),
            length=config.length,
            held_out=held_out,
            sentence_order=False,
            short_share=config.short_share,
            seed=config.corpus_seed,
        )
        for held_out in (False, True)
    ]
    (train, labels), (test, truth) = (
        (shared_tokens(corpus, pairs), pairs.labels) for pairs in made
    )
    return word_overlap_accuracy(train, labels.astype(np.int64), test, truth.astype(np.int64))


def floor_rows(suite: Suite, start: Start) -> pd.DataFrame:
    """Mean pooling under random weights, and the overlap of words, on each task.

    Args:
        suite: the pairs.
        start: the encoder, whose weights are drawn again.
    """
    config = PretrainingConfig(length=min(64, start.positions))
    model = initial_model(config, start.tokenizer, start)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        drawn = BertModel(model.config)
    pad_id = int(start.tokenizer.pad_token_id)
    bfloat16 = native_bfloat16(next(drawn.parameters()).device)
    mean = last_layer(drawn, suite.ids, pad_id=pad_id, bfloat16=bfloat16).mean
    random = suite_scores(suite, suite_cosines(suite, {"mean": mean}))
    rows = []
    for task, pairs in suite.pairs.items():
        one, other = ([suite.sentences[row] for row in side] for side in pairs.T)
        overlap = spearman(token_jaccard(one, other)[:, None], suite.gold[task])[0]
        for arm, value in ((JACCARD, float(overlap)), (RANDOM, random[f"{task}/mean"])):
            rows.append({"arm": arm, "task": task, "value": value, "n": len(suite.gold[task])})
    frame = pd.DataFrame(rows).assign(
        experiment="floor", variant="", seed=-1, dose=0, view="mean", metric="spearman"
    )
    return frame[list(ROW_COLUMNS)]


def common_table(rows: pd.DataFrame, encoder: str, revision: str, layer: int) -> pd.DataFrame:
    """The rows in the table of every run.

    A trained encoder is named after its arm and dose: ``minilm [E1 nsp, 16000 steps]``.
    """
    scores = []
    for row in rows.to_dict("records"):
        arm, variant, view = str(row["arm"]), str(row["variant"]), str(row["view"])
        if is_floor(arm):
            name = arm
        else:
            experiment = str(row["experiment"])
            rest = [part for part in (variant, f"{row['dose']} {UNITS[experiment]}") if part]
            name = MINUS.join(
                f"{encoder} [{', '.join([f'{experiment} {side}', *rest])}]" for side in sides(arm)
            )
        is_error = row["metric"] == "standard_error"
        similar = row["metric"] == "spearman" or is_error
        scores.append(
            Score(
                model=name,
                revision=revision,
                task=str(row["task"]),
                aggregation="all" if similar else "none",
                view=MINUS.join(f"{side}@{layer}" for side in sides(view)) if view else "none",
                layer=layer if view else None,
                pooling=view or "none",
                transform=variant if variant in ("whitened", "ridge") else "raw",
                probe="cosine" if similar else "none",
                metric=str(row["metric"]),
                value=float(row["value"]),
                n=int(row["n"]),
                seed=int(row["seed"]),
            )
        )
    return score_table(scores)


def above_floors(rows: pd.DataFrame, experiment: str, arm: str, dose: int) -> dict[str, float]:
    """Points of an arm's ``mean`` above word overlap and above random weights."""
    mine = values(rows, experiment, arm, dose, "mean").to_numpy().mean()
    tasks = list(tasks_of(rows))
    floors = rows[rows["experiment"] == "floor"]
    found = {}
    for floor in (JACCARD, RANDOM):
        of_tasks = floors[floors["arm"] == floor].set_index("task")["value"].reindex(tasks)
        found[floor] = float(mine) - 100 * float(of_tasks.to_numpy().mean())
    return found


def _less(one: Sequence[Column], other: Sequence[Column]) -> tuple[list[Column], list[float]]:
    """Columns and weights of the difference of two means over seeds."""
    weights = [1 / len(one)] * len(one) + [-1 / len(other)] * len(other)
    return [*one, *other], weights


def _table(rows: pd.DataFrame, errors: Sequence[dict[str, object]]) -> pd.DataFrame:
    if "n" not in rows.columns:
        rows = rows.assign(n=0)
    if "metric" not in rows.columns:
        rows = rows.assign(metric="spearman")
    parts = [rows[list(ROW_COLUMNS)]]
    if errors:
        parts.append(pd.DataFrame(list(errors))[list(ROW_COLUMNS)])
    return pd.concat(parts, ignore_index=True)
