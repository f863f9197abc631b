"""PEFT adapters: merged vectors are PEFT's own; what cannot be merged is refused in one line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
import transformers
from encoders import SENTENCES
from safetensors.torch import load_file, save_file

from probing.encoding.encoder import load_encoder
from probing.encoding.extraction import extract
from probing.errors import InputError
from tests.test_decoders import decoder

Folder = Callable[[str], Path]
TARGETS = ["query", "value"]
KINDS: dict[str, Callable[[], Any]] = {
    "lora": lambda: peft.LoraConfig(r=4, lora_alpha=8, target_modules=TARGETS),
    "rslora": lambda: peft.LoraConfig(
        r=4, use_rslora=True, target_modules=TARGETS, rank_pattern={"query": 2}
    ),
    "lora-bias": lambda: peft.LoraConfig(r=4, target_modules=TARGETS, bias="all"),
    "dora": lambda: peft.LoraConfig(r=4, target_modules=TARGETS, use_dora=True),
    "adalora": lambda: peft.AdaLoraConfig(target_modules=TARGETS, total_step=10),
    "ia3": lambda: peft.IA3Config(
        target_modules=["key", "value", "output.dense"], feedforward_modules=["output.dense"]
    ),
    "loha": lambda: peft.LoHaConfig(r=4, target_modules=TARGETS),
    "lokr": lambda: peft.LoKrConfig(r=4, target_modules=TARGETS),
    "oft": lambda: peft.OFTConfig(oft_block_size=4, target_modules=TARGETS),
    "boft": lambda: peft.BOFTConfig(boft_block_size=4, target_modules=TARGETS),
    "hra": lambda: peft.HRAConfig(r=4, target_modules=TARGETS),
    "vera": lambda: peft.VeraConfig(r=4, target_modules=TARGETS),
    "fourier": lambda: peft.FourierFTConfig(n_frequency=20, target_modules=TARGETS),
    "norms": lambda: peft.LNTuningConfig(target_modules=["LayerNorm"]),
}


def _moved(model: Any) -> Any:
    """The model with every trainable number somewhere else, as training would leave it."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and "classifier" not in name:
                with torch.no_grad():
                    parameter += 0.2 * torch.randn_like(parameter)
    return model.eval()


def _adapter(base: Path, config: Any, folder: Path, task: Any = transformers.AutoModel) -> Any:
    adapted = _moved(peft.get_peft_model(task.from_pretrained(base), config))
    adapted.save_pretrained(folder)
    return adapted


def _check(folder: Path, base: Path, model: Any) -> None:
    """The encoder of the folder against PEFT's own model, the adapter beside the base."""
    encoder, plain = load_encoder(folder), load_encoder(base)
    assert encoder.weight_hash != plain.weight_hash
    assert encoder.adapter.startswith(str(base))
    found, before = extract(encoder, SENTENCES), extract(plain, SENTENCES)
    with torch.inference_mode():
        for row, sentence in enumerate(SENTENCES):
            ids = encoder.tokenizer(sentence, return_tensors="pt")["input_ids"]
            hidden = model(input_ids=ids, output_hidden_states=True).hidden_states
            for layer, tokens in enumerate(hidden):
                expected = tokens[0].mean(dim=0).numpy()
                np.testing.assert_allclose(found[f"mean@{layer}"][row], expected, atol=1e-5)
    assert np.abs(found["mean@3"] - before["mean@3"]).max() > 1e-2


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "kind",
    [
        kind if kind in ("lora", "ia3", "lokr") else pytest.param(kind, marks=pytest.mark.slow)
        for kind in KINDS
    ],
)
def test_a_merged_adapter_equals_that_of_peft(
    kind: str, tmp_path: Path, tiny_encoder_folder: Folder
) -> None:
    base = tiny_encoder_folder("bert")
    _check(tmp_path / "adapter", base, _adapter(base, KINDS[kind](), tmp_path / "adapter"))


