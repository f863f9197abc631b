"""How fast sentences become vectors, beside what a user would call otherwise.

    python benchmarks/encoding.py --data-dir DATA --out runs/benchmarks

writes ``speed.json`` and, from it, ``speed.md``, which have the figures of every kind of machine
side by side; a machine is of a kind by its processor, its units for bfloat16 and its GPU. What is
compared runs in turns in one process; a figure is the median over the turns. Items, to be chosen
with ``--items``; what was found of others before, and on other kinds of machine, stays
(``--out docs`` for the page of the documentation):

a. sentences per second: `extract`, every view, against ``SentenceTransformer.encode``, one view
b. GFLOP/s of the forward pass over those of its matrix products alone, in float32 and in what
   ``auto`` takes
c. the table of every view on seven STS sets against one pass per view
d. 1,000, 10,000, 100,000 sentences into a store: seconds and peak memory
e. the second run, from the store, against the first
f. the STS correlations of every view in bfloat16 against float32: what the speed of it costs

Where bfloat16 is not native it is imitated: rounded alike, in many times as long.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sentence_transformers
import torch
import transformers
from encoding_report import kind_of, markdown
from scipy.stats import spearmanr
from sentence_transformers import SentenceTransformer

import probing
from probing.encoding.encoder import Encoder, bfloat16_units, load_encoder
from probing.encoding.extraction import extract, extract_to_store
from probing.encoding.forward import encode
from probing.encoding.locating import find_checkpoint
from probing.encoding.pass_setup import Setup
from probing.encoding.setup_choice import choose_setup
from probing.encoding.tokenization import Tokenized, batches, tokenize
from probing.results.target import Target
from probing.results.writing import write_text
from probing.similarity.cosine import cosine_similarities
from probing.statistics import aggregate_correlations
from probing.threads import in_threads

STS_TASKS = ("sts12", "sts13", "sts14", "sts15", "sts16", "stsb", "sickr")
SENTEVAL_BATCH = 128
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
BATCH_SIZES = (8, 16, 32, 64, 128, 256) if DEVICE == "cpu" else (32, 128, 512, 2048)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Corpora:
    """The sentences that are measured."""

    stsb: list[str]
    mixed: list[str]
    """5 to 400 tokens, most of them short."""
    pairs: dict[str, tuple[list[str], list[str], np.ndarray]]
    """Task → first sentences, second sentences, gold scores."""


def main() -> None:
    """Measure what was asked for and write the report."""
    options = _options()
    if options.child is not None:
        _fill_in_a_process_of_its_own(options)
        return
    transformers.utils.logging.disable_progress_bar()
    kept = options.out / "speed.json"
    report: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    of_kind = report.setdefault(kind_of(machine()), {})
    corpora = read_corpora(options.data_dir, options.share)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        folders = {
            "minilm": find_checkpoint("minilm").folder,
            "bert-base-sized": bert_base_sized(folder),
        }
        items: dict[str, Callable[[], Any]] = {
            "a": lambda: rates(folders, corpora, options),
            "b": lambda: distance_to_the_limit(folders["bert-base-sized"], corpora, options),
            "c": lambda: whole_table(folders["minilm"], corpora, options),
            "d": lambda: growth(corpora, options, folder),
            "e": lambda: second_run(corpora, options, folder),
            "f": lambda: change_in_bfloat16(folders["minilm"], options),
        }
        for name in options.items.split(","):
            print(f"item {name}", file=sys.stderr)
            before = os.getloadavg()[0]
            found = items[name]()
            of_kind[name] = {
                "machine": machine(),
                "load before and after": (before, os.getloadavg()[0]),
                "found": found,
            }
            # item by item: they take minutes each
            options.out.mkdir(parents=True, exist_ok=True)
            write_text(kept, json.dumps(report, indent=1) + "\n")
            write_text(options.out / "speed.md", markdown(report))
    print(markdown(report))


def rates(folders: dict[str, Path], corpora: Corpora, options: argparse.Namespace) -> list[dict]:
    """Item a: sentences per second."""
    rows = []
    for name, folder in folders.items():
        for corpus in ("stsb", "mixed"):
            sentences = getattr(corpora, corpus)
            if name != "minilm":
                sentences = sentences[:: options.thin]
            rows += _rates_of(name, folder, corpus, sentences, options.repeats, options.thin)
    return rows


def _rates_of(
    name: str, folder: Path, corpus: str, sentences: list[str], repeats: int, thin: int
) -> list[dict]:
    ours = {dtype: load_encoder(str(folder), dtype=dtype) for dtype in ("float32", "auto")}
    peers = {dtype: peer(folder, dtype, ours["float32"].max_length) for dtype in DTYPES}
    native = ours["auto"].dtype == torch.bfloat16
    # bfloat16 that the processor has to imitate takes many times as long: a part tells as much
    part = sentences if native else sentences[::thin]
    best = {
        dtype: _best_batch_size(peers[dtype], sentences)
        for dtype in (DTYPES if native else ("float32",))
    }
    distinct = list(dict.fromkeys(sentences))
    tokenized = tokenize(ours["float32"], distinct)
    setups = {
        dtype: choose_setup(encoder, distinct, encoder.views) for dtype, encoder in ours.items()
    }
    contenders: dict[str, Callable[[], Any]] = {
        "extract float32": lambda: extract(ours["float32"], sentences),
        # what `extract` would reach if all but its matrix products took no time
        "its matrix products alone": _products(ours["float32"], tokenized, setups["float32"]),
        "encode float32": lambda: peers["float32"].encode(sentences),
        "encode bfloat16": lambda: peers["bfloat16"].encode(part, convert_to_numpy=False),
    }
    for dtype, size in best.items():
        if size != 32:
            contenders[f"encode {dtype}, batches of {size}"] = lambda dtype=dtype, size=size: peers[
                dtype
            ].encode(sentences, batch_size=size, convert_to_numpy=False)
    if native:
        contenders["extract auto"] = lambda: extract(ours["auto"], sentences)
        contenders["the products of auto alone"] = _products(
            ours["auto"], tokenized, setups["auto"]
        )
    seconds = in_turns(contenders, repeats)
    seconds.setdefault("extract auto", seconds["extract float32"])  # where auto is float32
    counts = dict.fromkeys(seconds, len(sentences)) | {"encode bfloat16": len(part)}
    lengths = tokenize(ours["float32"], sentences).lengths
    return [
        {
            "encoder": name,
            "corpus": corpus,
            "sentences": counts[what],
            "tokens per sentence": float(lengths.mean()),
            "what": what,
            "setups": {dtype: str(setup) for dtype, setup in setups.items()},
            "dtype of auto": str(ours["auto"].dtype).removeprefix("torch."),
            "seconds": times,
            "sentences per second": counts[what] / statistics.median(times),
        }
        for what, times in seconds.items()
    ]


def distance_to_the_limit(
    folder: Path, corpora: Corpora, options: argparse.Namespace
) -> list[dict]:
    """Item b: the forward pass over its matrix products alone, with the profile of the rest."""
    rows = []
    for dtype in dict.fromkeys(("float32", _auto(folder))):
        encoder = load_encoder(str(folder), dtype=dtype)
        # four times as many as in item a: few sentences of many lengths need much padding
        sentences = corpora.stsb[:: max(1, options.thin // 4)]
        tokenized = tokenize(encoder, sentences)
        flop = _flop(encoder, tokenized.lengths)
        setup = choose_setup(encoder, sentences, encoder.views)
        sizes = _batch_sizes(encoder, tokenized, setup)
        product_flop = 2 * _products_per_token(encoder) * sum(sizes)
        contenders: dict[str, Callable[[], Any]] = {
            "forward": lambda encoder=encoder, tokenized=tokenized, setup=setup: encode(
                encoder, tokenized, encoder.views, setup=setup
            ),
            "linear": _products(encoder, tokenized, setup),
        }
        if DEVICE == "cpu":
            contenders["packed linear"] = _products(encoder, tokenized, setup, packed=True)
        seconds = in_turns(contenders, options.repeats)
        achieved = flop / statistics.median(seconds.pop("forward")) / 1e9
        rates = {
            name: product_flop / statistics.median(times) / 1e9 for name, times in seconds.items()
        }
        rows.append(
            {
                "dtype": dtype,
                "setup": str(setup),
                "forward GFLOP/s": achieved,
                **{f"{name} GFLOP/s": rate for name, rate in rates.items()},
                **{f"share of {name}": achieved / rate for name, rate in rates.items()},
                "padding": sum(sizes) / int(tokenized.lengths.sum()) - 1,
                "profile": _profile(encoder, tokenized, setup),
            }
        )
    return rows


def _auto(folder: Path) -> str:
    return str(load_encoder(str(folder), dtype="auto").dtype).removeprefix("torch.")


def whole_table(folder: Path, corpora: Corpora, options: argparse.Namespace) -> dict:
    """Item c: every view on seven STS sets."""
    encoder = load_encoder(str(folder))
    model: Any = encoder.model

    def ours() -> None:
        for first, second, gold in corpora.pairs.values():
            representations = extract(encoder, first + second)
            for view_id in representations:
                _score(*np.split(representations[view_id], 2), gold)

    @torch.inference_mode()
    def one_view() -> None:
        for first, second, gold in corpora.pairs.values():
            order = np.lexsort(([len(text) for text in second], [len(text) for text in first]))
            sides = []
            for side in (first, second):
                vectors = np.empty((len(side), encoder.hidden_size), dtype=np.float32)
                for start in range(0, len(order), SENTEVAL_BATCH):
                    rows = order[start : start + SENTEVAL_BATCH]
                    inputs = encoder.tokenizer(
                        [side[row] for row in rows],
                        padding=True,
                        truncation=True,
                        max_length=encoder.max_length,
                        return_tensors="pt",
                    ).to(DEVICE)
                    hidden = model(**inputs).last_hidden_state
                    mask = inputs["attention_mask"][:, :, None]
                    vectors[rows] = ((hidden * mask).sum(1) / mask.sum(1)).cpu().numpy()
                sides.append(vectors)
            _score(*sides, gold)

    seconds = in_turns({"every view": ours, "one view": one_view}, options.repeats)
    n_views = len(encoder.views)
    per_view = statistics.median(seconds["one view"])
    every = statistics.median(seconds["every view"])
    return {
        "pairs": sum(len(gold) for _, _, gold in corpora.pairs.values()),
        "views": n_views,
        "seconds": seconds,
        "one pass per view, seconds": n_views * per_view,
        "this project, seconds": every,
        "ratio": n_views * per_view / every,
    }


def growth(corpora: Corpora, options: argparse.Namespace, scratch: Path) -> list[dict]:
    """Item d: seconds and peak memory of a process of its own for each size."""
    sentences = sorted(
        {text for first, second, _ in corpora.pairs.values() for text in first + second}
    )
    rng = np.random.default_rng(0)
    corpus = scratch / "corpus.txt"
    largest = max(options.sizes)
    with corpus.open("w", encoding="utf-8") as stream:
        for number in range(largest):  # numbered, so that no sentence repeats
            text = sentences[rng.integers(len(sentences))]
            stream.write(f"{' '.join(text.split())} {number}\n")
    rows = []
    for size in options.sizes:
        times, peaks = [], []
        for _ in range(options.repeats if size < largest else 1):
            store = scratch / "grown"
            command = [sys.executable, __file__, "--child", str(size)]
            command += ["--corpus", str(corpus), "--store", str(store)]
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            measured = json.loads(told.splitlines()[-1])
            times.append(measured["seconds"])
            peaks.append(measured["peak"])
            shutil.rmtree(store)
        rows.append(
            {
                "sentences": size,
                "seconds": times,
                "median seconds": statistics.median(times),
                "peak memory, MB": statistics.median(peaks) / 1e6,
            }
        )
    return rows


def _fill_in_a_process_of_its_own(options: argparse.Namespace) -> None:
    encoder = load_encoder("minilm", dtype="auto")
    with options.corpus.open(encoding="utf-8") as stream:
        began = time.perf_counter()
        lines = (line.rstrip("\n") for number, line in enumerate(stream) if number < options.child)
        extract_to_store(encoder, lines, options.store)
        seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "peak": peak_memory()}))


def peak_memory() -> int:
    """Bytes that this process had in memory at most.

    ``getrusage`` is no use: on Linux a process begins with the peak of the one that started it.
    """
    status = Path("/proc/self/status").read_text()
    (peak,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(peak) * 1024


def second_run(corpora: Corpora, options: argparse.Namespace, scratch: Path) -> dict:
    """Item e: the seven STS sets from the store."""
    encoder = load_encoder("minilm", dtype="auto")

    def run() -> None:
        for first, second, _ in corpora.pairs.values():
            representations = extract(encoder, first + second, cache_dir=scratch / "cache")
            for view_id in representations:
                representations[view_id]

    firsts, seconds = [], []
    for _ in range(options.repeats):
        shutil.rmtree(scratch / "cache", ignore_errors=True)
        for times in (firsts, seconds):
            began = time.perf_counter()
            run()
            times.append(time.perf_counter() - began)
    return {
        "first": firsts,
        "second": seconds,
        "ratio": statistics.median(firsts) / statistics.median(seconds),
    }


def change_in_bfloat16(folder: Path, options: argparse.Namespace) -> list[dict]:
    """Item f: how far bfloat16 moves a Spearman correlation, each view under each aggregation."""
    encoders = {dtype: load_encoder(folder, dtype=dtype) for dtype in DTYPES}
    view_ids = [str(view) for view in encoders["float32"].views]
    rows = []
    for name in STS_TASKS:
        task = probing.load_task(name, data_dir=options.data_dir)
        _, codes, aggregations = Target(
            task=name, gold=task.scores, subsets=task.subsets
        ).coded_subsets()
        found = {}
        for dtype, encoder in encoders.items():
            vectors = extract(encoder, [*task.sentences1, *task.sentences2])
            cosines = cosine_similarities(vectors, view_ids)
            correlations = aggregate_correlations(
                cosines, task.scores, codes, aggregations=aggregations
            )
            found[dtype] = np.stack([correlations[key] for key in aggregations])
        change = np.abs(found["bfloat16"] - found["float32"]).max(axis=0)  # NaN stays NaN: cls@0
        by_view = dict(zip(view_ids, change.tolist(), strict=True))
        largest = sorted((value, view) for view, value in by_view.items() if value == value)[::-1]
        rows.append(
            {
                "task": name,
                "pairs": len(task),
                "aggregations": [str(key) for key in aggregations],
                "undefined": sorted(view for view, value in by_view.items() if value != value),
                "largest": [{"view": view, "change": value} for value, view in largest],
            }
        )
    return rows


def in_turns(contenders: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each contender: one turn to warm up, then every one in every turn."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(repeats + 1):
        for name, call in contenders.items():
            began = time.perf_counter()
            call()
            if turn:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def peer(folder: Path, dtype: str, max_length: int) -> SentenceTransformer:
    """Sentence-transformers on the same checkpoint; made to read as much of a sentence as we do."""
    model = SentenceTransformer(str(folder), device=DEVICE, model_kwargs={"dtype": DTYPES[dtype]})
    model.max_seq_length = max_length
    return model


def _best_batch_size(model: SentenceTransformer, sentences: list[str]) -> int:
    """The best of a few, by one pass over a part that has every length."""
    some = sentences[::4]
    seconds = {}
    for size in BATCH_SIZES:
        began = time.perf_counter()
        model.encode(some, batch_size=size, convert_to_numpy=False)
        seconds[size] = time.perf_counter() - began
    return min(seconds, key=lambda size: seconds[size])


def bert_base_sized(folder: Path) -> Path:
    """BERT base with random weights and the vocabulary of bert-base-uncased."""
    target = folder / "bert-base-sized"
    torch.manual_seed(0)
    transformers.BertModel(transformers.BertConfig()).save_pretrained(target)
    tokenizer = transformers.AutoTokenizer.from_pretrained(find_checkpoint("minilm").folder)
    tokenizer.model_max_length = 512
    tokenizer.save_pretrained(target)
    return target


def read_corpora(data_dir: str | None, share: int) -> Corpora:
    """The STS sets (every ``share``-th pair), STS-B's test sentences, and a long-tailed mix."""
    stsb = probing.load_task("stsb", data_dir=data_dir)
    sentences = [*stsb.sentences1, *stsb.sentences2]
    rng = np.random.default_rng(0)
    words = " ".join(sentences).split()
    # Word counts that give 5 to 400 tokens: a word has about 1.2 tokens, plus [CLS] and [SEP].
    counts = np.clip(np.exp(rng.normal(np.log(18), 1.0, size=1000)), 3, 330).astype(int)
    starts = rng.integers(0, len(words) - counts.max(), size=len(counts))
    mixed = [" ".join(words[s : s + n]) for s, n in zip(starts, counts, strict=True)]
    pairs = {}
    for name in STS_TASKS:
        task = probing.load_task(name, data_dir=data_dir)
        rows = slice(None, None, share)
        pairs[name] = (list(task.sentences1[rows]), list(task.sentences2[rows]), task.scores[rows])
    return Corpora(stsb=sentences, mixed=mixed, pairs=pairs)


