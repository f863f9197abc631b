"""Intervals and tests on plain arrays; knows nothing of the rest of the package."""

from probing.statistics.best import BestSet, best_set
from probing.statistics.bootstrap import (
    bootstrap_accuracies,
    bootstrap_correlations,
    bootstrap_with_subsets,
)
from probing.statistics.correlation import (
    Aggregation,
    Metric,
    aggregate_correlations,
    correlation,
    pearson,
    spearman,
)
from probing.statistics.intervals import (
    Interval,
    PairedDifference,
    accuracy_interval,
    paired_difference,
    percentile_interval,
)
from probing.statistics.margins import ErrorPart, margin, tail_beyond
from probing.statistics.random_effects import PooledEffect, random_effects
from probing.statistics.seeds import EffectOverSeeds, effect_over_seeds
from probing.statistics.significance import (
    PermutationTest,
    WilliamsTest,
    holm,
    holm_levels,
    permutation_test,
    williams_test,
)

__all__ = [
    "Aggregation",
    "BestSet",
    "EffectOverSeeds",
    "ErrorPart",
    "Interval",
    "Metric",
    "PairedDifference",
    "PermutationTest",
    "PooledEffect",
    "WilliamsTest",
    "accuracy_interval",
    "aggregate_correlations",
    "best_set",
    "bootstrap_accuracies",
    "bootstrap_correlations",
    "bootstrap_with_subsets",
    "correlation",
    "effect_over_seeds",
    "holm",
    "holm_levels",
    "margin",
    "paired_difference",
    "pearson",
    "percentile_interval",
    "permutation_test",
    "random_effects",
    "spearman",
    "tail_beyond",
    "williams_test",
]
