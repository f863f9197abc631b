"""English to try the experiment on, which every Python brings: the help on its own language."""

import re
from pathlib import Path
from pydoc_data.topics import topics
from typing import Final

from probing.results.writing import write_text

_END: Final = re.compile(r"(?<=[.!?:])\s+(?=[A-Z])")
_LEAST_WORDS: Final = 4
_SENTENCES: Final = 8
"""Of a document at most: the more documents, the more of them are held out."""


def python_help(folder: Path) -> Path:
    """Write ``python-help.txt``: a sentence a line, a blank line a document; code left out.

    Returns:
        `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    documents = []
    for text in topics.values():
        prose = [
            " ".join(paragraph.split())
            for paragraph in re.split(r"\n\s*\n", text)
            if not paragraph.startswith("  ") and "***" not in paragraph
        ]
        sentences = [line for paragraph in prose for line in _END.split(paragraph)]
        kept = [line for line in sentences if len(line.split()) >= _LEAST_WORDS]
        documents += [
            "\n".join(kept[begin : begin + _SENTENCES])
            for begin in range(0, len(kept) - 1, _SENTENCES)
        ]
    write_text(folder / "python-help.txt", "\n\n".join(documents) + "\n")
    return folder
