"""Vectors on disk: a folder of ``shard-NNNNN.safetensors`` and ``manifest.json``.

Each shard holds every kept view for a range of sentences; its keys are view ids. It is written
under a temporary name and renamed, so that it is complete or not there, and it carries a checksum,
so that a damaged one is noticed and never read. The manifest comes last: where it is, every shard
was written. Nothing is locked: two runs that fill one store replace a shard by its equal.
"""

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from probing.encoding.dtypes import StorageDtype
from probing.encoding.encoder import Encoder
from probing.encoding.lazy import LazyViews
from probing.encoding.pass_setup import Setup
from probing.encoding.pooling import source_digest
from probing.errors import InputError
from probing.results.writing import is_temporary, remove_abandoned, write_bytes, write_text

logger = logging.getLogger(__name__)

FORMAT: Final = 5
"""Raised when the layout of a shard, or the way its numbers are made, changes."""
MANIFEST: Final = "manifest.json"
SHARD_BYTES: Final = 128 * 2**20
"""About how large a shard of sentences is."""
_SHARD: Final = re.compile(r"shard-\d{5,}\.safetensors")
_NO_DIGEST: Final = "0" * 64
_DIGEST: Final = re.compile(rb'\\"sha256\\": \\"([0-9a-f]{64})\\"')
_BLOCK: Final = 1 << 20
_LARGEST_HEADER: Final = 100_000_000