def _score(first: np.ndarray, second: np.ndarray, gold: np.ndarray) -> float:
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    cosines = (first * second).sum(axis=1) / norms
    if np.ptp(cosines) == 0:
        return float("nan")
    return float(spearmanr(cosines, gold).statistic)


def _products_per_token(encoder: Encoder) -> int:
    """Multiplications of the linear layers of the blocks, for one token."""
    model: Any = encoder.model
    layers = model.encoder.layer.modules()
    return sum(layer.weight.numel() for layer in layers if isinstance(layer, torch.nn.Linear))


def _flop(encoder: Encoder, lengths: np.ndarray) -> float:
    """Operations that the sentences need without padding: linear layers and attention."""
    attention = 2 * encoder.num_layers * encoder.hidden_size * (lengths**2).sum()
    return 2.0 * (_products_per_token(encoder) * lengths.sum() + attention)


def _batch_sizes(encoder: Encoder, tokenized: Tokenized, setup: Setup) -> list[int]:
    """Padded tokens of each batch of the forward pass."""
    pad_id = encoder.tokenizer.pad_token_id
    found = batches(tokenized, pad_id, setup.batch_tokens)
    return [batch.ids.numel() for batch in found]


def _products(
    encoder: Encoder, tokenized: Tokenized, setup: Setup, *, packed: bool = False
) -> Callable[[], Any]:
    """Nothing but the linear layers of one block, as often and as large as in the forward pass.

    Shared out over threads as there.
    """
    model: Any = encoder.model
    block = model.encoder.layer[0]
    linears = [layer for layer in block.modules() if isinstance(layer, torch.nn.Linear)]
    sizes = _batch_sizes(encoder, tokenized, setup)
    operators: Any = torch.ops.mkldnn
    weights = [
        operators._reorder_linear_weight(linear.weight.detach(), setup.batch_tokens)
        if packed
        else linear.weight
        for linear in linears
    ]
    inputs = {
        linear.in_features: torch.randn(
            max(sizes), linear.in_features, dtype=encoder.dtype, device=encoder.device
        )
        for linear in linears
    }

    @torch.inference_mode()
    def one_pass(size: int) -> None:
        for _ in range(encoder.num_layers):
            for linear, weight in zip(linears, weights, strict=True):
                rows = inputs[linear.in_features][:size]
                if packed:
                    operators._linear_pointwise(rows, weight, linear.bias, "none", [], "")
                else:
                    torch.nn.functional.linear(rows, weight, linear.bias)

    def all_passes() -> None:
        deque(in_threads(one_pass, sizes) if setup.per_thread else map(one_pass, sizes), maxlen=0)
        if DEVICE == "cuda":
            torch.cuda.synchronize()

    return all_passes


