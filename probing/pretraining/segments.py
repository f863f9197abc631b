"""Pairs of segments as BERT makes them, as spans of the tokenised corpus.

The procedure is `create_instances_from_document` of Devlin et al. (2019): sentences of a document
are gathered up to a target length (a random shorter one for a tenth of the pairs) and cut into two
segments at a random sentence; for half of the pairs the second segment comes from a random place of
another document, and the sentences it displaced are used again; pairs that are too long lose one
token at a time from a random end of the longer segment.

One thing differs. BERT gives a chunk that is one long sentence always a random second segment. At
short lengths this is frequent, lifts the share of random pairs above one half and lets the length
of the first segment give the answer away; here the chunk takes one more sentence of its document.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import jensenshannon

from probing.errors import InputError
from probing.pretraining.config import Negatives
from probing.pretraining.corpus import TokenizedCorpus

SPECIAL_TOKENS_A_PAIR: Final = 3
"""``[CLS] first [SEP] second [SEP]``."""


@dataclass(frozen=True)
class SegmentPairs:
    """Pairs of segments as token spans of a corpus.

    Attributes:
        starts: (n_pairs, 2) int64, offset of the first token of each segment.
        lengths: (n_pairs, 2) int32, tokens of each segment, at least 1.
        labels: (n_pairs,) int8, 0 where the second follows the first, 1 where it does not (from
            another document, or the two swapped), as `transformers` numbers them.
    """

    starts: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int32]
    labels: npt.NDArray[np.int8]

    def __post_init__(self) -> None:
        n_pairs = len(self.labels)
        if self.starts.shape != (n_pairs, 2) or self.lengths.shape != (n_pairs, 2):
            raise ValueError("starts and lengths must be (n_pairs, 2)")
        if n_pairs and int(self.lengths.min()) < 1:
            raise ValueError("every segment must have a token")

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class PairBatch:
    """Token ids of some pairs, without masks.

    Attributes:
        ids: (n_pairs, length) int64, padded on the right.
        segments: (n_pairs, length) int64, 0 up to the first ``[SEP]``, 1 after it.
        attended: (n_pairs, length) bool, False on padding.
        maskable: (n_pairs, length) bool, False on padding and special tokens.
        labels: (n_pairs,) int64.
    """

    ids: npt.NDArray[np.int64]
    segments: npt.NDArray[np.int64]
    attended: npt.NDArray[np.bool_]
    maskable: npt.NDArray[np.bool_]
    labels: npt.NDArray[np.int64]


def make_segment_pairs(
    corpus: TokenizedCorpus,
    *,
    count: int,
    length: int,
    held_out: bool,
    sentence_order: bool,
    short_share: float,
    seed: int,
    negatives: Negatives = Negatives.OTHER_DOCUMENT,
) -> SegmentPairs:
    """`count` shuffled pairs from the training documents or the held-out ones.

    Documents are drawn by weight, without replacement within a pass over the corpus; as many passes
    are made as `count` needs.

    Args:
        corpus: the tokenised texts.
        count: number of pairs.
        length: tokens a pair, the three special ones included.
        held_out: which documents to use.
        sentence_order: swap half of the pairs in place of drawing another document.
        short_share: share of pairs with a random shorter target.
        seed: of every random choice.
        negatives: where the other document is from; documents that have no such other are left
            out.

    Raises:
        InputError: fewer than two documents have two sentences or more, or there is one source
            only and the other document shall be of another genre.
    """
    rng = np.random.default_rng([seed, int(held_out)])
    sentences = np.diff(corpus.document_starts)
    usable = np.flatnonzero((corpus.held_out == held_out) & (sentences >= 2))
    source = corpus.document_source[usable]
    if negatives is Negatives.SAME_SOURCE:
        usable = usable[np.bincount(source)[source] > 1]
    elif negatives is Negatives.OTHER_GENRE and len(np.unique(source)) < 2:
        raise InputError(
            "negatives of another genre need two sources: expected two files of text or more"
        )
    if len(usable) < 2:
        kind = "held-out" if held_out else "training"
        raise InputError(
            f"{len(usable)} {kind} documents of two or more sentences: expected at least two; "
            "add documents, separated by blank lines"
        )
    weights = corpus.document_weights()[usable]
    elsewhere = _elsewhere_of(corpus, usable, negatives)
    maker = _PairMaker(corpus, elsewhere, length, short_share, rng, sentence_order=sentence_order)
    while len(maker.rows) < count:
        whole = np.floor(weights).astype(np.int64)
        copies = whole + (rng.random(len(usable)) < weights - whole)
        before = len(maker.rows)
        for document in rng.permutation(np.repeat(usable, copies)).tolist():
            maker.add_document(document)
            if len(maker.rows) >= count:
                break
        if len(maker.rows) == before:
            raise InputError("no document gives a pair of segments: expected longer documents")
    rows = np.array(maker.rows[:count], dtype=np.int64)
    return _truncate(corpus, rows[rng.permutation(count)], length - SPECIAL_TOKENS_A_PAIR, rng)


def _elsewhere_of(
    corpus: TokenizedCorpus, documents: npt.NDArray[np.int64], negatives: Negatives
) -> dict[int, list[int]]:
    """Document → those that another segment is drawn from."""
    if negatives is Negatives.OTHER_DOCUMENT:
        everything = documents.tolist()
        return dict.fromkeys(everything, everything)
    source = corpus.document_source[documents]
    codes = np.unique(source).tolist()
    near = {code: [code] for code in codes}
    if negatives is Negatives.OTHER_GENRE:
        near = least_like(corpus, codes)
    found: dict[int, list[int]] = {}
    for code in codes:
        choice = documents[np.isin(source, near[code])].tolist()
        found |= dict.fromkeys(documents[source == code].tolist(), choice)
    return found


def least_like(corpus: TokenizedCorpus, codes: Sequence[int]) -> dict[int, list[int]]:
    """Source → the half of the others, rounded up, whose words are least like its own.

    How unlike two sources are is the Jensen-Shannon distance of their word pieces' frequencies.
    """
    frequencies = []
    of_sentence = np.repeat(corpus.document_source, np.diff(corpus.document_starts))
    of_token = np.repeat(of_sentence, np.diff(corpus.sentence_starts))
    vocabulary = int(corpus.tokens.max()) + 1
    for code in codes:
        counts = np.bincount(corpus.tokens[of_token == code], minlength=vocabulary)
        frequencies.append(counts / counts.sum())
    found = {}
    for place, code in enumerate(codes):
        distances = [float(jensenshannon(frequencies[place], other)) for other in frequencies]
        order = np.argsort([-distance for distance in distances], kind="stable")
        found[code] = [codes[other] for other in order[: len(codes) // 2]]
    return found


class _PairMaker:
    """Collects rows (first start, first end, second start, second end, label), in sentences."""

    def __init__(
        self,
        corpus: TokenizedCorpus,
        elsewhere_of: dict[int, list[int]],
        length: int,
        short_share: float,
        rng: np.random.Generator,
        *,
        sentence_order: bool,
    ) -> None:
        self.rows: list[tuple[int, int, int, int, int]] = []
        self._bounds = corpus.document_starts.tolist()
        self._sentence_starts = corpus.sentence_starts
        self._elsewhere_of = elsewhere_of
        self._capacity = length - SPECIAL_TOKENS_A_PAIR
        self._short_share = short_share
        self._sentence_order = sentence_order
        self._uniforms = _Uniforms(rng)

    def _target(self) -> int:
        if self._uniforms.draw() < self._short_share:
            return self._uniforms.integer(2, self._capacity)
        return self._capacity

    def add_document(self, document: int) -> None:
        """Append the pairs of one document."""
        first, end = self._bounds[document], self._bounds[document + 1]
        offsets = self._sentence_starts[first : end + 1].tolist()
        n_sentences = end - first
        target = self._target()
        start = 0
        here = 0
        while here < n_sentences:
            here += 1
            long_enough = offsets[here] - offsets[start] >= target and here - start >= 2
            if here < n_sentences and not long_enough:
                continue
            if here - start < 2:
                break  # one sentence is left over: it has nothing to be followed by
            cut = start + self._uniforms.integer(1, here - start - 1)
            negative = self._uniforms.draw() < 0.5
            if not negative:
                self.rows.append((first + start, first + cut, first + cut, first + here, 0))
            elif self._sentence_order:
                self.rows.append((first + cut, first + here, first + start, first + cut, 1))
            else:
                wanted = target - (offsets[cut] - offsets[start])
                other_start, other_end = self._elsewhere(document, wanted)
                self.rows.append((first + start, first + cut, other_start, other_end, 1))
                here = cut
            start = here
            target = self._target()

    def _elsewhere(self, document: int, wanted: int) -> tuple[int, int]:
        """Sentences of another document from a random one on, until `wanted` tokens."""
        other, choice = document, self._elsewhere_of[document]
        while other == document:
            other = choice[self._uniforms.integer(0, len(choice) - 1)]
        begin = self._uniforms.integer(self._bounds[other], self._bounds[other + 1] - 1)
        end = begin + 1
        limit = self._bounds[other + 1]
        offset = self._sentence_starts[begin]
        while end < limit and self._sentence_starts[end] - offset < wanted:
            end += 1
        return begin, end


class _Uniforms:
    """Uniform draws one at a time, fetched in blocks: a scalar draw of numpy costs microseconds."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._block: list[float] = []

    def draw(self) -> float:
        if not self._block:
            self._block = self._rng.random(65536).tolist()
        return self._block.pop()

    def integer(self, low: int, high: int) -> int:
        """Uniform in low..high, both included."""
        return low + int(self.draw() * (high - low + 1))


