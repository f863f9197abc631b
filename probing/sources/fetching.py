"""Files from the Hugging Face Hub: chosen files of one revision, or an error within seconds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import httpx
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
)

from probing.errors import InputError

_TIMEOUT_SECONDS: Final = 5.0


def snapshot(
    hub_id: str, *, kind: str, revision: str | None, files: Sequence[str], otherwise: str
) -> Path:
    """The folder with the wanted files of one revision, from this machine's Hub cache or the Hub.

    Nothing that is fetched is run. The Hub is asked first, so that an interrupted download is
    completed; where it cannot be reached, what the cache holds is used.

    Args:
        hub_id: ``owner/name``.
        kind: ``model`` or ``dataset``.
        revision: Commit, tag or branch; None for the default branch. The folder is named after the
            commit.
        files: Patterns of the files that are wanted.
        otherwise: What the user can do without the Hub, for the error.

    Raises:
        InputError: The Hub has no such revision for this user, or cannot be reached and nothing is
            cached.
    """
    place = f"{kind} {hub_id}" + ("" if revision is None else f" at {revision}")
    try:
        # One short request first: without a network the download would retry for half a minute.
        HfApi().repo_info(hub_id, repo_type=kind, revision=revision, timeout=_TIMEOUT_SECONDS)
        return _fetch(hub_id, kind, revision, files, cached=False)
    except (HfHubHTTPError, HFValidationError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"the Hub does not give {place} ({reason}): check id and revision, or {otherwise}"
        ) from error
    except (httpx.TransportError, OfflineModeIsEnabled, LocalEntryNotFoundError):
        pass
    try:
        return _fetch(hub_id, kind, revision, files, cached=True)
    except LocalEntryNotFoundError as error:
        raise InputError(
            f"{place} is not on this machine and the Hub cannot be reached: connect to the network "
            f"or {otherwise}"
        ) from error


def _fetch(
    hub_id: str, kind: str, revision: str | None, files: Sequence[str], *, cached: bool
) -> Path:
    return Path(
        snapshot_download(
            hub_id,
            repo_type=kind,
            revision=revision,
            allow_patterns=list(files),
            etag_timeout=_TIMEOUT_SECONDS,
            local_files_only=cached,
        )
    )
