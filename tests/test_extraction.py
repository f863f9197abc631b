"""Views against the outputs of transformers, for every family."""

import logging
from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings

from probing.encoding.encoder import load_encoder, random_twin
from probing.encoding.extraction import extract, raw_outputs
from probing.encoding.pooler_state import PoolerState
from probing.encoding.sharing import SharedExtraction, body_among
from probing.encoding.store.shards import read_manifest
from probing.errors import InputError
from probing.tasks import load_task
from tests.conftest import FAMILIES, FAMILIES_WITH_POOLER, HIDDEN_SIZE, MAX_LENGTH

SENTENCES = (
    "the cat sat",
    "a dog runs on the mat, unlikely!",
    "big",
    "the small red dog is not a cat",
    "the cat sat",
    "cats and dogs",
)
WORDS = st.sampled_from(["the", "cat", "runs", "unlikely", "dogs", "?", "zebra", "a", "not"])
SENTENCE = st.lists(WORDS, min_size=1, max_size=12).map(" ".join)


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture
def encoder(family, tiny_encoder_folder):
    return load_encoder(tiny_encoder_folder(family))


def _outputs(folder, sentences):
    """What transformers gives for sentences padded together, and its two masks."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    inputs = tokenizer(
        list(sentences), return_tensors="pt", padding=True, return_special_tokens_mask=True
    )
    special = inputs.pop("special_tokens_mask").bool()
    inputs.pop("token_type_ids", None)
    with torch.inference_mode():
        outputs = model(**inputs, output_hidden_states=True)
    attention_mask = inputs["attention_mask"].bool()
    return model, outputs, attention_mask, attention_mask & ~special


def test_every_layer_under_every_pooling(family, encoder, tiny_encoder_folder):
    _, outputs, attention_mask, word_mask = _outputs(tiny_encoder_folder(family), SENTENCES)
    representations = extract(encoder, SENTENCES)
    assert len(outputs.hidden_states) == encoder.num_layers + 1
    for layer, hidden in enumerate(outputs.hidden_states):
        for row in range(len(SENTENCES)):
            tokens = hidden[row, attention_mask[row]]
            expected = {
                "cls": tokens[0],
                "mean": tokens.mean(dim=0),
                "mean_words": hidden[row, word_mask[row]].mean(dim=0),
                "max": tokens.amax(dim=0),
            }
            for pooling, vector in expected.items():
                found = representations[f"{pooling}@{layer}"][row]
                np.testing.assert_allclose(found, vector.numpy(), rtol=0, atol=1e-5)


def test_last_layer_is_last_hidden_state(family, encoder, tiny_encoder_folder):
    """ModernBERT and others normalise after their last block: the last layer is what comes out."""
    _, outputs, _, _ = _outputs(tiny_encoder_folder(family), SENTENCES)
    last = extract(encoder, SENTENCES)[f"cls@{encoder.num_layers}"]
    np.testing.assert_allclose(last, outputs.last_hidden_state[:, 0].numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("with_pooler", FAMILIES_WITH_POOLER)
def test_pooler_is_tanh_of_its_dense_layer(with_pooler, tiny_encoder_folder):
    folder = tiny_encoder_folder(with_pooler)
    model, outputs, _, _ = _outputs(folder, SENTENCES)
    representations = extract(load_encoder(folder), SENTENCES)
    dense = getattr(model.pooler, "dense", model.pooler)
    with torch.inference_mode():
        before_tanh = dense(outputs.last_hidden_state[:, 0])
    np.testing.assert_allclose(
        representations["pooler_dense@3"], before_tanh.numpy(), rtol=0, atol=1e-5
    )
    np.testing.assert_allclose(
        representations["pooler@3"], outputs.pooler_output.numpy(), rtol=0, atol=1e-5
    )
    np.testing.assert_allclose(
        representations["pooler@3"], np.tanh(representations["pooler_dense@3"]), rtol=0, atol=1e-6
    )
    assert representations["pooler@3"].std() > 0.05  # not a constant that agrees by accident


def test_pooler_views_exist_exactly_where_there_is_a_pooler(family, encoder):
    has_pooler = family in FAMILIES_WITH_POOLER
    assert encoder.pooler_state is (PoolerState.TRAINED if has_pooler else PoolerState.ABSENT)
    representations = extract(encoder, SENTENCES)
    assert list(representations) == [str(view) for view in encoder.views]
    assert ("pooler@3" in representations) is has_pooler
    assert ("pooler_dense@3" in representations) is has_pooler
    assert len(representations) == 4 * 4 + 2 * has_pooler
    for view_id in representations:
        assert representations[view_id].shape == (len(SENTENCES), HIDDEN_SIZE)
        assert representations[view_id].dtype == np.float32
    if not has_pooler:
        with pytest.raises(InputError, match="no view 'pooler@3'"):
            representations["pooler@3"]


@settings(max_examples=8, deadline=None)
@given(sentences=st.lists(SENTENCE, min_size=1, max_size=8), batch_tokens=st.integers(1, 200))
@pytest.mark.parametrize("one_family", FAMILIES)
def test_batch_composition_moves_no_vector(
    one_family, tiny_encoder_folder, sentences, batch_tokens
):
    encoder = load_encoder(tiny_encoder_folder(one_family))
    together = extract(encoder, sentences, batch_tokens=batch_tokens)
    for row, sentence in enumerate(sentences):
        alone = extract(encoder, [sentence])
        for view_id in together:
            np.testing.assert_allclose(
                together[view_id][row], alone[view_id][0], rtol=0, atol=1e-5, err_msg=view_id
            )


@settings(max_examples=15, deadline=None)
@given(data=st.data(), sentences=st.lists(SENTENCE, min_size=1, max_size=8))
def test_order_of_sentences_is_order_of_rows(tiny_encoder_folder, data, sentences):
    encoder = load_encoder(tiny_encoder_folder("bert"))
    order = data.draw(st.permutations(range(len(sentences))))
    straight = extract(encoder, sentences)
    permuted = extract(encoder, [sentences[position] for position in order])
    for view_id in straight:
        np.testing.assert_allclose(
            permuted[view_id], straight[view_id][order], rtol=0, atol=1e-5, err_msg=view_id
        )


def test_repeated_sentences_are_encoded_once(tiny_encoder_folder):
    encoder = load_encoder(tiny_encoder_folder("bert"))
    seen = 0

    def count(_module, _args, kwargs):
        nonlocal seen
        seen += len(kwargs["input_ids"])

    encoder.model.register_forward_pre_hook(count, with_kwargs=True)
    representations = extract(encoder, ["a cat", "a dog", "a cat", "a cat"])
    assert seen == 2
    vectors = representations["mean@2"]
    assert (vectors[0] == vectors[2]).all()
    assert (vectors[0] == vectors[3]).all()
    assert not np.allclose(vectors[0], vectors[1])


def test_long_sentences_are_truncated_counted_and_reported(tiny_encoder_folder, caplog):
    encoder = load_encoder(tiny_encoder_folder("bert"))
    long = "the cat " * 100
    with caplog.at_level(logging.WARNING):
        representations = extract(encoder, [long, "a cat", long])
    assert representations.n_truncated == 2
    assert f"2 of 3 sentences are longer than {MAX_LENGTH} tokens" in caplog.text
    exact = "the cat " * (MAX_LENGTH // 2 - 1)
    np.testing.assert_array_equal(
        representations["mean@1"][0], extract(encoder, [exact])["mean@1"][0]
    )
    assert extract(encoder, [exact]).n_truncated == 0


@pytest.mark.parametrize(
    ("sentences", "message"),
    [
        ([], "at least one sentence"),
        ("a cat", "list of at least one sentence"),
        ({"a cat", "a dog"}, "list of at least one sentence"),
        (None, "list of at least one sentence"),
        (["a cat", "  "], "sentence 1 is '  '"),
        (["a cat", None], "sentence 1 is None"),
    ],
)
def test_bad_sentences(tiny_encoder_folder, sentences, message):
    encoder = load_encoder(tiny_encoder_folder("bert"))
    for call in (extract, raw_outputs):
        with pytest.raises(InputError, match=message):
            call(encoder, sentences)


def test_composite_view_is_the_average_of_its_layers(tiny_encoder_folder):
    representations = extract(load_encoder(tiny_encoder_folder("bert")), SENTENCES)
    np.testing.assert_allclose(
        representations["mean@1+3"],
        (representations["mean@1"] + representations["mean@3"]) / 2,
        atol=1e-6,
    )
    with pytest.raises(InputError, match="not defined from pooled vectors"):
        representations["max@1+3"]
    with pytest.raises(InputError, match="no view 'mean@9'"):
        representations["mean@9"]


def test_raw_outputs_are_those_of_transformers(family, encoder, tiny_encoder_folder):
    _, outputs, attention_mask, _ = _outputs(tiny_encoder_folder(family), SENTENCES)
    raw = raw_outputs(encoder, SENTENCES)
    assert (raw.attention_mask == attention_mask).all()
    real = attention_mask[:, :, None]
    torch.testing.assert_close(
        raw.last_hidden_state * real, outputs.last_hidden_state * real, rtol=0, atol=1e-5
    )
    for found, expected in zip(raw.hidden_states, outputs.hidden_states, strict=True):
        torch.testing.assert_close(found * real, expected * real, rtol=0, atol=1e-5)
    assert len(raw.attentions) == encoder.num_layers
    for attention in raw.attentions:
        n_tokens = attention_mask.shape[1]
        assert attention.shape == (len(SENTENCES), 2, n_tokens, n_tokens)
        sums = attention.sum(dim=-1).transpose(1, 2)[attention_mask]
        torch.testing.assert_close(sums, torch.ones_like(sums), rtol=0, atol=1e-5)
    assert [len(tokens) for tokens in raw.tokens] == attention_mask.sum(dim=1).tolist()
    assert raw.tokens[0][0] == encoder.tokenizer.cls_token
    assert raw.tokens[0][-1] == encoder.tokenizer.sep_token
    if family in FAMILIES_WITH_POOLER:
        torch.testing.assert_close(raw.pooler_output, outputs.pooler_output, rtol=0, atol=1e-5)
    else:
        assert raw.pooler_output is None


def test_random_twin_has_other_vectors_of_the_same_views(encoder):
    twin = random_twin(encoder, seed=1)
    original = extract(encoder, SENTENCES)
    control = extract(twin, SENTENCES)
    again = extract(random_twin(encoder, seed=1), SENTENCES)
    assert list(control) == list(original)
    for view_id in original:
        assert not np.allclose(control[view_id], original[view_id], atol=1e-3), view_id
        np.testing.assert_array_equal(control[view_id], again[view_id])


def test_no_bit_depends_on_the_number_of_threads(encoder):
    words = ("cat", "dog", "mat", "runs", "not")
    sentences = [f"the {words[i % 5]} {words[i // 5 % 5]}" + " big" * (i // 25) for i in range(200)]
    before = torch.get_num_threads()
    found = []
    try:
        for n_threads in (1, 2, 3):
            torch.set_num_threads(n_threads)
            found.append(extract(encoder, sentences, batch_tokens=32))
            assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(before)
    for one in found[1:]:
        for view_id in one:
            assert np.array_equal(one[view_id], found[0][view_id], equal_nan=True)


def test_what_tasks_share_is_encoded_once(tiny_encoder_folder, tmp_path):
    encoder = load_encoder(str(tiny_encoder_folder("bert")), max_length=8)
    long = " ".join(["cat"] * 20)
    for cache_dir in (None, tmp_path):
        shared = SharedExtraction(encoder, cache_dir)
        shared(["a cat", "a dog", long])
        asked = ["a bird", long, "a dog", "a dog"]
        found, alone = shared(asked), extract(encoder, asked)
        assert list(found) == list(alone)
        for view_id in alone:
            np.testing.assert_allclose(found[view_id], alone[view_id], atol=1e-5)
            assert len(found.distinct[view_id]) == 3
        assert found.n_truncated == alone.n_truncated == 1
    stored = [read_manifest(folder) for folder in tmp_path.iterdir()]
    assert sorted(manifest["n_sentences"] for manifest in stored if manifest) == [1, 3]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_encoders_that_differ_in_their_pooler_share_what_the_body_makes(
    tiny_encoder_folder, tmp_path, dtype
):
    one, other = (load_encoder(tiny_encoder_folder("bert"), dtype=dtype) for _ in range(2))
    with torch.no_grad():
        other.model.pooler.dense.weight.neg_()
    other = replace(other, name="other", weight_hash="another")
    body = SharedExtraction(one, tmp_path)
    assert body_among([body], other) is body
    shared = SharedExtraction(other, tmp_path, body=body)
    asked = [*SENTENCES, SENTENCES[0]]
    body(SENTENCES[:1])
    found, alone = shared(asked), extract(other, asked)
    assert list(found) == list(alone)
    tolerance = 1e-5 if dtype == "float32" else 5e-2  # other batches are rounded otherwise
    for view_id in alone:
        np.testing.assert_allclose(found[view_id], alone[view_id], atol=tolerance)
    assert not np.allclose(
        found[f"pooler@{one.num_layers}"], body(asked)[f"pooler@{one.num_layers}"]
    )
    assert found.n_truncated == alone.n_truncated
    assert len(list(tmp_path.iterdir())) == 2  # of what was asked of the body, and of the rest


def test_another_body_lends_nothing(tiny_encoder_folder):
    folder = tiny_encoder_folder("bert")
    encoder, moved = load_encoder(folder), load_encoder(folder)
    with torch.no_grad():
        moved.model.embeddings.word_embeddings.weight[0, 0] += 1
    others = [
        moved,
        random_twin(encoder, seed=0),
        load_encoder(folder, max_length=8),
        load_encoder(folder, dtype="bfloat16"),
        replace(encoder, poolings={"every_second": lambda hidden, _: hidden[:, 0]}),
        load_encoder(tiny_encoder_folder("electra")),
        load_encoder(tiny_encoder_folder("albert")),
    ]
    for other in others:
        assert body_among([SharedExtraction(encoder, None)], other) is None


def test_bfloat16_in_every_family(family, encoder, tiny_encoder_folder):
    rough = load_encoder(tiny_encoder_folder(family), dtype="bfloat16")
    found, exact = extract(rough, SENTENCES), extract(encoder, SENTENCES)
    for view_id in exact:
        error = np.abs(found[view_id] - exact[view_id]).max()
        assert error < 0.05 * np.abs(exact[view_id]).max(), view_id
    if family not in ("albert", "electra"):  # a product maps their embeddings to the hidden size
        np.testing.assert_array_equal(found["cls@0"], exact["cls@0"])
    inside = raw_outputs(rough, SENTENCES[:1]).last_hidden_state[:, 0].numpy()
    np.testing.assert_allclose(inside, found[f"cls@{rough.num_layers}"][:1], rtol=0, atol=0.05)


@pytest.mark.real
def test_bfloat16_keeps_what_tells_sentences_apart():
    """Layer 3 of minilm: its ``[CLS]`` vectors differ by less than bfloat16 can hold of them."""
    task = load_task("sts-mini")
    sentences = list(task.sentences1[:60])
    exact = extract(load_encoder("minilm"), sentences)
    rough = extract(load_encoder("minilm", dtype="bfloat16"), sentences)
    for view_id in exact:
        spread = np.linalg.norm(exact[view_id] - exact[view_id].mean(axis=0))
        assert np.linalg.norm(rough[view_id] - exact[view_id]) < 0.2 * spread, view_id
