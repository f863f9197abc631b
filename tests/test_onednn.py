"""oneDNN: the same numbers, nothing stale, nothing left behind."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from probing.encoding import onednn
from probing.encoding.encoder import load_encoder
from probing.encoding.extraction import extract
from probing.encoding.onednn import packed_linears

SENTENCES = [
    f"the cat {'sat on the unlikely mat ' * (number % 8)}{number}" for number in range(300)
]


@pytest.fixture(params=["float32", "bfloat16"])
def dtype(request, monkeypatch):
    """The dtype of the layers that are packed; float32 shows the same where bfloat16 cannot."""
    monkeypatch.setattr(onednn, "PACKED", getattr(torch, request.param))
    if not onednn._has_operators():
        pytest.skip(f"this processor or PyTorch has no packed {request.param} layers")
    return request.param


@pytest.fixture
def calls(monkeypatch):
    """How often a packed layer was called."""
    counted = []
    make = onednn._packed_forward

    def counting(layer, batch_tokens):
        forward = make(layer, batch_tokens)

        def call(inputs):
            counted.append(layer)
            return forward(inputs)

        return call

    monkeypatch.setattr(onednn, "_packed_forward", counting)
    return counted


@pytest.mark.parametrize("family", ["bert", "roberta", "albert", "deberta", "modernbert"])
def test_the_vectors_are_the_same(family, tiny_encoder_folder, dtype, calls, monkeypatch):
    encoder = load_encoder(tiny_encoder_folder(family), dtype=dtype)
    packed = extract(encoder, SENTENCES)
    assert calls
    calls.clear()
    monkeypatch.setattr(onednn, "WORTHWHILE_TOKENS", 10**9)
    plain = extract(encoder, SENTENCES)
    assert not calls
    tolerance = 0 if dtype == "bfloat16" else 1e-5  # in float32 the order of summation differs
    for view_id in plain:
        np.testing.assert_allclose(packed[view_id], plain[view_id], rtol=0, atol=tolerance)


def test_float32_is_left_to_pytorch(tiny_encoder_folder, calls):
    extract(load_encoder(tiny_encoder_folder("bert"), dtype="float32"), SENTENCES)
    assert not calls


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # torch's own, on import
def test_a_compiled_model_is_left_alone(tiny_encoder_folder, dtype):
    model = load_encoder(tiny_encoder_folder("bert"), dtype=dtype).model
    with packed_linears(torch.compile(model), 1024, 10_000):  # not yet called
        assert not any("forward" in vars(module) for module in model.modules())


def test_few_kernels_are_kept():
    """The first shape of many is made again when it comes again, the last one is not."""
    code = (
        "import probing.encoding.onednn, torch\n"
        "for rows in [*range(1, 200), 1, 199]:\n"
        "    torch.nn.functional.gelu(torch.ones(rows, 64))\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "ONEDNN_VERBOSE": "profile_create"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    made = re.findall(r"create:cache_(hit|miss).*eltwise_gelu", told)
    if not made:
        pytest.skip("here PyTorch does not leave the activation to oneDNN")
    assert made[-2:] == ["miss", "hit"]
    assert made.count("miss") == 200


def test_changed_weights_are_packed_again(tiny_encoder_folder, dtype, calls):
    encoder = load_encoder(tiny_encoder_folder("bert"), dtype=dtype)
    before = extract(encoder, SENTENCES)
    with torch.no_grad():
        encoder.model.encoder.layer[0].output.dense.weight.mul_(2.0)
    after = extract(encoder, SENTENCES)
    assert calls
    assert np.abs(after["mean@1"] - before["mean@1"]).max() > 0.1
    np.testing.assert_array_equal(after["mean@0"], before["mean@0"])


def test_the_model_is_as_before(tiny_encoder_folder, dtype):
    model = load_encoder(tiny_encoder_folder("bert"), dtype=dtype).model
    linears = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    with pytest.raises(KeyError), packed_linears(model, 1024, 10_000):
        assert all("forward" in vars(linear) for linear in linears)
        raise KeyError
    assert not any("forward" in vars(linear) for linear in linears)
    with packed_linears(model, 1024, 100):
        assert not any("forward" in vars(linear) for linear in linears)


def test_other_layers_are_left_alone(dtype):
    class Doubled(torch.nn.Linear):
        def forward(self, inputs):
            return 2 * super().forward(inputs)

    packed, other = getattr(torch, dtype), torch.float64
    model = torch.nn.Sequential(Doubled(4, 4, dtype=packed), torch.nn.Linear(4, 4, dtype=other))
    with packed_linears(model, 1024, 10_000):
        assert not any("forward" in vars(module) for module in model.modules())
