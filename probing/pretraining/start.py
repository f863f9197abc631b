"""What a network is before its first step: a checkpoint, or nothing."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer, BertConfig, BertForPreTraining
from transformers import PreTrainedTokenizerBase as Tokenizer

from probing.encoding.difference import put_in_place
from probing.encoding.loading import quiet, seeded
from probing.encoding.locating import find_checkpoint
from probing.errors import InputError
from probing.pretraining.config import Freeze, Pooler, PretrainingConfig

_SPECIAL = ("cls", "sep", "pad", "mask")
_POOLER_STREAM = 1_000_003
"""So that a drawn pooler shares no draw with weights of the same seed."""


@dataclass(frozen=True)
class Start:
    """A BERT that is continued: its folder, what identifies it, its tokenizer."""

    name: str
    """What the user typed."""
    folder: Path
    revision: str
    weight_hash: str
    tokenizer: Tokenizer
    positions: int
    """Tokens it can take."""
    changed: Path | None = None
    """Tensors that replace those of the folder's body."""


def find_start(name: str | Path, revision: str | None = None) -> Start:
    """The checkpoint of an alias, a Hub id or a folder.

    Raises:
        InputError: there is none, it is not a BERT, or its tokenizer lacks a special token.
    """
    checkpoint = find_checkpoint(str(name), revision)
    folder = checkpoint.folder
    try:
        config: Any = AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        tokenizer = AutoTokenizer.from_pretrained(
            folder, config=config, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{name} cannot be continued ({str(error).splitlines()[0]}): expected a BERT with its "
            "tokenizer"
        ) from error
    if config.model_type != "bert" or config.type_vocab_size < 2:
        raise InputError(
            f"{name} is of type {config.model_type}: expected a BERT (model_type bert) with two "
            "segment embeddings"
        )
    for token in _SPECIAL:
        if getattr(tokenizer, f"{token}_token_id") is None:
            raise InputError(f"the tokenizer of {name} has no [{token.upper()}] token")
    return Start(
        name=str(name),
        folder=folder,
        revision=checkpoint.revision,
        weight_hash=checkpoint.weight_hash,
        tokenizer=tokenizer,
        positions=int(config.max_position_embeddings),
        changed=checkpoint.changed,
    )


def initial_model(
    config: PretrainingConfig, tokenizer: Tokenizer, start: Start | None
) -> BertForPreTraining:
    """The network before training, in float32: a function of seed, sizes and start.

    Heads that the checkpoint lacks are drawn from the seed as `transformers` draws them; the MLM
    head's matrix is always that of the word embeddings. A drawn pooler depends only on the seed and
    the hidden size.

    Raises:
        InputError: the checkpoint lacks weights of the body, or has too few positions.
    """
    with seeded(config.seed):
        model = _from_nothing(config, tokenizer) if start is None else _continued(config, start)
    if config.pooler is Pooler.DRAW:
        generator = torch.Generator().manual_seed(config.seed + _POOLER_STREAM)
        with torch.no_grad():
            bert: Any = model.bert
            for layer in (bert.pooler.dense, model.cls.seq_relationship):
                layer.weight.normal_(0.0, config.initializer_range, generator=generator)
                layer.bias.zero_()
    if config.freeze is Freeze.BODY:
        for part in (model.bert.embeddings, model.bert.encoder):
            part.requires_grad_(requires_grad=False)
    return model


def _from_nothing(config: PretrainingConfig, tokenizer: Tokenizer) -> BertForPreTraining:
    return BertForPreTraining(
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=config.hidden,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            intermediate_size=config.intermediate,
            max_position_embeddings=config.length,
            hidden_dropout_prob=config.dropout,
            attention_probs_dropout_prob=config.dropout,
            initializer_range=config.initializer_range,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def _continued(config: PretrainingConfig, start: Start) -> BertForPreTraining:
    with quiet():
        try:
            loaded: Any = BertForPreTraining.from_pretrained(
                start.folder,
                dtype=torch.float32,
                use_safetensors=True,
                local_files_only=True,
                hidden_dropout_prob=config.dropout,
                attention_probs_dropout_prob=config.dropout,
                output_loading_info=True,
            )
        except RuntimeError as error:
            raise InputError(
                f"weights of {start.name} do not have the sizes that its config.json says "
                f"({str(error).splitlines()[0]}): use a complete checkpoint"
            ) from error
    model, report = loaded
    body = sorted(
        name
        for name in report["missing_keys"]
        if name.startswith("bert.") and ".pooler." not in name
    )
    if body:
        raise InputError(
            f"the checkpoint of {start.name} lacks {len(body)} weights of the encoder "
            f"({body[0]}, …): use a complete checkpoint"
        )
    if config.length > model.config.max_position_embeddings:
        raise InputError(
            f"length {config.length} is more than the {model.config.max_position_embeddings} "
            f"positions of {start.name}: lower --length"
        )
    if start.changed is not None:
        put_in_place(model.bert, start.changed)
    result: BertForPreTraining = model
    return result
