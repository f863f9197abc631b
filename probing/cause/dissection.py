"""What a finished continuation is made of: bodies and poolers swapped (E3), read out again (S5).

Both work on what a cell keeps of its last look, `[CLS]` and mean vectors of every sentence, so
nothing is encoded again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from safetensors.numpy import load_file
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from probing.cause.continuation import HELD_OUT, LAST_LAYER, MLM, NSP, Arm, Cell
from probing.cause.frozen_vectors import Frozen, FrozenArm
from probing.cause.suite import LastLayer, Suite, suite_cosines, suite_scores
from probing.similarity.geometry import Transform, TransformKind, fit_axes

ALPHAS: Final = tuple(np.logspace(-2, 4, 13).tolist())
"""Of the ridge regression, by leave-one-out within the held-out sentences."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class CellEnd:
    """One cell after its last token.

    Attributes:
        suite: the sentences of the tasks.
        held_out: sentences of documents that were not trained on.
        start_pooler: weight (hidden_size, hidden_size) and bias (hidden_size,) at the start.
        end_pooler: the same at the end.
    """

    suite: LastLayer
    held_out: LastLayer
    start_pooler: tuple[Floats, Floats]
    end_pooler: tuple[Floats, Floats]


def read_end(out: Path, arm: Arm, seed: int) -> CellEnd | None:
    """What a cell has kept; None where it is not finished."""
    folder = out / Cell(arm, seed).folder
    if not (folder / "cell.json").is_file():
        return None
    poolers = sorted((folder / "looks").glob("*.pooler.safetensors"))
    first, last = load_file(poolers[0]), load_file(poolers[-1])
    return CellEnd(
        suite=_last_layer(folder / "looks" / LAST_LAYER),
        held_out=_last_layer(folder / HELD_OUT),
        start_pooler=(first["weight"], first["bias"]),
        end_pooler=(last["weight"], last["bias"]),
    )


def _last_layer(path: Path) -> LastLayer:
    tensors = load_file(path)
    return LastLayer(mean=tensors["mean"].astype(np.float32), cls=tensors["cls"].astype(np.float32))


def swapped(out: Path, suite: Suite, seeds: int, sentence: Arm = NSP) -> pd.DataFrame:
    """E3: every body with every pooler, for each seed whose two cells are finished.

    Args:
        out: folder of the continuation.
        suite: the pairs it was judged by.
        seeds: how many to look for.
        sentence: the arm that is held against MLM.

    Returns:
        ``seed, body, pooler, task, view, value``: the body is an arm, the pooler ``start`` or
        ``trained`` (by the sentence loss, together with that arm's body), the view
        ``pooler`` or ``cls``.
    """
    rows = []
    for seed in range(seeds):
        mlm, nsp = (read_end(out, arm, seed) for arm in (MLM, sentence))
        if mlm is None or nsp is None:
            continue
        poolers = {"start": nsp.start_pooler, "trained": nsp.end_pooler}
        for body, end in ((MLM.name, mlm), (sentence.name, nsp)):
            for pooler, weights in poolers.items():
                views = end.suite.views(*weights)
                kept = {view: views[view] for view in ("cls", "pooler")}
                made_of = {"seed": seed, "body": body, "pooler": pooler}
                rows += _rows(suite, kept, made_of)
    return pd.DataFrame(rows, columns=["seed", "body", "pooler", "task", "view", "value"])


def read_out(out: Path, suite: Suite, arms: Mapping[Arm, int]) -> pd.DataFrame:
    """S5: each view as it is, whitened, and after a ridge regression onto the mean vectors.

    Both are fitted on sentences of held-out documents and see no gold score. What the regression
    brings back was in the view all along; what whitening brings back was only a matter of scale.

    Args:
        out: folder of the continuation.
        suite: the pairs it was judged by.
        arms: how many seeds of each arm to look for; unfinished cells are left out.

    Returns:
        ``arm, seed, readout, task, view, value``; the readout is ``none``, ``whitened`` or
        ``ridge``.
    """
    rows = []
    for arm, seeds in arms.items():
        for seed in range(seeds):
            end = read_end(out, arm, seed)
            if end is None:
                continue
            fitted_on = end.held_out.views(*end.end_pooler)
            for view, vectors in end.suite.views(*end.end_pooler).items():
                if view == "pooler_dense":
                    continue
                read = {
                    "none": vectors,
                    "whitened": _whitened(fitted_on[view], vectors),
                    "ridge": _regressed(fitted_on[view], end.held_out.mean, vectors),
                }
                for readout, made in read.items():
                    made_of = {"arm": arm.name, "seed": seed, "readout": readout}
                    rows += _rows(suite, {view: made}, made_of)
    return pd.DataFrame(rows, columns=["arm", "seed", "readout", "task", "view", "value"])


def read_out_frozen(work: Frozen, suite: Suite) -> pd.DataFrame:
    """S5 of E1: pooler and ``[CLS]`` whitened, and after a ridge regression onto the mean vectors.

    Of next sentence prediction and its placebo at the last look, where both are finished; fitted on
    the pairs of held-out documents.

    Returns:
        ``arm, seed, readout, task, view, value``; ``cls``, which no arm moves, for seed 0 only.
    """
    rows: list[dict[str, object]] = []
    arms = [arm for arm in (FrozenArm.NSP, FrozenArm.PERMUTED) if arm in work.plan.arms]
    files = {arm: work.out / f"{arm}.safetensors" for arm in arms}
    if all(path.is_file() for path in files.values()):
        texts = _kept(work.out, "sentences")
        held_out = _kept(work.out, "nsp-held-out")
        for arm, path in files.items():
            poolers = load_file(path)
            for seed, weights in enumerate(zip(poolers["weight"], poolers["bias"], strict=True)):
                read, fitted_on = texts.views(*weights), held_out.views(*weights)
                for view in ("pooler", "cls") if seed == 0 else ("pooler",):
                    made = {
                        "whitened": _whitened(fitted_on[view], read[view]),
                        "ridge": _regressed(fitted_on[view], held_out.mean, read[view]),
                    }
                    for readout, vectors in made.items():
                        made_of = {"arm": str(arm), "seed": seed, "readout": readout}
                        rows += _rows(suite, {view: vectors}, made_of)
    return pd.DataFrame(rows, columns=["arm", "seed", "readout", "task", "view", "value"])


def _kept(out: Path, name: str) -> LastLayer:
    parts = [load_file(path) for path in sorted((out / "vectors").glob(f"{name}-[0-9]*"))]
    return LastLayer(*(np.concatenate([part[view] for part in parts]) for view in ("mean", "cls")))


def _rows(
    suite: Suite, views: Mapping[str, Floats], made_of: Mapping[str, object]
) -> list[dict[str, object]]:
    scores = suite_scores(suite, suite_cosines(suite, views))
    return [
        {**made_of, "task": name.split("/")[0], "view": name.split("/")[1], "value": value}
        for name, value in scores.items()
    ]


def _whitened(fitted_on: Floats, vectors: Floats) -> Floats:
    axes = fit_axes(fitted_on)
    scales = axes.scales(Transform(TransformKind.WHITENED))
    found: Floats = ((vectors - axes.mean) @ axes.axes * scales).astype(np.float32)
    return found


def _regressed(fitted_on: Floats, targets: Floats, vectors: Floats) -> Floats:
    regression = make_pipeline(StandardScaler(), RidgeCV(ALPHAS))
    regression.fit(fitted_on, targets)
    found: Floats = regression.predict(vectors).astype(np.float32)
    return found
