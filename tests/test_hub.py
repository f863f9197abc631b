"""The Hub rehearsed: what is fetched, what is kept, and one true line for all that goes wrong."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.utils._http import close_session
from safetensors.torch import load_file, save

from probing.encoding import locating
from probing.encoding.encoder import load_encoder
from probing.errors import InputError
from probing.sources import fetching, hub_errors, repositories
from probing.sources.declarations import MODELS
from probing.sources.repositories import find_repository
from tests.hub_stand_in import StandIn, commit_of, point_at

COMMIT = commit_of("first")


@pytest.fixture
def tiny(tiny_encoder_folder: Callable[[str], Path]) -> Callable[[str], dict[str, bytes]]:
    """The files of a tiny encoder."""

    def files(family: str) -> dict[str, bytes]:
        folder = tiny_encoder_folder(family)
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    return files


def legacy(files: dict[str, bytes], folder: Path) -> dict[str, bytes]:
    """The weights as in google-bert/bert-base-uncased: gamma, beta, a prefix and two heads."""
    weights = load_file(folder / "model.safetensors")
    renamed = {
        "bert."
        + key.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): value
        for key, value in weights.items()
    }
    vocabulary, width = weights["embeddings.word_embeddings.weight"].shape
    renamed |= {
        "cls.predictions.bias": torch.zeros(vocabulary),
        "cls.seq_relationship.weight": torch.zeros(2, width),
        "cls.seq_relationship.bias": torch.zeros(2),
    }
    config = json.loads(files["config.json"]) | {"architectures": ["BertForMaskedLM"]}
    return {
        **files,
        "config.json": json.dumps(config).encode(),
        "model.safetensors": save(renamed, {"format": "pt"}),
        "pytorch_model.bin": b"never fetched",
        "tf_model.h5": b"never fetched",
        "flax_model.msgpack": b"never fetched",
        "rust_model.ot": b"never fetched",
        "model.onnx": b"never fetched",
        "model.fp16.safetensors": b"never fetched",
        "coreml/config.json": b"never fetched",
        "unigram.json": b"never fetched",
        "onnx/model.safetensors": b"never fetched",
        "README.md": b"never fetched",
        "LICENSE": b"never fetched",
    }


def test_only_what_is_needed_is_fetched_and_then_nothing_is_asked_for(
    hub: StandIn,
    tiny: Callable[[str], dict[str, bytes]],
    tiny_encoder_folder: Callable[[str], Path],
) -> None:
    files = tiny("bert")
    hub.add("model", "some/bert", legacy(files, tiny_encoder_folder("bert")), commit=COMMIT)
    encoder = load_encoder("some/bert", COMMIT)
    assert encoder.revision == COMMIT
    wanted = [name for name in files if name not in ("README.md",)]
    assert hub.files_asked() == sorted(wanted)
    assert hub.asked[0] == f"GET /api/models/some/bert/revision/{COMMIT}?blobs=true"
    assert len(hub.asked) == 1 + len(wanted)
    hub.asked.clear()
    hub.always = 500
    again = load_encoder("some/bert", COMMIT)
    assert hub.asked == []
    assert again.weight_hash == encoder.weight_hash
    local = load_encoder(tiny_encoder_folder("bert"))
    for key, value in local.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[key]), key


def test_a_branch_is_looked_up_once_and_served_from_the_cache_where_the_hub_fails(
    hub: StandIn, tiny: Callable[[str], dict[str, bytes]]
) -> None:
    hub.add("model", "some/bert", tiny("bert"), commit=COMMIT)
    assert load_encoder("some/bert").revision == COMMIT
    for status in (429, 500, 503):
        hub.always = status
        assert load_encoder("some/bert").revision == COMMIT
    hub.always = None
    hub.asked.clear()
    load_encoder("some/bert")
    assert hub.asked == ["GET /api/models/some/bert?blobs=true"]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_failure_is_repeated(
    hub: StandIn, tiny: Callable[[str], dict[str, bytes]], status: int
) -> None:
    hub.add("model", "some/bert", tiny("bert"), commit=COMMIT)
    hub.statuses = [status, 200, status]
    assert load_encoder("some/bert").revision == COMMIT


def test_every_refusal_has_its_own_line(
    hub: StandIn, tiny: Callable[[str], dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("model", "some/bert", tiny("bert"), commit=COMMIT)
    hub.add("model", "some/gated", tiny("bert"), commit=COMMIT).gated = True
    hub.add("model", "some/private", tiny("bert"), commit=COMMIT).token = "mine"  # noqa: S105
    lines = {}
    for case, (name, revision) in {
        "missing": ("some/missing", None),
        "private": ("some/private", None),
        "gated": ("some/gated", None),
        "revision": ("some/bert", "no-such-branch"),
    }.items():
        with pytest.raises(InputError) as caught:
            load_encoder(name, revision)
        lines[case] = str(caught.value)
    monkeypatch.setenv("HF_TOKEN", "wrong")
    with pytest.raises(InputError) as caught:
        load_encoder("some/other")
    lines["token"] = str(caught.value)
    monkeypatch.setenv("HF_TOKEN", "mine")
    assert load_encoder("some/private").revision == COMMIT
    assert "was not found on the Hub, or is private" in lines["missing"]
    assert "was not found on the Hub, or is private" in lines["private"]
    assert "is gated: accept its terms at" in lines["gated"]
    assert "has no revision 'no-such-branch'" in lines["revision"]
    assert "refuses the token" in lines["token"]
    assert not any("\n" in line for line in lines.values())


def test_every_way_not_to_reach_the_hub_has_its_own_line(
    hub: StandIn,
    tiny: Callable[[str], dict[str, bytes]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub.add("model", "some/bert", tiny("bert"), commit=COMMIT)

    def line() -> str:
        with pytest.raises(InputError) as caught:
            load_encoder("some/bert", COMMIT)
        return str(caught.value)

    hub.html = True
    assert "login page" in line()
    hub.html, hub.circle = False, True
    assert "redirects in a circle" in line()
    hub.circle, hub.always = False, 429
    assert "asks to wait (429" in line()
    hub.always = 503
    assert "is failing (503)" in line()
    hub.always = None
    point_at("http://127.0.0.1:9", tmp_path / "hub-cache", monkeypatch)
    assert "cannot be reached: connect to the network" in line()
    point_at("no-address", tmp_path / "hub-cache", monkeypatch)
    assert "which is not an address" in line()
    (tmp_path / "file").write_text("in the way")
    point_at(hub.url, tmp_path / "file" / "cache", monkeypatch)
    assert "cannot be kept in" in line()
    point_at(hub.url, tmp_path / "hub-cache", monkeypatch)
    assert load_encoder("some/bert", COMMIT).revision == COMMIT


@pytest.mark.parametrize(
    ("endpoint", "variable", "proxy", "told"),
    [
        ("http://hub.invalid", "HTTP_PROXY", "http://me:secret@127.0.0.1:9", "does not answer"),
        ("https://hub.invalid", "HTTPS_PROXY", "{hub}", "does not pass the request on"),
        ("http://hub.invalid", "ALL_PROXY", "ftp://127.0.0.1:9", "cannot be used"),
        ("http://[::1", "NO_PROXY", "", "HF_ENDPOINT is 'http://[::1', which is not an address"),
        ("http://a b", "NO_PROXY", "", "HF_ENDPOINT is 'http://a b', which is not an address"),
        ("https://hub:port", "NO_PROXY", "", "which is not an address: expected https://"),
        ("htp://hub", "NO_PROXY", "", "which is not an address: expected https://"),
        ("", "NO_PROXY", "", "HF_ENDPOINT is '', which is not an address: expected https://"),
    ],
)
def test_proxies_and_addresses_that_do_not_work(
    endpoint: str,
    variable: str,
    proxy: str,
    told: str,
    hub: StandIn,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    point_at(endpoint, tmp_path / "hub-cache", monkeypatch)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        for spelt in (name, name.lower()):
            monkeypatch.delenv(spelt, raising=False)
    monkeypatch.setenv(variable, proxy.format(hub=hub.url))
    close_session()  # the client looks for a proxy when it is made
    try:
        with pytest.raises(InputError) as caught:
            load_encoder("some/bert")
    finally:
        close_session()
    line = str(caught.value)
    assert told in line
    assert variable in line or variable == "NO_PROXY"
    assert "secret" not in line
    assert "\n" not in line


def test_a_slow_hub_is_waited_for_and_then_told(
    hub: StandIn, tiny: Callable[[str], dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("model", "some/bert", tiny("bert"), commit=COMMIT)
    for module in (repositories, fetching):
        monkeypatch.setattr(module, "REQUEST_SECONDS", 0.3)
    hub.delay = 0.05
    assert load_encoder("some/bert", COMMIT).revision == COMMIT
    hub.delay = 0.9
    with pytest.raises(InputError, match="did not answer in time: try again later"):
        load_encoder("some/bert", commit_of("other"))
    # a file that does not come in time is asked for again, and then given up
    hub.delay = 0.0
    hub.add("model", "some/other", tiny("bert"), commit=COMMIT)
    find_repository(hub_errors.Place("model", "some/other", COMMIT))
    hub.delay = 0.9
    with pytest.raises(InputError, match=r"did not answer in time|stops at 0 of"):
        load_encoder("some/other", COMMIT)


def test_a_full_disk_is_one_line(
    hub: StandIn, tiny: Callable[[str], dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("model", "some/bert", tiny("bert"), commit=COMMIT)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fetching, "_one_transfer", full)
    with pytest.raises(InputError, match=r"cannot be kept in .* \(the disk is full\)"):
        load_encoder("some/bert", COMMIT)


def test_a_transfer_that_breaks_goes_on_where_it_stopped(
    hub: StandIn, tiny: Callable[[str], dict[str, bytes]]
) -> None:
    files = tiny("bert")
    hub.add("model", "some/bert", files, commit=COMMIT)
    hub.cut_after = [1000] * 10
    load_encoder("some/bert", COMMIT)
    for name in hub.files_asked():
        assert hub.sent[name] == len(files[name]), name


@pytest.mark.slow
def test_200_mib_over_a_connection_that_breaks_ten_times(
    hub: StandIn,
    tiny: Callable[[str], dict[str, bytes]],
    tiny_encoder_folder: Callable[[str], Path],
) -> None:
    files = tiny("bert")
    weights = load_file(tiny_encoder_folder("bert") / "model.safetensors")
    weights["cls.large"] = torch.zeros(200 << 18)  # 200 MiB of float32
    files["model.safetensors"] = save(weights, {"format": "pt"})
    hub.add("model", "some/large", files, commit=COMMIT)
    size = len(files["model.safetensors"])
    for name in sorted(files):
        if name != "model.safetensors":
            assert len(files[name]) < 10_000_000
    hub.cut_after = [18 << 20] * 10
    load_encoder("some/large", COMMIT)
    assert hub.cut_after == []
    again = hub.sent["model.safetensors"] - size
    assert 0 <= again <= 10 * (1 << 20)


def test_what_an_earlier_process_brought_is_not_fetched_again(
    hub: StandIn, tiny: Callable[[str], dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = tiny("bert")
    hub.add("model", "some/bert", files, commit=COMMIT)

    transfer = fetching._one_transfer

    def killed(url: str, partial: Path, advance: Any) -> None:
        if url.endswith("model.safetensors"):
            partial.write_bytes(files["model.safetensors"][:5000])
            raise KeyboardInterrupt
        transfer(url, partial, advance)

    with monkeypatch.context() as patched:
        patched.setattr(fetching, "_one_transfer", killed)
        with pytest.raises(KeyboardInterrupt):
            load_encoder("some/bert", COMMIT)
    load_encoder("some/bert", COMMIT)
    assert hub.sent["model.safetensors"] == len(files["model.safetensors"]) - 5000


def test_a_flipped_byte_is_seen(
    hub: StandIn, tiny: Callable[[str], dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = tiny("bert")
    flipped = bytearray(files["model.safetensors"])
    flipped[-1] ^= 1
    stored = hub.add("model", "some/bert", files, commit=COMMIT)
    load_encoder("some/bert", COMMIT)
    # the Hub states one content and a proxy passes on another
    stored.commits[COMMIT] = {**files, "model.safetensors": bytes(flipped)}
    (cached,) = fetching.cached_repository(
        hub_errors.Place("model", "some/bert", COMMIT)
    ).folder.glob("model.safetensors")  # type: ignore[union-attr]
    cached.resolve().unlink()
    with pytest.raises(InputError, match=r"what arrived as model\.safetensors is not what the Hub"):
        load_encoder("some/bert", COMMIT)
    # a declared encoder is compared with its declared hash too
    declared = replace(MODELS[3], hub_id="some/bert", revision=COMMIT)
    monkeypatch.setattr(locating, "MODELS", (declared,))
    stored.commits[COMMIT] = files
    with pytest.raises(InputError, match=r"have SHA-256 .*, expected 68d45e"):
        load_encoder("some/bert")


def test_short_ids_are_resolved(
    hub: StandIn,
    tiny: Callable[[str], dict[str, bytes]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub.add("model", "google-bert/bert-base-cased", tiny("bert"), commit=COMMIT)
    hub.add("model", "FacebookAI/roberta-large", tiny("roberta"), commit=COMMIT)
    assert load_encoder("bert-base-cased").name == "bert-base-cased"
    assert load_encoder("roberta-large").revision == COMMIT
    with pytest.raises(InputError, match=r"unknown model 'my-encoder': .*a Hub id with its owner"):
        load_encoder("my-encoder")
    with pytest.raises(InputError, match=r"expected the id at its end, such as some/bert"):
        load_encoder("https://huggingface.co/some/bert/")
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"bert/config\.json is a file: expected the folder"):
        load_encoder("bert/config.json")


def _pickled(
    tiny: Callable[[str], dict[str, bytes]], folder: Path, tmp_path: Path
) -> dict[str, bytes]:
    files = tiny("bert")
    path = tmp_path / "pytorch_model.bin"
    torch.save(load_file(folder / "model.safetensors"), path)
    del files["model.safetensors"]
    return {**files, path.name: path.read_bytes()}


def test_a_pickle_names_its_conversion_and_is_read_restricted(
    hub: StandIn,
    tiny: Callable[[str], dict[str, bytes]],
    tiny_encoder_folder: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    files = _pickled(tiny, tiny_encoder_folder("bert"), tmp_path)
    hub.add("model", "some/simcse", files, commit=COMMIT)
    with pytest.raises(InputError, match=r"only as pytorch_model\.bin, a pickle: read it with"):
        load_encoder("some/simcse")
    hub.add("model", "some/simcse", tiny("bert"), commit=commit_of("converted"), branch="refs/pr/3")
    with pytest.raises(InputError, match=r"use its conversion, --revision refs/pr/3, or read it"):
        load_encoder("some/simcse")
    assert not [path for path in hub.files_asked() if path.startswith("pytorch")]
    converted = load_encoder("some/simcse", "refs/pr/3")
    assert converted.revision == commit_of("converted")
    restricted = load_encoder("some/simcse", weights="restricted-pickle")
    for key, value in converted.model.state_dict().items():
        assert torch.equal(value, restricted.model.state_dict()[key]), key


def test_a_pickle_that_would_run_code_runs_none(
    tiny_encoder_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    import pickle
    import shutil

    folder = Path(shutil.copytree(tiny_encoder_folder("bert"), tmp_path / "evil"))
    (folder / "model.safetensors").unlink()

    class Runs:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "was-run",))  # type: ignore[return-value]

    with (folder / "pytorch_model.bin").open("wb") as stream:
        pickle.dump({"weight": Runs()}, stream, protocol=2)
    with pytest.raises(InputError, match="cannot be loaded as an encoder"):
        load_encoder(folder, weights="restricted-pickle")
    assert not (tmp_path / "was-run").exists()


def test_shards_come_together(
    hub: StandIn,
    tiny: Callable[[str], dict[str, bytes]],
    tiny_encoder_folder: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    whole = load_encoder(tiny_encoder_folder("bert"))
    whole.model.save_pretrained(tmp_path / "sharded", max_shard_size="20KB")
    files = tiny("bert")
    del files["model.safetensors"]
    files |= {path.name: path.read_bytes() for path in (tmp_path / "sharded").iterdir()}
    assert "model.safetensors.index.json" in files
    hub.add("model", "some/sharded", files, commit=COMMIT)
    loaded = load_encoder("some/sharded")
    for key, value in whole.model.state_dict().items():
        assert torch.equal(value, loaded.model.state_dict()[key]), key
