"""What do the layers and the pooler of an encoder know about a sentence?

Encode, measure, ask::

    encoder = probing.load_encoder("minilm")  # alias, Hub id, or folder
    representations = probing.extract(encoder, sentences)  # every view, one pass
    representations["mean@6"]  # (n_sentences, hidden_size), float32

    run = probing.Study(models=["minilm"], tasks=["stsb"]).run("runs/mine")
    run.scores; run.verdict(); run.layer_curves("stsb"); run.report()

This page is the whole public API; every other name of the package may change without notice.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from probing.cause.experiment import Cause, CauseResult, read_cause
    from probing.claims.catalogue import (
        CLAIMS,
        NEXT_SENTENCE_CLAIMS,
        PREDICTION,
        TREEBANK_CLAIMS,
        Claim,
        Side,
    )
    from probing.claims.choice import Choice
    from probing.claims.deciding import Verdict
    from probing.claims.outcomes import Outcome
    from probing.encoding.encoder import Encoder, load_encoder, random_twin
    from probing.encoding.export import export_view
    from probing.encoding.extraction import RawOutputs, extract, raw_outputs
    from probing.encoding.pooling import PoolingFunction
    from probing.encoding.representations import Representations
    from probing.encoding.vector_sources import (
        VectorSource,
        from_arrays,
        from_function,
        from_sentence_transformer,
        read_vectors,
    )
    from probing.encoding.views import Pooling, View
    from probing.errors import InputError
    from probing.finetuning.experiment import FinetuningStudy
    from probing.finetuning.recipes import recipes_for
    from probing.reporting.explorer import explore
    from probing.reporting.figures.encoder_pairs import training_curves
    from probing.reporting.figures.maps import attention_map
    from probing.reporting.run import Run, load_run
    from probing.results.differences import Difference
    from probing.similarity.cosine import cosine_similarities
    from probing.similarity.own_transforms import TransformFunction
    from probing.statistics.correlation import spearman
    from probing.study.choosing import choose
    from probing.study.label_free import label_free
    from probing.study.study import PRESETS, Study
    from probing.tasks.pairs import SentencePairs
    from probing.tasks.registry import load_task
    from probing.tasks.sentences import LabelledSentences
    from probing.tasks.spans import LabelledSpans
    from probing.tasks.tagged_words import TaggedSentences
    from probing.tasks.trees import ParsedSentences

__version__ = "0.2.0"

_MODULES = {
    "probing.cause.experiment": ("Cause", "CauseResult", "read_cause"),
    "probing.claims.catalogue": (
        "CLAIMS",
        "NEXT_SENTENCE_CLAIMS",
        "TREEBANK_CLAIMS",
        "PREDICTION",
        "Claim",
        "Side",
    ),
    "probing.claims.choice": ("Choice",),
    "probing.claims.deciding": ("Verdict",),
    "probing.claims.outcomes": ("Outcome",),
    "probing.encoding.encoder": ("Encoder", "load_encoder", "random_twin"),
    "probing.encoding.export": ("export_view",),
    "probing.encoding.extraction": ("RawOutputs", "extract", "raw_outputs"),
    "probing.encoding.pooling": ("PoolingFunction",),
    "probing.encoding.representations": ("Representations",),
    "probing.encoding.vector_sources": (
        "VectorSource",
        "from_arrays",
        "from_function",
        "from_sentence_transformer",
        "read_vectors",
    ),
    "probing.encoding.views": ("Pooling", "View"),
    "probing.errors": ("InputError",),
    "probing.finetuning.experiment": ("FinetuningStudy",),
    "probing.finetuning.recipes": ("recipes_for",),
    "probing.reporting.explorer": ("explore",),
    "probing.reporting.figures.encoder_pairs": ("training_curves",),
    "probing.reporting.figures.maps": ("attention_map",),
    "probing.reporting.run": ("Run", "load_run"),
    "probing.results.differences": ("Difference",),
    "probing.similarity.cosine": ("cosine_similarities",),
    "probing.similarity.own_transforms": ("TransformFunction",),
    "probing.statistics.correlation": ("spearman",),
    "probing.study.choosing": ("choose",),
    "probing.study.label_free": ("label_free",),
    "probing.study.study": ("PRESETS", "Study"),
    "probing.tasks.pairs": ("SentencePairs",),
    "probing.tasks.registry": ("load_task",),
    "probing.tasks.sentences": ("LabelledSentences",),
    "probing.tasks.spans": ("LabelledSpans",),
    "probing.tasks.tagged_words": ("TaggedSentences",),
    "probing.tasks.trees": ("ParsedSentences",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "CLAIMS",
    "NEXT_SENTENCE_CLAIMS",
    "PREDICTION",
    "PRESETS",
    "TREEBANK_CLAIMS",
    "Cause",
    "CauseResult",
    "Choice",
    "Claim",
    "Difference",
    "Encoder",
    "FinetuningStudy",
    "InputError",
    "LabelledSentences",
    "LabelledSpans",
    "Outcome",
    "ParsedSentences",
    "Pooling",
    "PoolingFunction",
    "RawOutputs",
    "Representations",
    "Run",
    "SentencePairs",
    "Side",
    "Study",
    "TaggedSentences",
    "TransformFunction",
    "VectorSource",
    "Verdict",
    "View",
    "attention_map",
    "choose",
    "cosine_similarities",
    "explore",
    "export_view",
    "extract",
    "from_arrays",
    "from_function",
    "from_sentence_transformer",
    "label_free",
    "load_encoder",
    "load_run",
    "load_task",
    "random_twin",
    "raw_outputs",
    "read_cause",
    "read_vectors",
    "recipes_for",
    "spearman",
    "training_curves",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: torch alone takes seconds."""
    if name not in _HOMES:
        raise AttributeError(f"module 'probing' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
