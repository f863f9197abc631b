"""From a name to a checked folder of safetensors: alias, Hub id or local folder."""

import hashlib
import importlib
import importlib.util
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from probing.encoding.difference import Difference, read_difference
from probing.errors import InputError
from probing.sources.declarations import MODELS, ModelSource
from probing.sources.fetching import snapshot
from probing.sources.shipped import shipped_data

_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack", "*.pkl")
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_HUB_FILES = ["*.json", "*.txt", "*.model", "model*.safetensors"]


@dataclass(frozen=True)
class Checkpoint:
    """A folder with ``config.json``, a tokenizer and safetensors weights, hashes known."""

    name: str
    """What the user typed."""
    folder: Path
    revision: str
    """Commit hash on the Hub, or ``local`` for a folder, or the package that carries it."""
    weight_hash: str
    """SHA-256 over the safetensors files."""
    changed: Path | None = None
    """Tensors that replace those of `folder`, where the encoder is a difference from a base."""


def find_checkpoint(name: str, revision: str | None = None) -> Checkpoint:
    """The checkpoint of an alias, a Hub id or a folder.

    A folder that exists wins over an id of the same name. Raises `InputError` for an unknown name,
    a folder without safetensors weights, a wrong weight hash, or a Hub that cannot be reached.
    """
    source = next((model for model in MODELS if name in (model.alias, model.hub_id)), None)
    if source is None and name.strip() and Path(name).is_dir():
        if revision is not None:
            raise InputError(
                f"{name} is a folder and has no revision {revision!r}: leave --revision out, "
                "or name a Hub id"
            )
        return _checked(name, Path(name), "local")
    if source is None and not _looks_like_hub_id(name):
        aliases = ", ".join(model.alias for model in MODELS)
        raise InputError(
            f"unknown model {name!r}: expected an alias ({aliases}), a Hub id such as "
            "google-bert/bert-base-uncased, or a folder"
        )
    hub_id = name if source is None else source.hub_id
    if source is not None and revision in (None, source.revision):
        folder = _packaged_folder(source) or _download(str(hub_id), source.revision)
        return _checked(name, folder, source.revision, source.weights_sha256)
    if hub_id is None:
        raise InputError(f"{name} comes with the project, in one revision: leave --revision out")
    folder = _download(hub_id, revision)
    return _checked(name, folder, folder.name)


def _looks_like_hub_id(name: str) -> bool:
    """Whether the Hub may be asked for this name: ``owner/name``, never a path."""
    return (
        _HUB_ID.fullmatch(name) is not None
        and "/" in name
        and not name.startswith((".", "/", "~"))
        and ".." not in name
    )


def _packaged_folder(source: ModelSource) -> Path | None:
    """Where the weights lie that came with the project or with a package; None for the Hub."""
    if source.shipped is not None:
        return shipped_data() / source.shipped
    if source.module is None or importlib.util.find_spec(source.module) is None:
        return None
    return Path(importlib.import_module(source.module).get_model_path())


def _download(hub_id: str, revision: str | None) -> Path:
    return snapshot(
        hub_id,
        kind="model",
        revision=revision,
        files=_HUB_FILES,
        otherwise="name a folder with the checkpoint, or use an embedded model such as minilm",
    )


def _checked(
    name: str, folder: Path, revision: str, expected_sha256: str | None = None
) -> Checkpoint:
    difference = read_difference(folder)
    if difference is not None:
        return _checked_difference(name, difference, revision, expected_sha256)
    weights = sorted(folder.glob("model*.safetensors"))
    if not (folder / "config.json").is_file():
        raise InputError(
            f"{folder} has no config.json: expected a folder written by save_pretrained"
        )
    if not weights:
        pickled = sorted(path.name for pattern in _PICKLED for path in folder.glob(pattern))
        if pickled:
            raise InputError(
                f"{folder} has only {pickled[0]}, which can run code when it is opened: convert it "
                "with save_pretrained(..., safe_serialization=True) on a machine that trusts it"
            )
        raise InputError(
            f"{folder} has no weights: expected model.safetensors as written by save_pretrained"
        )
    digest = _sha256(weights)
    _check_hash(name, folder, digest, expected_sha256)
    return Checkpoint(name=name, folder=folder, revision=revision, weight_hash=digest)


def _checked_difference(
    name: str, difference: Difference, revision: str, expected_sha256: str | None
) -> Checkpoint:
    base = find_checkpoint(difference.base)
    if base.changed is not None or base.weight_hash != difference.base_weight_hash:
        raise InputError(
            f"{name} is a difference from {difference.base} with weights "
            f"{difference.base_weight_hash[:16]}…, found {base.weight_hash[:16]}…: "
            "install that version of the base"
        )
    digest = difference.weight_hash()
    _check_hash(name, difference.changed.parent, digest, expected_sha256)
    return replace(
        base, name=name, revision=revision, weight_hash=digest, changed=difference.changed
    )


def _check_hash(name: str, folder: Path, found: str, expected: str | None) -> None:
    if expected is not None and found != expected:
        raise InputError(
            f"the weights of {name} in {folder} have SHA-256 {found}, expected "
            f"{expected}: install or download them again"
        )


def _sha256(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()
