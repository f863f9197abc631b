"""What a sentence-transformers folder says the checkpoint was tuned for."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from probing.errors import InputError

MODES: Final = {
    "cls": "cls",
    "max": "max",
    "mean": "mean",
    "mean_sqrt_len_tokens": "mean_sqrt",
    "weightedmean": "wmean",
    "lasttoken": "last",
}
"""Pooling of sentence-transformers → pooling here."""
_FLAG: Final = re.compile(r"pooling_mode_(?P<mode>\w+?)(?:_tokens?)?$")


@dataclass(frozen=True)
class Tuning:
    """How sentence-transformers makes a sentence vector of this checkpoint's last layer."""

    poolings: tuple[str, ...]
    """Names of poolings here; several are set side by side."""
    normalised: bool = False
    max_length: int | None = None
    lower_case: bool = False
    further: tuple[str, ...] = ()
    """Modules after the pooling that no view has, such as ``Dense``."""

    @property
    def pooling(self) -> str | None:
        """The pooling whose view at the last layer is the declared one; None where none is."""
        return self.poolings[0] if len(self.poolings) == 1 and not self.further else None

    def __str__(self) -> str:
        said = ["tuned with " + " and ".join(f"{name} pooling" for name in self.poolings)]
        said += [f"a {module} module after it" for module in self.further]
        said += ["normalised"] * self.normalised
        said += [f"{self.max_length} tokens"] * (self.max_length is not None)
        said += ["lower-cased"] * self.lower_case
        return ", ".join(said)


def read_tuning(folder: Path) -> Tuning | None:
    """What ``modules.json`` and the files it names say; None where there is none.

    Raises:
        InputError: A file is damaged, or names a pooling that is not known here.
    """
    if not (folder / "modules.json").is_file():
        return None
    modules = [
        (str(module.get("type", "")).rpartition(".")[2], str(module.get("path", "")))
        for module in _read(folder / "modules.json", list)
    ]
    settings = folder / "sentence_bert_config.json"
    own: dict[str, Any] = _read(settings, dict) if settings.is_file() else {}
    pooling = next((path for kind, path in modules if kind == "Pooling"), None)
    if pooling is None:
        return None
    config = folder / pooling / "config.json"
    return Tuning(
        poolings=_poolings(_read(config, dict), config),
        normalised=any(kind == "Normalize" for kind, _ in modules),
        max_length=own.get("max_seq_length"),
        lower_case=bool(own.get("do_lower_case", False)),
        further=tuple(
            kind for kind, _ in modules if kind not in ("Transformer", "Pooling", "Normalize")
        ),
    )


def _poolings(config: dict[str, Any], path: Path) -> tuple[str, ...]:
    named = config.get("pooling_mode")
    if named is not None:
        modes = [named] if isinstance(named, str) else [str(mode) for mode in named]
    else:
        flags = [key for key, value in config.items() if value is True]
        matches = [_FLAG.fullmatch(key) for key in flags]
        modes = [match["mode"] for match in matches if match is not None]
    modes = [{"mean_sqrt_len": "mean_sqrt_len_tokens"}.get(mode, mode) for mode in modes]
    unknown = [mode for mode in modes if mode not in MODES]
    if unknown or not modes:
        raise InputError(
            f"{path} names the pooling {unknown[0] if unknown else 'of no name'!r}: expected one "
            f"or more of {', '.join(MODES)}"
        )
    return tuple(MODES[mode] for mode in modes)


def _read(path: Path, kind: type) -> Any:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}): expected JSON") from error
    if not isinstance(found, kind):
        raise InputError(f"{path}: found {type(found).__name__}, expected {kind.__name__}")
    return found
