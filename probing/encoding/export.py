"""One view as a sentence-transformers folder, whose ``encode`` gives the vectors of the view."""

import copy
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from probing.encoding.encoder import Encoder
from probing.encoding.extraction import chosen_views
from probing.encoding.forward import encode
from probing.encoding.loading import quiet
from probing.encoding.tokenization import tokenize
from probing.encoding.tuning import MODES
from probing.encoding.views import Pooling, View
from probing.errors import InputError

TOLERANCE: Final = 1e-5
"""How far an exported folder's vectors may be from the view's, as a share of the largest entry
where that is more than 1."""

_MODE_OF: Final = {own: mode for mode, own in MODES.items()}
"""Pooling here → pooling of sentence-transformers."""
_TRIED: Final = (
    "A cat.",
    "Two dogs run through the snow, and a third one watches them from the porch of a house.",
    "word " * 600,
)
"""What the folder is held against the view on: short, padded and truncated."""


def export_view(encoder: Encoder, view_id: str, folder: Path | str) -> Path:
    """Write one view as a folder for ``SentenceTransformer(folder)``.

    The model is cut after the view's layer; the pooler is a ``Dense`` module over ``[CLS]``. The
    folder is loaded and held against the view before it is kept.

    Args:
        encoder: From `load_encoder`, in float32.
        view_id: A view of one layer, such as ``mean@3``.
        folder: A new folder, or an empty one.

    Returns:
        The folder.

    Raises:
        InputError: sentence-transformers is not installed or cannot express the view, or the folder
            is occupied.
    """
    out = check_export(folder)
    check_exported_view(encoder, view_id)
    view = View.parse(view_id)
    if encoder.dtype != torch.float32:
        raise InputError(f"{encoder.name} is loaded in {encoder.dtype}: export it in float32")
    aside = out.parent / f".{out.name}-{secrets.token_hex(8)}"
    try:
        aside.mkdir(parents=True)
        with quiet():
            _save(encoder, view, aside)
            _hold_against(encoder, view_id, aside)
        if out.exists():
            out.rmdir()
        aside.rename(out)
    except OSError as error:
        raise InputError(f"{out} cannot be written ({error}): choose another folder") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return out


def is_expressible(view_id: str) -> bool:
    """Whether sentence-transformers has modules for a view."""
    view = View.parse(view_id)
    named = view.pooling in _MODE_OF or view.pooling in (Pooling.POOLER, Pooling.POOLER_DENSE)
    return len(view.layers) == 1 and named


def check_exported_view(encoder: Encoder, view_id: str) -> None:
    """Raise `InputError` where the encoder lacks the view or it cannot be exported."""
    if not is_expressible(view_id):
        raise InputError(
            f"{view_id} cannot be exported: sentence-transformers pools one layer by "
            f"{', '.join(sorted(_MODE_OF))}, or reads the pooler"
        )
    chosen_views(encoder, [view_id])


def check_export(folder: Path | str) -> Path:
    """The folder of an export. Raises `InputError` where nothing can be exported to it."""
    try:
        import sentence_transformers  # noqa: F401
    except ImportError as error:
        raise InputError(
            "sentence-transformers is not installed: pip install 'probing[export]'"
        ) from error
    out = Path(folder)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists and is not empty: name a new folder for the export")
    return out


def cut_after(encoder: Encoder, layer: int) -> torch.nn.Module:
    """A copy of the model that ends with the output of a layer.

    Every stack of ``num_layers`` blocks is cut, and so is what the configuration says of each
    block. A model that normalises after its last block does so here too: the caller compares.
    """
    model = copy.deepcopy(encoder.model)
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, torch.nn.ModuleList) and len(child) == encoder.num_layers:
                setattr(module, name, child[:layer])
    config: Any = model.config
    for name, value in list(vars(config).items()):
        if isinstance(value, list) and len(value) == encoder.num_layers:
            setattr(config, name, value[:layer])
    config.num_hidden_layers = layer
    return model


def _save(encoder: Encoder, view: View, folder: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules

    with tempfile.TemporaryDirectory(dir=folder.parent) as whole:
        layer = view.layers[0]
        model: Any = cut_after(encoder, layer) if layer < encoder.num_layers else encoder.model
        model.save_pretrained(whole)
        tokenizer = copy.deepcopy(encoder.tokenizer)
        tokenizer.padding_side = "right"
        tokenizer.save_pretrained(whole)
        transformer = modules.Transformer(
            whole, max_seq_length=encoder.max_length, do_lower_case=encoder.lower_case
        )
        parts: list[torch.nn.Module] = [
            transformer,
            modules.Pooling(encoder.hidden_size, pooling_mode=_MODE_OF.get(view.pooling, "cls")),
        ]
        if view.pooling.startswith("pooler"):
            dense = encoder.pooler_dense
            if dense is None:
                raise InputError(f"{view} of {encoder.name} is not made by a dense layer")
            parts.append(
                modules.Dense(
                    dense.in_features,
                    dense.out_features,
                    bias=dense.bias is not None,
                    activation_function=torch.nn.Tanh()
                    if view.pooling == Pooling.POOLER
                    else torch.nn.Identity(),
                    init_weight=dense.weight.detach().cpu(),
                    init_bias=None if dense.bias is None else dense.bias.detach().cpu(),
                )
            )
        SentenceTransformer(modules=parts, device="cpu").save_pretrained(
            str(folder), create_model_card=False
        )


def _hold_against(encoder: Encoder, view_id: str, folder: Path) -> None:
    """Raise `InputError` where the folder's vectors are not those of the view."""
    from sentence_transformers import SentenceTransformer

    views = (View.parse(view_id),)
    expected = encode(encoder, tokenize(encoder, _TRIED), views)[view_id]
    library = SentenceTransformer(str(folder), device="cpu")
    found = np.asarray(library.encode(list(_TRIED), show_progress_bar=False))
    allowed = TOLERANCE * max(1.0, float(np.abs(expected).max()))
    apart = float(np.abs(found - expected).max()) if found.shape == expected.shape else np.inf
    if not apart <= allowed:
        raise InputError(
            f"{view_id} of {encoder.name} cannot be exported: cut after that layer, the model "
            f"gives vectors that are {apart:.2g} from the view's (a final norm, or a pooler of "
            "another kind); choose a view of the last layer"
        )
