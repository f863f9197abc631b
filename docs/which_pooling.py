"""The questions that people ask about pooling, each answered with a number.

    python docs/which_pooling.py

measures what needs no data but what ships, into ``which-pooling.json``, and writes
``which-pooling.md`` from it, from the rows of ``docs/runs/official``, from ``label-free.json`` and
from the published numbers of ``data/published``. ``--render`` measures nothing.
"""

import argparse
import csv
import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import torch
from label_free_tables import Findings

import probing
from probing.encoding.store.cache import cache_folder
from probing.results.quantities import points, signed
from probing.results.writing import write_text
from probing.similarity.geometry import anisotropy

HERE: Final = Path(__file__).parent
MEASURED: Final = HERE / "which-pooling.json"
PAGE: Final = HERE / "which-pooling.md"
LABEL_FREE: Final = HERE / "label-free.json"
ROWS: Final = HERE / "runs" / "official" / "scores.csv"
PUBLISHED: Final = HERE.parent / "data" / "published"
ENCODER: Final = "minilm"
TASK: Final = "sts-mini"
_BATCH: Final = 32


def measure() -> dict[str, Any]:
    """What is not in the rows of the run, on what ships."""
    encoder = probing.load_encoder(ENCODER)
    last = encoder.num_layers
    task = probing.load_task(TASK)
    sentences = [*task.sentences1, *task.sentences2]
    vectors = probing.extract(encoder, sentences, cache_dir=cache_folder(None))
    measured: dict[str, Any] = {
        "pairs": len(task),
        "anisotropy": {
            view: anisotropy(vectors.distinct[view])[0]
            for view in [f"mean@{layer}" for layer in range(last + 1)] + [f"cls@{last}"]
        },
        "cls": {
            "right": _agreement(vectors[f"cls@{last}"], task.scores),
            "left": _agreement(_left_padded(encoder, sentences), task.scores),
        },
    }
    drawn = [_drawn_pooler(vectors[f"cls@{last}"], seed) for seed in (0, 1)]
    lengths = [np.linalg.norm(matrix, axis=1) for matrix in drawn]
    same = (drawn[0] * drawn[1]).sum(axis=1) / (lengths[0] * lengths[1])
    measured["two drawn poolers"] = float(same.mean())
    return measured


def _agreement(vectors: np.ndarray, scores: np.ndarray) -> float:
    cosines = probing.cosine_similarities({"cls@1": vectors}, ["cls@1"])
    return float(probing.spearman(cosines, scores)[0])


def _left_padded(encoder: probing.Encoder, sentences: list[str]) -> np.ndarray:
    """``last_hidden_state[:, 0]`` of batches that are padded on the left."""
    found = []
    side, encoder.tokenizer.padding_side = encoder.tokenizer.padding_side, "left"
    for start in range(0, len(sentences), _BATCH):
        batch = encoder.tokenizer(
            sentences[start : start + _BATCH], padding=True, truncation=True, return_tensors="pt"
        )
        with torch.inference_mode():
            found.append(encoder.model(**batch).last_hidden_state[:, 0].numpy())
    encoder.tokenizer.padding_side = side
    return np.concatenate(found)


def _drawn_pooler(cls: np.ndarray, seed: int) -> np.ndarray:
    """``pooler_output`` where the pooler is drawn as the loader draws a missing one."""
    generator = torch.Generator().manual_seed(seed)
    weight = 0.02 * torch.randn(cls.shape[1], cls.shape[1], generator=generator)
    return np.tanh(cls @ weight.numpy().T)


def _change(rows: pd.DataFrame, one: str, other: str) -> str:
    """A difference of two views over the sets, and on how many its interval leaves out zero."""
    found = rows[
        (rows["model"] == ENCODER)
        & (rows["view"] == f"{one} - {other}")
        & (rows["metric"] == "spearman_difference")
        & (rows["probe"] == "cosine")
    ]
    below, above = (found["upper"] < 0).sum(), (found["lower"] > 0).sum()
    return (
        f"{signed(100 * found['value'].mean())} points on average over {len(found)} sets "
        f"(95 % interval below zero on {below}, above on {above})"
    )


def _mean(rows: pd.DataFrame, view: str, probe: str = "cosine") -> str:
    """Mean over sets, × 100."""
    found = rows[
        (rows["model"] == ENCODER)
        & (rows["view"] == view)
        & (rows["metric"] == "spearman")
        & (rows["probe"] == probe)
        & (rows["transform"] == "raw")
        & (rows["aggregation"] == "all")
    ]
    return points(100 * found["value"].mean())


def _published(file: str, **wanted: str) -> list[dict[str, str]]:
    with (PUBLISHED / file).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def _decoders() -> str:
    """Mean pooling of Pythia by layer: the best layer and the last one, mean over the sets."""
    said = []
    table = pd.DataFrame(_published("decoders.csv")).astype({"value": float})
    for model, rows in table.groupby("model", sort=False):
        means = rows.groupby("view")["value"].mean()
        last = max(means.index, key=lambda view: int(view.partition("@")[2]))
        said.append(
            f"{str(model).partition('/')[2]} `{means.idxmax()}` {points(means.max())}, "
            f"`{last}` {points(means[last])}"
        )
    return "; ".join(said)


