"""Encoder folders that are a difference from a base."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from probing.encoding.difference import write_difference
from probing.encoding.encoder import Encoder, PoolerState, load_encoder
from probing.errors import InputError
from probing.pretraining.config import PretrainingConfig
from probing.pretraining.start import find_start, initial_model

POOLER = "pooler.dense.weight"


@pytest.fixture
def base(tiny_encoder_folder: Callable[[str], Path]) -> Encoder:
    return load_encoder(tiny_encoder_folder("bert"))


@pytest.fixture
def folder(base: Encoder, tmp_path: Path) -> Path:
    tensors = {POOLER: torch.eye(base.hidden_size), "pooler.dense.bias": torch.ones(16)}
    return write_difference(
        tmp_path / "changed", base=base.name, base_weight_hash=base.weight_hash, tensors=tensors
    )


def test_it_is_loaded_like_any_other(base: Encoder, folder: Path) -> None:
    found = load_encoder(folder)
    ours, theirs = found.model.state_dict(), base.model.state_dict()
    changed = {name for name in theirs if not torch.equal(ours[name], theirs[name])}
    assert changed == {POOLER, "pooler.dense.bias"}
    assert torch.equal(ours[POOLER], torch.eye(16))
    assert found.name == str(folder)
    assert found.pooler_state is PoolerState.TRAINED
    assert found.weight_hash != base.weight_hash
    assert found.tokenizer_hash == base.tokenizer_hash


def test_its_hash_is_of_the_changed_tensors_too(base: Encoder, folder: Path) -> None:
    before = load_encoder(folder).weight_hash
    write_difference(
        folder,
        base=base.name,
        base_weight_hash=base.weight_hash,
        tensors={POOLER: torch.ones(16, 16)},
    )
    assert load_encoder(folder).weight_hash != before


def test_it_can_be_continued(folder: Path) -> None:
    start = find_start(folder)
    model = initial_model(PretrainingConfig(length=24), start.tokenizer, start)
    assert torch.equal(model.get_parameter(f"bert.{POOLER}"), torch.eye(16))


def test_a_pooler_that_the_base_lacks_is_not_called_made_up(
    tiny_encoder_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    whole = tiny_encoder_folder("bert")
    bare = tmp_path / "bare"
    bare.mkdir()
    for path in whole.iterdir():
        (bare / path.name).write_bytes(path.read_bytes())
    tensors = load_file(whole / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if "pooler" not in name}
    save_file(kept, bare / "model.safetensors", metadata={"format": "pt"})
    base = load_encoder(bare)
    assert base.pooler_state is PoolerState.NEWLY_INITIALISED
    given = {POOLER: torch.eye(16), "pooler.dense.bias": torch.ones(16)}
    write_difference(
        tmp_path / "x", base=str(bare), base_weight_hash=base.weight_hash, tensors=given
    )
    assert load_encoder(tmp_path / "x").pooler_state is PoolerState.TRAINED


def test_a_wrong_base_is_refused(base: Encoder, folder: Path, tmp_path: Path) -> None:
    tensors = {POOLER: torch.eye(16)}
    write_difference(tmp_path / "a", base=base.name, base_weight_hash="0" * 64, tensors=tensors)
    with pytest.raises(InputError, match="install that version of the base"):
        load_encoder(tmp_path / "a")
    own = load_encoder(folder)
    write_difference(
        tmp_path / "b", base=str(folder), base_weight_hash=own.weight_hash, tensors=tensors
    )
    with pytest.raises(InputError, match="install that version of the base"):
        load_encoder(tmp_path / "b")


def test_a_damaged_difference_is_refused(base: Encoder, folder: Path) -> None:
    wrong = {"pooler.dense.weight": torch.eye(3), "pooler.other": torch.eye(16)}
    for name, tensor in wrong.items():
        write_difference(
            folder, base=base.name, base_weight_hash=base.weight_hash, tensors={name: tensor}
        )
        with pytest.raises(InputError, match=name):
            load_encoder(folder)
    (folder / "changed.safetensors").write_bytes(b"no tensors")
    with pytest.raises(InputError, match="cannot be read"):
        load_encoder(folder)
    (folder / "changed.safetensors").unlink()
    with pytest.raises(InputError, match="has no"):
        load_encoder(folder)
    (folder / "difference.json").write_text(json.dumps({"base": "minilm"}))
    with pytest.raises(InputError, match="damaged"):
        load_encoder(folder)
