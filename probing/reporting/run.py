"""A finished run, with what can be asked of it: scores, verdict, figures, report, comparison."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from probing.claims.catalogue import CLAIMS, Claim, pair_claims
from probing.claims.choice import Choice, choose_view, usual_views
from probing.claims.deciding import Verdict, decide
from probing.claims.outcomes import SMALLEST_EFFECT
from probing.claims.verdict import verdict_text, wrapped
from probing.errors import InputError
from probing.results.differences import usable_aggregation
from probing.results.items import read_items
from probing.results.names import is_difference
from probing.results.quantities import QUANTITIES, SIMILARITY, Quantity, models_of, quantities
from probing.results.run_folder import read_run

if TYPE_CHECKING:  # matplotlib takes long to import, and most runs are read without a figure
    from probing.reporting.figures import Described
    from probing.reporting.frozen_gap import FrozenGap
    from probing.reporting.ledger import Ledger
    from probing.reporting.summary import Summary


@dataclass(frozen=True)
class Run:
    """What a study left behind: its folder, its results table and its manifest.

    Figures are of the first model of the run where none is named. They show themselves in a
    notebook, with the sentence that says what they show; ``.figure`` is the matplotlib figure.
    """

    folder: Path
    scores: pd.DataFrame = field(repr=False)
    """The results table: one row for every measurement, `probing.results.scores.COLUMNS`."""
    manifest: dict[str, Any] = field(repr=False)
    """Every id, revision, hash, version and setting."""
    own_claims: tuple[Claim, ...] | None = field(default=None, repr=False, compare=False)
    """Of a run just made, the claims themselves; what is read back has them from its manifest."""

    @property
    def models(self) -> tuple[str, ...]:
        """The models of the run, without controls, floors and differences."""
        return models_of(self.scores)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks of the run."""
        return tuple(task["name"] for task in self.manifest["tasks"])

    @property
    def claims(self) -> tuple[Claim, ...]:
        """The claims that the run was made to decide."""
        if self.own_claims is not None:
            return self.own_claims
        stored = self.manifest.get("claims")
        return CLAIMS if stored is None else tuple(Claim.described(claim) for claim in stored)

    def pair_claims(self) -> tuple[Claim, ...]:
        """The claims about the pairs of encoders of the run, in the words their records allow."""
        records = {e["name"]: e.get("pretraining") for e in self.manifest["encoders"]}
        contrasts = self.manifest["study"].get("contrasts", ())
        return pair_claims(records, [(one, other) for one, other in contrasts])

    @property
    def smallest_effect(self) -> float:
        """The smallest effect of interest of the run, as a fraction."""
        return float(self.manifest["study"].get("smallest_effect", SMALLEST_EFFECT))

    def described(self, model: str | None = None) -> dict[str, Any]:
        """What the manifest says of a model."""
        name = self._model(model)
        found = {encoder["name"]: encoder for encoder in self.manifest["encoders"]}
        if name not in found:
            raise InputError(f"{name!r} is not of this run: expected one of {', '.join(found)}")
        return dict(found[name])

    def pooler_state(self, model: str | None = None) -> str:
        """What was seen of a model's pooler, such as ``trained`` or ``untrained``."""
        return str(self.described(model)["pooler"])

    def declared_view(self, model: str | None = None) -> str | None:
        """The view that a model was tuned for, where its checkpoint says so."""
        return self.described(model).get("declared_view") or None

    def verdict(
        self,
        model: str | None = None,
        *,
        claims: Sequence[Claim] | None = None,
        aggregation: str | None = None,
    ) -> Verdict:
        """The claims of the run held against its rows.

        Args:
            model: One of the models, or a difference ``ONE - OTHER`` that was measured.
            claims: By default those of the run, of a difference those about pairs of encoders.
            aggregation: Of tasks with several subsets; by default that of the run's protocol.

        Raises:
            InputError: The run has no such model, or no rows of that aggregation.
        """
        name = self._model(model)
        if claims is None:
            claims = self.pair_claims() if is_difference(name) else self.claims
        return decide(
            self.scores,
            name,
            claims=claims,
            aggregation=aggregation or usable_aggregation(self.scores, self.aggregation),
            smallest_effect=self.smallest_effect,
        )

    def summary(self) -> "Summary":
        """The answer in a few sentences and one small table."""
        from probing.reporting.summary import summarise

        verdicts = {model: self.verdict(model) for model in self.models}
        return summarise(self.scores, self.manifest, verdicts, aggregation=self.aggregation)

    def words(
        self,
        model: str | None = None,
        *,
        claims: Sequence[Claim] | None = None,
        beside: Sequence[str] = (),
        width: int = 100,
    ) -> str:
        """The verdict in words.

        Args:
            model: One of the models, or a difference ``ONE - OTHER`` that was measured.
            claims: As for `verdict`.
            beside: Other aggregations; where one of them gives another outcome, the words say so.
            width: Columns that the lines are folded to.
        """
        others = [self.verdict(model, claims=claims, aggregation=name) for name in beside]
        alone = not is_difference(self._model(model))
        text = verdict_text(
            self.verdict(model, claims=claims),
            pooler=self.pooler_state(model) if alone else None,
            declared=self.declared_view(model) if alone else None,
            others=others,
        )
        return wrapped(text, width)

    @property
    def aggregation(self) -> str:
        """How subsets are brought together under the run's protocol."""
        return str(self.manifest.get("aggregation", SIMILARITY.aggregation))

    def layer_curves(
        self, task: str, *, model: str | None = None, quantity: str | Quantity | None = None
    ) -> "Described":
        """Every layer under every pooling on one task, with intervals, floors and random weights.

        Args:
            task: One of the tasks.
            model: One of the models.
            quantity: A name such as ``similarity``, ``accuracy``, ``compression`` or
                ``anisotropy``; by default what the task measures.
        """
        from probing.reporting.figures import layer_curves

        chosen = self._quantity(task, quantity)
        return layer_curves(self.scores, model=self._model(model), task=task, quantity=chosen)

    def heat_map(
        self, task: str, *, model: str | None = None, quantity: str | Quantity | None = None
    ) -> "Described":
        """Layers × poolings of one task; arguments as in `layer_curves`."""
        from probing.reporting.figures import heat_map

        chosen = self._quantity(task, quantity)
        return heat_map(self.scores, model=self._model(model), task=task, quantity=chosen)

    def task_map(
        self,
        *,
        model: str | None = None,
        tasks: Sequence[str] = (),
        pooling: str = "mean",
        quantity: str | Quantity | None = None,
    ) -> "Described":
        """Tasks × layers under one pooling; by default of all tasks of the run."""
        from probing.reporting.figures import task_map

        shown = tuple(tasks) or self.tasks
        return task_map(
            self.scores,
            model=self._model(model),
            tasks=shown,
            pooling=pooling,
            quantity=self._quantity(shown[0], quantity),
        )

    def model_curves(
        self, task: str, *, models: Sequence[str] = (), quantity: str | Quantity | None = None
    ) -> "Described":
        """Several models side by side on one task; by default all of the run."""
        from probing.reporting.figures import model_curves

        return model_curves(
            self.scores,
            models=tuple(models) or self.models,
            task=task,
            quantity=self._quantity(task, quantity),
        )

    def comparison(
        self,
        task: str,
        *,
        by: str,
        values: Sequence[str] = (),
        views: Sequence[str] = (),
        model: str | None = None,
        quantity: str | Quantity | None = None,
    ) -> "Described":
        """The same views under several aggregations, transforms, probes or labels (``by``)."""
        from probing.reporting.figures import comparison

        return comparison(
            self.scores,
            model=self._model(model),
            task=task,
            by=by,  # type: ignore[arg-type]
            values=values,
            views=views,
            quantity=self._quantity(task, quantity),
        )

    def road(self, task: str, *, model: str | None = None) -> "Described":
        """From mean pooling to the pooler, step by step, at the last layer."""
        from probing.reporting.figures import road

        name = self._model(model)
        last = self.described(model)["num_layers"]
        views = [f"{pooling}@{last}" for pooling in ("mean", "cls", "pooler_dense", "pooler")]
        return road(self.scores, model=name, task=task, views=views)

    def effects(self, model: str | None = None) -> "Described":
        """The verdict as a picture: each claim's effect on each task."""
        from probing.reporting.figures import effects

        return effects(self.verdict(model))

    def cka_map(self, model: str | None = None) -> "Described":
        """How alike the views are: linear CKA between all pairs."""
        from probing.reporting.figures import cka_map

        return cka_map(self.scores, model=self._model(model))

    def selectivity(self, task: str, *, model: str | None = None) -> "Described":
        """Accuracy on the real labels against that on the control task."""
        from probing.reporting.figures import selectivity

        return selectivity(self.scores, model=self._model(model), task=task)

    def learning_curves(self, task: str, *, model: str | None = None) -> "Described":
        """Fine-tuned heads by the number of training items."""
        from probing.reporting.figures import learning_curves

        return learning_curves(self.scores, model=self._model(model), task=task)

    def frozen_gap(self) -> "FrozenGap | None":
        """How far the frozen limit of fine-tuning is from the linear probe; None without one."""
        from probing.reporting.frozen_gap import frozen_gap

        return frozen_gap(self.scores)

    def compare(self) -> "Ledger":
        """The scores beside the published numbers of the same cells."""
        from probing.reporting.ledger import compare, published_numbers

        return compare(self.scores, published_numbers())

    def choose(
        self, task: str | None = None, *, model: str | None = None, probe: str | None = None
    ) -> Choice:
        """Which view to use on a task: the set that holds the best one, what usual choices cost.

        Args:
            task: One of the tasks; by default the first.
            model: One of the models.
            probe: Of several that read a task, the one meant; by default the first.

        Raises:
            InputError: The run kept no items of the task.
        """
        name, wanted = self._model(model), task or self.tasks[0]
        kept = [i for i in read_items(self.folder) if i.model == name and i.target.task == wanted]
        kept = [items for items in kept if probe in (None, items.probe)]
        if not kept:
            raise InputError(
                f"{self.folder} keeps no items of {wanted!r} under {name}: expected a task of "
                "pairs, or of labelled sentences with a linear probe, in a run of this version"
            )
        described = next(e for e in self.manifest["encoders"] if e["name"] == name)
        usual = usual_views(described["num_layers"], described.get("declared_view"))
        return choose_view(kept[0], usual=usual)

    def report(self) -> Path:
        """Write ``report.html``, ``report.md`` and ``figures/`` into the folder of the run.

        Returns:
            The path of ``report.html``.
        """
        from probing.reporting.report import write_report

        return write_report(self.folder, self.scores, self.manifest, self.claims)

    def notes(self) -> tuple[str, ...]:
        """The distinct warnings of the run, with how often each was given."""
        from probing.reporting.report import run_notes

        return run_notes(self.folder)

    def _model(self, model: str | None) -> str:
        if model is not None:
            return model
        if not self.models:
            raise InputError(f"{self.folder} has rows of no model: expected a study of one")
        return self.models[0]

    def _quantity(self, task: str, quantity: str | Quantity | None) -> Quantity:
        if isinstance(quantity, Quantity):
            return quantity
        if quantity is not None:
            if quantity not in QUANTITIES:
                raise InputError(
                    f"unknown quantity {quantity!r}: expected one of {', '.join(QUANTITIES)}"
                )
            return QUANTITIES[quantity]
        measured = quantities(self.scores, model=self._model(None), task=task)
        if not measured:
            raise InputError(
                f"nothing to draw of task {task!r} in {self.folder}: expected one of "
                f"{', '.join(self.tasks)}"
            )
        return measured[0]


def load_run(folder: Path | str) -> Run:
    """Read a run folder back. Raises `InputError` where it is not one.

    >>> task = probing.load_task("sts-mini")
    >>> study = probing.Study([lengths], [task], n_resamples=20)
    >>> probing.load_run(study.run(folder / "run").folder).models
    ('lengths',)
    """
    scores, manifest = read_run(Path(folder))
    return Run(folder=Path(folder), scores=scores, manifest=manifest)
