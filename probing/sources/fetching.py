"""Files from the Hugging Face Hub: those that are wanted, of one commit, whole and verified.

Files go into the Hub cache of this machine in the Hub's own layout, where any other program finds
them. They come over plain HTTP, so that a transfer that breaks goes on where it stopped, and are
compared with the size and hash that the Hub states. Nothing that is fetched is run.
"""

import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
from huggingface_hub import constants, hf_hub_url
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import (
    are_progress_bars_disabled,
    build_hf_headers,
    disable_progress_bars,
    enable_progress_bars,
)

from probing.errors import InputError
from probing.sources.hub_errors import HubProblem, Place, hub_call
from probing.sources.repositories import (
    RemoteFile,
    Repository,
    cached_repository,
    find_repository,
)

logger = logging.getLogger(__name__)

_TRIES: Final = 20
"""How often a transfer that breaks is taken up again, each time with new bytes."""
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
        except HubProblem as problem:
            raise InputError(f"{place}: {problem}; {otherwise}") from problem
    return repository.folder


def look_up(place: Place, otherwise: str) -> Repository:
    """What a revision holds; from the cache where the Hub does not answer.

    Raises:
        InputError: There is no such revision, or the Hub does not answer and nothing is cached.
    """
    try:
        return find_repository(place)
    except HubProblem as problem:
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
    reached = -1
    for _ in range(_TRIES):
        there = partial.stat().st_size if partial.is_file() else 0
        if there > file.size:
            partial.unlink()
            there = 0
        if there == file.size:
            break
        if there == reached:  # a whole round of tries has brought nothing
            raise HubProblem(f"the transfer of {name} stops at {there:,} of {file.size:,} bytes")
        reached = there
        _one_transfer(place, url, file, partial)
    if not partial.is_file() or not file.fits(partial):
        partial.unlink(missing_ok=True)
        raise HubProblem(
            f"what arrived as {name} is not what the Hub states ({file.size:,} bytes, hash "
            f"{file.blob[:12]}…): a network's login page or a proxy may have changed it"
        )


def _one_transfer(place: Place, url: str, file: RemoteFile, partial: Path) -> None:
    """Bytes to the end of the file, or to where the connection breaks for good."""

    def get() -> None:
        with partial.open("ab") as stream, _bars_on_terminals():
            try:
                http_get(
                    url,
                    stream,
                    headers=build_hf_headers(),
                    resume_size=stream.tell(),
                    expected_size=file.size,
                    displayed_filename=url.rsplit("/", 1)[-1],
                )
            except httpx.TransportError:
                if not stream.tell():
                    raise
            except OSError as error:
                # the length is compared by the caller
                if "Consistency check" not in str(error):
                    raise

    hub_call(place, get)


def _link(blob: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        target.symlink_to(os.path.relpath(blob, target.parent))
    except OSError:  # a file system without links
        os.link(blob, target)


@contextmanager
def _bars_on_terminals() -> Iterator[None]:
    """No progress bars where there is no terminal to show them; the client's log stays quiet."""
    client = logging.getLogger("huggingface_hub")
    level = client.level
    hide = not sys.stderr.isatty() and not are_progress_bars_disabled()
    client.setLevel(logging.ERROR)
    if hide:
        disable_progress_bars()
    try:
        yield
    finally:
        client.setLevel(level)
        if hide:
            enable_progress_bars()
