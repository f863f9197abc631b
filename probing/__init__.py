"""What do the layers and the pooler of an encoder know about a sentence?

encoder = probing.load_encoder("minilm")                 # alias, Hub id, or folder
representations = probing.extract(encoder, sentences)    # every view, one pass
representations["mean@6"]                                # (n_sentences, hidden_size) float32
task = probing.load_task("stsb", data_dir=None)          # pairs, labelled sentences or words
"""

from probing.encoding.encoder import Encoder, load_encoder, random_twin
from probing.encoding.extraction import RawOutputs, extract, raw_outputs
from probing.encoding.representations import Representations
from probing.encoding.views import Pooling, View
from probing.errors import InputError
from probing.results.run_folder import Run, load_run
from probing.study.standing import standing_run
from probing.study.study import PRESETS, Study, run_study
from probing.tasks import LabelledSentences, SentencePairs, TaggedSentences, load_task

__all__ = [
    "PRESETS",
    "Encoder",
    "InputError",
    "LabelledSentences",
    "Pooling",
    "RawOutputs",
    "Representations",
    "Run",
    "SentencePairs",
    "Study",
    "TaggedSentences",
    "View",
    "extract",
    "load_encoder",
    "load_run",
    "load_task",
    "random_twin",
    "raw_outputs",
    "run_study",
    "standing_run",
]
