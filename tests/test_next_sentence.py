"""Next sentences, read from every view."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from probing.encoding.encoder import load_encoder
from probing.errors import InputError
from probing.pretraining.corpus import choose_held_out, held_out_documents
from probing.pretraining.vocabulary import encode_sentences
from probing.probes.driver import fit_probes
from probing.probes.erasing import METHODS
from probing.results.scores import score_table
from probing.study import next_sentence
from probing.study.next_sentence import (
    NEXT_SENTENCE,
    SIZES,
    next_sentence_erasers,
    next_sentence_floors,
    next_sentence_scores,
    pair_vectors,
    segment_pairs,
)
from probing.study.settings import Settings
from probing.study.study import Study

SETTINGS = Settings(seed=0, n_resamples=50, cache_dir=None)
N_SOURCES, N_DOCUMENTS = 6, 5
WORDS = ("cat", "dog", "mat", "red", "big", "small", "unlikely", "runs")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    for source in range(N_SOURCES):
        documents = []
        for number in range(N_DOCUMENTS):
            topic = WORDS[(source + number) % len(WORDS)]
            lines = (f"the {topic} {rng.choice(WORDS)} is {topic}" for _ in range(30))
            documents.append("\n".join(lines))
        (folder / f"s{source}.txt").write_text("\n\n".join(documents), encoding="utf-8")
    return folder


@pytest.fixture
def encoder(tiny_encoder_folder):
    return load_encoder(tiny_encoder_folder("bert"))


def test_what_was_tokenized_before_changes_nothing() -> None:
    """MiniLM's tokenizer.json pads to 128 until a first call says not to: 512 ids, or 18."""
    documents = [["The cat sat on the mat.", "It was warm."], ["Trains are late.", "People wait."]]
    tokenizer = load_encoder("minilm").tokenizer
    tokenizer.backend_tokenizer.enable_padding(length=128)
    before = tokenizer.backend_tokenizer.to_str()
    (ids, lengths, _), *_ = encode_sentences(tokenizer, documents)
    assert (len(ids), lengths.tolist()) == (18, [7, 4, 4, 3])
    assert tokenizer.backend_tokenizer.to_str() == before  # nor does it leave a trace
    tokenizer(documents[0])
    (again, _, _), *_ = encode_sentences(tokenizer, documents)
    np.testing.assert_array_equal(ids, again)


def test_only_held_out_documents_are_read(corpus, encoder):
    documents = held_out_documents(corpus, encoder.tokenizer, corpus)
    chosen = [choose_held_out(N_DOCUMENTS, 0.01, 0, source) for source in range(N_SOURCES)]
    assert len(documents.document_starts) - 1 == sum(int(flags.sum()) for flags in chosen)
    assert documents.held_out.tolist() == [False, True] * (N_SOURCES // 2)
    first = documents.tokens[: documents.sentence_starts[1]].tolist()
    place = int(np.flatnonzero(chosen[0])[0])
    text = (corpus / "s0.txt").read_text(encoding="utf-8").split("\n\n")[place].splitlines()[0]
    assert first == encoder.tokenizer(text, add_special_tokens=False)["input_ids"]


def test_pairs_are_what_their_labels_say(corpus, encoder):
    task = next_sentence._NextSentences.of(
        encoder, corpus, {"train": 40, "dev": 20, "test": 30}, same_source=False
    )
    assert task.length == min(64, encoder.max_length)
    bounds = task.documents.sentence_starts[task.documents.document_starts]
    starts = np.concatenate([pairs.starts for pairs in task.parts])
    lengths = np.concatenate([pairs.lengths for pairs in task.parts])
    first, second = np.searchsorted(bounds, starts, side="right").T
    np.testing.assert_array_equal(task.labels == "next", first == second)
    later = starts[:, 1] >= starts[:, 0] + lengths[:, 0]
    assert later[task.labels == "next"].all()
    assert (task.labels == "next").mean() == pytest.approx(0.5, abs=0.2)
    # no pair is short on purpose: most fill the input, but for its three special tokens
    assert np.median(lengths.sum(axis=1)) > 0.7 * (task.length - 3)


def test_next_sentences_are_read_from_every_view(corpus, encoder):
    sizes = {"train": 200, "dev": 60, "test": 100}
    rows = score_table(next_sentence_scores(encoder, corpus, SETTINGS, sizes=sizes))
    accuracy = rows[(rows["metric"] == "accuracy") & (rows["task"] == NEXT_SENTENCE)]
    assert set(accuracy["view"]) == {str(view) for view in encoder.views} - {"cls@0"}
    assert (accuracy["n"] == 100).all()
    by_view = accuracy.set_index("view")["value"]
    differences = rows[rows["metric"] == "accuracy_difference"].set_index("view")
    for pooling in ("pooler", "cls"):
        found = differences.loc[f"{pooling}@3 - mean@3"]
        assert found["value"] == pytest.approx(by_view[f"{pooling}@3"] - by_view["mean@3"])
        assert found["lower"] <= found["value"] <= found["upper"]


def test_what_tells_next_sentences_is_erased(corpus, encoder):
    sizes = {"train": 200, "dev": 60, "test": 100}
    erasers = next_sentence_erasers(encoder, corpus, SETTINGS, sizes=sizes)
    assert set(erasers) == {f"{method}:next-sentence" for method in METHODS}
    views = set(map(str, encoder.views)) - {"cls@0"}
    assert {view_id for by_view in erasers.values() for view_id in by_view} <= views
    assert {eraser.rank for eraser in erasers["leace:next-sentence"].values()} == {1}
    with pytest.raises(InputError, match="next-sentence is erased with the texts of a corpus"):
        Study(models=["minilm"], tasks=["sts-mini"], erase=["next-sentence"])


def test_no_document_of_train_or_dev_is_tested(corpus, encoder, monkeypatch):
    """The vectors of a pair say which document its first segment is of."""
    documents = held_out_documents(corpus, encoder.tokenizer, corpus)
    bounds = documents.sentence_starts[documents.document_starts]
    seen = {}

    def document_of(_encoder, _documents, pairs, _length):
        return {"mean@0": np.searchsorted(bounds, pairs.starts, side="right")}

    def fitted(vectors, labels, splits, **how):
        assert how == {"seed": 3, "device": "cpu"}
        seen.update({split: set(vectors["mean@0"][splits == split].ravel()) for split in SIZES})
        return fit_probes({"mean@3": vectors["mean@0"].astype(np.float32)}, labels, splits, **how)

    monkeypatch.setattr(next_sentence, "pair_vectors", document_of)
    monkeypatch.setattr(next_sentence, "fit_probes", fitted)
    sizes = {"train": 200, "dev": 60, "test": 100}
    next_sentence_scores(encoder, corpus, replace(SETTINGS, seed=3), sizes=sizes)
    assert seen["test"]
    assert not seen["test"] & (seen["train"] | seen["dev"])


def test_too_few_documents_for_either_side_are_refused(encoder, tmp_path):
    """Of the held-out documents every second one is tested; one sentence makes no pair."""
    lines = "\n".join(["the cat is big", "a dog sat", "the red mat"] * 4)
    for long, fault in (
        ({0, 1, 2}, "1 held-out documents of two or more sentences"),
        ({1, 2, 3}, "1 training documents of two or more sentences"),
    ):
        for place in range(4):
            text = "\n\n".join([lines if place in long else "the cat"] * N_DOCUMENTS)
            (tmp_path / f"s{place}.txt").write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=fault):
            next_sentence_scores(
                encoder, tmp_path, SETTINGS, sizes={"train": 20, "dev": 10, "test": 20}
            )