def page(measured: dict[str, Any]) -> str:
    """The page, every number from the rows or from ``measured``."""
    rows = pd.read_csv(ROWS)
    label_free = Findings.of(json.loads(LABEL_FREE.read_text(encoding="utf-8")))
    places = measured["anisotropy"]
    layers = ", ".join(f"`{view}` {value:.2f}" for view, value in places.items())
    (bert,) = _published("anisotropy.csv", model="bert-base-cased", layer="11")
    taught_on = rows.loc[rows["probe"] == "regression", "task"]
    of_those = rows[rows["task"].isin(taught_on)]
    read = {
        pooling: (_mean(of_those, f"{pooling}@6"), _mean(rows, f"{pooling}@6", probe="regression"))
        for pooling in ("pooler", "cls", "mean")
    }
    trained = "; ".join(
        f"`{pooling}@6` {by_cosine} by cosine, {taught} by a trained readout"
        for pooling, (by_cosine, taught) in read.items()
    )
    padded = {side: points(100 * value) for side, value in measured["cls"].items()}
    sections = {
        "`pooler_output` or `last_hidden_state[:, 0]`?": (
            "`pooler_output` is `tanh(W x + b)` of that vector. In `minilm`, whose pooler was "
            f"never trained, it changes little: {_change(rows, 'pooler@6', 'cls@6')}. Use the "
            f"mean for cosines: `[CLS]` less the mean is {_change(rows, 'cls@6', 'mean@6')}."
        ),
        "Why do classifiers use the pooler?": (
            "Because it is trained with the classifier. A cosine takes the vectors as they are; a "
            "classifier learns which directions to read. In `minilm`, whose pooler was never "
            f"trained, Spearman × 100 on the sets with a train split: {trained}. Linear probes are "
            "in [notebook 03](../notebooks/03-linear-probes-by-layer.ipynb). "
            "What fine-tuning makes of the heads is in "
            "[notebook 07](../notebooks/07-fine-tuning.ipynb)."
        ),
        "Why is every cosine above .8?": (
            "The vectors of one layer share a direction. The mean cosine of two sentences that "
            f"have nothing to do with one another, on {TASK}: {layers}. In {bert['model']}, layer "
            f"{bert['layer']}, two random words have {float(bert['value']):.2f} (Ethayarajh 2019). "
            "That every cosine is high says little about how well pairs are ranked. Compare "
            "cosines of one view with each other, not with a threshold from elsewhere, or subtract "
            "the mean vector first."
        ),
        "Last layer, or second to last?": (
            "It depends on the encoder: measure it. In `minilm`, which was tuned for its last "
            f"layer, the last layer less the one before is {_change(rows, 'mean@6', 'mean@5')}. "
            "`probing choose` says it for your encoder and data, with a guarantee "
            "([how far it can be trusted](choose.md))."
        ),
        "Can the layer be chosen without labels?": (
            f"{label_free.answer()} The measures, the tasks and how it was decided: "
            "[label-free.md](label-free.md)."
        ),
        "Why does `pooler_output` differ at every run?": (
            "The checkpoint has no pooler and the loader draws one. Two draws over the same "
            f"`[CLS]` give vectors whose cosine is {points(measured['two drawn poolers'], 2)} on "
            "average: "
            "nothing is left of one in the other. `probing inspect MODEL` says `newly initialised`."
        ),
        "Does the side of the padding matter?": (
            "For `last_hidden_state[:, 0]` it does: padded on the left, position 0 is padding. "
            f"On {measured['pairs']} pairs of {TASK}, batches of {_BATCH}: right "
            f"{padded['right']}, left {padded['left']}. Pad on the right; mask padding in means."
        ),
        "The mean with or without special tokens?": (
            f"It hardly matters: `mean@6` {_mean(rows, 'mean@6')}, without special tokens "
            f"`mean_words@6` {_mean(rows, 'mean_words@6')} (Spearman × 100, mean of seven sets)."
        ),
        "Decoders: last token or mean, which layer?": (
            "The last token has seen the sentence, so `probing` measures `last` and a mean that "
            "weighs later tokens more (`wmean`) beside the mean; no decoder ships, so run yours. "
            "Published, mean pooling by layer, mean of seven STS sets × 100 (Skean et al. 2025, "
            f"the final norm applied after every layer): {_decoders()}."
        ),
        "Does next sentence prediction spoil the pooler?": (
            "[cause.md](cause.md) has the answer so far, from an experiment whose criteria were "
            "written down before it was run."
        ),
    }
    answer = (
        f"For the cosine of two sentences, the mean of the hidden states: in `{ENCODER}` the last "
        f"layer's mean scores {_mean(rows, 'mean@6')}, `[CLS]` {_mean(rows, 'cls@6')} and "
        f"`pooler_output` {_mean(rows, 'pooler@6')} (Spearman × 100, mean of seven sets). The "
        f"questions people ask are below; numbers are of `{ENCODER}` where no encoder is named."
    )
    made = (
        "Made by `python docs/which_pooling.py` from the rows of `docs/runs/official`, from what "
        "ships, from the cases of [label-free.md](label-free.md) and from published numbers."
    )
    lines = ["# Which pooling?", "", answer, ""]
    for question, answer in sections.items():
        lines += [f"## {question}", "", answer, ""]
    return "\n".join([*lines, made, ""])


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description="The questions people ask about pooling.")
    parser.add_argument("--render", action="store_true", help="only write the page again")
    if not parser.parse_args().render:
        write_text(MEASURED, json.dumps(measure(), indent=1) + "\n")
    write_text(PAGE, page(json.loads(MEASURED.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
