"""``probing extract`` and ``probing cache``, as typer runs them."""

import pytest
import typer
from typer.testing import CliRunner

from probing.commands.extract import cache_app, extract_command
from probing.encoding.encoder import load_encoder
from probing.encoding.extraction import extract
from probing.encoding.store.cache import cached_stores
from probing.encoding.store.shards import open_store
from probing.errors import InputError

SENTENCES = ["the cat sat", "a dog runs", "a dog runs", "the mat is red " * 20]


@pytest.fixture
def run():
    app = typer.Typer()
    app.command("extract")(extract_command)
    app.add_typer(cache_app, name="cache")

    def invoke(*arguments: object) -> str:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None:
            raise result.exception
        return result.output

    return invoke


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(SENTENCES))
    return path


def test_extract(run, corpus, tmp_path, tiny_encoder_folder):
    folder = tiny_encoder_folder("bert")
    out = tmp_path / "store"
    arguments = ("--model", folder, "--input", corpus, "--out", out, "--dtype", "float32")
    said = run("extract", *arguments, "--view", "mean@1", "--view", "cls@3", "--shard-sentences", 2)
    assert "4 sentences, 2 views, 1 sentences truncated" in said.replace("\n", "")
    stored = open_store(out)
    expected = extract(load_encoder(folder), SENTENCES)
    assert list(stored) == ["mean@1", "cls@3"]
    assert abs(stored["mean@1"] - expected["mean@1"]).max() < 1e-5


def test_options_of_the_other_engine(run, corpus, tmp_path, tiny_encoder_folder):
    arguments = ("--model", tiny_encoder_folder("bert"), "--input", corpus, "--out", tmp_path / "s")
    with pytest.raises(InputError, match="are for --engine ray"):
        run("extract", *arguments, "--workers", 2)
    with pytest.raises(InputError, match="chosen by the workers"):
        run("extract", *arguments, "--engine", "ray", "--device", "cpu")
    assert not (tmp_path / "s").exists()


def test_cache(run, tmp_path, tiny_encoder_folder, monkeypatch):
    monkeypatch.setenv("PROBING_CACHE", str(tmp_path / "cache"))
    assert "0 stores, 0 B" in run("cache", "size").replace("\n", "")
    encoder = load_encoder(tiny_encoder_folder("bert"))
    extract(encoder, SENTENCES, cache_dir=tmp_path / "cache")
    listed = run("cache", "list")
    assert "3 sentences, 18 views" in listed
    assert "kB" in listed
    assert "1 stores" in run("cache", "size").replace("\n", "")
    assert "freed" in run("cache", "clear")
    assert cached_stores(tmp_path / "cache") == []
