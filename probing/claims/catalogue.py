"""The claims: what is said of the pooler, which rows of the table decide it, and in which words."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Final

import pandas as pd

from probing.errors import InputError
from probing.results.differences import Difference
from probing.results.names import sides

logger = logging.getLogger(__name__)


class Side(StrEnum):
    """The side of its threshold on which a claim says the effect lies."""

    BELOW = "below"
    ABOVE = "above"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A sentence, the rows of the table that decide it, and what follows from it.

    ``view``, ``transform``, ``probe`` and ``trained_on`` are written as in the table; `` - `` is
    between the two sides of a difference, ``{last}`` for the last layer, ``{earlier}`` for the best
    layer before it under the same pooling (else under the mean), chosen on development pairs,
    ``{least}`` and ``{most}`` for the fewest and the most training items that an encoder was
    fine-tuned on. What no single difference of the table says, ``measure`` works out instead.
    """

    id: str
    sentence: str
    view: str = ""
    transform: str = "raw"
    probe: str = "cosine"
    trained_on: str = "all"
    tasks: tuple[str, ...] = ()
    """The tasks that it speaks of, by the ends of their names; empty for all."""
    measure: Callable[[pd.DataFrame], Iterable[Difference]] | None = None
    """Given the rows of the model, one difference for each task; the columns above then only name
    what is measured."""
    predicts: Side = Side.BELOW
    threshold: float = 0.0
    """Difference of Spearman's rho or of accuracy, as a fraction."""
    control: bool = False
    """Whether the same difference of the random-weight twins is taken away."""
    given: str | None = None
    """Id of the claim without whose support this one has nothing to speak of."""
    causal: bool = False
    """Whether it is asked only of encoders whose tokens see nothing after them."""
    spares: str | None = None
    """Id of the claim whose effect must not lie below zero by the smallest effect of interest or
    more: a deficit is not made good by spoiling what it is measured against."""
    then: str = ""
    """What the verdict adds where the claim is supported. ``{effect}`` stands for the size of its
    effect, such as ``4.2 points``, ``{part}`` for how much that is of the claim that it presupposes
    (``4.2 of 4.8 points``), ``{selection}`` for where a layer was chosen."""

    def describe(self) -> dict[str, Any]:
        """The claim as the manifest of a run has it; of a function only that there is one."""
        return {**asdict(replace(self, measure=None)), "measure": self.measure is not None}

    @classmethod
    def described(cls, said: Mapping[str, Any]) -> "Claim":
        """The claim of a manifest. What its function works out has to be brought again.

        Raises:
            InputError: It is written as another version of this package writes claims.
        """
        fields = {name: value for name, value in said.items() if name != "measure"}
        if unknown := fields.keys() - cls.__dataclass_fields__.keys():
            raise InputError(
                f"claim {said['id']} has {', '.join(sorted(unknown))}: the run was written by "
                "another version of probing; repeat it"
            )
        if said.get("measure"):
            logger.warning(
                "claim %s is decided by a function, which a run does not keep: give the claim to "
                "verdict(claims=...)",
                said["id"],
            )
        more = {"predicts": Side(said["predicts"]), "tasks": tuple(said.get("tasks", ()))}
        return cls(**{**fields, **more})

    @property
    def chosen_under(self) -> str:
        """The pooling under which ``{earlier}`` is chosen, where it was."""
        side = next((side for side in sides(self.view) if "{earlier}" in side), "")
        return side.partition("@")[0]

    def row(
        self, last: int, earlier: Mapping[str, int], sizes: tuple[str, str] | None = None
    ) -> tuple[str, str, str, str] | None:
        """View, transform, probe and training items, filled in; None where one of them is unknown.

        Args:
            last: The last layer.
            earlier: Pooling → the best earlier layer under it; empty where none was chosen.
            sizes: Subset of the fewest and of the most training items, None where nothing was
                fine-tuned on both.
        """
        best = earlier.get(self.chosen_under, earlier.get("mean"))
        if best is None and "{earlier}" in self.view:
            return None
        if sizes is None and "{" in self.trained_on:
            return None
        least, most = sizes or ("", "")
        view = self.view.format(last=last, earlier=best)
        return view, self.transform, self.probe, self.trained_on.format(least=least, most=most)


_POOLER_MEAN: Final = "pooler@{last} - mean@{last}"
_POOLER_CLS: Final = "pooler@{last} - cls@{last}"
PREDICTION: Final = Claim(
    id="R1",
    sentence="pooler_output is more than 5 points worse than [CLS] of the last layer",
    view=_POOLER_CLS,
    threshold=-0.05,
)
"""Registered for bert-base-uncased before it was measured (docs/cause.md)."""
WHITENED: Final = "whitened:train"
"""The transform of C5: whitening fitted on training sentences that are not scored."""

