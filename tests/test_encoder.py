"""Loading an encoder: what is accepted, what is refused, and what is said about the pooler."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from probing.encoding import locating
from probing.encoding.encoder import load_encoder, random_twin
from probing.encoding.extraction import extract
from probing.encoding.pooler_state import PoolerState, like_a_random_draw
from probing.encoding.views import View
from probing.errors import InputError
from probing.sources.declarations import MODELS
from tests.conftest import FAMILIES, FAMILIES_WITH_POOLER, MAX_LENGTH

Folder = Callable[[str], Path]
SENTENCES = ["the cat sat on the mat", "a dog runs", "the dog is not running", "a dog runs"]


@pytest.fixture
def copied(tiny_encoder_folder: Folder, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_encoder_folder("bert"), tmp_path / "bert"))


def _rewrite_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_loads_and_has_a_pooler_exactly_where_it_should(
    family: str, tiny_encoder_folder: Folder
) -> None:
    encoder = load_encoder(tiny_encoder_folder(family))
    has_pooler = family in FAMILIES_WITH_POOLER
    assert encoder.max_length == MAX_LENGTH
    assert encoder.pooler_state is (PoolerState.TRAINED if has_pooler else PoolerState.ABSENT)
    assert ("pooler@3" in extract(encoder, SENTENCES)) == has_pooler
    twin = random_twin(encoder, seed=1)
    assert twin.pooler_state is (PoolerState.UNTRAINED if has_pooler else PoolerState.ABSENT)
    assert twin.views == encoder.views


def test_a_random_twin_is_its_seed(tiny_encoder_folder: Folder) -> None:
    encoder = load_encoder(tiny_encoder_folder("bert"))
    state = torch.random.get_rng_state()
    one, again, other = (random_twin(encoder, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert one.name.endswith("+random")
    assert one.weight_hash == again.weight_hash != other.weight_hash
    np.testing.assert_array_equal(
        extract(one, SENTENCES)["mean@3"], extract(again, SENTENCES)["mean@3"]
    )
    assert not np.allclose(extract(one, SENTENCES)["mean@3"], extract(other, SENTENCES)["mean@3"])


@pytest.mark.parametrize("family", ["bert", "roberta", "mpnet"])
def test_a_model_takes_as_many_tokens_as_it_has_positions(
    family: str, tiny_encoder_folder: Folder, tmp_path: Path
) -> None:
    """Whatever its tokenizer says; RoBERTa and MPNet keep two positions for padding."""
    folder = shutil.copytree(tiny_encoder_folder(family), tmp_path / family)
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    del settings["model_max_length"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    encoder = load_encoder(folder)
    assert encoder.tokenizer.model_max_length > MAX_LENGTH
    assert encoder.max_length == MAX_LENGTH
    found = extract(encoder, ["the cat sat " * MAX_LENGTH])
    assert found.truncated.tolist() == [True]
    assert np.isfinite(found["mean@3"]).all()
    with pytest.raises(InputError, match=f"expected 3 to {MAX_LENGTH}"):
        load_encoder(folder, max_length=MAX_LENGTH + 1)


def test_a_pooler_is_told_by_its_bias_and_its_weights(copied: Path) -> None:
    def fresh(tensors: dict[str, torch.Tensor]) -> None:
        layer = torch.nn.Linear(*tensors["pooler.dense.weight"].shape)
        tensors["pooler.dense.weight"].copy_(layer.weight.detach())
        tensors["pooler.dense.bias"].copy_(layer.bias.detach())

    assert load_encoder(copied).pooler_state is PoolerState.TRAINED
    _rewrite_weights(copied, lambda tensors: tensors["pooler.dense.bias"].zero_())
    assert load_encoder(copied).pooler_state is PoolerState.MOVED_WEIGHTS_ONLY
    # a fresh nn.Linear has a bias that is not zero: version 0.1 called it trained
    _rewrite_weights(copied, fresh)
    assert load_encoder(copied).pooler_state is PoolerState.MOVED_BIAS_ONLY
    _rewrite_weights(copied, lambda tensors: tensors["pooler.dense.bias"].zero_())
    assert load_encoder(copied).pooler_state is PoolerState.UNTRAINED


@pytest.mark.parametrize("width", [16, 64, 256])
def test_random_draws_are_told_from_what_training_leaves(width: int) -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        normal = 0.02 * torch.randn(width, width, generator=generator)
        uniform = torch.rand(width, width, generator=generator) - 0.5
        assert like_a_random_draw(normal)
        assert like_a_random_draw(uniform)
        direction = torch.randn(width, 2, generator=generator)
        trained = normal + 0.3 * torch.outer(*direction.T) / width**0.5
        assert not like_a_random_draw(trained)
    assert not like_a_random_draw(torch.zeros(width, width))


def test_a_pooler_that_the_checkpoint_lacks_is_newly_initialised_the_same_each_time(
    copied: Path,
) -> None:
    def drop(tensors: dict[str, torch.Tensor]) -> None:
        del tensors["pooler.dense.bias"], tensors["pooler.dense.weight"]

    _rewrite_weights(copied, drop)
    one, again = load_encoder(copied), load_encoder(copied)
    assert one.pooler_state is PoolerState.NEWLY_INITIALISED
    np.testing.assert_array_equal(
        extract(one, SENTENCES)["pooler@3"], extract(again, SENTENCES)["pooler@3"]
    )


def test_a_checkpoint_that_lacks_other_weights_is_refused(copied: Path) -> None:
    def drop(tensors: dict[str, torch.Tensor]) -> None:
        del tensors["encoder.layer.1.attention.self.query.weight"]

    _rewrite_weights(copied, drop)
    with pytest.raises(InputError, match="lacks 1 weights of the encoder"):
        load_encoder(copied)


def test_a_folder_without_weights_is_refused(copied: Path) -> None:
    (copied / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"has no weights: expected model\.safetensors"):
        load_encoder(copied)


def test_a_pickled_checkpoint_is_refused_unopened(copied: Path) -> None:
    (copied / "model.safetensors").unlink()
    (copied / "pytorch_model.bin").write_bytes(b"not even a pickle")
    with pytest.raises(InputError, match=r"has only pytorch_model\.bin, which can run code"):
        load_encoder(copied)


def test_damaged_weights_are_refused(copied: Path) -> None:
    (copied / "model.safetensors").write_bytes(b"\x00" * 100)
    with pytest.raises(InputError, match="cannot be loaded as an encoder"):
        load_encoder(copied)


def test_a_checkpoint_with_code_of_its_own_is_refused(copied: Path) -> None:
    config = json.loads((copied / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoModel": "mine.Model"}}
    (copied / "config.json").write_text(json.dumps(config))
    (copied / "mine.py").write_text("raise SystemExit('this code ran')\n")
    with pytest.raises(InputError):
        load_encoder(copied)


@pytest.mark.parametrize("text", ["", "{", '{"model_type": 3}', "[]"])
def test_a_broken_config_is_refused(copied: Path, text: str) -> None:
    (copied / "config.json").write_text(text)
    with pytest.raises(InputError):
        load_encoder(copied)


def test_a_folder_without_tokenizer_is_refused(copied: Path) -> None:
    for path in copied.glob("*token*"):
        path.unlink()
    with pytest.raises(InputError, match="has no tokenizer: expected"):
        load_encoder(copied)


def test_a_tokenizer_of_another_model_is_refused(copied: Path) -> None:
    config = json.loads((copied / "config.json").read_text())
    tokenizer = json.loads((copied / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"] |= {"zebra": config["vocab_size"]}
    (copied / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(InputError, match="expected the tokenizer that the model was trained with"):
        load_encoder(copied)


def test_an_unknown_name_is_refused_with_the_choices() -> None:
    with pytest.raises(InputError, match=r"expected an alias .*minilm.*a Hub id.*or a folder"):
        load_encoder("nonsense")


def test_without_a_network_a_hub_id_fails_within_seconds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    started = time.monotonic()
    with pytest.raises(InputError, match="is not on this machine, and HF_HUB_OFFLINE"):
        load_encoder("someone/some-model")
    assert time.monotonic() - started < 5


def test_a_wrong_weight_hash_is_refused(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locating, "_packaged_folder", lambda _: copied)
    with pytest.raises(InputError, match=r"have SHA-256 .*, expected 53aa5117"):
        load_encoder("minilm")


@pytest.mark.parametrize("max_length", [0, 2, MAX_LENGTH + 1])
def test_a_length_that_does_not_fit_is_refused(
    max_length: int, tiny_encoder_folder: Folder
) -> None:
    with pytest.raises(InputError, match=f"expected 3 to {MAX_LENGTH}"):
        load_encoder(tiny_encoder_folder("bert"), max_length=max_length)


def test_an_unknown_dtype_or_device_is_refused(tiny_encoder_folder: Folder) -> None:
    with pytest.raises(InputError, match="unknown dtype 'float8'"):
        load_encoder(tiny_encoder_folder("bert"), dtype="float8")
    with pytest.raises(InputError, match="device 'nowhere'"):
        load_encoder(tiny_encoder_folder("bert"), device="nowhere")


def test_a_revision_of_a_folder_is_refused(tiny_encoder_folder: Folder) -> None:
    with pytest.raises(InputError, match="is a folder and has no revision"):
        load_encoder(tiny_encoder_folder("bert"), revision="main")


@pytest.mark.real
def test_minilm_comes_checked_and_its_pooler_was_never_trained() -> None:
    encoder = load_encoder("minilm")
    source = next(model for model in MODELS if model.alias == "minilm")
    assert encoder.weight_hash == source.weights_sha256
    assert encoder.pooler_state is PoolerState.UNTRAINED
    assert (encoder.num_layers, encoder.hidden_size, encoder.max_length) == (6, 384, 256)
    assert len(encoder.views) == 7 * 4 + 2


@pytest.mark.parametrize(
    ("text", "layers"), [("mean@6", (6,)), ("cls@0", (0,)), ("mean@1+12", (1, 12))]
)
def test_a_view_id_reads_back(text: str, layers: tuple[int, ...]) -> None:
    view = View.parse(text)
    assert (str(view), view.layers) == (text, layers)
    assert view.layer == (layers[0] if len(layers) == 1 else None)


@pytest.mark.parametrize(
    "text", ["", "mean@", "me an@1", "mean@1,2+3", "mean@-1", "mean@2+1", "mean@1+1", "cls@3,3"]
)
def test_what_is_no_view_id_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        View.parse(text)
