"""The folder that keeps the stores of ``extract``: where it is, what is in it, emptying it."""

import contextlib
import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

from probing.encoding.store.shards import (
    MANIFEST,
    Recipe,
    read_manifest,
    sentences_hash,
    store_files,
)
from probing.errors import InputError

_STORE = re.compile(r"[0-9a-f]{32}-[0-9a-f]{8}")
"""Name of a store's folder: sentences and settings, then views."""


@dataclass(frozen=True)
class CachedStore:
    """One store of the cache."""

    folder: Path
    model: str
    """The name the user gave; empty where the store is unfinished."""
    n_sentences: int
    """Distinct sentences; 0 where the store is unfinished."""
    n_views: int
    size: int
    """Bytes on disk."""
    is_complete: bool


def cache_folder(cache_dir: Path | str | None = None) -> Path:
    """Where stores are kept: ``cache_dir``, else ``PROBING_CACHE``, else the platform's cache."""
    chosen = cache_dir or os.environ.get("PROBING_CACHE")
    return Path(chosen).expanduser() if chosen else user_cache_path("probing")


def setups_folder(cache: Path) -> Path:
    """Where it is kept how forward passes run fastest (`probing.encoding.setup_choice`)."""
    return cache / "setups"


def find_store(
    cache: Path, recipe: Recipe, sentences: Sequence[str] | Sequence[Sequence[str]]
) -> tuple[Path, Recipe]:
    """The folder for these vectors, and the recipe of what is or will be in it.

    A finished store of the same sentences and settings that has more views serves as well; its own
    recipe is given then.
    """
    family = _hash(recipe.family, sentences_hash(sentences))[:32]
    own = cache / f"{family}-{_hash(*recipe.views)[:8]}"
    if not (own / MANIFEST).exists():
        for folder in sorted(cache.glob(f"{family}-*")):
            manifest = read_manifest(folder)
            if manifest is not None and set(recipe.views) <= set(manifest["recipe"]["views"]):
                fields = manifest["recipe"]
                return folder, Recipe(**{**fields, "views": tuple(fields["views"])})
    return own, recipe


def cached_stores(cache: Path) -> list[CachedStore]:
    """Every store in the cache, unfinished ones included, in the order of their names.

    Raises `InputError` where the cache cannot be read.
    """
    if not cache.exists():
        return []
    stores = []
    try:
        for folder in sorted(cache.iterdir()):
            if not _STORE.fullmatch(folder.name) or not folder.is_dir():
                continue  # not ours, whatever it holds
            files = store_files(folder)
            manifest = read_manifest(folder)
            stores.append(
                CachedStore(
                    folder=folder,
                    model=str(manifest["model"]) if manifest else "",
                    n_sentences=int(manifest["n_sentences"]) if manifest else 0,
                    n_views=len(manifest["recipe"]["views"]) if manifest else 0,
                    size=sum(path.stat().st_size for path in files),
                    is_complete=manifest is not None,
                )
            )
    except OSError as error:
        raise InputError(f"{cache} cannot be read ({error}): expected a folder") from error
    return stores


def clear_cache(cache: Path) -> int:
    """Remove every store and what was measured of forward passes; the bytes that were freed.

    What else is in the folder stays.

    Raises `InputError` where a file cannot be removed.
    """
    freed = 0
    for store in cached_stores(cache):
        try:
            for path in store_files(store.folder):
                path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # someone keeps a file of their own in there
                store.folder.rmdir()
        except OSError as error:
            raise InputError(f"{store.folder} cannot be removed ({error})") from error
        freed += store.size
    setups = setups_folder(cache)
    try:
        for path in sorted(setups.glob("*.json")):
            freed += path.stat().st_size
            path.unlink()
        with contextlib.suppress(OSError):  # as above
            setups.rmdir()
    except OSError as error:
        raise InputError(f"{setups} cannot be emptied ({error})") from error
    return freed


def _hash(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
