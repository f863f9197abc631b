"""Figures of the results table: scores in, a figure and the sentence that describes it out.

One set of functions serves every measurement: which numbers of the table are drawn is said by a
`Quantity`, `SIMILARITY` by default.
"""

from probing.reporting.figures.comparisons import comparison, effects, road
from probing.reporting.figures.curves import layer_curves, selectivity
from probing.reporting.figures.drawing import Described
from probing.reporting.figures.encoder_pairs import model_curves, training_curves
from probing.reporting.figures.learning_curves import learning_curves, learning_rows
from probing.reporting.figures.maps import attention_map, cka_map, heat_map, task_map
from probing.results.quantities import ACCURACY, ANISOTROPY, COMPRESSION, SIMILARITY, Quantity

__all__ = [
    "ACCURACY",
    "ANISOTROPY",
    "COMPRESSION",
    "SIMILARITY",
    "Described",
    "Quantity",
    "attention_map",
    "cka_map",
    "comparison",
    "effects",
    "heat_map",
    "layer_curves",
    "learning_curves",
    "learning_rows",
    "model_curves",
    "road",
    "selectivity",
    "task_map",
    "training_curves",
]
