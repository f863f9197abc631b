"""Named protocols: how a paper turns the STS sets into its numbers.

Each says where its source does what is declared here. What holds for all of them: the similarity is
the cosine, and lower-casing and splitting off punctuation change nothing for an uncased BERT, as
its tokenizer does both. SentEval's data also went through the Moses tokenizer, which is not
repeated here; with an encoder that sees the space before a full stop (RoBERTa and other byte-level
vocabularies) the numbers of ``simcse`` and ``senteval`` are close to the published ones, not equal.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from probing.errors import InputError
from probing.statistics import Aggregation, Metric


class Whitespace(StrEnum):
    """What happens to white space before a sentence reaches the tokenizer."""

    AS_IS = "as is"
    STRIPPED = "stripped"
    """Removed at both ends."""
    SINGLE = "single"
    """Removed at both ends, every run within one space: ``" ".join(sentence.split())``."""


_STS_YEARS: Final = frozenset({"sts12", "sts13", "sts14", "sts15", "sts16"})
_SUITE: Final = _STS_YEARS | {"stsb", "sickr"}


@dataclass(frozen=True)
class Protocol:
    """The settings of one source; applies to the seven STS sets, other tasks are left as they are.

    ``max_length`` counts tokens with ``[CLS]`` and ``[SEP]``; None is the encoder's own limit.
    """

    name: str
    aggregation: Aggregation
    """Of a set with subsets; STS-B and SICK-R have none, and one correlation."""
    metric: Metric
    whitespace: Whitespace
    lower_case: frozenset[str]
    """The tasks whose text is lower-cased, whatever the encoder."""
    max_length: int | None
    seen: str
    """Where the source does it."""
    note: str
    """What differs from the source all the same, or could not be seen."""
    splits: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """The split of each task that is not scored on ``test``."""

    def split_of(self, task: str) -> str:
        """The split that is scored: ``test``, or ``all`` for every row."""
        return self.splits.get(task, "test")

    def prepare(self, sentence: str, task: str) -> str:
        """The sentence as the source hands it to the tokenizer."""
        if task not in _SUITE:
            return sentence
        if self.whitespace is Whitespace.STRIPPED:
            sentence = sentence.strip()
        elif self.whitespace is Whitespace.SINGLE:
            sentence = " ".join(sentence.split())
        return sentence.lower() if task in self.lower_case else sentence


PROTOCOLS: Final[Mapping[str, Protocol]] = MappingProxyType(
    {
        protocol.name: protocol
        for protocol in (
            Protocol(
                name="simcse",
                aggregation=Aggregation.ALL,
                metric=Metric.SPEARMAN,
                whitespace=Whitespace.SINGLE,
                lower_case=_STS_YEARS | {"stsb"},
                max_length=None,
                seen="princeton-nlp/SimCSE: evaluation.py and SentEval/senteval/sts.py; the "
                "lower-casing in SentEval/data/downstream/get_transfer_data.bash",
                note="the Moses tokenizer is not repeated; the archive that download_dataset.sh "
                "fetches is taken to be what get_transfer_data.bash makes",
            ),
            Protocol(
                name="mteb",
                aggregation=Aggregation.ALL,
                metric=Metric.SPEARMAN,
                whitespace=Whitespace.AS_IS,
                lower_case=frozenset(),
                max_length=None,
                splits=MappingProxyType({"sickr": "all"}),
                seen="embeddings-benchmark/mteb: mteb/abstasks/AbsTaskSTS.py",
                note="SICK-R is scored on all 9,927 pairs",
            ),
            Protocol(
                name="bert-flow",
                aggregation=Aggregation.WMEAN,
                metric=Metric.SPEARMAN,
                whitespace=Whitespace.SINGLE,
                lower_case=_SUITE,
                max_length=64,
                seen="bohanli/BERT-flow: scripts/train_siamese.sh, scripts/eval_stsb.py, "
                "run_siamese.py; STS12-16 run through SentEval, STS-B and SICK-R from their files",
                note="SentEval prints mean and wmean; that the table has wmean is the paper's and "
                "SimCSE's word, not the code's",
            ),
            Protocol(
                name="bert-whitening",
                aggregation=Aggregation.WMEAN,
                metric=Metric.SPEARMAN,
                whitespace=Whitespace.STRIPPED,
                lower_case=_SUITE,
                max_length=64,
                seen="bojone/BERT-whitening: eng/eval.py and eng/utils.py",
                note="prints avg and w-avg; that the table has w-avg is the paper's word. With "
                "whitening on the target, mean and covariance are fitted on train, dev and test "
                "of STS-B and SICK-R together",
            ),
            Protocol(
                name="senteval",
                aggregation=Aggregation.MEAN,
                metric=Metric.PEARSON,
                whitespace=Whitespace.SINGLE,
                lower_case=_STS_YEARS | {"stsb"},
                max_length=None,
                seen="facebookresearch/SentEval: senteval/sts.py and senteval/sick.py",
                note="the code prints mean and wmean of Pearson and Spearman; that its authors "
                "quote the mean of Pearson could not be checked. SentEval itself scores STS-B and "
                "SICK-R with a trained regressor, so its numbers for these two are not comparable "
                "with a cosine",
            ),
        )
    }
)
"""The protocols by name; ``simcse`` is the default."""

DEFAULT_PROTOCOL: Final = "simcse"


def find_protocol(name: str) -> Protocol:
    """The protocol of that name.

    Raises:
        InputError: if there is none, with those there are.
    """
    if name not in PROTOCOLS:
        raise InputError(f"unknown protocol {name!r}, expected one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