@pytest.mark.filterwarnings("ignore")
def test_an_adapter_of_a_decoder_whose_weights_lie_the_other_way(tmp_path: Path) -> None:
    base = decoder("gpt2", tmp_path / "gpt2")
    config = peft.LoraConfig(r=4, target_modules=["c_attn"], fan_in_fan_out=True)
    _check(tmp_path / "adapter", base, _adapter(base, config, tmp_path / "adapter"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("task", "kind"),
    [
        (transformers.AutoModelForSequenceClassification, "SEQ_CLS"),
        (transformers.AutoModelForTokenClassification, "TOKEN_CLS"),
        # its encoder has no pooler, and its head has a dense layer that is adapted too
        (transformers.AutoModelForMaskedLM, None),
    ],
)
def test_an_adapter_of_a_model_for_a_task_leaves_its_head(
    task: Any, kind: str | None, tmp_path: Path, tiny_encoder_folder: Folder
) -> None:
    base = tiny_encoder_folder("bert")
    config = peft.LoraConfig(r=4, target_modules=["query", "dense"], task_type=kind)
    _check(tmp_path / "adapter", base, _adapter(base, config, tmp_path / "adapter", task))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "config",
    [
        peft.PromptTuningConfig(task_type="FEATURE_EXTRACTION", num_virtual_tokens=4),
        peft.PrefixTuningConfig(task_type="FEATURE_EXTRACTION", num_virtual_tokens=4),
        peft.PromptEncoderConfig(task_type="FEATURE_EXTRACTION", num_virtual_tokens=4),
    ],
)
def test_what_is_not_in_the_weights_is_refused(
    config: Any, tmp_path: Path, tiny_encoder_folder: Folder
) -> None:
    base = tiny_encoder_folder("bert")
    peft.get_peft_model(transformers.AutoModel.from_pretrained(base), config).save_pretrained(
        tmp_path / "adapter"
    )
    with pytest.raises(InputError, match=r"of the kind \w+, which adds to what the encoder reads"):
        load_encoder(tmp_path / "adapter")


@pytest.mark.filterwarnings("ignore")
def test_a_merge_that_changes_the_vectors_is_refused(
    tmp_path: Path, tiny_encoder_folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    _adapter(tiny_encoder_folder("bert"), KINDS["lora"](), tmp_path / "adapter")
    unload = peft.tuners.lora.LoraModel.unload
    monkeypatch.setattr(peft.tuners.lora.LoraModel, "merge_and_unload", unload)
    with pytest.raises(InputError, match="gives other vectors merged than beside its base"):
        load_encoder(tmp_path / "adapter")


@pytest.mark.filterwarnings("ignore")
def test_damaged_adapters_and_other_bases_are_one_line(
    tmp_path: Path, tiny_encoder_folder: Folder
) -> None:
    good = tmp_path / "adapter"
    _adapter(tiny_encoder_folder("bert"), KINDS["lora"](), good)
    config = json.loads((good / "adapter_config.json").read_text())
    weights = load_file(good / "adapter_model.safetensors")
    first = next(iter(weights))

    def line(change: dict[str, Any], tensors: dict[str, torch.Tensor] = weights) -> str:
        folder = tmp_path / "damaged"
        shutil.copytree(good, folder, dirs_exist_ok=True)
        (folder / "adapter_config.json").write_text(json.dumps({**config, **change}))
        save_file(tensors, folder / "adapter_model.safetensors")
        with pytest.raises(InputError) as caught:
            load_encoder(folder)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "cannot be read" in line({"peft_type": "NO_SUCH_KIND"})
    assert "names no base" in line({"base_model_name_or_path": None})
    assert "is an adapter of some/where: " in line({"base_model_name_or_path": "some/where"})
    other = str(tiny_encoder_folder("distilbert"))
    assert "have no place there" in line({"base_model_name_or_path": other})
    assert "does not fit its base" in line({"r": 3})
    assert "does not fit its base" in line({"r": "many"})
    assert "have no place there" in line({}, {f"x.{first}": weights[first]})
    assert "or are missing" in line({}, {key: weights[key] for key in weights if key != first})
    assert "it has no adapter weights" in line({}, {"classifier.weight": weights[first].clone()})
