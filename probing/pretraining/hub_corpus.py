"""A text data set of the Hugging Face Hub as a corpus folder, so that anyone can repeat a run.

``OWNER/NAME[/CONFIG]@REVISION:COLUMN``, such as
``Salesforce/wikitext/wikitext-103-raw-v1@b08601e04326c79dfdd32d625aee71d232d685c3:text``: the rows
of the split ``train`` in Parquet files. A row is a document; it is cut into sentences at line ends
and after ``.``, ``!`` and ``?``.
"""

import fnmatch
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow.parquet as pq

from probing.errors import InputError
from probing.results.writing import written_aside
from probing.sources.fetching import snapshot

_SPECIFICATION: Final = re.compile(
    r"(?P<id>[\w.-]+/[\w.-]+)(/(?P<part>[\w.-]+))?@(?P<revision>[\w./-]+):(?P<column>\w+)"
)
_END_OF_SENTENCE: Final = re.compile(r"(?:(?<=[.!?])|(?<=[.!?][\"')\]]))\s+(?=[\"'(\[]?[A-Z0-9])")
_ROWS_A_BATCH: Final = 1000


@dataclass(frozen=True)
class HubCorpus:
    """A column of text on the Hub.

    Attributes:
        hub_id: ``owner/name``.
        part: configuration, a folder of the repository; None where there is only one.
        revision: commit, tag or branch.
        column: of the Parquet files.
    """

    hub_id: str
    part: str | None
    revision: str
    column: str


def parse_hub_corpus(text: str) -> HubCorpus | None:
    """What a specification names; None where it is not one."""
    found = _SPECIFICATION.fullmatch(text)
    if found is None:
        return None
    return HubCorpus(found["id"], found["part"], found["revision"], found["column"])


def corpus_folder(corpus: str | Path, cache: Path) -> Path:
    """The folder of a corpus: itself, or what a data set of the Hub was written to.

    Args:
        corpus: a folder, or ``OWNER/NAME[/CONFIG]@REVISION:COLUMN``.
        cache: folder that keeps the text of data sets.

    Raises:
        InputError: the Hub has no such data set, or it has no such Parquet files or column.
    """
    if Path(corpus).is_dir():
        return Path(corpus)
    named = parse_hub_corpus(str(corpus))
    if named is None:
        raise InputError(
            f"no corpus {corpus}: expected a folder of NAME.txt[.xz], or a data set of the Hub as "
            "OWNER/NAME[/CONFIG]@REVISION:COLUMN"
        )
    place = "*" if named.part is None else f"{named.part}/*"
    fetched = snapshot(
        named.hub_id,
        kind="dataset",
        revision=named.revision,
        choose=lambda repository: fnmatch.filter(repository.files, f"{place}train*.parquet"),
        otherwise="name a folder of texts",
    )
    files = sorted(
        fetched.glob("**/*train*.parquet" if named.part is None else f"{place}train*.parquet")
    )
    if not files:
        raise InputError(
            f"data set {named.hub_id} has no Parquet file of the split train"
            + (f" in {named.part}" if named.part else "")
            + ": name its configuration, as in OWNER/NAME/CONFIG@REVISION:COLUMN"
        )
    # The name is that of the source, so a run's record has the commit as well as the digest.
    parts = [named.hub_id.replace("/", "--"), named.part, named.column, fetched.name[:12]]
    name = "-".join(filter(None, parts))
    folder = cache / "texts" / name
    target = folder / f"{name}.txt"
    if not target.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with written_aside(target) as temporary, temporary.open("w", encoding="utf-8") as file:
            for document in _documents(files, named.column):
                file.write("\n".join(document) + "\n\n")
    return folder


def _documents(files: list[Path], column: str) -> Iterator[list[str]]:
    for path in files:
        table = pq.ParquetFile(path)
        if column not in table.schema_arrow.names:
            raise InputError(
                f"{path.name} has no column {column!r}: expected one of "
                f"{', '.join(table.schema_arrow.names)}"
            )
        for batch in table.iter_batches(_ROWS_A_BATCH, columns=[column]):
            for text in batch.column(0).to_pylist():
                sentences = split_sentences(text or "")
                if sentences:
                    yield sentences


def split_sentences(text: str) -> list[str]:
    """The sentences of a text by a rule that knows no abbreviations, white space made single."""
    return [
        " ".join(sentence.split())
        for line in text.splitlines()
        for sentence in _END_OF_SENTENCE.split(line)
        if sentence and not sentence.isspace()
    ]