def truncated_lengths(
    first: npt.NDArray[np.int64], second: npt.NDArray[np.int64], capacity: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """What is left of each segment when tokens of the longer are dropped one by one.

    Args:
        first: (n_pairs,) int64 tokens of the first segments.
        second: (n_pairs,) int64 tokens of the second segments; at a tie the second is cut.
        capacity: tokens the two may have together.
    """
    excess = np.maximum(first + second - capacity, 0)
    levelled = np.minimum(excess, np.abs(first - second))
    rest = excess - levelled
    from_first = np.where(first > second, levelled, 0) + rest // 2
    from_second = np.where(first > second, 0, levelled) + rest - rest // 2
    return first - from_first, second - from_second


def _truncate(
    corpus: TokenizedCorpus, rows: npt.NDArray[np.int64], capacity: int, rng: np.random.Generator
) -> SegmentPairs:
    offsets = corpus.sentence_starts
    starts = np.stack([offsets[rows[:, 0]], offsets[rows[:, 2]]], axis=1)
    whole = np.stack([offsets[rows[:, 1]], offsets[rows[:, 3]]], axis=1) - starts
    kept = np.stack(truncated_lengths(whole[:, 0], whole[:, 1], capacity), axis=1)
    # Each dropped token leaves from the front or the back with probability one half.
    starts = starts + rng.binomial(whole - kept, 0.5)
    return SegmentPairs(starts, kept.astype(np.int32), rows[:, 4].astype(np.int8))


def gather_batch(
    corpus: TokenizedCorpus,
    pairs: SegmentPairs,
    rows: slice,
    *,
    length: int,
    cls_id: int,
    sep_id: int,
    pad_id: int,
) -> PairBatch:
    """``[CLS] first [SEP] second [SEP]`` of some pairs, padded on the right to `length`."""
    starts, lengths = pairs.starts[rows], pairs.lengths[rows].astype(np.int64)
    position = np.arange(length)[None, :]
    first_sep = lengths[:, :1] + 1
    second_sep = first_sep + lengths[:, 1:] + 1
    in_first = (position > 0) & (position < first_sep)
    in_second = (position > first_sep) & (position < second_sep)
    source = np.where(
        in_first,
        starts[:, :1] + position - 1,
        np.where(in_second, starts[:, 1:] + position - first_sep - 1, 0),
    )
    ids = corpus.tokens[source].astype(np.int64)
    ids[~(in_first | in_second)] = pad_id
    ids[:, 0] = cls_id
    np.put_along_axis(ids, first_sep, sep_id, axis=1)
    np.put_along_axis(ids, second_sep, sep_id, axis=1)
    segments = (position > first_sep) & (position <= second_sep)
    return PairBatch(
        ids=ids,
        segments=segments.astype(np.int64),
        attended=position <= second_sep,
        maskable=in_first | in_second,
        labels=pairs.labels[rows].astype(np.int64),
    )
