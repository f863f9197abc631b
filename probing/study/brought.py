"""What a researcher brings to a study: checked, and given a name."""

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sklearn.base import BaseEstimator, is_classifier, is_regressor

from probing.encoding.encoder import Encoder, load_encoder
from probing.encoding.pooling import PoolingFunction, checked_poolings
from probing.encoding.vector_sources import (
    VectorSource,
    from_function,
    from_sentence_transformer,
    read_vectors,
)
from probing.errors import InputError
from probing.results.names import MINUS, is_difference, is_floor, is_twin
from probing.similarity.own_transforms import RAW, TransformFunction, checked_transforms

VECTOR_FILES = (".npz", ".parquet", ".safetensors")
"""Endings of files of vectors, which may stand in the place of a model."""


def load_model(
    model: Any,
    *,
    dtype: str,
    poolings: Mapping[str, PoolingFunction],
    batch_tokens: int | None = None,
    **options: Any,
) -> Any:
    """A model of a study as what gives vectors.

    Args:
        model: An alias, Hub id or folder; a file of vectors; an `Encoder`, a `VectorSource`, a
            ``SentenceTransformer``, or a function from sentences to vectors.
        dtype: Of the forward pass, for encoders that are loaded here.
        poolings: A researcher's own, for encoders.
        batch_tokens: Padded tokens in one forward pass, for encoders.
        options: Of `load_encoder`, for encoders that are loaded here.

    Returns:
        An `Encoder` or a `VectorSource`.

    Raises:
        InputError: It is none of these, or cannot be loaded.
    """
    if isinstance(model, (str, Path)):
        path = Path(model)
        if path.suffix in VECTOR_FILES and path.is_file():
            return read_vectors(path)
        model = load_encoder(model, dtype=dtype, **options)
    if isinstance(model, Encoder):
        if batch_tokens is not None:
            model = replace(model, batch_tokens=batch_tokens)
        return replace(model, poolings={**model.poolings, **poolings}) if poolings else model
    if isinstance(model, VectorSource):
        return model
    if hasattr(model, "encode") and hasattr(model, "state_dict"):
        return from_sentence_transformer(model)
    if callable(model):
        return from_function(model)
    raise InputError(
        f"a model of type {type(model).__name__}: expected an alias, a Hub id, a folder, a file of "
        "vectors, an Encoder, a SentenceTransformer or a function of sentences"
    )


def checked_model_name(name: str) -> None:
    """Raise `InputError` where a model's name would read as something else in the table."""
    if is_difference(name):
        raise InputError(
            f"model {name!r}: {MINUS!r} in a name stands for a difference in the results table; "
            "rename the folder"
        )
    if is_twin(name) or is_floor(name):
        raise InputError(
            f"model {name!r}: the name is that of a control or a floor in the results table; "
            "rename the folder"
        )


def probe_name(probe: Any) -> str:
    """Value of the ``probe`` column. Raises `InputError` for what is no probe."""
    if isinstance(probe, str):
        return probe
    if isinstance(probe, BaseEstimator) and (is_classifier(probe) or is_regressor(probe)):
        return type(probe).__name__
    raise InputError(
        f"probe {probe!r}: expected a name or a scikit-learn classifier or regressor, not fitted"
    )


def named_transforms(
    transforms: Iterable[str | TransformFunction] | Mapping[str, TransformFunction],
) -> dict[str, TransformFunction]:
    """A researcher's transforms by name; a function goes by its own.

    Raises:
        InputError: A transform has no name of its own, or a text is not ``raw``.
    """
    if isinstance(transforms, Mapping):
        return checked_transforms(transforms)
    if isinstance(transforms, str) or not isinstance(transforms, Iterable):
        raise InputError(
            f"transforms is {transforms!r}: expected a list of functions, or a dict of them by name"
        )
    found: dict[str, TransformFunction] = {}
    for transform in transforms:
        if isinstance(transform, str):
            if transform != RAW:
                raise InputError(
                    f"transform {transform!r}: the project's own are always measured; expected "
                    "a function that is fitted on (n, d) and gives a function of (m, d)"
                )
            continue
        name = getattr(transform, "__name__", type(transform).__name__)
        if name in found:
            raise InputError(f"two transforms are called {name!r}: give one another name")
        found[name] = transform
    return checked_transforms(found)


def named_poolings(poolings: Mapping[str, PoolingFunction]) -> dict[str, PoolingFunction]:
    """A researcher's poolings by name, checked."""
    return checked_poolings(poolings)


def load_object(text: str, *, kind: str) -> Any:
    """What ``module:name`` names; the current folder is looked in first.

    Args:
        text: Such as ``my_poolings:every_second``.
        kind: What it is to be, for messages.

    Raises:
        InputError: There is no such module or name in it, or importing it fails.
    """
    module, colon, name = text.partition(":")
    if not (module and colon and name) or "/" in module or module.startswith("."):
        raise InputError(
            f"{kind} {text!r}: expected module:name, such as my_study:{kind} for what my_study.py "
            f"in the current folder calls {kind}"
        )
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise InputError(
            f"{kind} {text!r}: no module named {error.name!r}; expected a file {module}.py in the "
            "current folder, or an installed module"
        ) from error
    except Exception as error:  # a researcher's module may raise anything
        raise InputError(
            f"{kind} {text!r}: importing {module} failed ({type(error).__name__}: {error})"
        ) from error
    if not hasattr(found, name):
        raise InputError(f"{kind} {text!r}: {module} has no {name!r}")
    return getattr(found, name)


def load_named(texts: Sequence[str], *, kind: str) -> dict[str, Callable[..., Any]]:
    """Objects ``module:name`` by their names in the module.

    Raises:
        InputError: One cannot be loaded, or two have the same name.
    """
    found: dict[str, Callable[..., Any]] = {}
    for text in texts:
        name = text.partition(":")[2]
        if name in found:
            raise InputError(f"two of --{kind} are called {name!r}: give one another name")
        found[name] = load_object(text, kind=kind)
    return found
