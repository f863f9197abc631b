"""Text and gold: sentence pairs, labelled sentences, tagged words, generated tasks."""

from probing.tasks.catalogue import TaskEntry, catalogue
from probing.tasks.pairs import SentencePairs
from probing.tasks.protocols import DEFAULT_PROTOCOL, PROTOCOLS, Protocol, find_protocol
from probing.tasks.registry import (
    GENERATED_NAMES,
    GENERATED_PREFIX,
    OWN_SCORE_RANGE,
    Task,
    describe_task,
    load_task,
    load_task_repository,
)
from probing.tasks.sentences import LabelledSentences
from probing.tasks.tagged_words import TaggedSentences

__all__ = [
    "DEFAULT_PROTOCOL",
    "GENERATED_NAMES",
    "GENERATED_PREFIX",
    "OWN_SCORE_RANGE",
    "PROTOCOLS",
    "LabelledSentences",
    "Protocol",
    "SentencePairs",
    "TaggedSentences",
    "Task",
    "TaskEntry",
    "catalogue",
    "describe_task",
    "find_protocol",
    "load_task",
    "load_task_repository",
]
