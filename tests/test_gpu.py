"""The forward pass on a GPU where there is one, and what of it can be tried without."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from probing.encoding import forward
from probing.encoding.encoder import load_encoder
from probing.encoding.extraction import extract, extract_to_store
from probing.encoding.forward import in_memory_there_is
from probing.encoding.pass_setup import default_setup
from probing.encoding.tokenization import tokenize
from probing.errors import InputError

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
SENTENCES = [f"the cat {'sat on the mat ' * (number % 7)}{number}" for number in range(300)]


@pytest.fixture
def small_memory(monkeypatch):
    """``small_memory(tokens)``: from now on no batch of more padded tokens can be encoded."""
    sizes = []
    whole = forward.encode_batch

    def limit(tokens):
        def encode_batch(encoder, batch, views):
            sizes.append(batch.ids.numel())
            if batch.ids.numel() > tokens:
                raise torch.OutOfMemoryError
            return whole(encoder, batch, views)

        monkeypatch.setattr(forward, "encode_batch", encode_batch)
        return sizes

    return limit


def test_a_batch_that_does_not_fit_is_halved_and_so_are_all_after_it(
    tiny_encoder_folder, small_memory, caplog
):
    encoder = load_encoder(tiny_encoder_folder("bert"))
    tokenized = tokenize(encoder, SENTENCES)
    expected = extract(encoder, SENTENCES)
    sizes = small_memory(300)
    found = np.full((len(encoder.views), len(SENTENCES), encoder.hidden_size), np.nan)
    for rows, values in in_memory_there_is(
        encoder, tokenized, encoder.views, default_setup(encoder)
    ):
        found[:, rows] = values.numpy()
    for view, vectors in zip(encoder.views, found, strict=True):
        np.testing.assert_allclose(vectors, expected[str(view)], rtol=0, atol=1e-5)
    assert [size for size in sizes if size > 300] == sizes[:2]  # 1,024, then 512, then all fit
    assert "go on in 4 parts" in caplog.text


def test_a_sentence_that_does_not_fit_is_said(tiny_encoder_folder, small_memory):
    encoder = load_encoder(tiny_encoder_folder("bert"))
    tokenized = tokenize(encoder, SENTENCES[:4])
    small_memory(1)
    with pytest.raises(InputError, match="tokens does not fit into the memory of cpu"):
        list(in_memory_there_is(encoder, tokenized, encoder.views, default_setup(encoder)))


@pytest.mark.parametrize("dtype", ["float16", "tf32"])
def test_number_formats_of_a_gpu_are_refused_elsewhere(tiny_encoder_folder, dtype):
    with pytest.raises(InputError, match=f"dtype {dtype} is for a GPU and the device is cpu"):
        load_encoder(tiny_encoder_folder("bert"), dtype=dtype, device="cpu")


def test_products_are_in_tf32_within_a_pass_and_no_longer(tiny_encoder_folder):
    encoder = replace(load_encoder(tiny_encoder_folder("bert"), device="cpu"), tf32=True)
    products = torch.backends.cuda.matmul
    before, seen = products.fp32_precision, []
    encoder.model.register_forward_pre_hook(lambda *_: seen.append(products.fp32_precision))
    extract(encoder, SENTENCES[:2])
    assert set(seen) == {"tf32"}
    assert products.fp32_precision == before
    assert encoder.dtype_name == "tf32"


@on_gpu
@pytest.mark.parametrize("family", ["bert", "roberta", "albert", "mpnet", "deberta", "modernbert"])
def test_the_gpu_gives_what_the_processor_gives(tiny_encoder_folder, tmp_path, family):
    folder = tiny_encoder_folder(family)
    here = extract(load_encoder(folder, device="cpu"), SENTENCES)
    encoder = load_encoder(folder, device="cuda")
    found = extract(encoder, SENTENCES, batch_tokens=256)  # many batches on their way
    stored = extract_to_store(encoder, SENTENCES, tmp_path, shard_sentences=100)
    for view_id in here:
        np.testing.assert_allclose(found[view_id], here[view_id], rtol=0, atol=1e-4)
        np.testing.assert_allclose(stored[view_id], here[view_id], rtol=0, atol=1e-4)


@on_gpu
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "tf32", "auto"])
def test_fewer_bits_are_near_float32(tiny_encoder_folder, dtype):
    folder = tiny_encoder_folder("bert")
    here = extract(load_encoder(folder, device="cpu"), SENTENCES)
    found = extract(load_encoder(folder, device="cuda", dtype=dtype), SENTENCES)
    for view_id in here:
        largest = np.abs(here[view_id]).max()
        np.testing.assert_allclose(found[view_id], here[view_id], rtol=0, atol=0.1 * largest)
    assert torch.backends.cuda.matmul.fp32_precision != "tf32"


@on_gpu
def test_a_gpu_that_is_not_there(tiny_encoder_folder):
    with pytest.raises(InputError, match="device 'cuda:99' is not available"):
        load_encoder(tiny_encoder_folder("bert"), device="cuda:99")


@on_gpu
def test_memory_is_found_and_a_batch_that_is_too_large_is_halved(tiny_encoder_folder):
    encoder = load_encoder(tiny_encoder_folder("bert"), device="cuda")
    assert default_setup(encoder).batch_tokens >= 512
    assert not default_setup(encoder).per_thread
    expected = extract(encoder, SENTENCES)
    torch.cuda.set_per_process_memory_fraction(0.001)
    try:
        torch.cuda.empty_cache()
        found = extract(encoder, SENTENCES * 2, batch_tokens=2**20)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    np.testing.assert_allclose(found["mean@3"][: len(SENTENCES)], expected["mean@3"], atol=1e-4)
