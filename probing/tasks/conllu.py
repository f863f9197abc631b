"""The CoNLL-U format: sentences as released, every departure refused with its line."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from probing.errors import InputError
from probing.tasks.tables import quote, read_bytes, read_lines

_WORD: Final = re.compile("[1-9][0-9]*")
_MULTIWORD: Final = re.compile("([1-9][0-9]*)-([1-9][0-9]*)")
_EMPTY_NODE: Final = re.compile(r"(0|[1-9][0-9]*)\.[1-9][0-9]*")
_LONGEST_ID: Final = 6
_TEXT: Final = "# text ="
_ENTITY_FIELDS: Final = re.compile(rb"^# global\.Entity = (.+)$", re.MULTILINE)


class Word(NamedTuple):
    """A syntactic word: the ten cells of its line."""

    id: str
    form: str
    lemma: str
    upos: str
    xpos: str
    feats: str
    head: str
    deprel: str
    deps: str
    misc: str


COLUMNS: Final = Word._fields
"""The ten columns of CoNLL-U in their order."""


@dataclass(frozen=True)
class Token:
    """What is written without a space within: a word, or a multiword token such as ``don't``."""

    form: str
    first: int
    """Place of its first word in the sentence, from 0."""
    last: int
    """Place of its last word."""
    space_after: bool


@dataclass(frozen=True)
class ConlluSentence:
    """n_words syntactic words and the tokens they are written as."""

    words: tuple[Word, ...]
    """n_words; empty nodes of the enhanced graph are left out."""
    tokens: tuple[Token, ...]
    text: str
    """As released in ``# text``; put together from the tokens where there is no such line."""

    def column(self, name: str) -> tuple[str, ...]:
        """The n_words cells of a column of `COLUMNS`."""
        return tuple(getattr(word, name) for word in self.words)


@dataclass(frozen=True)
class ConlluFile:
    """The sentences of one file."""

    sentences: tuple[ConlluSentence, ...]
    origin: str
    """Name of the file with its SHA-256."""
    entity_fields: tuple[str, ...] = ()
    """What the parts of ``Entity=`` in MISC are, as ``# global.Entity`` says; empty without it."""


def features(cell: str) -> dict[str, str]:
    """The features of a word by name, from its FEATS (or MISC) cell; empty for an underscore."""
    pairs = (part.partition("=") for part in cell.split("|") if "=" in part)
    return {name: value for name, _, value in pairs}


def spelled(tokens: Sequence[Token]) -> str:
    """The text of tokens, with spaces where they are written."""
    return "".join(token.form + " " * token.space_after for token in tokens).strip()


def read_treebank_file(path: Path, *, folder: Path | None = None) -> ConlluFile:
    """Read one CoNLL-U file; the format: https://universaldependencies.org/format.html.

    Args:
        path: the file.
        folder: the origin names the file by its path under it, or by its name alone.

    Raises:
        InputError: for every departure from the format, with the file and the line.
    """
    data = read_bytes(path)
    found = _ENTITY_FIELDS.search(data)
    shown = path.name if folder is None else path.relative_to(folder).as_posix()
    return ConlluFile(
        sentences=tuple(_sentences(path, data)),
        origin=f"{shown} sha256:{hashlib.sha256(data).hexdigest()}",
        entity_fields=tuple(found[1].strip().decode().split("-")) if found else (),
    )


def _sentences(path: Path, data: bytes) -> Iterator[ConlluSentence]:
    """The sentences one by one; every line of the file is checked."""
    lines = read_lines(path, data)
    if not data.replace(b"\r", b"").endswith(b"\n\n"):
        raise InputError(
            f"{path}, line {len(lines)}: the file ends within a sentence, expected a blank line "
            "after it; is the file cut off?"
        )
    words: list[Word] = []
    multiwords: list[Token] = []
    text = ""
    open_range = 0
    started = False
    for number, line in enumerate([*lines, ""], start=1):
        if not line:
            if not words or open_range > len(words):
                raise InputError(f"{path}, line {number}: a sentence ends here without its words")
            tokens = _tokens(words, multiwords)
            yield ConlluSentence(tuple(words), tokens, text or spelled(tokens))
            words, multiwords, text, open_range, started = [], [], "", 0, False
        elif line.startswith("#"):
            if started:
                raise InputError(
                    f"{path}, line {number}: found a comment within a sentence, expected a word"
                )
            if line.startswith(_TEXT):
                text = line.removeprefix(_TEXT).strip()
        else:
            started = True
            cells = line.split("\t")
            fault = _fault_of_cells(cells)
            if not fault and cells[0] == str(len(words) + 1):
                words.append(Word(*cells))
                continue
            fault = fault or _fault_of_id(cells[0], len(words), open_range)
            if fault:
                raise InputError(f"{path}, line {number}: {fault}")
            if multiword := _MULTIWORD.fullmatch(cells[0]):
                open_range = int(multiword.group(2))
                multiwords.append(_token(Word(*cells), len(words), open_range - 1))


def _token(line: Word, first: int, last: int) -> Token:
    return Token(line.form, first, last, space_after=features(line.misc).get("SpaceAfter") != "No")


def _tokens(words: Sequence[Word], multiwords: Sequence[Token]) -> tuple[Token, ...]:
    inside = {place for token in multiwords for place in range(token.first, token.last + 1)}
    single = [_token(word, at, at) for at, word in enumerate(words) if at not in inside]
    return tuple(sorted((*single, *multiwords), key=lambda token: token.first))


def _fault_of_cells(cells: Sequence[str]) -> str:
    """What is wrong with the cells of a line; empty where nothing is."""
    if len(cells) != len(COLUMNS):
        return f"found {len(cells)} columns, expected {len(COLUMNS)}"
    if all(map(str.strip, cells)):
        return ""
    blank = next(name for name, cell in zip(COLUMNS, cells, strict=True) if not cell.strip())
    return f"{blank} is blank, expected a value or an underscore"


def _fault_of_id(found: str, n_words: int, open_range: int) -> str:
    """What is wrong with the id of a line that is not the word after ``n_words`` others.

    ``open_range`` is the last word of the latest multiword token.
    """
    if _WORD.fullmatch(found):
        return f"found word {quote(found)}, expected {n_words + 1}"
    if multiword := _MULTIWORD.fullmatch(found):
        first, last = multiword.groups()
        if first != str(n_words + 1) or len(last) > _LONGEST_ID or int(last) < int(first):
            return f"found token {quote(found)}, expected one that begins at {n_words + 1}"
        if open_range > n_words:
            return f"token {quote(found)} overlaps the one before it"
        return ""
    if empty := _EMPTY_NODE.fullmatch(found):
        at_word = empty.group(1) == str(n_words)
        return "" if at_word else f"found node {quote(found)} after word {n_words}"
    return f"id is {quote(found)}, expected a form such as 5, 5-6 or 5.1"
