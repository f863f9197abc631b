"""The verdict in words: nothing is said that the numbers of the run do not carry."""

import math
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from probing.claims.catalogue import Claim, Side
from probing.claims.deciding import FEWEST_TASKS, OVERALL, Finding, Verdict
from probing.claims.outcomes import Outcome
from probing.claims.road import Road, Step
from probing.results.names import is_difference, is_twin, sides
from probing.results.quantities import FINETUNED, points, training_items

POOLER_STATES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "trained": "This pooler was trained: its bias has moved away from zero and its weights are "
        "not like a random draw. Whether the body was trained further since cannot be seen.",
        "untrained": "This pooler was never trained: its bias is at zero and its weights are like "
        "a random draw.",
        "bias moved, weights like a random draw": "The bias of this pooler has moved away from "
        "zero, but its weights are like a random draw: it may never have been trained.",
        "bias at zero, weights not like a random draw": "The weights of this pooler are not like a "
        "random draw, but its bias is at zero: it may have been trained without it.",
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
        "last": "the last token of layer {layer}",
        "wmean": "position-weighted mean pooling of layer {layer}",
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
_FITTED_ON: Final[Mapping[str, str]] = MappingProxyType(
    {
        "train": "training sentences that are not scored",
        "target": "the scored sentences themselves",
    }
)
_PROBES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "regression": "under a supervised readout",
        "finetuned": "after fine-tuning",
        "linear": "read by a linear probe",
    }
)
_READOUTS: Final[Mapping[str, str]] = MappingProxyType(
    {"regression": "a supervised readout", "cosine": "the cosine"}
)


def verdict_text(
    verdict: Verdict,
    *,
    pooler: str | None = None,
    declared: str | None = None,
    others: Sequence[Verdict] = (),
) -> str:
    """The verdict as lines of text.

    Args:
        verdict: From `probing.claims.deciding.decide`.
        others: The same with other aggregations; where an outcome is another, one line says so.
        pooler: The state of the encoder's pooler as in the manifest: one of `POOLER_STATES`; None
            for the difference of two encoders.
        declared: The view that the checkpoint was tuned for, where it says so.

    Raises:
        ValueError: The state is none of these.
    """
    if pooler is not None and pooler not in POOLER_STATES:
        raise ValueError(f"unknown pooler state {pooler!r}: expected {', '.join(POOLER_STATES)}")
    title = f"Verdict for {verdict.model}"
    if verdict.tasks:
        title += f" on {', '.join(verdict.tasks)}"
    lines = [title, _method(verdict)]
    overall = {finding.claim: finding for finding in verdict.overall}
    for claim in verdict.claims:
        of_claim = [finding for finding in verdict.by_task if finding.claim == claim.id]
        if claim.id in overall:
            lines.append(_overall_line(verdict, claim, overall[claim.id], of_claim))
        elif of_claim:
            lines.append(_listed_line(verdict, claim, of_claim))
    lines += [line for other in others if (line := _another_line(verdict, other))]
    if verdict.road.steps:
        lines.append(_road_line(verdict))
    if verdict.road.random:
        lines.append(_replaced_line(verdict.road))
    if pooler is not None:
        lines.append(POOLER_STATES[pooler])
    if declared:
        held = [f.claim for f in verdict.by_task if declared in sides(f.view)]
        of_claims = f"; {', '.join(dict.fromkeys(held))} compare it with others" if held else ""
        lines.append(f"{declared} is the view that this encoder was tuned for{of_claims}.")
    # a run either holds encoders fixed or fine-tunes them: the claims of the other kind go unnamed
    tuned = any(finding.probe in FINETUNED for finding in verdict.by_task)
    not_tested = [
        claim
        for claim in verdict.not_tested
        if (claim.probe in FINETUNED) == tuned and not claim.causal
    ]
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


