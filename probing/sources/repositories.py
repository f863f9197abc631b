"""What a repository of the Hub holds at one commit, asked once and then remembered beside it."""

import hashlib
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from huggingface_hub import HfApi, constants
from huggingface_hub.file_download import repo_folder_name

from probing.sources.hub_errors import Place, hub_call

REQUEST_SECONDS: Final = 10.0
"""How long one request of the Hub may take to answer."""

_PULL_REQUESTS: Final = 10
"""How many pull requests are looked at for a conversion to safetensors."""


@dataclass(frozen=True)
class RemoteFile:
    """One file of a repository, as the Hub states it."""

    size: int
    blob: str
    """What the file is called in the cache: SHA-256 of a large file, git's SHA-1 of a small one."""
    sha256: str | None = None
    """Of a file in large file storage."""

    def fits(self, path: Path) -> bool:
        """Whether the content is the stated one, to the byte."""
        if path.stat().st_size != self.size:
            return False
        digest = hashlib.sha256() if self.sha256 else hashlib.sha1(usedforsecurity=False)
        if not self.sha256:
            digest.update(f"blob {self.size}\0".encode())  # as git hashes a file
        with path.open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
        return digest.hexdigest() == (self.sha256 or self.blob)


@dataclass(frozen=True)
class Repository:
    """The files of a model or data set at one commit."""

    place: Place
    commit: str
    files: dict[str, RemoteFile]

    @property
    def folder(self) -> Path:
        """Where the files of this commit lie in the Hub cache of this machine."""
        return _storage(self.place) / "snapshots" / self.commit

    def missing(self, wanted: list[str]) -> list[str]:
        """Those of the wanted files that are not in the cache in their full size."""
        return [name for name in wanted if not _is_there(self.folder / name, self.files[name].size)]


def find_repository(place: Place) -> Repository:
    """The files of a repository at a revision.

    A commit that was listed before is not asked for again, so that a cached run makes no request.

    Raises:
        InputError: The Hub has no such repository or revision for this user, or does not answer.
    """
    known = _remembered(place, place.revision)
    if known is not None:
        return known
    info: Any = hub_call(
        place,
        lambda: HfApi().repo_info(
            place.hub_id,
            repo_type=place.kind,
            revision=place.revision,
            timeout=REQUEST_SECONDS,
            files_metadata=True,
        ),
    )
    files = {
        sibling.rfilename: RemoteFile(
            size=int(sibling.size or 0),
            blob=str(sibling.lfs.sha256 if sibling.lfs else sibling.blob_id),
            sha256=sibling.lfs.sha256 if sibling.lfs else None,
        )
        for sibling in info.siblings or ()
    }
    found = Repository(place=place, commit=str(info.sha), files=files)
    _remember(found)
    return found


def cached_repository(place: Place) -> Repository | None:
    """What the cache has of a revision, where the Hub cannot be asked; None where it has nothing.

    A cache that another program filled has no list of the repository: the files that lie there
    are taken for all.
    """
    storage = _storage(place)
    revision = place.revision or "main"
    reference = storage / "refs" / revision
    commit = reference.read_text().strip() if reference.is_file() else revision
    known = _remembered(place, commit)
    if known is not None:
        return known
    folder = storage / "snapshots" / commit
    if not folder.is_dir():
        return None
    files = {
        path.relative_to(folder).as_posix(): RemoteFile(size=path.stat().st_size, blob="")
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    return Repository(place=place, commit=commit, files=files) if files else None


def find_conversion(place: Place, file: str) -> str | None:
    """The pull request (``refs/pr/N``) that adds a file; None where there is none to be seen."""
    refs: Any = hub_call(
        place,
        lambda: HfApi().list_repo_refs(
            place.hub_id, repo_type=place.kind, include_pull_requests=True
        ),
    )
    for request in (refs.pull_requests or ())[:_PULL_REQUESTS]:
        revision = str(request.ref)
        at = Place(place.kind, place.hub_id, revision)
        if file in find_repository(at).files:
            return revision
    return None


def _storage(place: Place) -> Path:
    cache = Path(constants.HF_HUB_CACHE)
    return cache / repo_folder_name(repo_id=place.hub_id, repo_type=place.kind)


def _record(place: Place, commit: str) -> Path:
    return _storage(place) / "listed" / f"{commit}.json"


def _remember(found: Repository) -> None:
    """Keep the list of files, and which commit the branch was at."""
    record = {name: asdict(file) for name, file in found.files.items()}
    written = {_record(found.place, found.commit): json.dumps(record, indent=1)}
    revision = found.place.revision or "main"
    if revision != found.commit:
        written[_storage(found.place) / "refs" / revision] = found.commit
    for path, text in written.items():
        hub_call(found.place, lambda path=path, text=text: _write(path, text))  # type: ignore[misc]


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as stream:
        stream.write(text)
    Path(stream.name).replace(path)


def _remembered(place: Place, commit: str | None) -> Repository | None:
    if commit is None:
        return None
    try:
        record = json.loads(_record(place, commit).read_text())
        files = {name: RemoteFile(**file) for name, file in record.items()}
    except (OSError, ValueError, TypeError):  # not there, or damaged: it is asked for again
        return None
    return Repository(place=place, commit=commit, files=files)


def _is_there(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size
