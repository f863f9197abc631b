"""Files from the Hugging Face Hub: those that are wanted, of one commit, whole and verified.

Files go into the Hub cache of this machine in the Hub's own layout, where any other program finds
them. They come over plain HTTP, so that a transfer that breaks goes on where it stopped, and are
compared with the size and hash that the Hub states. Nothing that is fetched is run.
"""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import httpx
from huggingface_hub import constants, hf_hub_url
from huggingface_hub.utils._headers import build_hf_headers
from huggingface_hub.utils._http import get_session, hf_raise_for_status

from probing.errors import InputError
from probing.progress import Advance, progress
from probing.sources.hub_errors import HubError, Place, hub_call
from probing.sources.repositories import (
    REQUEST_SECONDS,
    RemoteFile,
    Repository,
    cached_repository,
    find_repository,
)

logger = logging.getLogger(__name__)

_IDLE_TRIES: Final = 5
"""How often a transfer is taken up again without a new byte before it is given up."""
_WORTH_SAYING: Final = 10_000_000
"""Bytes of a download that is announced."""

Choice = Callable[[Repository], Sequence[str]]
"""Which files of a repository are wanted; raises `InputError` where it lacks something."""


def snapshot(
    hub_id: str, *, kind: str, revision: str | None, choose: Choice, otherwise: str
) -> Path:
    """The folder with the wanted files of one revision, from this machine's Hub cache or the Hub.

    Args:
        hub_id: ``owner/name``.
        kind: ``model`` or ``dataset``.
        revision: Commit, tag or branch; None for the default branch. The folder is named after the
            commit.
        choose: Which files are wanted.
        otherwise: What the user can do without the Hub, for the error.

    Raises:
        InputError: The Hub has no such revision for this user, or cannot be reached and the cache
            lacks some of the files.
    """
    place = Place(kind, hub_id, revision)
    repository = look_up(place, otherwise)
    wanted = list(choose(repository))
    missing = repository.missing(wanted)
    size = sum(repository.files[name].size for name in missing)
    if size > _WORTH_SAYING:
        logger.warning("%s: %s to download", Place(kind, hub_id), readable_size(size))
    for name in missing:
        try:
            _fetch(repository, name)
        except HubError as problem:
            raise InputError(f"{place}: {problem}; {otherwise}") from problem
    return repository.folder


def look_up(place: Place, otherwise: str) -> Repository:
    """What a revision holds; from the cache where the Hub does not answer.

    Raises:
        InputError: There is no such revision, or the Hub does not answer and nothing is cached.
    """
    try:
        return find_repository(place)
    except HubError as problem:
        cached = cached_repository(place)
        if cached is None:
            raise InputError(
                f"{place} is not on this machine, and {problem}; {otherwise}"
            ) from problem
        logger.info("%s comes from the cache: %s", place, problem)
        return cached


def readable_size(n_bytes: int) -> str:
    """Bytes in the unit that a reader expects."""
    megabytes = n_bytes / 1e6
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes:.1f} MB"


def _fetch(repository: Repository, name: str) -> None:
    """Bring one file into the cache, continuing what an earlier try has brought."""
    place, file = repository.place, repository.files[name]
    target = repository.folder / name
    blob = repository.folder.parent.parent / "blobs" / file.blob
    partial = blob.with_name(f"{blob.name}.part")

    def prepare() -> None:
        blob.parent.mkdir(parents=True, exist_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)

    hub_call(place, prepare)
    if not (blob.is_file() and file.fits(blob)):
        _transfer(repository, name, file, partial)
        hub_call(place, lambda: partial.replace(blob))
    hub_call(place, lambda: _link(blob, target))


def _transfer(repository: Repository, name: str, file: RemoteFile, partial: Path) -> None:
    place = repository.place
    url = hf_hub_url(
        place.hub_id,
        name,
        repo_type=place.kind,
        revision=repository.commit,
        endpoint=constants.ENDPOINT,
    )
    idle = 0
    with progress(f"downloading {name}", file.size) as advance:
        advance(_size(partial))
        while _size(partial) < file.size and idle < _IDLE_TRIES:
            before = _size(partial)
            hub_call(place, lambda: _one_transfer(url, partial, advance))
            idle = 0 if _size(partial) > before else idle + 1
    if _size(partial) < file.size:
        raise HubError(f"the transfer of {name} stops at {_size(partial):,} of {file.size:,} bytes")
    if not file.fits(partial):
        partial.unlink(missing_ok=True)
        raise HubError(
            f"what arrived as {name} is not what the Hub states ({file.size:,} bytes, hash "
            f"{file.blob[:12]}…): a network's login page or a proxy may have changed it"
        )


def _one_transfer(url: str, partial: Path, advance: Advance) -> None:
    """Bytes to the end of the file, or to where the connection breaks."""
    with partial.open("ab") as stream:
        start = stream.tell()
        # compressed content would break off elsewhere than it is continued
        headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        with get_session().stream("GET", url, headers=headers, timeout=REQUEST_SECONDS) as response:
            if response.is_error:
                response.read()
            hf_raise_for_status(response)
            if start and response.status_code == httpx.codes.OK:  # sent from its beginning again
                stream.truncate(0)
            try:
                for block in response.iter_bytes():
                    stream.write(block)
                    advance(len(block))
            except httpx.TransportError:
                return  # what has come is kept, and the caller asks for the rest


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _link(blob: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        target.symlink_to(os.path.relpath(blob, target.parent))
    except OSError:  # a file system without links
        os.link(blob, target)
