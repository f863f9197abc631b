"""Tiny encoders of every family, with random weights, in folders as ``save_pretrained`` writes."""

import json
import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from probing.sources import hub_errors
from tests.hub_stand_in import StandIn, point_at, serve

HIDDEN_SIZE = 16
MAX_LENGTH = 48
"""Tokens that every tiny encoder takes, special tokens included."""

_WORDS = [
    "the",
    "a",
    "cat",
    "dog",
    "sat",
    "on",
    "mat",
    "run",
    "##s",
    "##ning",
    "un",
    "##like",
    "##ly",
    "not",
    "is",
    "big",
    "small",
    "red",
]
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_PUNCTUATION = ".,!?'-"
_TEXT = ["the cat sat on the mat", "a dog runs", "the unlikely dog is not running", "red and big"]
_BERT_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_TOKEN_NAMES = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
_ROBERTA_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
_SIZES = {
    "hidden_size": HIDDEN_SIZE,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "initializer_range": 0.3,
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first, so that none is left to one process at the end."""
    slow = {
        item.path
        for item in items
        if item.get_closest_marker("slow") or item.get_closest_marker("real")
    }
    items.sort(key=lambda item: item.path not in slow)


def _wordpiece(*special: str) -> dict[str, int]:
    pieces = [*special, *_LETTERS, *(f"##{letter}" for letter in _LETTERS), *_PUNCTUATION, *_WORDS]
    return {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}


def _unigram(*special: str) -> list[tuple[str, float]]:
    pieces = dict.fromkeys(special, 0.0)
    pieces |= {w.removeprefix("##") if w.startswith("##") else f"▁{w}": -2.0 for w in _WORDS}
    pieces |= {piece: -6.0 for piece in ("▁", *_LETTERS, *_PUNCTUATION) if piece not in pieces}
    return list(pieces.items())


@cache
def _byte_level_bpe(*special: str) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(
        _TEXT,
        trainers.BpeTrainer(
            vocab_size=300,
            special_tokens=list(special),
            initial_alphabet=alphabet,
            show_progress=False,
        ),
    )
    return tokenizer


def build_byte_bpe(*special: str) -> dict[str, Any]:
    """Vocabulary and merges of a byte-level BPE, for a tokenizer of GPT-2's kind."""
    model = json.loads(_byte_level_bpe(*special).to_str())["model"]
    return {"vocab": model["vocab"], "merges": [tuple(pair) for pair in model["merges"]]}


def _modernbert_tokenizer() -> Any:
    tokenizer = Tokenizer.from_str(_byte_level_bpe(*_BERT_SPECIAL).to_str())
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **dict(zip(_TOKEN_NAMES, _BERT_SPECIAL, strict=True)),
    )


def build_sentencepiece_bpe() -> dict[str, Any]:
    """The same for one of Llama's kind: a mark for the space, bytes for what is unknown."""
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    merges = [
        (f"▁{word[:end]}" if end else "▁", word[end])
        for word in (w for w in _WORDS if not w.startswith("##"))
        for end in range(len(word))
    ]
    letters = [*_LETTERS, *_PUNCTUATION, "▁"]
    pieces = dict.fromkeys([*special, *letters, *("".join(pair) for pair in merges)])
    return {
        "vocab": {piece: number for number, piece in enumerate(pieces)},
        "merges": list(dict.fromkeys(merges)),
    }


