"""Vectors that no loaded encoder makes: from a function of sentences, or from a file.

They are measured like those of any encoder. There are no layers to compare, so there is no twin, no
layer selection and no road to a pooler; what claims say of views that are not there is left out.
"""

import hashlib
import inspect
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import nn

from probing.encoding.representations import Representations
from probing.encoding.views import View
from probing.errors import InputError

VECTORS_VIEW: Final = "vectors"
"""The view of a function that gives one matrix."""
_NO_REAL_NUMBERS: Final = "cUSMm"
"""Kinds of arrays that numpy would turn into float32 all the same: complex, text, times."""
SENTENCES: Final = "sentences"
"""Name of the sentences in a file of vectors."""


@dataclass(frozen=True)
class VectorSource:
    """Sentences to vectors by something other than a loaded encoder.

    Shows no layers: ``num_layers`` is 0 and there is no pooler.
    """

    name: str
    """Value of the ``model`` column."""
    encode: Callable[[Sequence[str]], Mapping[str, NDArray[Any]] | NDArray[Any]] = field(repr=False)
    """n sentences → ``(n, d)``, or view id → ``(n, d)``; any real dtype."""
    revision: str
    """What tells this source from another: ``function:SHA``, ``file:SHA``."""

    num_layers: int = 0
    pooler_dense: nn.Linear | None = None
    is_causal: bool = False

    def __call__(self, sentences: Sequence[str]) -> Representations:
        """The vectors of n distinct sentences under every view of this source, float32.

        Raises:
            InputError: The function raises, or gives another shape, a NaN or no numbers.
        """
        try:
            found = self.encode(list(sentences))
        except InputError:
            raise
        except Exception as error:  # a researcher's function may raise anything
            raise InputError(
                f"model {self.name!r} failed on {len(sentences)} sentences "
                f"({type(error).__name__}: {error}): expected a function that takes a list of "
                "sentences and gives an array (n_sentences, d)"
            ) from error
        views = found if isinstance(found, Mapping) else {VECTORS_VIEW: found}
        if not views:
            raise InputError(f"model {self.name!r} gives no view: expected at least one")
        return Representations(
            distinct={
                str(View.parse(view_id)): self._checked(view_id, matrix, len(sentences))
                for view_id, matrix in views.items()
            },
            rows=np.arange(len(sentences)),
            truncated=np.zeros(len(sentences), dtype=np.bool_),
        )

    def _checked(self, view_id: str, matrix: Any, n: int) -> NDArray[np.float32]:
        try:
            found = np.asarray(matrix)
            if found.dtype.kind in _NO_REAL_NUMBERS:
                raise TypeError(f"of {found.dtype}")
            with np.errstate(over="ignore"):  # what float32 cannot hold is refused below
                vectors = found.astype(np.float32, copy=False)
        except (TypeError, ValueError, RuntimeError) as error:  # a tensor that has a gradient, too
            raise InputError(
                f"model {self.name!r} gives {type(matrix).__name__} for view {view_id!r} "
                f"({error}): expected real numbers of shape ({n}, d)"
            ) from error
        if vectors.ndim != 2 or len(vectors) != n or not vectors.shape[1]:
            raise InputError(
                f"model {self.name!r} gives shape {vectors.shape} for view {view_id!r}: expected "
                f"({n}, d), a row for each of {n} sentences"
            )
        if not np.isfinite(vectors).all():
            row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
            raise InputError(
                f"model {self.name!r} gives a vector that is not finite for sentence {row} of "
                f"{n} (view {view_id!r}): expected numbers that are finite in float32"
            )
        return vectors


def from_function(
    function: Callable[[Sequence[str]], Any], name: str | None = None
) -> VectorSource:
    """Any function of sentences as a model: static word vectors, an API, another library.

    Args:
        function: A list of n sentences → ``(n, d)``, or a mapping of view ids to such arrays.
            Each sentence's vector must not depend on the others.
        name: Value of the ``model`` column; by default the function's own name.

    Raises:
        InputError: It has no name.

    >>> def lengths(sentences):
    ...     return [[len(sentence), sentence.count(" ") + 1] for sentence in sentences]
    >>> probing.from_function(lengths)(["A cat sleeps."])["vectors"].tolist()
    [[13.0, 3.0]]
    """
    name = name or getattr(function, "__name__", type(function).__name__)
    if name == "<lambda>":
        raise InputError("a lambda has no name for the results: define the function by def")
    try:
        source = inspect.getsource(function)
    except (OSError, TypeError):
        source = repr(type(function))
    return VectorSource(
        str(name), function, f"function:{hashlib.sha256(source.encode()).hexdigest()}"
    )


def from_sentence_transformer(model: Any, name: str | None = None) -> VectorSource:
    """A ``sentence_transformers.SentenceTransformer``: what its ``encode`` gives."""
    card = getattr(model, "model_card_data", None)
    found = str(name or getattr(card, "base_model", None) or "sentence-transformer")

    def encode(sentences: Sequence[str]) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = model.encode(
            list(sentences), convert_to_numpy=True, show_progress_bar=False
        )
        return vectors

    digest = hashlib.sha256()
    for key, tensor in sorted(model.state_dict().items()):
        digest.update(key.encode())
        digest.update(tensor.detach().float().cpu().numpy().tobytes())
    return VectorSource(
        found.rsplit("/", 1)[-1], encode, f"sentence-transformer:{digest.hexdigest()}"
    )


