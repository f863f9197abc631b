"""The same store from two workers of a local Ray cluster, one of them killed half-way."""

import hashlib
import os
import signal
from pathlib import Path

import pytest

from probing.encoding.cluster import extract_on_ray
from probing.encoding.encoder import load_encoder
from probing.encoding.extraction import extract_to_store
from probing.errors import InputError

ray = pytest.importorskip("ray", reason="needs the extra cluster")
pytestmark = pytest.mark.slow

CORPUS = [f"the cat {'sat ' * (number % 7)}on mat {number}" for number in range(200)]
SHARD = 16


@pytest.fixture(scope="module")
def cluster():
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=100_000_000,
    )
    yield
    ray.shutdown()


def _contents(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def _worker_processes() -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            title = path.read_bytes()
        except OSError:
            continue
        if title.startswith(b"ray::EncoderWorker"):
            found.append(int(path.parent.name))
    return found


def test_no_cluster_at_the_address(tmp_path):
    with pytest.raises(InputError, match="no Ray cluster at 'localhost:1'"):
        extract_on_ray("minilm", CORPUS, tmp_path, address="localhost:1")
    with pytest.raises(InputError, match="no Ray cluster at 'auto'"):
        extract_on_ray("minilm", CORPUS, tmp_path, address="auto")


@pytest.mark.usefixtures("cluster")
def test_the_store_of_two_workers_is_that_of_one_machine(tiny_encoder_folder, tmp_path):
    folder = tiny_encoder_folder("bert")
    extract_to_store(load_encoder(folder), CORPUS, tmp_path / "here", shard_sentences=SHARD)
    killed = []

    def corpus():
        for number, sentence in enumerate(CORPUS):
            if number == len(CORPUS) // 2:
                processes = _worker_processes()
                assert processes
                os.kill(processes[0], signal.SIGKILL)
                killed.append(processes[0])
            yield sentence

    representations = extract_on_ray(
        str(folder), corpus(), tmp_path / "ray", shard_sentences=SHARD, workers=2
    )
    assert killed
    assert representations.n_sentences == len(CORPUS)
    assert _contents(tmp_path / "ray") == _contents(tmp_path / "here")
    # Nothing is encoded a second time, and only a damaged shard is made again.
    (tmp_path / "ray" / "shard-00003.safetensors").write_bytes(b"damaged")
    extract_on_ray(str(folder), CORPUS, tmp_path / "ray", shard_sentences=SHARD, workers=1)
    assert _contents(tmp_path / "ray") == _contents(tmp_path / "here")


@pytest.mark.usefixtures("cluster")
def test_what_workers_say_is_said_here(tiny_encoder_folder, tmp_path):
    folder = str(tiny_encoder_folder("bert"))
    with pytest.raises(InputError, match=r"can load the encoder: unknown model 'nothing'"):
        extract_on_ray("nothing", CORPUS, tmp_path / "a", workers=1)
    with pytest.raises(InputError, match="view 'mean@9' was asked for"):
        extract_on_ray(folder, CORPUS, tmp_path / "b", views=["mean@9"], workers=1)
    with pytest.raises(InputError, match="at least one"):
        extract_on_ray(folder, CORPUS, tmp_path / "d", workers=0)
