"""Encoders held against each other: pairs that differ in one thing, and random weights."""

import logging
from collections.abc import Sequence
from dataclasses import replace

from probing.claims.catalogue import PAIR_CLAIMS
from probing.claims.deciding import claim_rows
from probing.encoding.encoder import Encoder, random_twin
from probing.encoding.sharing import SharedExtraction
from probing.results.names import difference, sides
from probing.results.scores import Score
from probing.similarity.cosine import cosine_similarities
from probing.similarity.seeds import Columns, contrasts_over_seeds
from probing.study.settings import Settings
from probing.tasks import SentencePairs

logger = logging.getLogger(__name__)


def pair_scores(
    pairs: Sequence[tuple[Encoder, Encoder]], tasks: Sequence[SentencePairs], settings: Settings
) -> list[Score]:
    """Spearman of one encoder minus that of the other, on the same sentence pairs.

    Args:
        pairs: Of encoders of one depth; several are taken to differ in their seed only.
        tasks: Sentence pairs.
        settings: Of the study.

    Returns:
        On each task ``spearman_difference`` and ``standard_error`` of every view that all encoders
        have, and of what the pooler loses in one more than in the other (``pooler@6 - mean@6`` and
        ``pooler@6 - cls@6``). The model of a row is one of `contrast_names`: each pair's, and of
        several the mean's. The mean counts a seed once: Student's interval over seeds and items
        (`probing.statistics.effect_over_seeds`).
    """
    if not pairs:
        return []
    names = contrast_names([(one.name, other.name) for one, other in pairs])
    encoders = {encoder.name: encoder for pair in pairs for encoder in pair}
    extracts = {
        name: SharedExtraction(encoder, settings.cache_dir) for name, encoder in encoders.items()
    }
    shared = _shared_views(list(encoders.values()))
    lost = _claimed_views(list(encoders.values()), shared)
    rows: list[Score] = []
    for task in tasks:
        logger.info("comparing %s on %s", ", ".join(names[: len(pairs)]), task.name)
        columns = {name: _columns(extracts[name], task, shared) for name in encoders}
        found = contrasts_over_seeds(
            [(columns[one.name], columns[other.name]) for one, other in pairs],
            settings.target(task),
            views=[*shared, *lost],
        )
        for name, of_seed in zip(names, found.of_seeds, strict=False):
            rows += [replace(row, model=name) for row in of_seed]
        if found.mean:
            rows += [replace(row, model=names[-1]) for row in (*found.mean, *found.items)]
    return rows


def random_draw_scores(
    own: SharedExtraction,
    twin: SharedExtraction,
    tasks: Sequence[SentencePairs],
    settings: Settings,
) -> list[Score]:
    """What an encoder's pooler loses, minus what it loses with random weights, draw by draw.

    Args:
        own: The vectors of an encoder that is not a twin.
        twin: The vectors of its twin that was drawn from the seed of the study.
        tasks: Sentence pairs.
        settings: Of the study; ``n_draws`` twins are drawn, from ``seed`` up.

    Returns:
        On each task ``spearman_difference`` and ``standard_error`` of the views that claims hold
        against random weights, one row for each draw with its seed, and what the items add to the
        error of the mean over draws. The model of a row is ``minilm - minilm+random``. None for an
        encoder that lacks these views.
    """
    encoder = own.encoder
    if not tasks or not isinstance(encoder, Encoder):
        return []
    rows_of_claims = claim_rows(
        encoder.num_layers, {}, settings.claims, control=True, causal=encoder.is_causal
    )
    wanted = [
        view for view, transform, probe in rows_of_claims if (transform, probe) == ("raw", "cosine")
    ]
    views = tuple(dict.fromkeys(side for view in wanted for side in sides(view)))
    if not views or not set(views) <= {str(view) for view in encoder.views}:
        return []
    columns = [_columns(own, task, views) for task in tasks]
    drawn: list[list[Columns]] = [[] for _ in tasks]
    seeds = range(settings.seed, settings.seed + settings.n_draws)
    for seed in seeds:
        logger.info("measuring %s with random weights of seed %d", encoder.name, seed)
        extract = twin
        if seed != settings.seed:
            drawn_encoder = random_twin(encoder, seed=seed)
            extract = SharedExtraction(drawn_encoder, settings.cache_dir, views=views)
        for task, of_task in zip(tasks, drawn, strict=True):
            of_task.append(_columns(extract, task, views))
    name = difference(encoder.name, twin.encoder.name)
    rows: list[Score] = []
    for task, one, others in zip(tasks, columns, drawn, strict=True):
        found = contrasts_over_seeds(
            [(one, other) for other in others], settings.target(task), views=wanted
        )
        for seed, of_seed in zip(seeds, found.of_seeds, strict=True):
            rows += [replace(row, seed=seed) for row in of_seed]
        rows += found.items
    return [replace(row, model=name, revision=encoder.revision) for row in rows]


def contrast_names(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """The models of the rows of `pair_scores`, given the names of the encoders of each pair.

    ``ONE - OTHER`` for each; of several, last, ``ONE, ONE - OTHER, OTHER`` for their mean.
    """
    names = [difference(*pair) for pair in pairs]
    if len(pairs) > 1:
        names.append(difference(*(", ".join(side) for side in zip(*pairs, strict=True))))
    return names


def _shared_views(encoders: Sequence[Encoder]) -> list[str]:
    every = [encoder.views for encoder in encoders]
    return [str(v) for v in every[0] if str(v) != "cls@0" and all(v in views for views in every)]


def _claimed_views(encoders: Sequence[Encoder], shared: Sequence[str]) -> list[str]:
    """The differences of views that the claims about two encoders need and all encoders have."""
    depths = {encoder.num_layers for encoder in encoders}
    if len(depths) != 1:
        return []
    rows = claim_rows(depths.pop(), {}, PAIR_CLAIMS)
    return [view for view, _, _ in rows if set(sides(view)) <= set(shared)]


def _columns(extract: SharedExtraction, task: SentencePairs, views: Sequence[str]) -> Columns:
    """The cosine of the two sentences of each pair, view by view."""
    vectors = extract(task.sentences1 + task.sentences2)
    cosines = cosine_similarities(vectors, views)
    return {view: cosines[:, place] for place, view in enumerate(views)}
