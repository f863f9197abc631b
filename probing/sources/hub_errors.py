"""Why the Hub did not give something, in one line that says what to do."""

import errno
import json
import logging
import time
from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx
from huggingface_hub import constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from probing.errors import InputError

logger = logging.getLogger(__name__)

_Answer = TypeVar("_Answer")

WAITS: Final = (0.5, 1.0, 2.0)
"""Seconds between the tries of a request that may succeed when repeated."""

_LONGEST_WAIT: Final = 30.0
_BUSY: Final = (408, 429, 500, 502, 503, 504)
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DISK: Final = {
    errno.EFBIG: "a file may not be as large as that",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "the folder may not be written",
    errno.EPERM: "the folder may not be written",
    errno.EROFS: "the folder may not be written",
    errno.ENOTDIR: "a file is in the place of the folder",
    errno.EEXIST: "a file is in the place of the folder",
}
_OUR_ERRORS: Final = (
    *(httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, RuntimeError),
    ImportError,  # a proxy by SOCKS, without the package for it
)
"""What the Hub's client raises; each is told in `_reason`."""


class Place(NamedTuple):
    """A revision of a repository on the Hub."""

    kind: str
    """``model`` or ``dataset``."""
    hub_id: str
    """``owner/name``."""
    revision: str | None = None
    """Commit, tag or branch; None for the default branch."""

    def __str__(self) -> str:
        return f"{self.kind} {self.hub_id}" + (f" at {self.revision}" if self.revision else "")


class HubError(Exception):
    """The Hub, or the way to it, does not answer as it should: what is cached may serve."""


def hub_call(place: Place, call: Callable[[], _Answer]) -> _Answer:
    """What the call returns; one that fails for the moment is repeated after a short wait.

    Raises:
        HubError: The Hub cannot be reached or is busy.
        InputError: It has answered, and the answer is no; or this machine's cache is at fault.
    """
    for wait in (*WAITS, None):
        try:
            return call()
        except _OUR_ERRORS as error:
            status = _status(error)
            passing = status in _BUSY or isinstance(error, httpx.RemoteProtocolError)
            if wait is not None and passing:
                time.sleep(_asked_to_wait(error, wait))
                continue
            raise told(place, error) from error
    raise AssertionError("the last try returns or raises")


def told(place: Place, error: Exception) -> Exception:
    """The same error as one line for the user."""
    no = _refusal(place, error)
    if no is not None:
        return InputError(no)
    return HubError(_reason(error))


def _refusal(place: Place, error: Exception) -> str | None:
    """What the Hub answered, where repeating the request would not help."""
    url = f"{constants.ENDPOINT}/{'datasets/' * (place.kind == 'dataset')}{place.hub_id}"
    status = _status(error)
    if isinstance(error, GatedRepoError):
        return (
            f"{place} is gated: accept its terms at {url}, then log in with `hf auth login` or "
            "set HF_TOKEN"
        )
    if isinstance(error, RevisionNotFoundError):
        return (
            f"{place.kind} {place.hub_id} has no revision {place.revision!r}: expected a commit, "
            f"tag or branch of {url}"
        )
    if isinstance(error, HFValidationError):
        return f"{place.hub_id!r} is not the id of a {place.kind}: expected owner/name"
    if isinstance(error, LocalTokenNotFoundError):
        return f"{place} needs a token: log in with `hf auth login` or set HF_TOKEN"
    if isinstance(error, RemoteEntryNotFoundError):
        return f"{place} lacks a file that it lists: try another revision"
    if status == 401 and "token" in str(error).lower() + _body(error).lower() and _has_token():
        return (
            "the Hub refuses the token (HF_TOKEN, or of `hf auth login`): make a new one at "
            f"{constants.ENDPOINT}/settings/tokens, or unset it"
        )
    if isinstance(error, RepositoryNotFoundError) or status in (401, 404):
        return (
            f"{place} was not found on the Hub, or is private: check the id; for a private one "
            "log in with `hf auth login` or set HF_TOKEN"
        )
    if status == 403:
        return f"{place}: the token has no right to read it; expected one with read access"
    if isinstance(error, OSError) and error.errno is not None:
        space = "free space there, or " if error.errno in _FULL else ""
        return (
            f"{place} cannot be kept in {constants.HF_HUB_CACHE} "
            f"({_DISK.get(error.errno, error.strerror)}): {space}set HF_HUB_CACHE to another folder"
        )
    return None


def _reason(error: Exception) -> str:
    """Why there is no answer, for `HubError`."""
    host = constants.ENDPOINT
    status = _status(error)
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set"
    if status == 429:
        return f"{host} asks to wait (429, too many requests): try again later, or log in"
    if status is not None and status >= 500:
        return f"{host} is failing ({status}): try again later"
    if isinstance(error, httpx.TooManyRedirects):
        return f"{host} redirects in a circle: check HF_ENDPOINT and the network's login page"
    if not is_address(host):
        return f"HF_ENDPOINT is {host!r}, which is not an address: expected https://…"
    variable, proxy = _proxy(host)
    if proxy and isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return f"the proxy {proxy} does not answer: check {variable}"
    if proxy and isinstance(error, httpx.ProxyError):
        return f"the proxy {proxy} does not pass the request on ({error}): check {variable}"
    if isinstance(error, httpx.TimeoutException):
        return f"{host} did not answer in time: try again later"
    if isinstance(error, httpx.ConnectError):
        return f"{host} cannot be reached: connect to the network, check HF_ENDPOINT"
    if isinstance(error, httpx.TransportError):
        return f"the connection to {host} broke off"
    if isinstance(error, json.JSONDecodeError | KeyError | TypeError | AttributeError):
        return f"{host} gave a page that is not the Hub's: a network's login page is in the way"
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if proxy and "proxy" in first.lower():
        return f"{variable} cannot be used ({first}): expected http://host:port"
    return f"{host} gave no usable answer ({first})"


def is_address(text: str) -> bool:
    """Whether a Hub may be there."""
    try:
        parts = urlsplit(text)
        whole = bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False
    return whole and parts.scheme in ("http", "https") and not any(map(str.isspace, text))


def _proxy(address: str) -> tuple[str, str]:
    """The variable that names the proxy on the way to an address, and its host; empty without."""
    parts = urlsplit(address)
    found = getproxies()
    scheme = parts.scheme if parts.scheme in found else "all"
    if scheme not in found or proxy_bypass(str(parts.hostname)):
        return "", ""
    # what is before the @ is a password
    return f"{scheme.upper()}_PROXY", found[scheme].rpartition("@")[2].rpartition("//")[2]


def _status(error: Exception) -> int | None:
    response = getattr(error, "response", None)
    if isinstance(error, HfHubHTTPError | httpx.HTTPStatusError) and response is not None:
        return int(response.status_code)
    return None


def _body(error: Exception) -> str:
    response = getattr(error, "response", None)
    try:
        return "" if response is None else str(response.text)
    except httpx.HTTPError:
        return ""


def _has_token() -> bool:
    from huggingface_hub import get_token

    return get_token() is not None


def _asked_to_wait(error: Exception, otherwise: float) -> float:
    response = getattr(error, "response", None)
    asked = "" if response is None else response.headers.get("Retry-After", "")
    return min(float(asked), _LONGEST_WAIT) if asked.isdecimal() else otherwise
