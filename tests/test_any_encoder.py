"""Any encoder is right or refused: the vectors are those of the model on that sentence alone."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from encoders import SENTENCES, try_architecture

from probing.claims.verdict import POOLER_STATES
from probing.encoding.behaviour import Batching
from probing.encoding.encoder import Encoder, PoolerState, load_encoder, random_twin
from probing.encoding.extraction import extract
from probing.errors import InputError
from probing.pretraining.vocabulary import encode_sentences
from tests.test_decoders import decoder

CASES = Path(__file__).resolve().parents[2] / "shared" / "cases"


@pytest.fixture
def case() -> Callable[[str], Path]:
    def folder(name: str) -> Path:
        if not CASES.is_dir():
            pytest.skip(f"{CASES} is not there: the small inputs that went wrong")
        return CASES / name

    return folder


def test_a_model_without_a_limit_takes_long_sentences(case: Callable[[str], Path]) -> None:
    encoder = load_encoder(case("xlnet") / "model")
    assert encoder.max_length > 512
    assert not encoder.has_cls  # its [CLS] is the last token


@pytest.mark.parametrize("name", ["fnet", "xlnet", "return-dict-false"])
def test_cases_with_expected_vectors(name: str, case: Callable[[str], Path]) -> None:
    encoder = load_encoder(case(name) / "model")
    sentences = (case(name) / "sentences.txt").read_text().splitlines()
    expected = np.load(case(name) / "expected_mean_last.npy")
    for batch_tokens in (None, 8):
        found = extract(encoder, sentences, batch_tokens=batch_tokens)["mean@3"]
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert (encoder.batching is Batching.ONE_LENGTH) == (name == "fnet")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("funnel", "hidden states of different shapes"),
        ("clip", "expected an encoder of text alone, such as BERT"),
    ],
)
def test_cases_that_are_refused(name: str, line: str, case: Callable[[str], Path]) -> None:
    with pytest.raises(InputError, match=line):
        load_encoder(case(name) / "model")


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("mobilebert-pooler", PoolerState.WITHOUT_WEIGHTS),
        ("cliptext", PoolerState.END_OF_TEXT),
        ("t5-encoder", PoolerState.ABSENT),
    ],
)
def test_poolers_are_called_what_they_are(
    name: str, state: PoolerState, case: Callable[[str], Path]
) -> None:
    encoder = load_encoder(case(name) / "model")
    assert encoder.pooler_state is state
    assert random_twin(encoder, 0).pooler_state is state
    vectors = extract(encoder, ["the cat", "a big dog"])
    if state is PoolerState.WITHOUT_WEIGHTS:
        np.testing.assert_array_equal(vectors["pooler@3"], vectors["cls@3"])
    if state is PoolerState.END_OF_TEXT:
        with torch.inference_mode():
            ids = encoder.tokenizer("the cat", return_tensors="pt")["input_ids"]
            tokens = encoder.model(input_ids=ids).last_hidden_state[0].numpy()
        assert np.abs(tokens - vectors["pooler@3"][0]).max(axis=1).min() < 1e-5


def test_every_state_of_a_pooler_has_its_sentence() -> None:
    assert set(POOLER_STATES) == {str(state) for state in PoolerState}


def test_a_sentence_without_tokens_and_half_a_surrogate_are_named(
    tmp_path: Path, tiny_encoder_folder: Callable[[str], Path]
) -> None:
    encoder = load_encoder(decoder("gpt2", tmp_path))
    encoder.tokenizer.backend_tokenizer.normalizer = _without_marks()
    with pytest.raises(InputError, match=r"sentence 1, .*, is no token to the tokenizer"):
        extract(encoder, ["the cat", "\u200b"])
    bert = load_encoder(tiny_encoder_folder("bert"))
    with pytest.raises(InputError, match=r"sentence 1, .*, holds half of a surrogate pair"):
        extract(bert, ["the cat", "a \ud800 b"])


def _without_marks() -> Any:
    from tokenizers import normalizers

    return normalizers.Replace("\u200b", "")


def test_what_was_tokenized_before_changes_nothing(
    tiny_encoder_folder: Callable[[str], Path],
) -> None:
    documents = [[["the cat sat on the mat.", "it is big."], ["dogs run.", "the small dog sat."]]]
    folder = tiny_encoder_folder("bert")

    def lengths(encoder: Encoder) -> list[int]:
        found = encode_sentences(encoder.tokenizer, documents[0])
        return [int(size) for _, sizes, _ in found for size in np.atleast_1d(sizes)]

    fresh, used = load_encoder(folder), load_encoder(folder, max_length=4)
    extract(used, ["the cat sat on the mat"])
    fresh.tokenizer.backend_tokenizer.enable_padding(length=32)
    assert lengths(fresh) == lengths(used)
    assert max(lengths(used)) > 4


class Mixing(torch.nn.Module):
    """A model whose vectors depend on their batch mates, on chance, or on neither."""

    def __init__(self, model: torch.nn.Module, how: str) -> None:
        super().__init__()
        self.inner, self.how = model, how
        self.config = model.config

    def get_input_embeddings(self) -> Any:
        return self.inner.get_input_embeddings()  # type: ignore[operator]

    def forward(self, input_ids: torch.Tensor, **options: Any) -> Any:
        outputs = self.inner(input_ids=input_ids, **options)
        if self.how == "batch":
            mixed = [h + 0.1 * h.mean(dim=0, keepdim=True) for h in outputs.hidden_states]
            outputs.hidden_states = tuple(mixed)
        if self.how == "chance":
            outputs.hidden_states = tuple(h + torch.rand(()) for h in outputs.hidden_states)
        return outputs


@pytest.mark.parametrize("how", ["batch", "chance"])
def test_an_encoder_that_mixes_a_batch_is_alone_and_one_of_chance_is_refused(
    how: str, tiny_encoder_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from probing.encoding import encoder as module

    load = module.load_model

    def mixing(checkpoint: Any) -> Any:
        model, missing = load(checkpoint)
        return Mixing(model, how), missing

    monkeypatch.setattr(module, "load_model", mixing)
    if how == "chance":
        with pytest.raises(InputError, match="other vectors for the same sentence each time"):
            load_encoder(tiny_encoder_folder("bert"))
        return
    encoder = load_encoder(tiny_encoder_folder("bert"))
    assert encoder.batching is Batching.ALONE
    together = extract(encoder, SENTENCES)
    for row, sentence in enumerate(SENTENCES):
        alone = extract(encoder, [sentence])
        for view in encoder.views:
            np.testing.assert_allclose(together[str(view)][row], alone[str(view)][0], atol=1e-6)


CHEAP = ("bert", "fnet", "xlnet", "t5", "mobilebert", "clip_text_model", "gpt2", "opt")


@pytest.mark.parametrize("name", CHEAP)
def test_architectures_are_right_or_refused(name: str, tmp_path: Path) -> None:
    found = try_architecture(name, tmp_path)
    assert found.outcome == "right", found


def test_layers_that_change_length_are_refused(
    tmp_path: Path, tiny_encoder_folder: Callable[[str], Path]
) -> None:
    config = transformers.FunnelConfig(
        vocab_size=99, block_sizes=[1, 1], d_model=16, n_head=2, d_head=8, d_inner=32
    )
    transformers.FunnelModel(config).save_pretrained(tmp_path)
    load_encoder(tiny_encoder_folder("bert")).tokenizer.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="hidden states of different shapes"):
        load_encoder(tmp_path)


def test_the_page_of_encoders_counts_what_it_lists() -> None:
    page = (Path(__file__).resolve().parents[1] / "docs" / "encoders.md").read_text()
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ")][1:]
    outcomes = [row[1] for row in rows]
    assert f"{outcomes.count('right')} right" in page
    assert outcomes.count("wrong") == 0
    assert outcomes.count("right") + outcomes.count("refused") >= 60


@pytest.mark.parametrize(
    "mode", ["cls", "mean", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
)
@pytest.mark.parametrize("normalised", [False, True])
def test_the_declared_view_is_what_sentence_transformers_encodes(
    mode: str, tmp_path: Path, tiny_encoder_folder: Callable[[str], Path], *, normalised: bool
) -> None:
    library = pytest.importorskip("sentence_transformers")
    from sentence_transformers.sentence_transformer import modules as models

    transformer = models.Transformer(str(tiny_encoder_folder("bert")), max_seq_length=20)
    pooling = models.Pooling(16, pooling_mode=mode)
    modules = [transformer, pooling, *([models.Normalize()] if normalised else [])]
    model = library.SentenceTransformer(modules=modules, device="cpu")
    model.save_pretrained(str(tmp_path))
    encoder = load_encoder(tmp_path)
    assert encoder.tuning is not None
    assert encoder.tuning.normalised == normalised
    sentences = [*SENTENCES, "the cat sat on the big red mat and " * 4]
    expected = model.encode(sentences, convert_to_numpy=True)
    found = extract(encoder, sentences)[str(encoder.declared_view)]
    if normalised:
        found = found / np.linalg.norm(found, axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_what_a_checkpoint_was_tuned_for_is_said() -> None:
    encoder = load_encoder("minilm")
    assert str(encoder.tuning) == "tuned with mean pooling, normalised, 256 tokens"
    assert encoder.declared_view == "mean@6"


def test_a_damaged_pooling_configuration_is_one_line(
    tmp_path: Path, tiny_encoder_folder: Callable[[str], Path]
) -> None:
    folder = Path(shutil.copytree(tiny_encoder_folder("bert"), tmp_path / "st"))
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {
            "idx": 1,
            "name": "1",
            "path": "1_Pooling",
            "type": "sentence_transformers.models.Pooling",
        },
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(InputError, match=r"1_Pooling/config\.json cannot be read"):
        load_encoder(folder)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode": "attention"}')
    with pytest.raises(InputError, match="names the pooling 'attention'"):
        load_encoder(folder)
