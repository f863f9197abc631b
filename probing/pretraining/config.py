"""What a pre-training run is: every choice that can change a weight, in one frozen value."""

import hashlib
import json
import math
from dataclasses import dataclass
from enum import StrEnum

from probing.errors import InputError


class Objective(StrEnum):
    """What the network is trained on; each of them has the masked-language-model loss."""

    MLM_NSP = "mlm+nsp"
    """Next sentence prediction: is the second segment the continuation, or from elsewhere?"""
    MLM = "mlm"
    """The inputs of ``mlm+nsp``; the pooler gets no gradient and stays as it is at the start."""
    MLM_SOP = "mlm+sop"
    """Sentence order prediction (Lan et al. 2020): two consecutive segments, half swapped."""
    MLM_SHUFFLED = "mlm+shuffled"
    """The inputs of ``mlm+nsp`` with its sentence labels permuted over all pairs: the placebo."""

    @property
    def has_sentence_loss(self) -> bool:
        """Whether the pooler and the sentence head are trained."""
        return self is not Objective.MLM


class Negatives(StrEnum):
    """Where the second segment of a pair is from that does not follow the first."""

    OTHER_DOCUMENT = "other-document"
    """Any other document."""
    SAME_SOURCE = "same-source"
    """Another document of the same source, so that its topic and style do not give it away."""
    OTHER_GENRE = "other-genre"
    """A document of one of the half of the sources whose words are least like its own."""


class Precision(StrEnum):
    """Number format of the forward and backward pass; weights and moments stay float32."""

    AUTO = "auto"
    """bfloat16 where the hardware multiplies it itself, else float32."""
    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"


class Freeze(StrEnum):
    """What is not trained."""

    NOTHING = "nothing"
    BODY = "body"
    """Embeddings and layers: only the pooler and the heads learn. The MLM head's matrix is that of
    the embeddings, so it is frozen too."""


class Pooler(StrEnum):
    """What the pooler is before the first step."""

    KEEP = "keep"
    """As in the checkpoint; drawn where the checkpoint has none."""
    DRAW = "draw"
    """Drawn from the seed, whatever the checkpoint has."""


class Decay(StrEnum):
    """What the learning rate does after the warm-up."""

    LINEAR = "linear"
    """Falls to 0 at the last step."""
    CONSTANT = "constant"
    """Stays as it is: a snapshot on the way is not a run that was cut short before its decay."""


@dataclass(frozen=True, kw_only=True)
class PretrainingConfig:
    """One run: two equal configurations over one corpus and one start give the same loss curve.

    Runs that differ only in `objective` or `sentence_weight` have the same initial weights, order
    of the data, masks and number of steps. The sizes and the vocabulary are of a network that
    starts from nothing; a checkpoint brings its own.
    """

    objective: Objective = Objective.MLM_NSP
    layers: int = 4
    hidden: int = 256
    heads: int = 4
    vocabulary_size: int = 8192
    length: int = 64
    """Tokens a sequence, the three special ones included."""
    batch_size: int = 32
    """Sequences a step, over all processes and micro-batches together."""
    steps: int = 4500
    learning_rate: float = 2e-4
    """The peak, reached after `warmup_share` of the steps."""
    decay: Decay = Decay.LINEAR
    warmup_share: float = 0.06
    until_loss: float = 0.0
    """Training ends at the first look at the held-out pairs with an MLM loss this low."""
    weight_decay: float = 0.01
    """Decoupled; none on biases and layer norms."""
    sentence_weight: float = 1.0
    """Of the sentence loss's gradient in the sum of the two, each clipped by itself."""
    gradient_norm: float = 1.0
    """The gradients of the two losses are clipped to this norm apart from each other, so that the
    sentence loss does not shrink the step of the MLM loss."""
    dropout: float = 0.0
    """None by default: a run that sees each sentence about once cannot overfit."""
    negatives: Negatives = Negatives.OTHER_DOCUMENT
    freeze: Freeze = Freeze.NOTHING
    pooler: Pooler = Pooler.KEEP
    initializer_range: float = 0.02
    short_share: float = 0.1
    """Share of the pairs packed to a random shorter length, as BERT does."""
    mask_share: float = 0.15
    held_out_share: float = 0.01
    """Share of the documents of every source kept for evaluation, at least one."""
    source_weights: tuple[tuple[str, float], ...] = ()
    """How often a document of a source is drawn, by file name without suffix; 1 where not named."""
    seed: int = 0
    corpus_seed: int = 0
    """Of the held-out choice, the vocabulary and the held-out pairs: equal over `seed`s."""

    def __post_init__(self) -> None:
        for name, kind in _ENUMS.items():
            object.__setattr__(self, name, kind(getattr(self, name)))
        weights = {name: float(weight) for name, weight in dict(self.source_weights).items()}
        object.__setattr__(self, "source_weights", tuple(sorted(weights.items())))
        if self.hidden % self.heads:
            raise InputError(
                f"hidden size {self.hidden} is not a multiple of the {self.heads} attention heads: "
                "change --hidden or --heads"
            )
        if not 8 <= self.length <= 512:
            raise InputError(f"length must be in 8..512 tokens, found {self.length}")
        if not 64 <= self.vocabulary_size <= 65536:
            raise InputError(f"vocabulary size must be in 64..65536, found {self.vocabulary_size}")
        for name in ("layers", "heads", "batch_size", "steps", "learning_rate", "gradient_norm"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} must be positive, found {getattr(self, name)}")
        for name in ("seed", "corpus_seed"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} {getattr(self, name)}: expected a whole number from 0 up")
        if not 0 <= self.sentence_weight < math.inf:
            raise InputError(f"sentence_weight must be at least 0, found {self.sentence_weight}")
        for name, weight in weights.items():
            if not weight > 0:
                raise InputError(f"the weight of source {name} must be positive, found {weight:g}")

    @property
    def intermediate(self) -> int:
        """Width of the feed-forward layers, four times the hidden size in every BERT."""
        return 4 * self.hidden

    def as_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        plain = {name: str(getattr(self, name)) for name in _ENUMS}
        copied = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return copied | plain | {"source_weights": dict(self.source_weights)}

    def digest(self) -> str:
        """Short hash of every field: a checkpoint of another configuration is refused by it."""
        fields = self.as_dict()
        if self.negatives is Negatives.OTHER_DOCUMENT:  # runs begun before there was a choice go on
            del fields["negatives"]
        text = json.dumps(fields, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


_ENUMS = {
    "objective": Objective,
    "negatives": Negatives,
    "decay": Decay,
    "freeze": Freeze,
    "pooler": Pooler,
}