def _method(verdict: Verdict) -> str:
    """What is compared, how it is decided, and over which tasks."""
    metrics = " and of ".join(dict.fromkeys(f.metric for f in verdict.by_task)) or "spearman"
    metrics = metrics.replace("spearman", "Spearman")
    points = _points(verdict.smallest_effect)
    words = (
        f"Differences of {metrics} × 100 (aggregation {verdict.aggregation}). Outcomes by "
        f"Holm-corrected tests, each with the interval that decides it; negligible is what lies "
        f"within {points} {'point' if points == '1.0' else 'points'}."
    )
    if verdict.overall:
        most = max(verdict.overall, key=lambda finding: finding.n_tasks)
        kind = "mean over seeds and tasks" if most.n_seeds > 1 else "random-effects mean"
        words += f" Overall: {kind} over {most.n_tasks} tasks, for sets like these."
        if verdict.beside:
            beside = ", ".join(verdict.beside)
            words += f" Not in it: {beside}, which repeats pairs of the others."
    elif len(verdict.tasks) >= FEWEST_TASKS:
        words += f" No claim has {FEWEST_TASKS} tasks: nothing is said of all together."
    elif len(verdict.tasks) > 1:
        words += f" Fewer than {FEWEST_TASKS} tasks: nothing is said of all together."
    return words


def _overall_line(
    verdict: Verdict, claim: Claim, finding: Finding, of_claim: Sequence[Finding]
) -> str:
    counts = Counter(f.outcome for f in of_claim)
    of_tasks = f" of {len(of_claim)} tasks"
    start = f"{claim.id}{_margin(claim)} {finding.outcome} {OVERALL}"
    if finding.outcome is not Outcome.UNDECIDED:
        start += f" and on {counts.pop(finding.outcome, 0)}{of_tasks}"
        of_tasks = ""
    others = [f"{outcome} on {counts[outcome]}" for outcome in Outcome if counts[outcome]]
    start += f" ({', '.join(others)}{of_tasks})" if others else ""
    line = f"{start}: {_told(verdict, claim, finding, verdict.overall)}"
    if not math.isnan(finding.prediction_lower):
        ends = (finding.prediction_lower, finding.prediction_upper)
        line += f"; on one more set like these {_signed(ends[0])} to {_signed(ends[1])}"
    return f"{line}."


def _listed_line(verdict: Verdict, claim: Claim, of_claim: Sequence[Finding]) -> str:
    """A claim that too few tasks have for a mean: each task by itself."""
    tasks: dict[Outcome, list[str]] = {}
    for finding in of_claim:
        tasks.setdefault(finding.outcome, []).append(finding.task)
    outcomes = ", ".join(f"{outcome} on {' and '.join(on)}" for outcome, on in tasks.items())
    told = [_told(verdict, claim, finding, verdict.by_task) for finding in of_claim]
    if len(told) > 1:
        told = [f"on {f.task} {words}" for f, words in zip(of_claim, told, strict=True)]
    return f"{claim.id}{_margin(claim)} {outcomes}: {'; '.join(told)}."


def _margin(claim: Claim) -> str:
    """A claim with a threshold of its own needs its sentence to be understood."""
    if not claim.threshold:
        return ""
    beyond = (claim.threshold > 0) == (claim.predicts is Side.ABOVE)
    how = "by more than" if beyond else "to within"
    return f" (“{claim.sentence}”, {how} {_points(abs(claim.threshold))} points)"


def _told(verdict: Verdict, claim: Claim, finding: Finding, among: Sequence[Finding]) -> str:
    """The effect in words with its p, and what follows."""
    if math.isnan(finding.effect) or math.isnan(finding.p):
        return finding.reason
    p = finding.corrected_p
    if finding.outcome is Outcome.NEGLIGIBLE:
        p = finding.negligible_p
    words = f"{_effect(finding)}, {_p(p)}"
    if finding.reason:
        return f"{words}; left undecided as {finding.reason}"
    if finding.outcome is Outcome.SUPPORTED and claim.then:
        words += f"; {_consequence(verdict, claim, finding, among)}"
    return words


def _consequence(verdict: Verdict, claim: Claim, finding: Finding, among: Sequence[Finding]) -> str:
    """What a claim says where it is supported, its numbers filled in."""
    given = [f for f in among if f.claim == claim.given and f.task == finding.task]
    effect = part = f"{_points(abs(finding.effect))} points"
    if given:
        whole = abs(given[0].effect)
        part = f"{_points(abs(finding.effect))} of {_points(whole)} points"
        if abs(finding.effect) > whole:
            part = f"{effect} (more than the whole deficit of {_points(whole)})"
    selection = verdict.selection.get(claim.chosen_under, verdict.selection.get("mean", ""))
    return claim.then.format(effect=effect, part=part, selection=selection)


