"""Text and gold: sentence pairs, labelled sentences, tagged words, treebanks."""

from probing.tasks.catalogue import TaskEntry, catalogue
from probing.tasks.pairs import SentencePairs
from probing.tasks.protocols import DEFAULT_PROTOCOL, PROTOCOLS, Protocol, find_protocol
from probing.tasks.registry import (
    OWN_SCORE_RANGE,
    SHIPPED_TREEBANK_TASKS,
    Task,
    describe_task,
    in_data_folder,
    load_task,
    load_task_repository,
)
from probing.tasks.sentences import LabelledSentences
from probing.tasks.spans import LabelledSpans
from probing.tasks.tagged_words import TaggedSentences
from probing.tasks.trees import ParsedSentences

__all__ = [
    "DEFAULT_PROTOCOL",
    "OWN_SCORE_RANGE",
    "PROTOCOLS",
    "SHIPPED_TREEBANK_TASKS",
    "LabelledSentences",
    "LabelledSpans",
    "ParsedSentences",
    "Protocol",
    "SentencePairs",
    "TaggedSentences",
    "Task",
    "TaskEntry",
    "catalogue",
    "describe_task",
    "find_protocol",
    "in_data_folder",
    "load_task",
    "load_task_repository",
]