@dataclass(frozen=True)
class Recipe:
    """Everything that can change a stored number, beside the sentences themselves."""

    weight_hash: str
    tokenizer_hash: str
    config_hash: str
    """SHA-256 of the model's configuration: the same weights under another activation differ."""
    dtype: str
    max_length: int
    device: str
    """``cpu`` or ``cuda``."""
    compiled: bool
    setup: str
    """What of the `Setup` can change a bit in fewer bits than float32; empty in float32, where a
    store that was begun with one setup is completed with another."""
    shard_sentences: int
    """Sentences in each shard but the last."""
    views: tuple[str, ...]
    storage_dtype: str
    torch: str
    transformers: str
    poolings: tuple[tuple[str, str], ...] = ()
    """Name and SHA-256 of the source of each pooling that the project does not bring."""
    format: int = FORMAT

    @classmethod
    def of(
        cls,
        encoder: Encoder,
        views: Sequence[str],
        *,
        setup: Setup,
        shard_sentences: int | None = None,
        storage_dtype: str = StorageDtype.FLOAT32,
    ) -> "Recipe":
        """The recipe of an encoder and settings; shards of about `SHARD_BYTES` by default.

        Raises `InputError` for an unknown ``storage_dtype``.
        """
        if storage_dtype not in list(StorageDtype):
            raise InputError(
                f"unknown storage dtype {storage_dtype!r}: expected one of "
                f"{', '.join(StorageDtype)}"
            )
        if shard_sentences is not None and shard_sentences < 1:
            raise InputError(f"{shard_sentences} sentences in a shard: expected one or more")
        row_bytes = len(views) * encoder.hidden_size * np.dtype(storage_dtype).itemsize
        model: Any = encoder.model
        config = model.config.to_dict()
        for name in ("_name_or_path", "transformers_version", "dtype", "architectures"):
            config.pop(name, None)
        return cls(
            weight_hash=encoder.weight_hash,
            tokenizer_hash=encoder.tokenizer_hash,
            config_hash=_sha256(json.dumps(config, sort_keys=True, default=str)),
            dtype=encoder.dtype_name,
            max_length=encoder.max_length,
            device=encoder.device.type,
            compiled=hasattr(model, "_orig_mod"),
            setup="",
            shard_sentences=shard_sentences or max(256, SHARD_BYTES // row_bytes // 256 * 256),
            views=tuple(views),
            storage_dtype=storage_dtype,
            torch=torch.__version__,
            transformers=transformers.__version__,
            poolings=tuple(
                (name, source_digest(function) or "")
                for name, function in sorted(encoder.poolings.items())
            ),
        ).run_by(setup)

    def run_by(self, setup: Setup) -> "Recipe":
        """The same, whose passes run as ``setup`` says."""
        return replace(self, setup="" if self.dtype == "float32" else setup.what_counts)

    @property
    def key(self) -> str:
        """SHA-256 over every field."""
        return _sha256(json.dumps(asdict(self), sort_keys=True))

    @property
    def family(self) -> str:
        """The key that recipes share which differ in nothing but their views."""
        return replace(self, views=(), shard_sentences=0).key


@dataclass(frozen=True)
class Shard:
    """One complete file of a store."""

    file: str
    recipe: str
    """Key of the `Recipe`."""
    sentences: str
    """SHA-256 over its sentences."""
    n_sentences: int
    n_rows: int
    """Vectors under each view: one per sentence, or one per word."""
    lost: tuple[int, ...]
    """Rows of sentences that were truncated, or of words that have no vector."""
    setup: str
    """How the forward pass ran that made it (`probing.encoding.pass_setup.Setup`)."""
    size: int
    """Bytes of the file."""
    sha256: str
    """SHA-256 of the file, with its own 64 digits in the header read as zeros."""


class StoredVectors(LazyViews[NDArray[np.float32]]):
    """View id → vectors ``(n_rows, hidden_size)`` float32, read from the shards of a folder."""

    def __init__(self, folder: Path, view_ids: Iterable[str], shards: Sequence[Shard]) -> None:
        """``view_ids`` are some of the views that the shards hold."""
        super().__init__(view_ids, self._rows_of)
        self.folder, self.shards = folder, shards

    def _rows_of(self, view_id: str) -> NDArray[np.float32]:
        vectors, start = np.empty((0, 0), dtype=np.float32), 0
        for shard in self.shards:  # one at a time: a view is in memory once, not twice
            with safe_open(self.folder / shard.file, framework="numpy") as mapped:
                part = mapped.get_tensor(view_id)
            if start == 0:
                vectors = np.empty((self.n_rows, part.shape[1]), dtype=np.float32)
            vectors[start : start + len(part)] = part
            start += len(part)
        return vectors

    @property
    def n_rows(self) -> int:
        """Vectors under each view."""
        return sum(shard.n_rows for shard in self.shards)

    @property
    def setups(self) -> tuple[str, ...]:
        """How the forward passes ran: one, or more where a store was completed by another run."""
        return tuple(dict.fromkeys(shard.setup for shard in self.shards))

    @property
    def lost(self) -> NDArray[np.bool_]:
        """``(n_rows,)``: sentences that were truncated, or words that have no vector."""
        flags = np.zeros(self.n_rows, dtype=np.bool_)
        start = 0
        for shard in self.shards:
            flags[[start + row for row in shard.lost]] = True
            start += shard.n_rows
        return flags


def shard_name(index: int) -> str:
    """The file of the shard with this number."""
    return f"shard-{index:05d}.safetensors"


def sentences_hash(sentences: Sequence[str] | Sequence[Sequence[str]]) -> str:
    """SHA-256 over sentences, or over sentences cut into words."""
    digest = hashlib.sha256()
    for sentence in sentences:
        digest.update(json.dumps(sentence).encode())
        digest.update(b"\n")
    return digest.hexdigest()


def write_shard(
    folder: Path,
    index: int,
    vectors: Mapping[str, NDArray[np.float32]],
    *,
    recipe: Recipe,
    sentences: str,
    n_sentences: int,
    lost: Sequence[int],
    setup: str,
) -> Shard:
    """Write one shard under a temporary name, checksum it and rename it.

    Args:
        folder: Folder of the store; it exists.
        index: Number of the shard.
        vectors: View id → ``(n_rows, hidden_size)`` float32, stored as ``recipe`` says.
        recipe: What made the vectors.
        sentences: `sentences_hash` of the sentences.
        n_sentences: How many sentences the shard is of.
        lost: Rows to be recorded as in `Shard.lost`.
        setup: To be recorded as `Shard.setup`.

    Raises:
        InputError: The disk is full or cannot be written, or float16 cannot hold a value.
    """
    stored = {
        view_id: _as_stored(view_id, values, recipe.storage_dtype)
        for view_id, values in vectors.items()
    }
    about = {
        "recipe": recipe.key,
        "sentences": sentences,
        "n_sentences": n_sentences,
        "n_rows": len(next(iter(stored.values()))),
        "lost": list(lost),
        "setup": setup,
        "sha256": _NO_DIGEST,
    }
    # One entry, because safetensors writes several in an order that differs between runs. Made in
    # memory, because a kill would leave the temporary file that save_file makes for itself.
    content = save(stored, metadata={"probing": json.dumps(about)})
    digest, start = _digest(BytesIO(content))
    path = folder / shard_name(index)
    rest = memoryview(content)[start + len(digest) :]
    write_bytes(path, content[:start], digest.encode(), rest)
    about |= {"sha256": digest, "lost": tuple(lost)}
    return Shard(file=path.name, size=len(content), **about)  # type: ignore[arg-type]


def read_shard(path: Path) -> Shard | None:
    """What a shard says of itself, its checksum verified; None where it is absent or damaged."""
    try:
        with path.open("rb") as stream:
            digest, _ = _digest(stream)
        with safe_open(path, framework="numpy") as mapped:
            about = json.loads(mapped.metadata()["probing"])
        about["lost"] = tuple(about["lost"])
        shard = Shard(file=path.name, size=path.stat().st_size, **about)
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError, ValueError, TypeError, KeyError) as error:
        logger.warning("%s is damaged and is not used (%s)", path, error)
        return None
    if shard.sha256 != digest:
        logger.warning("%s is damaged and is not used (its checksum is wrong)", path)
        return None
    return shard