def _profile(encoder: Encoder, tokenized: Tokenized, setup: Setup) -> dict[str, float]:
    """Shares of the time of the forward pass, on one thread or on the GPU, the ten largest."""
    where = f"self_{'device' if DEVICE == 'cuda' else 'cpu'}_time_total"
    activities = [torch.profiler.ProfilerActivity.CPU]
    if DEVICE == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the profiler sees the thread that started it and no other
    try:
        with torch.profiler.profile(activities=activities) as profiler:
            encode(encoder, tokenized, encoder.views, setup=setup)
    finally:
        torch.set_num_threads(n_threads)
    taken = {event.key: getattr(event, where) for event in profiler.key_averages()}
    largest = sorted(taken, key=lambda key: -taken[key])[:10]
    return {key: taken[key] / sum(taken.values()) for key in largest}


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    described = Path("/proc/cpuinfo")
    names = [
        line.partition(":")[2].strip()
        for line in (described.read_text().splitlines() if described.exists() else [])
        if line.startswith("model name")
    ]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "bfloat16": bfloat16_units(),
        "gpu": torch.cuda.get_device_name() if DEVICE == "cuda" else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "sentence-transformers": sentence_transformers.__version__,
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--items", default="a,b,c,d,e,f")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--data-dir", default=os.environ.get("PROBING_DATA"))
    parser.add_argument("--share", type=int, default=10, help="every n-th pair, for c, d and e")
    parser.add_argument("--thin", type=int, default=8, help="every n-th sentence, for BERT base")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--corpus", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--store", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
