"""The same extraction on a Ray cluster: shards are the unit of work, one encoder per worker."""

import importlib
import logging
import os
import socket
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from probing.encoding.dtypes import StorageDtype
from probing.encoding.encoder import load_encoder
from probing.encoding.extraction import (
    checked_sentences,
    chosen_views,
    encode_here,
    stored_representations,
)
from probing.encoding.pass_setup import default_setup
from probing.encoding.representations import Representations
from probing.encoding.store.filling import Encoded, Job, chunked, fill_store
from probing.encoding.store.shards import Recipe
from probing.errors import InputError
from probing.progress import progress

logger = logging.getLogger(__name__)

_CONNECT_SECONDS = 5.0
_ATTEMPTS = 4
"""Workers that may die over one shard before the shard is held to be the reason."""


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker loads and how it encodes; the arguments of `extract_on_ray`."""

    model: str
    revision: str | None
    dtype: str
    max_length: int | None
    views: tuple[str, ...] | None
    batch_tokens: int | None
    storage_dtype: str
    shard_sentences: int | None
    threads: int
    """As in the process that asks: how many threads share a product can change its last bit."""


class EncoderWorker:
    """One encoder in one process of the cluster."""

    def __init__(self, settings: WorkerSettings) -> None:
        torch.set_num_threads(settings.threads)
        encoder = load_encoder(
            settings.model,
            revision=settings.revision,
            dtype=settings.dtype,
            max_length=settings.max_length,
        )
        self.revision = encoder.revision
        # The default, not measured: each worker for itself could find something else.
        setup = default_setup(encoder, settings.batch_tokens)
        self.recipe = Recipe.of(
            encoder,
            [str(view) for view in chosen_views(encoder, settings.views)],
            setup=setup,
            storage_dtype=settings.storage_dtype,
            shard_sentences=settings.shard_sentences,
        )
        self._engine = encode_here(encoder, self.recipe, setup)

    def describe(self) -> tuple[Recipe, str]:
        """The recipe and the revision of what was loaded here."""
        return self.recipe, self.revision

    def encode(self, job: Job) -> Encoded:
        """The vectors of one shard."""
        _, encoded = next(self._engine(iter([job])))
        return encoded


def extract_on_ray(
    model: str,
    sentences: Iterable[str],
    folder: Path | str,
    *,
    revision: str | None = None,
    dtype: str = "float32",
    max_length: int | None = None,
    views: Iterable[str] | None = None,
    batch_tokens: int | None = None,
    storage_dtype: str = StorageDtype.FLOAT32,
    shard_sentences: int | None = None,
    address: str | None = None,
    workers: int | None = None,
) -> Representations:
    """Fill a store on a Ray cluster: the one `extract_to_store` makes, bit for bit in float32.

    The sentences are read and the shards are written here; the workers need no common disk, only
    ``probing`` and the checkpoint: an alias, a Hub id, or a folder that each of them has.

    Args:
        model: As in `load_encoder`, like ``revision``, ``dtype`` and ``max_length``.
        sentences: As in `extract_to_store`, like ``folder`` and the options not named here.
        folder: Folder of the store.
        revision: Revision of a Hub id.
        dtype: As in `load_encoder`.
        max_length: Tokens per sentence, special tokens included.
        views: Ids of the views to keep; by default all.
        batch_tokens: Padded tokens in one forward pass.
        storage_dtype: ``float32`` or ``float16``.
        shard_sentences: Sentences in one shard.
        address: Address of a running cluster, or ``auto`` for the one of this machine; without it
            a cluster is started here and ended afterwards.
        workers: How many encoders; by default one per GPU, or where there is none as many as have
            a CPU for each of their threads. A worker uses as many threads as this process.

    Raises:
        InputError: As in `extract_to_store`; there is no Ray, no cluster at the address, or its
            machines disagree on what they loaded.
    """
    settings = WorkerSettings(
        model=str(Path(model).resolve()) if Path(model).is_dir() else model,
        revision=revision,
        dtype=dtype,
        max_length=max_length,
        views=None if views is None else tuple(views),
        batch_tokens=batch_tokens,
        storage_dtype=storage_dtype,
        shard_sentences=shard_sentences,
        threads=torch.get_num_threads(),
    )
    with _cluster(address) as ray:
        pool = _Pool(ray, settings, workers)
        recipe, found_revision = pool.wait_for_first()
        with progress(f"encoding with {model}", None) as advance:
            stored = fill_store(
                Path(folder),
                chunked(checked_sentences(sentences), recipe.shard_sentences),
                pool.encode,
                recipe=recipe,
                model=model,
                revision=found_revision,
                advance=advance,
            )
        pool.end()
    return stored_representations(stored, np.arange(stored.n_rows), recipe.max_length)


class _Pool:
    """Workers of a cluster, each loading, idle, or at one shard; one that dies is replaced."""

    def __init__(self, ray: Any, settings: WorkerSettings, workers: int | None) -> None:
        if workers is not None and workers < 1:
            raise InputError(f"{workers} workers were asked for: expected at least one")
        resources = ray.cluster_resources()
        cpus, gpus = int(resources.get("CPU", 1)), int(resources.get("GPU", 0))
        self._ray = ray
        self._settings = settings
        self._n_workers = workers or gpus or max(1, cpus // settings.threads)
        share: dict[str, float] = {
            "num_cpus": min(settings.threads, max(1, cpus // self._n_workers))
        }
        if gpus:
            share = {"num_cpus": 1, "num_gpus": min(1.0, gpus / self._n_workers)}
        self._worker_class = ray.remote(max_restarts=0, **share)(EncoderWorker)
        self._idle: deque[Any] = deque()
        self._busy: dict[Any, tuple[Any, Job | None]] = {}
        self._described: tuple[Recipe, str] | None = None
        for _ in range(self._n_workers):
            self._add_worker()

    def wait_for_first(self) -> tuple[Recipe, str]:
        """The recipe and revision that the workers found."""
        while self._described is None:
            self._collect()
        return self._described

    def encode(self, jobs: Iterator[Job]) -> Iterator[tuple[Job, Encoded]]:
        """An engine (`probing.encoding.store.filling.Engine`): shards as they are finished."""
        again: deque[Job] = deque()
        deaths: dict[int, int] = {}
        no_more = False
        while True:
            while self._idle and not no_more:
                job = again.popleft() if again else next(jobs, None)
                if job is None:
                    no_more = True
                    break
                worker = self._idle.popleft()
                self._busy[worker.encode.remote(job)] = (worker, job)
            if not again and no_more and all(job is None for _, job in self._busy.values()):
                return
            job, encoded = self._collect()
            if job is None:
                continue
            if encoded is not None:
                yield job, encoded
                continue
            deaths[job.index] = deaths.get(job.index, 0) + 1
            if deaths[job.index] >= _ATTEMPTS:
                raise InputError(
                    f"{_ATTEMPTS} workers died at shard {job.index}: look for lack of memory in "
                    "the logs of Ray, and try smaller shards or batches"
                )
            logger.warning("a worker died at shard %d, which is done again", job.index)
            again.append(job)
            no_more = False

    def end(self) -> None:
        """End the workers."""
        for worker in [*self._idle, *(worker for worker, _ in self._busy.values())]:
            self._ray.kill(worker)

    def _add_worker(self) -> None:
        worker = self._worker_class.remote(self._settings)
        self._busy[worker.describe.remote()] = (worker, None)

    def _collect(self) -> tuple[Job | None, Encoded | None]:
        """Wait for one worker: the job it did with its content, or without where it died."""
        errors = self._ray.exceptions
        (ready,), _ = self._ray.wait(list(self._busy), num_returns=1)
        worker, job = self._busy.pop(ready)
        try:
            result = self._ray.get(ready)
        except errors.RayTaskError as error:
            raise error.cause from error
        except errors.RayError as error:
            if job is not None:
                self._add_worker()
            elif not self._idle and not self._busy:
                raise _unable_to_load(error) from error
            return job, None
        self._idle.append(worker)
        if job is not None:
            return job, result
        if self._described is not None and self._described != result:
            raise InputError(
                "the machines of the cluster disagree on the checkpoint, the settings or the "
                f"versions of the libraries: {self._described} and {result}"
            )
        self._described = result
        return None, None


def _unable_to_load(error: Exception) -> InputError:
    """What the constructor of a worker said: Ray gives it as the text of a traceback."""
    lines = str(error).splitlines()
    said = [line.partition("InputError: ")[2] for line in lines if "InputError: " in line]
    return InputError(f"no worker of the cluster can load the encoder: {(said or lines)[-1]}")


def _check_address(address: str | None) -> None:
    """Raise `OSError` where nothing answers at ``HOST:PORT``: Ray would try for many minutes."""
    host, _, port = (address or "").rpartition("://")[2].partition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()


@contextmanager
def _cluster(address: str | None) -> Iterator[Any]:
    """The module ``ray``, connected; a cluster that was started here is ended afterwards."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray: Any = importlib.import_module("ray")
    except ImportError as error:
        raise InputError(
            "Ray is not installed: install probing[cluster], or leave --engine ray out"
        ) from error
    was_connected = ray.is_initialized()
    if not was_connected:
        local = {"include_dashboard": False} if address is None else {}
        try:
            _check_address(address)
            ray.init(address=address, logging_level="ERROR", log_to_driver=False, **local)
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(
                f"no Ray cluster at {address!r} ({str(error).splitlines()[0]}): start one by "
                "ray start --head, or leave --address out"
            ) from error
    try:
        yield ray
    finally:
        if not was_connected:
            ray.shutdown()
