"""From a name to a checked folder of weights: local folder, alias or Hub id."""

import hashlib
import importlib
import importlib.util
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from probing.encoding.difference import Difference, read_difference
from probing.encoding.weight_forms import Weights
from probing.errors import InputError
from probing.sources.declarations import MODELS, ModelSource
from probing.sources.fetching import look_up, snapshot
from probing.sources.hub_errors import HubError, Place
from probing.sources.repositories import Repository, find_conversion
from probing.sources.shipped import shipped_data
from probing.sources.short_ids import full_id

_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack", "*.pkl")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_SHORT_ID = re.compile(r"[\w.-]+")
_SMALL_FILES: Final = re.compile(
    r"config\.json|adapter_config\.json|modules\.json|sentence_bert_config\.json"
    r"|config_sentence_transformers\.json|\d+_[A-Za-z]+/config\.json"
    r"|tokenizer\.json|tokenizer_config\.json|special_tokens_map\.json|added_tokens\.json"
    r"|vocab\.txt|vocab\.json|merges\.txt|[\w.-]+\.model"
)
"""What says how an encoder is made and how it reads text."""
_OTHERWISE: Final = "name a folder with the checkpoint, or use an embedded model such as minilm"
ADAPTER_CONFIG: Final = "adapter_config.json"
"""What marks the folder of a PEFT adapter."""


_FILES: Final = {
    Weights.SAFETENSORS: (
        re.compile(r"model\.safetensors(\.index\.json)?|model-\d+-of-\d+\.safetensors"),
        re.compile(r"adapter_model\.safetensors"),
    ),
    Weights.RESTRICTED_PICKLE: (
        re.compile(r"pytorch_model\.bin(\.index\.json)?|pytorch_model-\d+-of-\d+\.bin"),
    ),
}


@dataclass(frozen=True)
class Checkpoint:
    """A folder with ``config.json``, a tokenizer and weights, hashes known."""

    name: str
    """What the user typed."""
    folder: Path
    revision: str
    """Commit hash on the Hub, or ``local`` for a folder, or the package that carries it."""
    weight_hash: str
    """SHA-256 over the weight files."""
    weights: Weights = Weights.SAFETENSORS
    """Which files were found."""
    changed: Path | None = None
    """Tensors that replace those of `folder`, where the encoder is a difference from a base."""

    @property
    def is_adapter(self) -> bool:
        """Whether these are the weights of a PEFT adapter, which needs a base."""
        return (self.folder / ADAPTER_CONFIG).is_file()


def find_checkpoint(
    name: str, revision: str | None = None, weights: str = Weights.SAFETENSORS
) -> Checkpoint:
    """The checkpoint of a folder, an alias or a Hub id.

    A folder that exists wins over an alias or id of the same name.

    Args:
        name: As typed.
        revision: Commit, tag or branch of a Hub id.
        weights: ``safetensors`` or ``restricted-pickle`` (`Weights`).

    Raises:
        InputError: For an unknown name, a folder without such weights, a wrong weight hash, or a
            Hub that cannot be reached.
    """
    if weights not in list(Weights):
        raise InputError(f"unknown weights {weights!r}: expected one of {', '.join(Weights)}")
    allowed = Weights(weights)
    source = _declared(name)
    if name.strip() and Path(name).is_dir():
        if revision is not None:
            raise InputError(
                f"{name} is a folder and has no revision {revision!r}: leave --revision out, "
                "or name a Hub id"
            )
        if source is not None and not (Path(name) / "config.json").is_file():
            raise InputError(
                f"{name!r} is both an alias and a folder here without config.json: name the "
                "folder of the checkpoint by its path, or run from another folder"
            )
        return _checked(name, Path(name), "local", allowed)
    if source is not None and revision in (None, source.revision):
        packaged = _packaged_folder(source)
        folder = packaged or _download(str(source.hub_id), source.revision, allowed)
        return _checked(name, folder, source.revision, allowed, source.weights_sha256)
    hub_id = _hub_id(name) if source is None else source.hub_id
    if hub_id is None:
        raise InputError(f"{name} comes with the project, in one revision: leave --revision out")
    folder = _download(hub_id, revision, allowed)
    return _checked(name, folder, folder.name, allowed)


def hub_files(name: str, revision: str | None, weights: str) -> tuple[Repository, list[str]] | None:
    """The repository and the files that a name needs; None where nothing is on the Hub.

    Nothing is downloaded. Raises `InputError` as `find_checkpoint` does.
    """
    source = _declared(name)
    if Path(name).is_dir():
        return None
    if source is not None and revision in (None, source.revision):
        if _packaged_folder(source) is not None:
            return None
        place = Place("model", str(source.hub_id), source.revision)
    else:
        hub_id = _hub_id(name) if source is None else source.hub_id
        if hub_id is None:
            return None
        place = Place("model", hub_id, revision)
    repository = look_up(place, _OTHERWISE)
    return repository, _wanted(repository, Weights(weights))


def _declared(name: str) -> ModelSource | None:
    return next((model for model in MODELS if name in (model.alias, model.hub_id)), None)


