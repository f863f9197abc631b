"""The store: complete or not there, damage noticed, killed runs resumed, the cache."""

import hashlib
import json
import logging
import os
import resource
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from safetensors import safe_open

from probing.encoding.encoder import load_encoder, random_twin
from probing.encoding.extraction import extract, extract_to_store
from probing.encoding.pass_setup import default_setup
from probing.encoding.store.cache import cache_folder, cached_stores, clear_cache
from probing.encoding.store.shards import (
    Recipe,
    open_store,
    read_shard,
    sentences_hash,
    shard_name,
    write_shard,
)
from probing.errors import InputError
from tests.warm_process import forked

SHARD = 16
WORDS = ("the", "cat", "dog", "sat", "runs", "unlikely", "mat", "red", "not", "big")
CORPUS = tuple(
    " ".join(WORDS[(number * step) % 10] for step in range(1, 2 + number % 9)) + f" {number}"
    for number in range(100)
)


@pytest.fixture(autouse=True)
def _one_thread():
    """Bytes are compared between processes: how many threads share a sum decides its last bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def encoder(tiny_encoder_folder):
    return load_encoder(tiny_encoder_folder("bert"))


def _contents(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def test_a_store_gives_what_memory_gives(encoder, tmp_path):
    stored = extract_to_store(encoder, iter(CORPUS), tmp_path / "store", shard_sentences=SHARD)
    in_memory = extract(encoder, CORPUS)
    assert list(stored) == list(in_memory)
    assert stored.n_sentences == len(CORPUS)
    for view_id in in_memory:
        assert stored[view_id].dtype == np.float32
        np.testing.assert_allclose(stored[view_id], in_memory[view_id], rtol=0, atol=1e-5)
    np.testing.assert_allclose(stored["mean@1+3"], in_memory["mean@1+3"], rtol=0, atol=1e-5)


def test_the_folder_is_as_documented(encoder, tmp_path):
    extract_to_store(encoder, CORPUS, tmp_path, shard_sentences=SHARD)
    shards = [shard_name(index) for index in range(7)]
    assert sorted(_contents(tmp_path)) == ["manifest.json", *shards]
    with safe_open(tmp_path / shards[-1], framework="numpy") as last:
        assert sorted(last.keys()) == sorted(str(view) for view in encoder.views)
        assert last.get_tensor("mean@2").shape == (100 - 6 * SHARD, encoder.hidden_size)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["n_sentences"] == 100
    assert manifest["recipe"]["weight_hash"] == encoder.weight_hash
    assert [entry["size"] for entry in manifest["shards"]] == [
        (tmp_path / name).stat().st_size for name in shards
    ]


def test_two_runs_write_the_same_bytes(encoder, tmp_path):
    for name in ("one", "two"):
        extract_to_store(encoder, CORPUS, tmp_path / name, shard_sentences=SHARD)
    assert _contents(tmp_path / "one") == _contents(tmp_path / "two")


def test_a_second_run_encodes_nothing(encoder, tmp_path):
    first = extract(encoder, CORPUS, cache_dir=tmp_path)
    calls = []
    encoder.model.register_forward_pre_hook(lambda *_: calls.append(1))
    second = extract(encoder, CORPUS, cache_dir=tmp_path)
    assert calls == []
    for view_id in first:
        np.testing.assert_array_equal(first[view_id], second[view_id])
    extract(encoder, CORPUS[:-1], cache_dir=tmp_path)
    assert calls


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_flipped_byte_is_noticed_and_only_that_shard_is_made_again(
    tiny_encoder_folder, tmp_path_factory, data
):
    encoder = load_encoder(tiny_encoder_folder("bert"))
    whole = tmp_path_factory.getbasetemp() / "whole"
    if not whole.exists():
        extract_to_store(encoder, CORPUS, whole, shard_sentences=SHARD)
    folder = tmp_path_factory.mktemp("damaged")
    shutil.copytree(whole, folder, dirs_exist_ok=True)
    index = data.draw(st.integers(0, 6))
    path = folder / shard_name(index)
    content = bytearray(path.read_bytes())
    header = 8 + int.from_bytes(content[:8], "little")
    places = st.one_of(st.integers(0, header - 1), st.integers(header, len(content) - 1))
    place = data.draw(places)
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(content))
    assert read_shard(path) is None
    with pytest.raises(InputError, match=path.name):
        open_store(folder)
    made = []
    hook = encoder.model.register_forward_pre_hook(
        lambda _module, _args, inputs: made.append(len(inputs["input_ids"])), with_kwargs=True
    )
    extract_to_store(encoder, CORPUS, folder, shard_sentences=SHARD)
    hook.remove()
    assert sum(made) == (SHARD if index < 6 else 100 - 6 * SHARD)
    assert _contents(folder) == _contents(whole)


@pytest.mark.parametrize("size", [0, 5, 100, -1])
def test_a_shard_cut_short_is_noticed(encoder, tmp_path, size):
    extract_to_store(encoder, CORPUS, tmp_path, shard_sentences=SHARD)
    before = _contents(tmp_path)
    path = tmp_path / shard_name(2)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(InputError, match="missing or damaged"):
        open_store(tmp_path)
    extract_to_store(encoder, CORPUS, tmp_path, shard_sentences=SHARD)
    assert _contents(tmp_path) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda encoder: random_twin(encoder, 3),
        lambda encoder: replace(encoder, max_length=10),
        lambda encoder: replace(encoder, tokenizer_hash="another"),
        lambda encoder: replace(encoder, dtype=torch.bfloat16),
    ],
    ids=["weights", "max_length", "tokenizer", "dtype"],
)
def test_other_settings_are_another_store(encoder, tmp_path, change):
    extract(encoder, CORPUS, cache_dir=tmp_path)
    extract(change(encoder), CORPUS, cache_dir=tmp_path)
    assert len(cached_stores(tmp_path)) == 2
    folder = tmp_path / "named"
    extract_to_store(encoder, CORPUS, folder, shard_sentences=SHARD)
    before = _contents(folder)
    with pytest.raises(InputError, match="other sentences or settings"):
        extract_to_store(change(encoder), CORPUS, folder, shard_sentences=SHARD)
    assert _contents(folder) == before


def test_another_activation_is_another_recipe(encoder):
    recipe = Recipe.of(encoder, ["mean@1"], setup=default_setup(encoder))
    encoder.model.config.hidden_act = "relu"
    assert Recipe.of(encoder, ["mean@1"], setup=default_setup(encoder)).key != recipe.key


@pytest.mark.parametrize("sentences", [CORPUS[1:], CORPUS[:40], (*CORPUS, "more")])
def test_other_sentences_do_not_overwrite_a_store(encoder, tmp_path, sentences):
    extract_to_store(encoder, CORPUS, tmp_path, shard_sentences=SHARD)
    before = _contents(tmp_path)
    with pytest.raises(InputError, match="choose another folder"):
        extract_to_store(encoder, sentences, tmp_path, shard_sentences=SHARD)
    assert _contents(tmp_path) == before
    open_store(tmp_path)


def test_views_asked_for_later_are_found(encoder, tmp_path):
    extract(encoder, CORPUS, cache_dir=tmp_path)
    calls = []
    encoder.model.register_forward_pre_hook(lambda *_: calls.append(1))
    few = extract(encoder, CORPUS, views=["pooler@3", "mean@1"], cache_dir=tmp_path)
    assert calls == []
    assert list(few) == ["mean@1", "pooler@3"]
    np.testing.assert_allclose(few["mean@1"], extract(encoder, CORPUS)["mean@1"], rtol=0, atol=1e-5)


def test_views_that_are_not_there_are_made(encoder, tmp_path):
    few = extract(encoder, CORPUS, views=["mean@1"], cache_dir=tmp_path)
    assert list(few) == ["mean@1"]
    every = extract(encoder, CORPUS, cache_dir=tmp_path)
    assert len(every) == len(encoder.views)
    with pytest.raises(InputError, match="view 'mean@7' was asked for"):
        extract(encoder, CORPUS, views=["mean@7"])
    with pytest.raises(InputError, match="no view was asked for"):
        extract(encoder, CORPUS, views=[])


def test_float16_is_half_the_size_and_another_recipe(encoder, tmp_path):
    exact = extract(encoder, CORPUS, cache_dir=tmp_path)
    rounded = extract(encoder, CORPUS, cache_dir=tmp_path, storage_dtype="float16")
    large, small = sorted((store.size for store in cached_stores(tmp_path)), reverse=True)
    assert small < 0.6 * large
    for view_id in exact:
        assert rounded[view_id].dtype == np.float32
        np.testing.assert_array_equal(
            rounded[view_id], exact[view_id].astype(np.float16).astype(np.float32)
        )
    with pytest.raises(InputError, match="unknown storage dtype 'int8'"):
        extract(encoder, CORPUS, cache_dir=tmp_path, storage_dtype="int8")


def test_float16_that_cannot_hold_a_value_is_refused(encoder, tmp_path):
    recipe = Recipe.of(encoder, ["max@1"], setup=default_setup(encoder), storage_dtype="float16")
    with pytest.raises(InputError, match="float16 holds 65504 at most"):
        write_shard(
            tmp_path,
            0,
            {"max@1": np.full((1, 4), 1e6, dtype=np.float32)},
            recipe=recipe,
            sentences=sentences_hash(["a"]),
            n_sentences=1,
            lost=[],
            setup="",
        )
    assert list(tmp_path.iterdir()) == []


def test_repeated_and_truncated_sentences(encoder, tmp_path, caplog):
    long = "the cat " * 100
    sentences = [long, "a cat", "a cat", long, "a dog"]
    with caplog.at_level(logging.WARNING):
        stored = extract_to_store(encoder, sentences, tmp_path / "named", shard_sentences=3)
        cached = extract(encoder, sentences, cache_dir=tmp_path / "cache")
    assert stored.n_truncated == cached.n_truncated == 2
    assert caplog.text.count("2 of 5 sentences are longer") == 2
    expected = extract(encoder, sentences)
    for view_id in expected:
        np.testing.assert_allclose(stored[view_id], expected[view_id], rtol=0, atol=1e-5)
        np.testing.assert_allclose(cached[view_id], expected[view_id], rtol=0, atol=1e-5)


def test_bad_sentences_in_a_stream(encoder, tmp_path):
    with pytest.raises(InputError, match="found no sentence"):
        extract_to_store(encoder, iter(()), tmp_path / "empty")
    assert not (tmp_path / "empty").exists()
    with pytest.raises(InputError, match="0 sentences in a shard: expected one or more"):
        extract_to_store(encoder, iter(CORPUS), tmp_path / "empty", shard_sentences=0)
    with pytest.raises(InputError, match="0 batch tokens: expected one or more"):
        extract_to_store(encoder, iter(CORPUS), tmp_path / "empty", batch_tokens=0)
    with pytest.raises(InputError, match="sentence 40 is ' '"):
        extract_to_store(
            encoder, iter([*CORPUS[:40], " "]), tmp_path / "blank", shard_sentences=SHARD
        )
    with pytest.raises(InputError, match="expected a store that probing extract has finished"):
        open_store(tmp_path / "blank")


# --- killed runs ------------------------------------------------------------------------------


def _fill(encoder_folder: Path, folder: Path, kill_at: int | None) -> None:
    """Fill a store in a process of its own, which kills itself at its n-th step on disk."""
    torch.set_num_threads(1)
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1
        if steps == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    synchronise, rename = os.fsync, Path.replace

    def synchronised(descriptor):
        size = os.fstat(descriptor).st_size
        if steps + 1 == kill_at:
            os.truncate(descriptor, size // 2)  # dies with half a file on disk
        step()
        step()
        synchronise(descriptor)

    def renamed(path, target):
        step()
        result = rename(path, target)
        step()
        return result

    os.fsync = synchronised
    Path.replace = renamed
    extract_to_store(load_encoder(encoder_folder), CORPUS, folder, shard_sentences=SHARD)


@pytest.fixture(scope="module")
def processes():
    return forked()


def _run(processes, *arguments, seconds: float | None = None) -> int:
    process = processes.Process(target=_fill, args=arguments)
    process.start()
    process.join(seconds)
    if process.is_alive():
        process.kill()
        process.join()
    return process.exitcode


@pytest.mark.slow
def test_killed_at_every_kind_of_moment(encoder, tiny_encoder_folder, processes, tmp_path):
    """7 shards and the manifest take 4 steps on disk each; every restart gets one further."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    extract_to_store(encoder, CORPUS, whole, shard_sentences=SHARD)
    exits = []
    for kill_at in (1, 2, 3, 4, 7, 5, 6, 1, 2):
        exits.append(_run(processes, tiny_encoder_folder("bert"), killed, kill_at))
        for path in killed.glob("shard-*"):
            assert read_shard(path) is not None
    assert exits[0] == -signal.SIGKILL
    assert not (killed / "manifest.json").exists() or exits[-1] != 0
    assert _run(processes, tiny_encoder_folder("bert"), killed, None) == 0
    assert _contents(killed) == _contents(whole)