def test_both_segments_are_in_one_input(corpus, encoder):
    documents = held_out_documents(corpus, encoder.tokenizer, corpus)
    pairs = segment_pairs(documents, 4, 24, held_out=True)
    vectors = pair_vectors(encoder, documents, pairs, 24)
    spans = zip(pairs.starts[0], pairs.lengths[0], strict=True)
    first, second = (documents.tokens[start : start + size].tolist() for start, size in spans)
    tokenizer = encoder.tokenizer
    ids = [tokenizer.cls_token_id, *first, tokenizer.sep_token_id]
    kinds = [0] * len(ids) + [1] * (len(second) + 1)
    ids += [*second, tokenizer.sep_token_id]
    with torch.inference_mode():
        outputs = encoder.model(torch.tensor([ids]), token_type_ids=torch.tensor([kinds]))
    np.testing.assert_allclose(
        vectors["mean@3"][0], outputs.last_hidden_state[0].mean(dim=0), atol=1e-5
    )
    np.testing.assert_allclose(vectors["pooler@3"][0], outputs.pooler_output[0], atol=1e-5)


def test_no_corpus_is_refused(encoder, tmp_path):
    with pytest.raises(InputError, match=r"no NAME.txt or NAME.txt.xz"):
        next_sentence_scores(encoder, tmp_path, SETTINGS)


@pytest.fixture(scope="module")
def wide_corpus(tmp_path_factory):
    """Enough documents that each source has several which no encoder was trained on."""
    folder = tmp_path_factory.mktemp("wide")
    rng = np.random.default_rng(1)
    for source in range(4):
        documents = []
        for _ in range(600):
            topic, other = rng.choice(WORDS, size=2, replace=False)
            lines = (f"{topic} {other} {topic} {rng.choice(WORDS)}" for _ in range(8))
            documents.append("\n".join(lines))
        (folder / f"s{source}.txt").write_text("\n\n".join(documents), encoding="utf-8")
    return folder


def test_floors_of_next_sentences(wide_corpus, encoder):
    """What two sentences have in common tells a good part of it, and no encoder is needed."""
    sizes = {"train": 400, "dev": 100, "test": 400}
    rows = score_table(next_sentence_floors(encoder, wide_corpus, SETTINGS, sizes=sizes))
    found = rows[rows["metric"] == "accuracy"].set_index("model")["value"]
    assert set(found.index) == {"floor:majority", "floor:word-overlap"}
    assert 0.4 < found["floor:majority"] < 0.6
    assert found["floor:word-overlap"] > found["floor:majority"] + 0.05


def test_negatives_of_the_same_source(wide_corpus, encoder):
    documents = held_out_documents(wide_corpus, encoder.tokenizer, wide_corpus)
    sentences = np.diff(documents.document_starts)
    owner = np.repeat(
        np.repeat(documents.document_source, sentences), np.diff(documents.sentence_starts)
    )
    for same_source in (True, False):
        pairs = segment_pairs(documents, 60, 24, held_out=False, same_source=same_source)
        random = pairs.labels == 1
        same = owner[pairs.starts[random, 0]] == owner[pairs.starts[random, 1]]
        assert random.any()
        assert same.all() == same_source