def build_tiny_decoder(tokenizer: Any, config_class: Any, folder: Path) -> Path:
    """Write a tiny decoder: 3 layers, width 16, a few rows more than its tokenizer has tokens."""
    own = {
        "GPT2Config": {"n_embd": HIDDEN_SIZE, "n_layer": 3, "n_head": 2, "n_positions": 64},
        "LlamaConfig": {**_SIZES, "num_key_value_heads": 1},
        "Qwen3Config": {**_SIZES, "num_key_value_heads": 1, "head_dim": 8},
    }
    config = config_class(
        **{"max_position_embeddings": 64, **own.get(config_class.__name__, _SIZES)},
        vocab_size=len(tokenizer) + 7,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    config.initializer_range = 0.3
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.AutoModel.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


_Family = tuple[Callable[[], Any], Callable[..., Any], dict[str, Any]]
_FAMILIES_WITH_POOLER: dict[str, _Family] = {
    "bert": (
        lambda: transformers.BertTokenizer(vocab=_wordpiece(*_BERT_SPECIAL)),
        transformers.BertConfig,
        {**_SIZES, "max_position_embeddings": MAX_LENGTH},
    ),
    "roberta": (
        lambda: transformers.RobertaTokenizer(**build_byte_bpe(*_ROBERTA_SPECIAL)),
        transformers.RobertaConfig,
        # positions are numbered from padding_idx + 1 = 2
        {**_SIZES, "max_position_embeddings": MAX_LENGTH + 2, "type_vocab_size": 1},
    ),
    "albert": (
        lambda: transformers.AlbertTokenizer(
            vocab=_unigram("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")
        ),
        transformers.AlbertConfig,
        {**_SIZES, "max_position_embeddings": MAX_LENGTH, "embedding_size": 8},
    ),
    "mpnet": (
        lambda: transformers.MPNetTokenizer(
            vocab=_wordpiece("<s>", "<pad>", "</s>", "[UNK]", "<mask>")
        ),
        transformers.MPNetConfig,
        {**_SIZES, "max_position_embeddings": MAX_LENGTH + 2},
    ),
}
_FAMILIES_WITHOUT_POOLER: dict[str, _Family] = {
    "distilbert": (
        lambda: transformers.BertTokenizer(vocab=_wordpiece(*_BERT_SPECIAL)),
        transformers.DistilBertConfig,
        {
            "dim": HIDDEN_SIZE,
            "n_layers": 3,
            "n_heads": 2,
            "hidden_dim": 32,
            "initializer_range": 0.3,
            "max_position_embeddings": MAX_LENGTH,
        },
    ),
    "electra": (
        lambda: transformers.BertTokenizer(vocab=_wordpiece(*_BERT_SPECIAL)),
        transformers.ElectraConfig,
        {**_SIZES, "max_position_embeddings": MAX_LENGTH, "embedding_size": 8},
    ),
    "deberta": (
        lambda: transformers.DebertaTokenizer(
            **build_byte_bpe("[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]")
        ),
        transformers.DebertaConfig,
        {
            **_SIZES,
            "max_position_embeddings": MAX_LENGTH,
            "type_vocab_size": 0,
            "relative_attention": True,
            "pos_att_type": ["c2p", "p2c"],
        },
    ),
    "deberta-v2": (
        lambda: transformers.DebertaV2Tokenizer(vocab=_unigram(*_BERT_SPECIAL)),
        transformers.DebertaV2Config,
        {
            **_SIZES,
            "max_position_embeddings": MAX_LENGTH,
            "type_vocab_size": 0,
            "relative_attention": True,
            "position_buckets": 8,
            "share_att_key": True,
            "norm_rel_ebd": "layer_norm",
            "pos_att_type": ["c2p", "p2c"],
        },
    ),
    "modernbert": (
        _modernbert_tokenizer,
        transformers.ModernBertConfig,
        {
            "hidden_size": HIDDEN_SIZE,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "initializer_range": 0.3,
            "max_position_embeddings": MAX_LENGTH,
            "local_attention": 8,
            "global_attn_every_n_layers": 2,
        },
    ),
}
_ALL = _FAMILIES_WITH_POOLER | _FAMILIES_WITHOUT_POOLER

FAMILIES_WITH_POOLER = tuple(_FAMILIES_WITH_POOLER)
FAMILIES_WITHOUT_POOLER = tuple(_FAMILIES_WITHOUT_POOLER)
FAMILIES = tuple(_ALL)


def build_tiny_encoder(family: str, folder: Path) -> Path:
    """Write a tiny encoder of a family: 3 layers, width 16, biases moved away from zero."""
    make_tokenizer, config_class, settings = _ALL[family]
    tokenizer = make_tokenizer()
    tokenizer.model_max_length = MAX_LENGTH
    config = config_class(
        **settings,
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.cls_token_id,
        eos_token_id=tokenizer.sep_token_id,
        cls_token_id=tokenizer.cls_token_id,
        sep_token_id=tokenizer.sep_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.AutoModel.from_config(config)
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(parameter, std=0.3)
            elif "pooler" in name:  # what training leaves: a direction that no random draw has
                sign = torch.arange(len(parameter)) % 2 * 2.0 - 1
                with torch.no_grad():
                    parameter += 6 * torch.outer(sign, sign.roll(1)) / len(parameter)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


# Else a test that reads stderr sees the bar where it is the first to ask for an encoder.
transformers.utils.logging.disable_progress_bar()


@pytest.fixture(scope="session")
def tiny_encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """``tiny_encoder_folder("bert")``: the folder of a tiny encoder, made once per session."""

    @cache
    def folder(family: str) -> Path:
        return build_tiny_encoder(family, tmp_path_factory.mktemp(family))

    return folder


_DATA = os.environ.get("PROBING_DATA")


@pytest.fixture(scope="session", autouse=True)
def _no_official_data() -> Iterator[None]:
    """Only tests that ask for `real_data` see it.

    Elsewhere a run would whiten its vectors by ten thousand official sentences, and encode them.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PROBING_DATA", raising=False)
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with the official data sets; the test is skipped, saying so, where it is not."""
    if _DATA is None:
        pytest.skip("PROBING_DATA is not set: no official data here")
    return Path(_DATA)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or fills the cache of whoever runs it."""
    monkeypatch.setenv("PROBING_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """A Hub on loopback, empty, and an empty cache of its own."""
    stand_in = StandIn()
    server = serve(stand_in)
    point_at(stand_in.url, tmp_path / "hub-cache", monkeypatch)
    monkeypatch.setattr(hub_errors, "WAITS", (0.0, 0.0))
    monkeypatch.setattr("time.sleep", lambda _: None)
    yield stand_in
    server.shutdown()
    server.server_close()
