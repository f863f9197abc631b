"""Where the files lie that the project itself ships."""

from pathlib import Path

from probing.errors import InputError


def shipped_data() -> Path:
    """The project's own data folder: ``data/`` of a checkout, ``probing/data`` when installed.

    Raises:
        InputError: if neither is there, which means a broken installation.
    """
    package = Path(__file__).resolve().parent.parent
    checkout = package.parent / "data"
    if (package.parent / "pyproject.toml").is_file() and checkout.is_dir():
        return checkout
    installed = package / "data"
    if installed.is_dir():
        return installed
    raise InputError(
        "the project's own data folder was not found beside the package: install probing again, "
        "or run it from a checkout"
    )
