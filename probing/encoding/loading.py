"""A checkpoint's model and tokenizer by `transformers`, or one line that says why not."""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding, AutoTokenizer
from transformers.models.auto.modeling_auto import MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES
from transformers.utils import logging as transformers_logging

from probing.encoding.difference import put_in_place
from probing.encoding.locating import Checkpoint
from probing.encoding.weight_forms import Weights
from probing.errors import InputError

_VOCABULARIES: Final = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")
_NO_LIMIT: Final = 1_000_000
"""Tokens per sentence where neither tokenizer nor model has a limit."""


def load_model(checkpoint: Checkpoint) -> tuple[torch.nn.Module, list[str]]:
    """The model in float32, and the names of the pooler's weights that the checkpoint lacks.

    Raises:
        InputError: It is not an encoder that transformers knows, or lacks weights of its body.
    """
    config = load_config(checkpoint)
    if config.is_encoder_decoder and not _has_own_encoder(config):
        raise InputError(
            f"{checkpoint.name} is an encoder-decoder ({config.model_type}): expected an encoder "
            "such as BERT, RoBERTa or ModernBERT"
        )
    if not isinstance(getattr(config, "hidden_size", None), int):
        raise InputError(
            f"{checkpoint.name} has several parts ({type(config).__name__} states no hidden size): "
            "expected an encoder of text alone, such as BERT"
        )
    try:
        # A pooler that the checkpoint lacks is drawn by the loader: seeded, so that it is the same
        # made-up pooler in every run.
        with quiet(), seeded(0):
            model, report = _auto_class(config).from_pretrained(
                checkpoint.folder,
                dtype=torch.float32,
                use_safetensors=checkpoint.weights is Weights.SAFETENSORS,
                weights_only=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
            )
    except Exception as error:  # the libraries raise anything for what is damaged
        raise _not_an_encoder(checkpoint, error) from error
    changed = set() if checkpoint.changed is None else put_in_place(model, checkpoint.changed)
    missing = sorted(set(report["missing_keys"]) - changed)
    mismatched = sorted(str(key) for key in report.get("mismatched_keys", ()))
    body = [key for key in missing if "pooler" not in key] + mismatched
    if body:
        raise InputError(
            f"the checkpoint of {checkpoint.name} lacks {len(body)} weights of the encoder "
            f"({body[0]}, …): they would be random numbers; use a complete checkpoint"
        )
    model.config.return_dict = True  # some configurations ask for tuples
    return model.eval(), missing


def random_model(config: Any, seed: int) -> torch.nn.Module:
    """The architecture of a configuration with weights drawn from ``seed``."""
    with seeded(seed):
        model: torch.nn.Module = _auto_class(config).from_config(
            config, dtype=torch.float32, trust_remote_code=False
        )
    return model.eval()


def load_config(checkpoint: Checkpoint) -> Any:
    """The configuration. Raises `InputError` where it cannot be read."""
    try:
        with quiet():
            return AutoConfig.from_pretrained(
                checkpoint.folder, local_files_only=True, trust_remote_code=False
            )
    except Exception as error:  # the libraries raise anything for what is damaged
        raise _not_an_encoder(checkpoint, error) from error


def load_tokenizer(checkpoint: Checkpoint) -> Any:
    """The fast tokenizer, with a padding token, and no padding or truncation of its own.

    Raises:
        InputError: There is none, or no fast one.
    """
    # transformers makes up an empty vocabulary where there is none
    if not any(any(checkpoint.folder.glob(pattern)) for pattern in _VOCABULARIES):
        raise InputError(
            f"{checkpoint.folder} has no tokenizer: expected tokenizer.json or the vocabulary "
            "files beside the weights"
        )
    config = load_config(checkpoint)
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(
                checkpoint.folder,
                config=config,
                local_files_only=True,
                trust_remote_code=False,
                use_fast=True,
            )
    except Exception as error:  # the libraries raise anything for what is damaged
        raise InputError(
            f"{checkpoint.folder} has no tokenizer that can be loaded ({first_line(error)}): "
            "expected tokenizer.json or the vocabulary files beside the weights"
        ) from error
    if not getattr(tokenizer, "is_fast", False):
        raise InputError(
            f"the tokenizer of {checkpoint.name} has no fast form: expected that of an encoder "
            "such as BERT, with tokenizer.json"
        )
    if tokenizer.pad_token_id is None:
        # which token fills up a batch changes no vector: it is masked, as is measured
        substitutes = (tokenizer.eos_token, tokenizer.unk_token, tokenizer.bos_token)
        found = next((token for token in substitutes if token is not None), None)
        tokenizer.pad_token = found or tokenizer.convert_ids_to_tokens(0)
    tokenizer.padding_side = "right"
    tokenizer.truncation_side = "right"
    # a tokenizer.json may fix both; each call sets its own
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    return tokenizer


def check_vocabulary(model: Any, tokenizer: Any, name: str) -> None:
    """Raise `InputError` where the tokenizer has tokens that the model does not."""
    try:
        rows = int(model.get_input_embeddings().weight.shape[0])
    except (AttributeError, NotImplementedError, TypeError):
        return  # embeds text by other means; a token that it lacks fails when it is tried
    if len(tokenizer) > rows:
        raise InputError(
            f"the tokenizer of {name} has {len(tokenizer)} tokens and the model {rows}: expected "
            "the tokenizer that the model was trained with"
        )


def longest_input(model: Any, tokenizer: Any) -> int:
    """Tokens per sentence that model and tokenizer allow, special tokens included."""
    limits = [_NO_LIMIT]
    if 0 < tokenizer.model_max_length < _NO_LIMIT:
        limits.append(int(tokenizer.model_max_length))
    positions = getattr(model.config, "max_position_embeddings", None)
    if isinstance(positions, int) and positions > 0:
        table = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
        padding = getattr(table, "padding_idx", None)
        # RoBERTa and MPNet number positions from padding_idx + 1
        limits.append(positions if padding is None else positions - padding - 1)
    return min(limits)


def _has_own_encoder(config: Any) -> bool:
    return config.model_type in MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES


def _auto_class(config: Any) -> Any:
    """T5 and its kin have an encoder that can be loaded by itself."""
    by_itself = _has_own_encoder(config) and config.model_type.endswith("t5")
    return AutoModelForTextEncoding if by_itself else AutoModel


def _not_an_encoder(checkpoint: Checkpoint, error: BaseException) -> InputError:
    return InputError(
        f"{checkpoint.folder} cannot be loaded as an encoder ({first_line(error)}): expected a "
        "model that transformers.AutoModel knows, with safetensors weights and no code of its own"
    )


@contextmanager
def in_one_line(checkpoint: Checkpoint) -> Iterator[None]:
    """What a damaged checkpoint makes the libraries raise inside becomes an `InputError`."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # settings of a damaged file may be anything
        raise _not_an_encoder(checkpoint, error) from error


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from ``seed`` inside, and leave the caller's random state as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the loader's tables and bars off the terminal; what matters is reported by us."""
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    if isinstance(error, pickle.UnpicklingError):
        return "its pickle holds something else than tensors, or is damaged"
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