def _hub_id(name: str) -> str:
    """The Hub id that a name is or is short for. Raises `InputError` where it is neither."""
    if Path(name).is_file():
        raise InputError(f"model {name} is a file: expected the folder written by save_pretrained")
    if name.startswith(("http://", "https://")):
        raise InputError(
            f"model {name} is an address: expected the id at its end, such as "
            f"{'/'.join(name.rstrip('/').split('/')[-2:])}"
        )
    path_like = name.startswith((".", "/", "~")) or ".." in name
    if _HUB_ID.fullmatch(name) is not None and not path_like:
        return name
    if _SHORT_ID.fullmatch(name) is not None and not path_like:
        found = full_id(name)
        if found is not None:
            return found
    aliases = ", ".join(model.alias for model in MODELS)
    raise InputError(
        f"unknown model {name!r}: expected an alias ({aliases}), a Hub id with its owner such as "
        "google-bert/bert-base-uncased, or a folder"
    )


def _packaged_folder(source: ModelSource) -> Path | None:
    """Where the weights lie that came with the project or with a package; None for the Hub."""
    if source.shipped is not None:
        return shipped_data() / source.shipped
    if source.module is None or importlib.util.find_spec(source.module) is None:
        return None
    return Path(importlib.import_module(source.module).get_model_path())


def _download(hub_id: str, revision: str | None, weights: Weights) -> Path:
    return snapshot(
        hub_id,
        kind="model",
        revision=revision,
        choose=lambda repository: _wanted(repository, weights),
        otherwise=_OTHERWISE,
    )


def _wanted(repository: Repository, weights: Weights) -> list[str]:
    """Configuration, tokenizer and one form of the weights; nothing else of the repository."""
    names = list(repository.files)
    if not {"config.json", ADAPTER_CONFIG} & set(names):
        raise InputError(
            f"{repository.place} has no config.json: expected an encoder of transformers"
        )
    small = [name for name in names if _SMALL_FILES.fullmatch(name)]
    forms = _FILES[Weights.SAFETENSORS]
    if weights is Weights.RESTRICTED_PICKLE:
        forms += _FILES[Weights.RESTRICTED_PICKLE]
    for form in forms:
        found = [name for name in names if form.fullmatch(name)]
        if any(not name.endswith(".json") for name in found):
            # a single file and its shards side by side are the same weights twice
            single = [name for name in found if "-of-" not in name and not name.endswith(".json")]
            return small + (single or found)
    raise InputError(_without_safetensors(repository, names))


def _without_safetensors(repository: Repository, names: list[str]) -> str:
    place = repository.place
    pickled = next((name for name in names if name.startswith("pytorch_model")), None)
    if pickled is None:
        return f"{place} has no weights: expected model.safetensors"
    try:
        conversion = find_conversion(place, "model.safetensors")
    except (HubError, InputError):
        conversion = None
    way = "" if conversion is None else f"use its conversion, --revision {conversion}, or "
    return (
        f"{place} has its weights only as {pickled}, a pickle: {way}read it with "
        f"--weights {Weights.RESTRICTED_PICKLE}, which makes tensors and runs no code"
    )


def _checked(
    name: str, folder: Path, revision: str, allowed: Weights, expected_sha256: str | None = None
) -> Checkpoint:
    difference = read_difference(folder)
    if difference is not None:
        return _checked_difference(name, difference, revision, expected_sha256)
    is_adapter = (folder / ADAPTER_CONFIG).is_file()
    if not is_adapter and not (folder / "config.json").is_file():
        raise InputError(
            f"{folder} has no config.json: expected a folder written by save_pretrained"
        )
    weights, found = _weight_files(folder, allowed, is_adapter=is_adapter)
    digest = _sha256(found)
    _check_hash(name, folder, digest, expected_sha256)
    return Checkpoint(name, folder, revision, digest, weights)


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


def _weight_files(
    folder: Path, allowed: Weights, *, is_adapter: bool
) -> tuple[Weights, list[Path]]:
    """The files with the weights: one form of them, a single file before its shards."""
    kinds = [Weights.SAFETENSORS]
    if allowed is Weights.RESTRICTED_PICKLE:
        kinds.append(Weights.RESTRICTED_PICKLE)
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    for kind in kinds:
        for form in _FILES[kind]:
            if is_adapter and "adapter" not in form.pattern:
                continue
            found = [n for n in names if form.fullmatch(n) and not n.endswith(".json")]
            single = [n for n in found if "-of-" not in n]
            if found:
                return kind, [folder / n for n in single or found]
    pickled = sorted(path.name for pattern in _PICKLED for path in folder.glob(pattern))
    if pickled:
        raise InputError(
            f"{folder} has only {pickled[0]}, which can run code when it is opened: convert it "
            "with save_pretrained(..., safe_serialization=True) on a machine that trusts it, or "
            f"read it with --weights {Weights.RESTRICTED_PICKLE}, which runs none"
        )
    raise InputError(
        f"{folder} has no weights: expected model.safetensors as written by save_pretrained"
    )


def _sha256(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()