def from_arrays(
    name: str, sentences: Sequence[str], views: Mapping[str, NDArray[Any]], revision: str = ""
) -> VectorSource:
    """Vectors that exist already.

    Args:
        name: Value of the ``model`` column.
        sentences: n sentences.
        views: View id → ``(n, d)``; ids such as ``mean@6``, or any name of letters and digits.
        revision: Revision of the vectors; by default their SHA-256.

    Raises:
        InputError: A view has not one row for each sentence; when measured, a sentence of a task
            is not among these.

    >>> saved = probing.from_arrays("saved", ["yes", "no"], {"mean@2": np.eye(2)})
    >>> saved(["no"])["mean@2"].tolist()
    [[0.0, 1.0]]
    """
    places = {sentence: row for row, sentence in enumerate(sentences)}
    matrices = {view_id: np.asarray(matrix) for view_id, matrix in views.items()}
    for view_id, matrix in matrices.items():
        if matrix.ndim != 2 or len(matrix) != len(sentences):
            raise InputError(
                f"{name}: view {view_id!r} has shape {matrix.shape} for {len(sentences)} "
                f"sentences: expected ({len(sentences)}, d)"
            )
    for row, sentence in enumerate(sentences):
        place = places[sentence]
        if place != row and any(
            not np.array_equal(matrix[row], matrix[place], equal_nan=True)
            for matrix in matrices.values()
        ):
            raise InputError(
                f"{name}: {sentence!r} has one vector in row {row} and another in row {place}: "
                "expected one vector for each sentence"
            )
    if not revision:
        digest = hashlib.sha256("\n".join(sentences).encode("utf-8", "surrogatepass"))
        for view_id, matrix in sorted(matrices.items()):
            digest.update(view_id.encode() + np.ascontiguousarray(matrix).tobytes())
        revision = f"arrays:{digest.hexdigest()}"

    def encode(wanted: Sequence[str]) -> dict[str, NDArray[Any]]:
        absent = [sentence for sentence in wanted if sentence not in places]
        if absent:
            raise InputError(
                f"{name} has no vector for {len(absent)} of {len(wanted)} sentences, the first is "
                f"{absent[0]!r}: expected vectors of every sentence of the tasks"
            )
        rows = [places[sentence] for sentence in wanted]
        return {view_id: matrix[rows] for view_id, matrix in matrices.items()}

    return VectorSource(name, encode, revision)


_UNREADABLE: Final = (
    *(OSError, ValueError, KeyError, EOFError),
    *(SafetensorError, zipfile.BadZipFile, zlib.error),
)
"""What readers raise when a file is missing, cut off, changed or of another kind."""


def read_vectors(path: Path | str) -> VectorSource:
    """Vectors from a file, with their sentences.

    ``.npz``: an array ``sentences`` of n strings and one array ``(n, d)`` for each view.
    ``.parquet``: a column ``sentences`` and one column of lists for each view. ``.safetensors``:
    one tensor ``(n, d)`` for each view, and the sentences in ``NAME.txt`` beside it, one a line.

    Raises:
        InputError: The file cannot be read as one of these, or lacks sentences or views.

    >>> file = folder / "saved.npz"
    >>> np.savez(file, sentences=np.array(["yes", "no"]), first=np.eye(2))
    >>> probing.read_vectors(file).name
    'saved'
    """
    path = Path(path)
    readers = {".npz": _read_npz, ".parquet": _read_parquet, ".safetensors": _read_safetensors}
    if path.suffix not in readers:
        raise InputError(f"{path} is no file of vectors: expected one of {', '.join(readers)}")
    try:
        sentences, views = readers[path.suffix](path)
        revision = f"file:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    except _UNREADABLE as error:
        raise InputError(
            f"{path} cannot be read as vectors ({error}): expected named views and their sentences"
        ) from error
    if not views:
        raise InputError(f"{path} holds no view: expected arrays beside {SENTENCES!r}")
    return from_arrays(path.stem, sentences, views, revision)


_Read = tuple[list[str], dict[str, NDArray[Any]]]


def _read_npz(path: Path) -> _Read:
    # NumPy does not close a damaged file that it opened itself
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        views = {name: arrays[name] for name in arrays.files if name != SENTENCES}
        return [str(sentence) for sentence in arrays[SENTENCES]], views


def _read_parquet(path: Path) -> _Read:
    table = pd.read_parquet(path)
    columns = [name for name in table.columns if name != SENTENCES]
    views = {str(name): np.stack(list(table[name])) for name in columns}
    return [str(sentence) for sentence in table[SENTENCES]], views


def _read_safetensors(path: Path) -> _Read:
    text = path.with_suffix(".txt")
    with safe_open(path, framework="numpy") as tensors:
        views = {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118
    return text.read_text(encoding="utf-8").removesuffix("\n").split("\n"), views