def _effect(finding: Finding) -> str:
    """The effect in words, read from the columns of its row."""
    views, changes = sides(finding.view), sides(finding.transform)
    readouts, models = sides(finding.probe), sides(finding.model)
    down = finding.effect < 0
    numbers = (finding.effect, finding.lower, finding.upper)
    plain = _amount(numbers, finding.level)
    # "lower by 2 points (1 to 3)": the words say the direction, the numbers how far
    amount = _amount((-numbers[0], -numbers[2], -numbers[1]) if down else numbers, finding.level)
    known = {readouts[0], readouts[-1]} <= {"cosine", *_PROBES} and all("@" in v for v in views)
    if not known or finding.view == "":
        cell = ", ".join(filter(None, (finding.view, finding.transform, finding.probe)))
        return f"the difference {cell} is {plain}"
    circumstances = [_PROBES[readouts[0]]] if len(readouts) == 1 and readouts[0] in _PROBES else []
    if finding.trained_on != "all" or finding.probe == "finetuned":
        circumstances.append(_training(finding.trained_on))
    if len(changes) == 1 and changes[0] != "raw":
        circumstances.insert(0, f"after {_transform(changes[0])}")
    start = " ".join(circumstances) + ", " if circumstances else ""
    what = " minus ".join(map(_view, views))
    if len(models) == 2:
        than = "lower" if down else "higher"
        if is_twin(models[1]):
            draws = f" (mean of {finding.n_seeds} draws)" if finding.n_seeds > 1 else ""
            return f"{start}{what} is {amount} {than} than with random weights{draws}"
        return f"{start}{what} is {amount} {than} in {models[0]} than in {models[1]}"
    verb = "lowers" if down else "raises"
    if len(changes) == 2 and changes[1] == "raw":
        return f"{start}{_transform(changes[0])} {verb} {what} by {amount}"
    if len(readouts) == 2:
        one, other = (_READOUTS.get(readout, readout) for readout in readouts)
        return f"{start}{one} in place of {other} {verb} {what} by {amount}"
    if is_difference(finding.trained_on):
        return f"{start}{what} {'falls' if down else 'rises'} by {amount}"
    if len(views) == 2:
        place = "below" if down else "above"
        return f"{start}{_view(views[0])} is {amount} {place} {_view(views[1])}"
    return f"{start}{what} is {plain}"


def _amount(numbers: tuple[float, float, float], level: float) -> str:
    """An effect and the ends of its interval."""
    effect, lower, upper = map(_points, numbers)
    return f"{effect} points ({lower} to {upper} at {100 * level:.3g} %)"


def _another_line(verdict: Verdict, other: Verdict) -> str:
    outcomes = {(f.claim, f.task): f.outcome for f in verdict.overall or verdict.by_task}
    changed = [
        f"{f.claim} is {f.outcome}" + ("" if f.task == OVERALL else f" on {f.task}")
        for f in (other.overall if verdict.overall else other.by_task)
        if outcomes.get((f.claim, f.task)) is not f.outcome
    ]
    if not changed:
        return ""
    return f"With aggregation {other.aggregation} instead: {', '.join(changed)}."


def _road_line(verdict: Verdict) -> str:
    road, n = verdict.road, len(verdict.tasks)
    steps = ", ".join(_step(step) for step in road.steps)
    total = _signed(sum(step.change for step in road.steps))
    mean = ""
    if n > 1:
        mean = f", the plain mean over these {n} tasks"
        if any(f.claim in ("C2", "C3") for f in verdict.overall):
            mean += ", where C2 and C3 are about sets like these"
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


def _training(trained_on: str) -> str:
    """Training items in words: ``on 100 items``, ``on all items in place of 100``."""
    most, *least = sides(trained_on)
    size = "all items" if most == "all" else f"{training_items(most):g} items"
    return f"on {size} in place of {training_items(least[0]):g}" if least else f"on {size}"


def _transform(name: str) -> str:
    kind, _, fitted_on = name.partition(":")
    stem = kind.rstrip("0123456789")
    words = _TRANSFORMS.get(stem, stem)
    axes = kind.removeprefix(stem)
    if axes:
        words += f" to {axes} dimensions" if stem == "whitened" else f" ({axes})"
    return f"{words} fitted on {_FITTED_ON.get(fitted_on, fitted_on)}" if fitted_on else words


def _points(value: float) -> str:
    return points(100 * value)


def _signed(value: float) -> str:
    text = _points(value)
    return text if value < 0 or text == points(0) else f"+{text}"


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
