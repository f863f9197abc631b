"""Damaged inputs, by mutation of good ones: one line or the same numbers, never a traceback.

A few dozen of them run each time; ``PROBING_DAMAGED=1000`` runs as many as that.
"""

import contextlib
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from probing.commands.extract import _sentences
from probing.encoding.encoder import Encoder, load_encoder
from probing.encoding.extraction import extract
from probing.encoding.pass_setup import default_setup
from probing.encoding.store.shards import Recipe
from probing.errors import InputError
from probing.tasks import load_task

COUNT = int(os.environ.get("PROBING_DAMAGED", "40"))
SENTENCES = ["the cat sat on the mat", "a dog runs", "not so big"]
ROWS = "sentence1\tsentence2\tscore\n" + "".join(
    f"the cat {n}\ta dög {n}\t{n % 6}\n" for n in range(8)
)
VALUES: tuple[Any, ...] = (None, -1, 0, 1, 7, 2**40, 0.5, "", "no", [], {}, True, [1], "null")


def damaged_bytes(content: bytes, rng: random.Random) -> bytes:
    """Cut off, with bytes changed, removed, doubled or put in."""
    data = bytearray(content)
    how = rng.choice(["cut", "change", "remove", "double", "zero", "insert"])
    start = rng.randrange(len(data))
    length = rng.choice([1, 2, 16, 200])
    if how == "cut":
        return bytes(data[:start])
    if how == "change":
        for place in range(start, min(start + length, len(data))):
            data[place] = rng.randrange(256)
    if how == "remove":
        del data[start : start + length]
    if how == "double":
        data[start:start] = data[start : start + length]
    if how == "zero":
        data[start : start + length] = bytes(len(data[start : start + length]))
    if how == "insert":
        data[start:start] = bytes(rng.randrange(256) for _ in range(length))
    return bytes(data)


def damaged_json(content: bytes, rng: random.Random) -> bytes:
    """One value taken away or made something else."""
    found = json.loads(content)
    key = rng.choice(list(found))
    if rng.random() < 0.3:
        del found[key]
    else:
        found[key] = rng.choice(VALUES)
    return json.dumps(found).encode()


def recorded(encoder: Encoder) -> Recipe:
    """What a run writes down of an encoder, and the store goes by."""
    return Recipe.of(encoder, [str(view) for view in encoder.views], setup=default_setup(encoder))


@pytest.mark.parametrize("number", range(COUNT))
def test_a_damaged_encoder_is_refused_or_recorded(
    number: int, tmp_path: Path, tiny_encoder_folder: Callable[[str], Path]
) -> None:
    rng = random.Random(number)  # noqa: S311
    family = rng.choice(["bert", "roberta", "distilbert", "electra"])
    good = tiny_encoder_folder(family)
    folder = Path(shutil.copytree(good, tmp_path / "damaged"))
    name = rng.choice(
        ["model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"]
    )
    content = (folder / name).read_bytes()
    as_json = name.endswith(".json") and rng.random() < 0.6
    damaged = (damaged_json if as_json else damaged_bytes)(content, rng)
    (folder / name).write_bytes(damaged)
    try:
        encoder = load_encoder(folder)
        found = extract(encoder, SENTENCES)
    except InputError as error:
        assert "\n" not in str(error).strip()
        return
    whole = load_encoder(good)
    if recorded(encoder) == recorded(whole):
        expected = extract(whole, SENTENCES)
        for view in whole.views:
            np.testing.assert_allclose(found[str(view)], expected[str(view)], atol=1e-6)


@pytest.mark.parametrize("number", range(COUNT))
def test_a_damaged_file_is_refused_or_read_as_it_is(number: int, tmp_path: Path) -> None:
    rng = random.Random(number)  # noqa: S311
    path = tmp_path / rng.choice(["a.tsv", "a.csv", "a.jsonl", "a.parquet", "a.conllu", "a.tsv.gz"])
    path.write_bytes(damaged_bytes(ROWS.encode(), rng))
    good = tmp_path / "good.tsv"
    good.write_text(ROWS, encoding="utf-8")
    with contextlib.suppress(InputError):
        task = load_task(path)
        assert task.origin != load_task(good).origin or path.read_bytes() == ROWS.encode()
    corpus = tmp_path / rng.choice(["b.txt", "b.csv", "b.parquet", "b.txt.xz"])
    corpus.write_bytes(damaged_bytes(ROWS.encode(), rng))
    with contextlib.suppress(InputError):
        assert all(isinstance(sentence, str) for sentence in _sentences(corpus, None))