@pytest.mark.slow
def test_killed_at_twenty_random_moments(encoder, tiny_encoder_folder, processes, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    extract_to_store(encoder, CORPUS, whole, shard_sentences=SHARD)
    for name in ("warm", "timed"):
        begun = time.monotonic()
        assert _run(processes, tiny_encoder_folder("bert"), tmp_path / name, None) == 0
    duration = time.monotonic() - begun
    moments = np.random.default_rng(0).uniform(0.2, 1.0, size=20) * duration
    for seconds in moments:
        if _run(processes, tiny_encoder_folder("bert"), killed, None, seconds=seconds) == 0:
            assert _contents(killed) == _contents(whole)
            shutil.rmtree(killed)
    assert _run(processes, tiny_encoder_folder("bert"), killed, None) == 0
    assert _contents(killed) == _contents(whole)


def test_two_runs_at_the_same_time(encoder, tiny_encoder_folder, processes, tmp_path):
    whole, shared = tmp_path / "whole", tmp_path / "shared"
    extract_to_store(encoder, CORPUS, whole, shard_sentences=SHARD)
    both = [
        processes.Process(target=_fill, args=(tiny_encoder_folder("bert"), shared, None))
        for _ in range(2)
    ]
    for process in both:
        process.start()
    for process in both:
        process.join()
        assert process.exitcode == 0
    assert _contents(shared) == _contents(whole)


# --- a full disk ------------------------------------------------------------------------------


def _fill_with_little_room(encoder_folder: Path, folder: Path, n_bytes: int, said: Path) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))
    try:
        extract_to_store(load_encoder(encoder_folder), CORPUS, folder, shard_sentences=SHARD)
    except InputError as error:
        said.write_text(str(error))