def write_manifest(
    folder: Path, shards: Sequence[Shard], *, recipe: Recipe, model: str, revision: str
) -> None:
    """Write ``manifest.json``, which says that the store is complete, and tidy up.

    Raises `InputError` where the disk is full or cannot be written.
    """
    content = {
        "format": FORMAT,
        "model": model,
        "revision": revision,
        "recipe": asdict(recipe),
        "n_sentences": sum(shard.n_sentences for shard in shards),
        "n_rows": sum(shard.n_rows for shard in shards),
        "shards": [asdict(shard) for shard in shards],
    }
    write_text(folder / MANIFEST, json.dumps(content, indent=1) + "\n")
    remove_abandoned(folder)


def open_store(folder: Path | str) -> StoredVectors:
    """The vectors of a complete store, the size and checksum of every shard verified.

    Raises `InputError` where the folder is not a complete store, or a shard is damaged.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    if manifest is None:
        raise InputError(
            f"{folder} has no {MANIFEST}: expected a store that probing extract has finished; "
            "rerun the same command to finish it"
        )
    shards = []
    for entry in manifest["shards"]:
        shard = read_shard(folder / str(entry["file"]))
        if shard is None or (shard.size, shard.sha256) != (entry["size"], entry["sha256"]):
            raise InputError(
                f"{folder / str(entry['file'])} is missing or damaged: rerun the same "
                "extraction to make this shard again"
            )
        shards.append(shard)
    return StoredVectors(folder, tuple(manifest["recipe"]["views"]), tuple(shards))


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a complete store; None where there is none that can be read."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        return None
    return manifest


def store_files(folder: Path) -> list[Path]:
    """The files of a folder that belong to a store, unfinished ones included."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.name == MANIFEST or _SHARD.fullmatch(path.name) or is_temporary(path)
    )


def _as_stored(view_id: str, values: NDArray[np.float32], dtype: str) -> NDArray[Any]:
    if dtype == StorageDtype.FLOAT32:
        return np.ascontiguousarray(values, dtype=np.float32)
    with np.errstate(over="ignore"):
        stored = values.astype(np.float16)
    if np.isinf(stored).any() and not np.isinf(values).any():
        raise InputError(
            f"view {view_id} has values up to {np.nanmax(np.abs(values)):.0f} and float16 holds "
            "65504 at most: store this encoder as float32"
        )
    return stored


def _digest(stream: BinaryIO) -> tuple[str, int]:
    """SHA-256 of a shard with its own digest read as zeros, and where that digest is."""
    start = stream.read(8)
    header_size = int.from_bytes(start, "little")
    if header_size > _LARGEST_HEADER:
        raise ValueError(f"its header claims {header_size} bytes")
    header = start + stream.read(header_size)
    found = _DIGEST.search(header)
    if found is None:
        raise ValueError("its header has no checksum")
    digest = hashlib.sha256(header[: found.start(1)])
    digest.update(_NO_DIGEST.encode())
    digest.update(header[found.end(1) :])
    while block := stream.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest(), found.start(1)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
