"""The verdict in words: nothing is said that the numbers of the run do not carry."""

import math
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from probing.claims.deciding import OVERALL, Finding, Outcome, Verdict
from probing.claims.road import Road, Step
from probing.results.names import is_difference, is_twin, sides
from probing.results.quantities import FINETUNED, training_items

POOLER_STATES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "trained": "The bias of this pooler has moved away from zero: it was trained.",
        "untrained": "This pooler was never trained.",
        "newly initialised": "The checkpoint has no pooler: the loader drew this one at random.",
        "absent": "This encoder has no pooler.",
        "without weights": "This pooler has no weights: its output is the vector of [CLS] itself.",
        "end of text": "pooler_output is the vector of the token that ends the text: no pooler "
        "with weights makes it.",
    }
)
"""What is said of a pooler's state, as the manifest of a run names it."""

_POOLINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "pooler": "pooler_output",
        "pooler_dense": "the dense layer of the pooler",
        "cls": "[CLS] of layer {layer}",
        "mean": "mean pooling of layer {layer}",
        "mean_words": "mean pooling of the words of layer {layer}",
        "max": "max pooling of layer {layer}",
    }
)
_STEPS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "cls": "[CLS] in place of the mean",
        "pooler_dense": "the dense layer",
        "pooler": "tanh",
        "random-dense": "the random one",
        "random-dense+tanh": "tanh",
    }
)
_TRANSFORMS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "whitened": "whitening",
        "centred": "centring",
        "all-but-the-top": "removing the top components",
    }
)
_PROBES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "regression": "under a supervised readout",
        "finetuned": "after fine-tuning",
        "linear": "read by a linear probe",
    }
)


def verdict_text(
    verdict: Verdict, *, pooler: str | None = None, others: Sequence[Verdict] = ()
) -> str:
    """The verdict as lines of text.

    Args:
        verdict: From `probing.claims.deciding.decide`.
        others: The same with other aggregations; where an outcome over tasks is another, one line
            says so.
        pooler: The state of the encoder's pooler as in the manifest: one of `POOLER_STATES`; None
            for the difference of two encoders.

    Raises:
        ValueError: The state is none of these.
    """
    if pooler is not None and pooler not in POOLER_STATES:
        raise ValueError(f"unknown pooler state {pooler!r}: expected {', '.join(POOLER_STATES)}")
    n = len(verdict.tasks)
    title = f"Verdict for {verdict.model}"
    if n:
        title += f" on {', '.join(verdict.tasks)}"
    over = f"; overall: random-effects mean over {n} tasks" if n > 1 else ""
    metrics = " and of ".join(dict.fromkeys(f.metric for f in verdict.by_task)) or "spearman"
    metrics = metrics.replace("spearman", "Spearman")
    measured = f"Differences of {metrics} × 100 (aggregation {verdict.aggregation})"
    lines = [
        title,
        f"{measured} with 95 % intervals{over}. Outcomes by Holm-corrected tests.",
    ]
    lines += [_claim_line(verdict, finding) for finding in verdict.overall]
    lines += [line for other in others if (line := _another_line(verdict, other))]
    if verdict.road.steps:
        lines.append(_road_line(verdict))
    if verdict.road.random:
        lines.append(_replaced_line(verdict.road))
    if pooler is not None:
        lines.append(POOLER_STATES[pooler])
    # a run either holds encoders fixed or fine-tunes them: the claims of the other kind go unnamed
    tuned = any(finding.probe in FINETUNED for finding in verdict.by_task)
    not_tested = [claim for claim in verdict.not_tested if (claim.probe in FINETUNED) == tuned]
    if not_tested:
        missing = ", ".join(f"{claim.id} ({claim.sentence})" for claim in not_tested)
        lines.append(f"Not measured in this run: {missing}.")
    return "\n".join(lines)


def wrapped(text: str, width: int) -> str:
    """The lines of a verdict folded to a width, their continuation indented."""
    return "\n".join(
        textwrap.fill(line, width, subsequent_indent="   ", break_on_hyphens=False)
        for line in text.splitlines()
    )


def _claim_line(verdict: Verdict, finding: Finding) -> str:
    line = finding.claim
    if finding.threshold:
        line += f" (“{finding.sentence}”, to within {_points(abs(finding.threshold))} points)"
    line += f" {_outcome(verdict, finding)}"
    if math.isnan(finding.effect):
        return f"{line}: {finding.reason}."
    line += f": {_effect(finding)}, {_p(finding.corrected_p)}"
    if finding.reason:
        line += f"; left undecided as {finding.reason}"
    return f"{line}{_consequence(verdict, finding)}."


def _outcome(verdict: Verdict, finding: Finding) -> str:
    by_task = [f for f in verdict.by_task if f.claim == finding.claim]
    if len(by_task) == 1:
        return f"{finding.outcome} on {by_task[0].task}"
    counts = Counter(f.outcome for f in by_task)
    of_tasks = f" of {len(by_task)} tasks"
    start = f"{finding.outcome} {OVERALL}"
    if finding.outcome is not Outcome.UNDECIDED:
        start += f" and on {counts.pop(finding.outcome, 0)}{of_tasks}"
        of_tasks = ""
    others = [f"{outcome} on {counts[outcome]}" for outcome in Outcome if counts[outcome]]
    return start + (f" ({', '.join(others)}{of_tasks})" if others else "")


