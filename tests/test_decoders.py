"""Decoders as encoders: their tokenizers' quirks, the last token, and what is claimed of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from encoders import SENTENCES
from tokenizers import processors

import probing
from probing.encoding.behaviour import Batching
from probing.encoding.encoder import Encoder, load_encoder
from probing.encoding.extraction import extract
from probing.encoding.pooler_state import PoolerState
from tests.conftest import build_byte_bpe, build_sentencepiece_bpe, build_tiny_decoder
from tests.test_study import HEADER, ROWS, write_data

END = "<|endoftext|>"
CHAT = (END, "<|im_start|>", "<|im_end|>")


def _appends(tokenizer: Any, template: str, token: str) -> Any:
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[(token, tokenizer.convert_tokens_to_ids(token))]
    )
    return tokenizer


def _gpt2(**options: bool) -> Any:
    return transformers.GPT2Tokenizer(**build_byte_bpe(END), **options)


def _llama2() -> Any:
    tokenizer = transformers.LlamaTokenizer(**build_sentencepiece_bpe())
    return _appends(tokenizer, "<s> $A", "<s>")


def _llama3() -> Any:
    start = "<|begin_of_text|>"
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=_gpt2().backend_tokenizer, bos_token=start, eos_token=END
    )
    return _appends(tokenizer, f"{start} $A", start)


def _qwen3() -> Any:
    return transformers.Qwen2Tokenizer(
        **build_byte_bpe(*CHAT), eos_token=CHAT[-1], padding_side="left"
    )


TOKENIZERS: dict[str, tuple[Callable[[], Any], type, str, str]] = {
    # no padding token, nothing before or after a sentence
    "gpt2": (_gpt2, transformers.GPT2Config, "", ""),
    "gpt2-space": (lambda: _gpt2(add_prefix_space=True), transformers.GPT2Config, "", ""),
    # pieces with a mark for the space, bytes for what is unknown, a start, padded on the left
    "llama-2": (_llama2, transformers.LlamaConfig, "<s>", ""),
    "llama-3": (_llama3, transformers.LlamaConfig, "<|begin_of_text|>", ""),
    # a padding token of its own and no start; that of Qwen3-Embedding ends a sentence with it
    "qwen3": (_qwen3, transformers.Qwen3Config, "", ""),
    "qwen3-embedding": (
        lambda: _appends(_qwen3(), f"$A {END}", END),
        transformers.Qwen3Config,
        "",
        END,
    ),
    # one token for start, end and unknown; the model has more rows than there are tokens
    "gpt-neox": (
        lambda: transformers.GPTNeoXTokenizer(**build_byte_bpe(END), pad_token=None),
        transformers.GPTNeoXConfig,
        "",
        "",
    ),
}


def decoder(name: str, folder: Path) -> Path:
    """A tiny decoder with a tokenizer built as the real one of that name is."""
    make, config_class, _, _ = TOKENIZERS[name]
    return build_tiny_decoder(make(), config_class, folder)


@torch.inference_mode()
def by_hand(encoder: Encoder, ids: list[int], side: str = "right", padding: int = 0) -> Any:
    """``(n_layers + 1, tokens, hidden_size)``: the model on one sentence, padded on a side."""
    pad, kept = [encoder.tokenizer.pad_token_id] * padding, [1] * len(ids)
    row = pad + ids if side == "left" else ids + pad
    mask = [0] * padding + kept if side == "left" else kept + [0] * padding
    positions = np.clip(np.cumsum(mask) - 1, 0, None)
    outputs = encoder.model(
        input_ids=torch.tensor([row]),
        attention_mask=torch.tensor([mask]),
        position_ids=torch.from_numpy(positions)[None],
        output_hidden_states=True,
    )
    tokens = torch.stack(outputs.hidden_states)[:, 0]
    return tokens[:, torch.tensor(mask, dtype=torch.bool)]


@pytest.mark.parametrize("name", TOKENIZERS)
def test_the_last_token_by_hand_padded_on_either_side(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = decoder(name, tmp_path)
    encoder = load_encoder(folder)
    assert encoder.is_causal
    assert encoder.batching is Batching.PADDED
    assert encoder.pooler_state is PoolerState.ABSENT
    assert caplog.text.count("so there is no cls") == 1
    assert f"batches are filled up with {encoder.tokenizer.pad_token}" in caplog.text
    assert {v.pooling for v in encoder.views} == {"mean", "mean_words", "max", "last", "wmean"}
    # the ids come from a tokenizer that this package has not touched
    own = transformers.AutoTokenizer.from_pretrained(folder)
    start, end = TOKENIZERS[name][2:]
    vectors = extract(encoder, SENTENCES)
    for row, sentence in enumerate(SENTENCES):
        ids = own(sentence)["input_ids"]
        words = own.convert_ids_to_tokens(ids)
        assert (words[0] == start) == bool(start)
        assert (words[-1] == end) == bool(end)
        for side, padding in (("right", 0), ("right", 3), ("left", 3)):
            tokens = by_hand(encoder, ids, side, padding)
            weights = torch.arange(1.0, tokens.shape[1] + 1)
            inner = tokens[:, bool(start) : len(ids) - bool(end)]
            expected = {
                "last": tokens[:, -1],
                "mean": tokens.mean(dim=1),
                "mean_words": inner.mean(dim=1),
                "wmean": (tokens * weights[:, None]).sum(dim=1) / weights.sum(),
            }
            for pooling, values in expected.items():
                for layer, vector in enumerate(values):
                    found = vectors[f"{pooling}@{layer}"][row]
                    np.testing.assert_allclose(found, vector, atol=2e-5, rtol=1e-4)


@pytest.fixture
def data(tmp_path: Path) -> str:
    rows = [*ROWS, *(row.replace("test", "dev", 1) for row in ROWS)]
    return str(write_data(tmp_path / "data", "\n".join([HEADER, *rows]) + "\n"))


def test_claims_about_decoders_are_decided_only_of_decoders(
    tmp_path: Path, data: str, tiny_encoder_folder: Callable[[str], Path]
) -> None:
    model = str(decoder("gpt2", tmp_path / "gpt2"))
    # this one has a view of the last token too, and is no decoder
    bert = str(tuned_with("lasttoken", tiny_encoder_folder("bert"), tmp_path / "bert"))
    study = probing.Study([model, bert], ["stsb"], data_dir=data, n_resamples=50)
    run = study.run(tmp_path / "run")
    decided = {one: {f.claim: f.view for f in run.verdict(one).by_task} for one in study.models}
    assert decided[model].keys() == {"C4", "D1", "D2"}
    assert decided[model]["D1"] == "last@3 - mean@3"
    chosen = run.scores[run.scores["metric"].eq("selection_spearman")]
    of_last = chosen[(chosen["model"] == model) & (chosen["pooling"] == "last")]
    assert len(of_last) == 4
    earlier = of_last[of_last["layer"] < 3]
    best = int(earlier.loc[earlier["value"].idxmax(), "layer"])
    assert decided[model]["D2"] == f"last@3 - last@{best}"
    assert not {"D1", "D2"} & decided[bert].keys()
    assert "last@3" in set(run.scores.loc[run.scores["model"] == bert, "view"])
    words = run.words(model, width=1000)
    assert "the last token of layer 3 is" in words
    assert "(D1" not in run.words(bert, width=1000)
    assert run.words(bert, width=1000).count("last@3 is the view that this encoder was tuned") == 1


def tuned_with(mode: str, base: Path, folder: Path) -> Path:
    """A sentence-transformers folder of a tiny encoder."""
    library = pytest.importorskip("sentence_transformers")
    from sentence_transformers.sentence_transformer import modules

    parts = [modules.Transformer(str(base)), modules.Pooling(16, pooling_mode=mode)]
    library.SentenceTransformer(modules=parts, device="cpu").save_pretrained(str(folder))
    return folder


def test_the_declared_view_is_marked_wherever_it_is_shown(
    tmp_path: Path,
    data: str,
    tiny_encoder_folder: Callable[[str], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    from probing.commands.run import _show

    model = str(tuned_with("cls", tiny_encoder_folder("bert"), tmp_path / "bert"))
    study = probing.Study([model], ["stsb"], data_dir=data, n_resamples=50)
    run = study.run(tmp_path / "run")
    assert run.declared_view() == "cls@3"
    page = run.report().with_suffix(".md").read_text()
    assert page.count("| cls@3 † |") == 1
    assert "tuned with cls pooling: its own view is cls@3" in page
    assert (
        "cls@3 is the view that this encoder was tuned for; C2, C3 compare it with others" in page
    )
    _show(run, study, run.folder / "report.html", tables=True)
    shown = capsys.readouterr().out
    assert "cls@3 †" in shown
    (row,) = run.summary().table.rows
    assert row[3].text.endswith("†")