def test_no_room_for_a_shard(encoder, tiny_encoder_folder, processes, tmp_path):
    """The last shard fits below the limit, the others do not."""
    folder, said = tmp_path / "store", tmp_path / "said"
    extract_to_store(encoder, CORPUS, folder, shard_sentences=SHARD)
    whole = _contents(folder)
    (folder / "manifest.json").unlink()
    (folder / shard_name(4)).unlink()
    limit = (folder / shard_name(3)).stat().st_size - 1000
    process = processes.Process(
        target=_fill_with_little_room, args=(tiny_encoder_folder("bert"), folder, limit, said)
    )
    process.start()
    process.join()
    assert process.exitcode == 0
    assert "cannot be written" in said.read_text()
    assert "make room" in said.read_text()
    assert "\n" not in said.read_text()
    kept = _contents(folder)
    assert kept == {
        name: digest
        for name, digest in whole.items()
        if name not in ("manifest.json", shard_name(4))
    }
    extract_to_store(encoder, CORPUS, folder, shard_sentences=SHARD)
    assert _contents(folder) == whole


def test_a_folder_that_cannot_be_made(encoder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made"):
        extract_to_store(encoder, CORPUS, tmp_path / "file" / "store")


# --- the cache --------------------------------------------------------------------------------


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.delenv("PROBING_CACHE", raising=False)
    assert "probing" in str(cache_folder())
    monkeypatch.setenv("PROBING_CACHE", str(tmp_path / "environment"))
    assert cache_folder() == tmp_path / "environment"
    assert cache_folder(tmp_path / "argument") == tmp_path / "argument"


def test_listing_and_clearing_the_cache(encoder, tmp_path):
    assert cached_stores(tmp_path / "none") == []
    extract(encoder, CORPUS, cache_dir=tmp_path)
    extract(encoder, CORPUS[:10], views=["mean@1"], cache_dir=tmp_path)
    own = tmp_path / "a run of mine"
    own.mkdir()
    (own / "manifest.json").write_text("{}")
    stores = cached_stores(tmp_path)
    assert sorted((store.n_sentences, store.n_views) for store in stores) == [(10, 1), (100, 18)]
    assert all(store.is_complete and store.model == encoder.name for store in stores)
    total = sum(store.size for store in stores)
    (stores[0].folder / "manifest.json").unlink()
    assert not cached_stores(tmp_path)[0].is_complete
    assert 0 < clear_cache(tmp_path) < total
    assert cached_stores(tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == ["a run of mine"]
    assert (own / "manifest.json").exists()
