"""The vectors of one encoder for many tasks, which encode a sentence that they share once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from probing.encoding.encoder import Encoder
from probing.encoding.extraction import distinct_sentences, extract
from probing.encoding.lazy import LazyViews
from probing.encoding.pass_setup import default_setup
from probing.encoding.representations import Representations
from probing.encoding.store.shards import Recipe
from probing.encoding.vector_sources import VectorSource
from probing.encoding.views import Pooling, View


@dataclass
class SharedExtraction:
    """Gives what `extract` gives, to 1e-5; encodes what it was not asked for before.

    STS-B alone shares most of its sentences with the yearly STS sets. What one request adds has a
    store of its own, so that a study which grows by a task finds the vectors of the others.
    """

    encoder: Encoder | VectorSource
    cache_dir: Path | None
    """Where stores are kept; None to hold the vectors in memory."""
    views: tuple[str, ...] | None = None
    """Ids of the views to keep of an encoder; None for all."""
    body: "SharedExtraction | None" = None
    """Of an encoder with the same body (`same_body`), whose vectors are taken; what this encoder's
    own pooler makes of them is computed when it is asked for."""
    _parts: list[Representations] = field(default_factory=list, repr=False)
    _places: dict[str, tuple[int, int]] = field(default_factory=dict, repr=False)
    """Sentence → the part that holds it, and the row there."""

    def __call__(self, sentences: Sequence[str]) -> Representations:
        """The vectors of n sentences under every view.

        Raises `InputError` where there is no sentence, one is empty, or the disk is full.
        """
        distinct, rows = distinct_sentences(sentences)
        new = [sentence for sentence in distinct if sentence not in self._places]
        if new:
            number = len(self._parts)
            if isinstance(self.encoder, VectorSource):
                self._parts.append(self.encoder(new))
            elif self.body is not None:
                self._parts.append(_under_pooler(self.encoder, self.body(new)))
            else:
                self._parts.append(
                    extract(self.encoder, new, views=self.views, cache_dir=self.cache_dir)
                )
            self._places |= {sentence: (number, row) for row, sentence in enumerate(new)}
        parts, places = np.array([self._places[sentence] for sentence in distinct]).T
        # most requests come from few of the parts
        used, owners = np.unique(parts, return_inverse=True)
        held = [self._parts[number].distinct for number in used]

        def gathered(view_id: str) -> NDArray[np.float32]:
            of_parts = [part[view_id] for part in held]
            vectors = np.empty((len(distinct), of_parts[0].shape[1]), dtype=np.float32)
            for number, values in enumerate(of_parts):
                taken = owners == number
                vectors[taken] = values[places[taken]]
            return vectors

        truncated = np.empty(len(distinct), dtype=np.bool_)
        for number, part in enumerate(used):
            taken = owners == number
            truncated[taken] = self._parts[part].truncated[places[taken]]
        return Representations(
            distinct=LazyViews(held[0], gathered),
            rows=rows,
            truncated=truncated,
            setups=_setups(self._parts[part] for part in used),
        )

    @property
    def setups(self) -> tuple[str, ...]:
        """How the forward passes ran that made what was asked for so far."""
        return _setups(self._parts)


def _setups(parts: Iterable[Representations]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(setup for part in parts for setup in part.setups))


def body_among(
    extracts: Sequence[SharedExtraction], encoder: Encoder | VectorSource
) -> SharedExtraction | None:
    """That of an encoder with the same body, which can lend its vectors; None without one."""
    return next((one for one in extracts if same_body(one.encoder, encoder)), None)


def same_body(one: Encoder | VectorSource, other: Encoder | VectorSource) -> bool:
    """Whether two encoders differ in nothing that makes a vector, but for a pooler as BERT has it.

    Such a pooler is a dense layer and an activation on the vector of the first token.
    """
    if not isinstance(one, Encoder) or not isinstance(other, Encoder):
        return False
    if not (_has_usual_pooler(one) and _has_usual_pooler(other)):
        return False
    alike = type(one.model) is type(other.model) and one.poolings == other.poolings
    if not alike or one.batching != other.batching or _recipe(one) != _recipe(other):
        return False
    mine, theirs = (_body_of(encoder) for encoder in (one, other))
    return mine.keys() == theirs.keys() and all(torch.equal(mine[k], theirs[k]) for k in mine)


def _has_usual_pooler(encoder: Encoder) -> bool:
    pooler: Any = getattr(encoder.model, "pooler", None)
    children = [] if pooler is None else [name for name, _ in pooler.named_children()]
    return children == ["dense", "activation"] and encoder.has_cls


def _recipe(encoder: Encoder) -> Recipe:
    views = tuple(map(str, encoder.views))
    recipe = Recipe.of(encoder, views, setup=default_setup(encoder))
    return replace(recipe, weight_hash="")


def _body_of(encoder: Encoder) -> Mapping[str, torch.Tensor]:
    weights: Mapping[str, torch.Tensor] = encoder.model.state_dict()
    return {name: each for name, each in weights.items() if not name.startswith("pooler.")}


def _under_pooler(encoder: Encoder, found: Representations) -> Representations:
    """The vectors of n distinct sentences, the pooler's from those of the first token."""
    pooler: Any = encoder.model.pooler

    @torch.inference_mode()
    def read(view_id: str) -> NDArray[np.float32]:
        pooling = View.parse(view_id).pooling
        if pooling not in (Pooling.POOLER, Pooling.POOLER_DENSE):
            return found.distinct[view_id]
        first_token = torch.from_numpy(found.distinct[f"{Pooling.CLS}@{encoder.num_layers}"])
        made = pooler.dense(first_token.to(encoder.device, pooler.dense.weight.dtype))
        if pooling == Pooling.POOLER:
            made = pooler.activation(made)
        vectors: NDArray[np.float32] = made.float().cpu().numpy()
        return vectors

    return replace(found, distinct=LazyViews(found.distinct, read))
