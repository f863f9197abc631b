"""What each generated task asks, with its classes; the labels are those of SentEval."""

from dataclasses import dataclass

from probing.tasks.generated.constituents import TOP_CONSTITUENTS
from probing.tasks.generated.words import TARGETS

CITATION = (
    "Conneau, Kruszewski, Lample, Barrault and Baroni (2018), What you can cram into a single "
    "$&!#* vector: Probing sentence embeddings for linguistic properties, ACL"
)
"""Where the ten tasks come from (their design: the sentences are made here)."""

LENGTH_BINS = ((5, 8), (9, 12), (13, 16), (17, 20), (21, 25), (26, 28))
"""The first and last length, in tokens with the final period, of sentence_length's classes."""

DEPTHS = tuple(range(5, 12))
"""The depths of tree_depth."""

TARGET_WORDS = tuple(TARGETS.split())
"""The classes of word_content: words of middling frequency, as in the paper (which has a thousand).

Nouns in the singular and verbs in the past tense.
"""


@dataclass(frozen=True)
class TaskCard:
    """A generated task: its name, one sentence on what it asks, and its classes."""

    name: str
    summary: str
    classes: tuple[str, ...]


_CARDS = (
    TaskCard(
        "sentence_length",
        "How many tokens has the sentence, in six bins: 5-8, 9-12, 13-16, 17-20, 21-25, 26-28?",
        tuple(str(bin_) for bin_ in range(len(LENGTH_BINS))),
    ),
    TaskCard(
        "word_content",
        "Which one of a hundred words of middling frequency does the sentence contain?",
        TARGET_WORDS,
    ),
    TaskCard(
        "tree_depth",
        "How deep is the constituency tree, at lengths that are the same for every depth?",
        tuple(str(depth) for depth in DEPTHS),
    ),
    TaskCard(
        "top_constituents",
        "Which constituents stand immediately below the root, commas aside?",
        tuple(TOP_CONSTITUENTS),
    ),
    TaskCard(
        "bigram_shift",
        "Are the tokens in their order (O), or were two neighbours swapped (I)?",
        ("I", "O"),
    ),
    TaskCard(
        "past_present",
        "Is the verb of the main clause in the past or in the present tense?",
        ("PAST", "PRES"),
    ),
    TaskCard(
        "subj_number",
        "Is the subject of the main clause singular (NN) or plural (NNS)?",
        ("NN", "NNS"),
    ),
    TaskCard(
        "obj_number",
        "Is the direct object of the main clause singular (NN) or plural (NNS)?",
        ("NN", "NNS"),
    ),
    TaskCard(
        "odd_man_out",
        "Do all words fit (O), or does a noun or verb make no sense in its place (C)?",
        ("C", "O"),
    ),
    TaskCard(
        "coordination_inversion",
        "Are the two coordinate clauses in their order (O), or were they swapped (I)?",
        ("I", "O"),
    ),
)

TASK_CARDS: dict[str, TaskCard] = {card.name: card for card in _CARDS}
"""The ten tasks by name."""

GENERATED_TASKS: tuple[str, ...] = tuple(TASK_CARDS)
"""The names of the ten tasks."""
