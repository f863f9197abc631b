"""What a pre-training run is: every choice that can change a weight, in one frozen value."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from probing.errors import InputError

MODERN_SOURCES: Final = (
    "openstax_ccby",
    "digitalgov",
    "18f_posts",
    "plos",
    "craft",
    "masc",
    "factbook",
    "wikipedia_gensim",
    "wikipedia_wtf",
)
"""The sources of the shared corpus written after 1990: a fifth of its text."""

SOURCE_WEIGHTS: Final[Mapping[str, float]] = MappingProxyType(dict.fromkeys(MODERN_SOURCES, 6.0))
"""How often a document of a source is drawn, by file name without suffix; 1 where not named."""


class Objective(StrEnum):
    """What the network is trained on; the masked-language-model loss belongs to each of them."""

    MLM_NSP = "mlm+nsp"
    """Next sentence prediction: is the second segment the continuation, or from elsewhere?"""
    MLM = "mlm"
    """The very inputs of ``mlm+nsp``; the pooler gets no gradient and stays as initialised."""
    MLM_SOP = "mlm+sop"
    """Sentence order prediction (Lan et al. 2020): two consecutive segments, half swapped."""


class Precision(StrEnum):
    """Number format of the forward and backward pass; weights and moments stay float32."""

    AUTO = "auto"
    """bfloat16 where the hardware multiplies it itself, else float32."""
    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"


class Start(StrEnum):
    """What the weights are before the first step (see `probing.pretraining.initialisation`)."""

    RANDOM = "random"
    """As `transformers` initialises a BERT."""
    COOCCURRENCE = "cooccurrence"
    """Word embeddings from co-occurrence counts of the corpus, queries and keys equal."""


@dataclass(frozen=True, kw_only=True)
class PretrainingConfig:
    """One run, whole: two equal configurations over one corpus give the same loss curve.

    Twins differ in `objective` alone: initialisation, order of the data, masks and number of steps
    are functions of the other fields.
    """

    objective: Objective = Objective.MLM_NSP
    layers: int = 4
    hidden: int = 256
    heads: int = 4
    vocabulary_size: int = 8192
    length: int = 64
    """Tokens a sequence, the three special ones included; also the number of positions."""
    batch_size: int = 16
    """Sequences a step, over all processes and micro-batches together."""
    steps: int = 4500
    learning_rate: float = 1e-3
    """The peak, reached after `warmup_share` of the steps; then linear to 0."""
    embedding_rate: float = 0.05
    """Learning rate of the embeddings over that of the rest, where they start from counts."""
    warmup_share: float = 0.06
    weight_decay: float = 0.01
    """Decoupled; none on biases and layer norms."""
    sentence_weight: float = 0.1
    """Of the sentence loss in the sum of the two. 1 in BERT, whose batches are of 256 pairs; in
    batches of 16 its noise keeps a network from learning words."""
    gradient_norm: float = 1.0
    dropout: float = 0.0
    """None by default: a run that sees each sentence about once cannot overfit."""
    start: Start = Start.COOCCURRENCE
    initializer_range: float = 0.02
    short_share: float = 0.1
    """Share of the pairs packed to a random shorter length, as BERT does."""
    mask_share: float = 0.15
    held_out_share: float = 0.01
    """Share of the documents of every source kept for evaluation, at least one."""
    seed: int = 0
    corpus_seed: int = 0
    """Of the held-out choice, the vocabulary and the held-out pairs: equal over `seed`s."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "objective", Objective(self.objective))
        object.__setattr__(self, "start", Start(self.start))
        if self.hidden % self.heads:
            raise InputError(
                f"hidden size {self.hidden} is not a multiple of the {self.heads} attention heads: "
                "change --hidden or --heads"
            )
        if not 8 <= self.length <= 512:
            raise InputError(f"length must be in 8..512 tokens, found {self.length}")
        if not 64 <= self.vocabulary_size <= 65536:
            raise InputError(f"vocabulary size must be in 64..65536, found {self.vocabulary_size}")
        for name in (
            "layers",
            "heads",
            "batch_size",
            "steps",
            "learning_rate",
            "sentence_weight",
            "embedding_rate",
        ):
            if getattr(self, name) <= 0:
                raise InputError(f"{name} must be positive, found {getattr(self, name)}")

    @property
    def intermediate(self) -> int:
        """Width of the feed-forward layers, four times the hidden size in every BERT."""
        return 4 * self.hidden

    def as_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        return asdict(self) | {"objective": str(self.objective), "start": str(self.start)}

    def digest(self) -> str:
        """Short hash of every field: a checkpoint of another configuration is refused by it."""
        text = json.dumps(self.as_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
