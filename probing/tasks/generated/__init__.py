"""The ten linguistic probing tasks of Conneau et al. 2018, made by a grammar.

The sentences read as English, the labels are right by construction, and the derivations are at
hand: ``generate_sentences("tree_depth", seed=0)[0].tree.bracketing()``.
"""

from probing.tasks.generated.cards import CITATION, GENERATED_TASKS, TASK_CARDS, TaskCard
from probing.tasks.generated.tasks import DEFAULT_SIZES, generate, generate_sentences
from probing.tasks.generated.tree import GeneratedSentence, Tree, Word

__all__ = [
    "CITATION",
    "DEFAULT_SIZES",
    "GENERATED_TASKS",
    "TASK_CARDS",
    "GeneratedSentence",
    "TaskCard",
    "Tree",
    "Word",
    "generate",
    "generate_sentences",
]