def _effect(finding: Finding) -> str:
    """The effect in words, read from the columns of its row."""
    views = sides(finding.view)
    changes = sides(finding.transform)
    circumstances = [_PROBES[finding.probe]] if finding.probe in _PROBES else []
    if is_twin(finding.model):
        circumstances.append("with random weights")
    if finding.subset != "all" or finding.probe == "finetuned":
        circumstances.append(_training(finding.subset))
    down = finding.effect < 0
    ends = (-finding.upper, -finding.lower) if down else (finding.lower, finding.upper)
    amount = f"{_points(abs(finding.effect))} points ({_points(ends[0])} to {_points(ends[1])})"
    known = finding.probe in ("cosine", *_PROBES)
    if is_difference(finding.model) and len(views) == 1:
        one, other = sides(finding.model)
        return f"{_view(views[0])} of {one} is {amount} {'below' if down else 'above'} {other}'s"
    if known and len(views) == 2 and len(changes) == 1:
        if changes[0] != "raw":
            circumstances.insert(0, f"after {_transform(changes[0])}")
        start = " ".join(circumstances) + ", " if circumstances else ""
        place = "below" if down else "above"
        if is_difference(finding.subset):
            verb = "falls" if down else "rises"
            moved = f"{_view(views[0])} minus {_view(views[1])} {verb} by {amount}"
            return f"{start}{moved}"
        return f"{start}{_view(views[0])} is {amount} {place} {_view(views[1])}"
    if known and len(views) == 1 and len(changes) == 2 and changes[1] == "raw":
        verb = "lowers" if down else "raises"
        where = " " + " ".join(circumstances) if circumstances else ""
        return f"{_transform(changes[0])} {verb} {_view(views[0])} by {amount}{where}"
    cell = ", ".join((finding.view, finding.transform, finding.probe))
    return f"the difference {cell} is {'-' if down else ''}{amount}"


def _consequence(verdict: Verdict, finding: Finding) -> str:
    """What follows from two findings together."""
    if finding.outcome is not Outcome.SUPPORTED:
        return ""
    if finding.claim == "C1":
        for other in verdict.overall:
            if other.claim == "C5a" and other.outcome is Outcome.SUPPORTED:
                gain = _points(other.effect)
                if other.effect < -finding.effect:
                    return f"; whitening recovers {gain} of them"
                return f"; whitening raises pooler_output by {gain}"
    if finding.claim == "C4" and verdict.selection:
        return f"; {verdict.selection}"
    if finding.claim == "C7":
        return "; that there is a deficit thus says nothing about training"
    return ""


def _another_line(verdict: Verdict, other: Verdict) -> str:
    outcomes = {finding.claim: finding.outcome for finding in verdict.overall}
    changed = [
        f"{finding.claim} is {finding.outcome}"
        for finding in other.overall
        if outcomes.get(finding.claim) is not finding.outcome
    ]
    if not changed:
        return ""
    return f"With aggregation {other.aggregation} instead: {', '.join(changed)}."


def _road_line(verdict: Verdict) -> str:
    road, n = verdict.road, len(verdict.tasks)
    steps = ", ".join(_step(step) for step in road.steps)
    total = _signed(sum(step.change for step in road.steps))
    mean = f", the plain mean over {n} tasks" if n > 1 else ""
    ends = f"From {_view(road.start)} to {_view(road.steps[-1].name)}"
    return f"{ends}: {steps}; together {total}{mean}."


def _replaced_line(road: Road) -> str:
    steps = ", ".join(_step(step) for step in road.random)
    alone = "" if road.tanh_alone is None else f"; tanh of [CLS] alone: {_change(road.tanh_alone)}"
    return (
        f"With a random matrix of the same scale in place of the dense layer: {steps}, each the "
        f"mean of {road.n_random} draws (lowest to highest){alone}."
    )


def _step(step: Step) -> str:
    return f"{_STEPS[step.name.partition('@')[0]]} {_change(step)}"


def _change(step: Step) -> str:
    return f"{_signed(step.change)} ({_signed(step.lower)} to {_signed(step.upper)})"


def _view(view_id: str) -> str:
    pooling, _, layer = view_id.partition("@")
    return _POOLINGS.get(pooling, view_id).format(layer=layer)


def _training(subset: str) -> str:
    """Training items in words: ``on 100 items``, ``on all items in place of 100``."""
    most, *least = sides(subset)
    size = "all items" if most == "all" else f"{training_items(most):g} items"
    return f"on {size} in place of {training_items(least[0]):g}" if least else f"on {size}"


def _transform(name: str) -> str:
    kind, _, fitted_on = name.partition(":")
    stem = kind.rstrip("0123456789")
    words = _TRANSFORMS.get(stem, stem)
    axes = kind.removeprefix(stem)
    if axes:
        words += f" to {axes} dimensions" if stem == "whitened" else f" ({axes})"
    return words if fitted_on in ("", "target") else f"{words} fitted on {fitted_on}"


def _points(value: float) -> str:
    text = f"{100 * value:.1f}"
    return "0.0" if text == "-0.0" else text


def _signed(value: float) -> str:
    text = _points(value)
    return text if text.startswith("-") or text == "0.0" else f"+{text}"


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
