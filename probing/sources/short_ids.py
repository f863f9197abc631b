"""Owners of the encoders that papers and tutorials name without one."""

from types import MappingProxyType
from typing import Final

_OWNERS: Final = MappingProxyType(
    {
        "all-": "sentence-transformers",
        "paraphrase-": "sentence-transformers",
        "multi-qa-": "sentence-transformers",
        "albert-": "albert",
        "bert-": "google-bert",
        "camembert-": "almanach",
        "distilbert-": "distilbert",
        "distilgpt2": "distilbert",
        "distilroberta-": "distilbert",
        "gpt2": "openai-community",
        "openai-gpt": "openai-community",
        "roberta-": "FacebookAI",
        "t5-": "google-t5",
        "xlm-": "FacebookAI",
        "xlnet-": "xlnet",
    }
)
"""Beginning of a short id, and who has it on the Hub today."""


def full_id(short: str) -> str | None:
    """``bert-base-cased`` as ``google-bert/bert-base-cased``; None where no owner is known."""
    owner = next((owner for start, owner in _OWNERS.items() if short.startswith(start)), None)
    return None if owner is None else f"{owner}/{short}"
