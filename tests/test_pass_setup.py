"""How a forward pass runs moves no float32 vector, is chosen once, and is written down."""

import json
import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from probing.encoding import pass_setup, setup_choice
from probing.encoding.encoder import Encoder, load_encoder
from probing.encoding.extraction import extract, extract_to_store
from probing.encoding.forward import encode, timed
from probing.encoding.pass_setup import Setup, default_setup, set_up, tokens_that_fit
from probing.encoding.setup_choice import (
    agree,
    choose_from,
    choose_setup,
    describe_call,
    other_setups,
)
from probing.encoding.store.cache import clear_cache, setups_folder
from probing.encoding.store.shards import Recipe, read_manifest
from probing.encoding.tokenization import tokenize
from probing.errors import InputError
from tests.conftest import FAMILIES
from tests.test_extraction import _outputs

SENTENCES = [f"the cat {'sat on the unlikely mat ' * (number % 5)}{number}" for number in range(80)]


@pytest.fixture(autouse=True)
def threads():
    """One thread, and what sets another number: where others are at work, two wait for each other
    in every product."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def encoder(tiny_encoder_folder):
    return load_encoder(tiny_encoder_folder("bert"))


@pytest.fixture
def every_call_is_long(monkeypatch, tmp_path):
    """An empty cache folder, in which the shortest call is worth a measurement."""
    monkeypatch.setenv("PROBING_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(setup_choice, "_LARGE", 1)
    monkeypatch.setattr(setup_choice, "_RUNS", 0)
    monkeypatch.setattr(setup_choice, "_found", {})
    return setups_folder(tmp_path / "cache")


def _every_setup(encoder: Encoder) -> list[Setup]:
    """All that can be chosen, and the same with batches so small that there are many."""
    usual = default_setup(encoder)
    batches = [usual, *other_setups(usual, encoder)]
    small = [replace(usual, batch_tokens=64, per_thread=each) for each in (True, False)]
    found = [*batches, *small]
    eager = [replace(setup, attention="eager") for setup in found if setup.attention == "sdpa"]
    return list(dict.fromkeys([*found, *eager]))


@pytest.mark.parametrize("family", FAMILIES)
def test_no_setup_moves_a_vector(family, tiny_encoder_folder, threads):
    folder = tiny_encoder_folder(family)
    encoder = load_encoder(folder)
    _, outputs, mask, _ = _outputs(folder, SENTENCES)
    tokenized = tokenize(encoder, SENTENCES)
    before = encoder.model.config._attn_implementation
    threads(2)
    setups = _every_setup(encoder)
    for setup in setups:
        threads(2 if setup.per_thread else 1)
        _, vectors = timed(encoder, tokenized, encoder.views, setup)
        found = dict(zip(map(str, encoder.views), vectors, strict=True))
        for layer, hidden in enumerate(outputs.hidden_states):
            mean = (hidden * mask[:, :, None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
            np.testing.assert_allclose(found[f"mean@{layer}"], mean, rtol=0, atol=1e-5)
            np.testing.assert_allclose(found[f"cls@{layer}"], hidden[:, 0], rtol=0, atol=1e-5)
        assert encoder.model.config._attn_implementation == before
    assert len(setups) >= (7 if before == "sdpa" else 5)


@pytest.mark.real
def test_no_setup_moves_a_vector_of_the_shipped_encoder(threads):
    encoder = load_encoder("minilm")
    some = SENTENCES[::4]
    tokenized = tokenize(encoder, some)
    expected = encode(encoder, tokenized, encoder.views)
    threads(2)
    for setup in _every_setup(encoder):
        threads(2 if setup.per_thread else 1)
        _, vectors = timed(encoder, tokenized, encoder.views, setup)
        for view, found in zip(encoder.views, vectors, strict=True):
            np.testing.assert_allclose(found, expected[str(view)], rtol=0, atol=1e-5)


def test_the_model_is_as_before_after_an_error(encoder):
    other = replace(default_setup(encoder), attention="eager")
    with pytest.raises(KeyError), set_up(encoder, other, 10):
        assert encoder.model.config._attn_implementation == "eager"
        raise KeyError
    assert encoder.model.config._attn_implementation == "sdpa"


def _raced(seconds: dict[str, list[float]]) -> tuple[str, list[str]]:
    """The chosen attention and what was run, from the seconds of each run in order."""
    setups = {name: Setup(1024, per_thread=True, attention=name, packed=False) for name in seconds}
    runs = {name: iter(times) for name, times in seconds.items()}
    made = []

    def run(setup: Setup) -> float:
        made.append(setup.attention)
        return next(runs[setup.attention])

    usual, *candidates = setups.values()
    chosen, _ = choose_from(usual, candidates, run)
    return chosen.attention, made


def test_the_faster_one_is_chosen_and_what_is_hopeless_is_run_once():
    chosen, made = _raced({"usual": [1.0] * 9, "better": [0.9] * 9, "bad": [2.0]})
    assert chosen == "better"
    assert made.count("bad") == 1
    assert made[:3] == ["usual", "better", "bad"]


@pytest.mark.parametrize(
    "times",
    [
        {"usual": [1.0] * 9, "better": [0.96] * 9},  # within the margin
        {"usual": [1.2, 1.0, 1.0, 1.0], "better": [1.0] * 9},  # one slow run of the default
        {"usual": [1.0] * 9, "wrong": [float("inf")]},
    ],
)
def test_noise_does_not_replace_the_default(times):
    assert _raced(times)[0] == "usual"


def test_kernels_are_tried_on_the_best_batches():
    usual = Setup(batch_tokens=1024, per_thread=True, attention="sdpa", packed=True)
    seconds = {"sdpa": 1.0, "eager": 0.5}
    chosen, made = choose_from(
        usual,
        [replace(usual, batch_tokens=4096, per_thread=False)],
        lambda s: seconds[s.attention] * (1.0 if s.per_thread else 0.8) * (1 + s.packed),
    )
    assert str(chosen) == (
        "4096 tokens a batch, one batch at a time, eager attention, plain linear layers"
    )
    assert len(set(made)) == 4  # of the eight that there are


def test_vectors_that_move_are_seen():
    one = np.array([[1.0, np.nan], [3.0, 4.0]], dtype=np.float32)
    assert agree(one, one + np.float32(5e-6), "float32")
    assert not agree(one + np.float32(1e-4), one, "float32")
    assert agree(one + np.float32(1e-1), one, "bfloat16")
    assert not agree(one + np.float32(1.0), one, "bfloat16")
    assert not agree(np.nan_to_num(one), one, "bfloat16")


def test_short_calls_and_calls_that_were_told_measure_nothing(encoder, monkeypatch, tmp_path):
    monkeypatch.setenv("PROBING_CACHE", str(tmp_path))
    usual = default_setup(encoder)
    assert choose_setup(encoder, SENTENCES, encoder.views) == usual
    monkeypatch.setattr(setup_choice, "_LARGE", 1)
    # a measurement would take more than its share of the call
    assert choose_setup(encoder, SENTENCES, encoder.views) == usual
    monkeypatch.setattr(setup_choice, "_RUNS", 0)
    told = choose_setup(encoder, SENTENCES, encoder.views, batch_tokens=77)
    declared = choose_setup(replace(encoder, batch_tokens=77), SENTENCES, encoder.views)
    assert told == declared == replace(usual, batch_tokens=77)
    assert not setups_folder(tmp_path).exists()
    with pytest.raises(InputError, match="0 batch tokens: expected one or more"):
        choose_setup(encoder, SENTENCES, encoder.views, batch_tokens=0)


def _ran(setup: Setup) -> str:
    """How so few sentences are run: there is no batch for each thread."""
    return str(replace(setup, per_thread=False))


def test_a_choice_is_made_once_and_said(encoder, every_call_is_long, monkeypatch, caplog):
    chosen = replace(default_setup(encoder), batch_tokens=512, attention="eager")
    counted = []

    def measured(*_):
        counted.append(1)
        return chosen, {"this": 1.0}

    monkeypatch.setattr(setup_choice, "_measured", measured)
    with caplog.at_level(logging.INFO):
        found = extract(encoder, SENTENCES)
    assert found.setups == (_ran(chosen),)
    assert f"forward passes have {chosen}" in caplog.text
    assert extract(encoder, SENTENCES).setups == (_ran(chosen),)
    monkeypatch.setattr(setup_choice, "_found", {})  # as another process
    assert extract(encoder, SENTENCES).setups == (_ran(chosen),)
    assert counted == [1]
    (path,) = every_call_is_long.iterdir()
    longer = [f"{sentence} " * 9 for sentence in SENTENCES]  # texts of another length
    extract(encoder, longer)
    assert counted == [1, 1]
    monkeypatch.setattr(setup_choice, "_found", {})
    for damage in ("{", "[]", json.dumps(json.loads(path.read_text()) | {"setup": {"a": 1}})):
        path.write_text(damage)
        counted.clear()
        monkeypatch.setattr(setup_choice, "_found", {})
        assert extract(encoder, SENTENCES).setups == (_ran(chosen),)
        assert counted == [1]
    assert "is damaged" in caplog.text
    clear_cache(every_call_is_long.parent)
    assert not every_call_is_long.exists()


@pytest.mark.usefixtures("every_call_is_long")
def test_a_call_that_took_the_default_goes_on_to_take_it(encoder, monkeypatch):
    """Whatever longer calls found since: in bfloat16 it would have other bits."""
    chosen = replace(default_setup(encoder), batch_tokens=512)
    monkeypatch.setattr(setup_choice, "_measured", lambda *_: (chosen, {}))
    monkeypatch.setattr(setup_choice, "_has_units", lambda _: True)
    monkeypatch.setattr(setup_choice, "_RUNS", 1)
    monkeypatch.setattr(setup_choice, "_SECONDS", 0.0)
    few = SENTENCES[:20]

    def taken(n_sentences: int) -> Setup:
        monkeypatch.setattr(setup_choice, "_found", {})
        return choose_setup(encoder, few, encoder.views, n_sentences=n_sentences)

    assert taken(20) == default_setup(encoder)
    assert taken(10**9) == chosen
    assert taken(20) == default_setup(encoder)
    assert taken(10**9) == chosen


def test_a_folder_that_cannot_be_written_is_said(encoder, every_call_is_long, monkeypatch, caplog):
    every_call_is_long.parent.parent.mkdir(exist_ok=True)
    every_call_is_long.parent.write_text("a file")
    chosen = replace(default_setup(encoder), batch_tokens=512)
    monkeypatch.setattr(setup_choice, "_measured", lambda *_: (chosen, {}))
    assert choose_setup(encoder, SENTENCES, encoder.views) == chosen
    assert "holds for this process only" in caplog.text


@pytest.mark.slow
def test_it_is_measured_for_real_and_the_same_in_another_process(
    encoder, every_call_is_long, tiny_encoder_folder
):
    here = extract(encoder, SENTENCES)
    kept = json.loads(next(every_call_is_long.iterdir()).read_text())
    assert Setup(**kept["setup"]) in _every_setup(encoder)
    code = (
        "import sys, numpy as np, torch\n"
        "from probing.encoding import setup_choice\n"
        "from probing.encoding.encoder import load_encoder\n"
        "from probing.encoding.extraction import extract\n"
        "setup_choice._LARGE, setup_choice._RUNS = 1, 0\n"
        "setup_choice._measured = None\n"
        "torch.set_num_threads(1)\n"
        "from tests.test_pass_setup import SENTENCES\n"
        "found = extract(load_encoder(sys.argv[1]), SENTENCES)\n"
        "np.save(sys.argv[2], found['mean@3'])\n"
    )
    out = every_call_is_long.parent / "vectors.npy"
    command = [sys.executable, "-c", code, str(tiny_encoder_folder("bert")), str(out)]
    root = str(Path(__file__).parent.parent)
    subprocess.run(command, check=True, cwd=root, env={**os.environ, "PYTHONPATH": root})
    np.testing.assert_array_equal(np.load(out), here["mean@3"])


def test_what_a_choice_holds_for(encoder):
    short, long = np.array([5, 6, 7]), np.array([5, 6, 70])
    about = describe_call(encoder, short)
    assert about == describe_call(encoder, short)
    assert about != describe_call(encoder, long)
    assert about != describe_call(replace(encoder, dtype=torch.bfloat16), short)
    json.dumps(about)


def test_float32_stores_are_completed_by_another_setup(encoder, tmp_path, monkeypatch):
    one = default_setup(encoder)
    other = replace(one, batch_tokens=99, per_thread=not one.per_thread, attention="eager")
    extract_to_store(encoder, SENTENCES, tmp_path, shard_sentences=20)
    (tmp_path / "shard-00001.safetensors").unlink()
    monkeypatch.setattr("probing.encoding.extraction.choose_setup", lambda *_, **__: other)
    found = extract_to_store(encoder, SENTENCES, tmp_path, shard_sentences=20)
    assert set(found.setups) == {_ran(one), _ran(other)}
    manifest = read_manifest(tmp_path)
    assert manifest is not None
    assert [shard["setup"] for shard in manifest["shards"]] == [
        _ran(one),
        _ran(other),
        *[_ran(one)] * 2,
    ]
    half = replace(encoder, dtype=torch.bfloat16)
    views = ["mean@1"]
    assert Recipe.of(encoder, views, setup=one) == Recipe.of(encoder, views, setup=other)
    assert Recipe.of(half, views, setup=one).key != Recipe.of(half, views, setup=other).key
    packed = replace(one, packed=not one.packed)  # the same bits
    assert Recipe.of(half, views, setup=one).key == Recipe.of(half, views, setup=packed).key


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ([], (1024, True)),
        (["avx512_bf16"], (2048, True)),
        (["avx512_bf16", "amx_bf16"], (8192, False)),
    ],
)
def test_the_default_goes_by_the_units_of_the_processor(encoder, monkeypatch, units, expected):
    monkeypatch.setattr(pass_setup, "bfloat16_units", lambda: units)
    setup = default_setup(replace(encoder, dtype=torch.bfloat16))
    assert (setup.batch_tokens, setup.per_thread) == expected
    setup = default_setup(encoder)  # float32
    assert (setup.batch_tokens, setup.per_thread) == (1024, True)


def test_tokens_that_fit_into_the_memory_of_a_gpu():
    base = {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_layers": 12,
        "n_views": 54,
        "product_bytes": 2,
    }
    found = [tokens_that_fit(gib * 2**30, **base) for gib in (0, 1, 8, 16, 80)]
    assert found == sorted(found)
    assert found[0] == 512  # a pass of one sentence is tried whatever there is
    assert found[-1] >= 2**17
    # twice the memory, twice the tokens; a little more of it changes nothing
    assert tokens_that_fit(32 * 2**30, **base) == 2 * tokens_that_fit(16 * 2**30, **base)
    assert tokens_that_fit(16 * 2**30 + 2**20, **base) == tokens_that_fit(16 * 2**30, **base)
    # by hand, for one layer of width 4 and one view: 4 * 4 * 2 of hidden states, 4 * 4 * 4 +
    # 2 * (4 * 4 + 2 * 8) of a block, 2 * 4 * 4 / 4 pooled, in half of the memory
    tiny = {"hidden_size": 4, "intermediate_size": 8, "num_layers": 1, "n_views": 1}
    per_token = 32 + 64 + 64 + 8
    assert tokens_that_fit(2 * per_token * 4096, product_bytes=2, **tiny) == 4096
    assert tokens_that_fit(2 * per_token * 4096 - 2, product_bytes=2, **tiny) == 2048