CLAIMS: Final = (
    Claim(
        id="C1",
        sentence="pooler_output is worse than mean pooling of the last layer",
        view=_POOLER_MEAN,
    ),
    Claim(
        id="C2",
        sentence="pooler_output is worse than [CLS] of the last layer: dense and tanh hurt",
        view=_POOLER_CLS,
    ),
    Claim(
        id="C3",
        sentence="[CLS] of the last layer is worse than mean pooling of the last layer",
        view="cls@{last} - mean@{last}",
    ),
    Claim(
        id="C4",
        sentence="mean pooling of the last layer is worse than that of the best earlier layer",
        view="mean@{last} - mean@{earlier}",
        then="{selection}",
    ),
    Claim(
        id="C5",
        sentence="whitening gives back some of the deficit of C1",
        view=_POOLER_MEAN,
        transform=f"{WHITENED} - raw",
        predicts=Side.ABOVE,
        given="C1",
        spares="C5a",
        then="whitening gives back {part}",
    ),
    Claim(
        id="C5a",
        sentence="whitening raises pooler_output itself",
        view="pooler@{last}",
        transform=f"{WHITENED} - raw",
        predicts=Side.ABOVE,
    ),
    Claim(
        id="C6",
        sentence="a supervised readout gives back some of the deficit of C1",
        view=_POOLER_MEAN,
        probe="regression - cosine",
        predicts=Side.ABOVE,
        given="C1",
        spares="C6a",
        then="a supervised readout gives back {part}",
    ),
    Claim(
        id="C6a",
        sentence="a supervised readout raises pooler_output itself",
        view="pooler@{last}",
        probe="regression - cosine",
        predicts=Side.ABOVE,
    ),
    Claim(
        id="C7",
        sentence="the deficit of C1 is larger than with random weights",
        view=_POOLER_MEAN,
        control=True,
        given="C1",
        then="{part} are not there with random weights",
    ),
    Claim(
        id="C8",
        sentence="after fine-tuning on all there is, the head on pooler_output is still worse than "
        "that on mean pooling",
        view=_POOLER_MEAN,
        probe="finetuned",
        trained_on="{most}",
    ),
    Claim(
        id="C8a",
        sentence="after fine-tuning on the fewest items, the head on pooler_output is worse than "
        "that on mean pooling",
        view=_POOLER_MEAN,
        probe="finetuned",
        trained_on="{least}",
    ),
    Claim(
        id="C9",
        sentence="the deficit of C8a shrinks with the number of training items",
        view=_POOLER_MEAN,
        probe="finetuned",
        trained_on="{most} - {least}",
        predicts=Side.ABOVE,
        given="C8a",
    ),
    Claim(
        id="D1",
        sentence="the last token of the last layer is worse than mean pooling of the last layer",
        view="last@{last} - mean@{last}",
        causal=True,
    ),
    Claim(
        id="D2",
        sentence="the last token of the last layer is worse than that of the best earlier layer",
        view="last@{last} - last@{earlier}",
        causal=True,
        then="{selection}",
    ),
)
"""The claims of a study. C4 is about decoders too; D1 and D2 are about them only."""

NEXT_SENTENCE_CLAIMS: Final = (
    Claim(
        id="N1",
        sentence="pooler_output tells next sentences better than mean pooling of the last layer",
        view=_POOLER_MEAN,
        probe="linear",
        predicts=Side.ABOVE,
    ),
)
"""What next sentence prediction should do to the pooler of an encoder that was trained by it."""

TREEBANK_CLAIMS: Final = (
    Claim(
        id="L1",
        sentence="the last layer says less of the length of a sentence than layer 0",
        view="mean@{last} - mean@0",
        probe="linear",
        tasks=("sentence_length",),
    ),
    Claim(
        id="L2",
        sentence="the last layer tells more of which word occurs than layer 0",
        view="mean@{last} - mean@0",
        probe="linear",
        predicts=Side.ABOVE,
        tasks=("word_content",),
    ),
    Claim(
        id="L3",
        sentence="the last layer tells parts of speech better than layer 0, which has no context",
        view="word_first@{last} - word_first@0",
        probe="linear",
        predicts=Side.ABOVE,
        tasks=("upos", "ewt"),
    ),
    Claim(
        id="L4",
        sentence="the last layer tells arcs better than layer 0, which has no context",
        view="word_first@{last} - word_first@0",
        probe="linear",
        predicts=Side.ABOVE,
        tasks=(":arc", ":relation"),
    ),
)
"""What is said of the layers of BERT, on tasks derived from a treebank."""

PAIR_CLAIMS: Final = (
    Claim(
        id="N2",
        sentence="pooler_output loses more against mean pooling in the first encoder than in the "
        "second",
        view=_POOLER_MEAN,
    ),
    Claim(
        id="N3",
        sentence="pooler_output loses more against [CLS] in the first encoder than in the second",
        view=_POOLER_CLS,
    ),
)
"""Claims about two encoders, of any kind: whose pooler is worse for what the encoder knows."""

NSP_PAIR_CLAIMS: Final = (
    Claim(
        id="N2",
        sentence="without next sentence prediction pooler_output loses more against mean pooling",
        view=_POOLER_MEAN,
    ),
    Claim(
        id="N3",
        sentence="without next sentence prediction pooler_output loses more against [CLS]",
        view=_POOLER_CLS,
    ),
)
"""The same about two encoders that differ in next sentence prediction only, the one without it
first."""

_OBJECTIVES: Final = ("mlm", "mlm+nsp")


def pair_claims(
    records: Mapping[str, Mapping[str, Any] | None], pairs: Sequence[tuple[str, str]]
) -> tuple[Claim, ...]:
    """The claims about one or several pairs of encoders, in the words that their records allow.

    Args:
        records: Encoder → what its ``pretraining.json`` says of how it was trained, None for an
            encoder without one.
        pairs: The two encoders of each pair.

    Returns:
        `NSP_PAIR_CLAIMS` where in every pair both records agree in all but the objective, the
        first encoder was trained without next sentence prediction and the second with it; else
        `PAIR_CLAIMS`.
    """
    alike = [_differ_in_nsp(records.get(one), records.get(other)) for one, other in pairs]
    return NSP_PAIR_CLAIMS if alike and all(alike) else PAIR_CLAIMS


def _differ_in_nsp(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
    if not one or not other:
        return False
    settings = [dict(record.get("config", {})) for record in (one, other)]
    objectives = tuple(each.pop("objective", None) for each in settings)
    known = ("sources", "tokens", "bfloat16")
    return (
        objectives == _OBJECTIVES
        and settings[0] == settings[1]
        and all(one.get(name) == other.get(name) for name in known)
    )
