"""The grammar of the names in the results table, made and parsed here and nowhere else.

- A **difference** is ``ONE - OTHER``, in whichever column: ``pooler@6 - mean@6``.
- The **twin** of a model, which has its architecture and random weights, is ``minilm+random``.
- A **floor**, a baseline that uses no model, is ``floor:jaccard``.
- A **view** is ``pooling@layers``: ``mean@6``; the average of layers 1 and 12 is ``mean@1+12``, the
  concatenation of layers 11 and 12 ``cls@11,12``. A name without ``@`` is a view of an encoder
  that shows no layers. ``none`` is no view: the rows of a floor.
"""

from typing import Final, NamedTuple

MINUS: Final = " - "
"""Between the two sides of a difference; no name has it in itself."""
TWIN_SUFFIX: Final = "+random"
"""At the end of the name of a random-weight twin."""
FLOOR_PREFIX: Final = "floor:"
"""At the start of the name of a floor."""
NO_VIEW: Final = "none"
"""The view of a row that is of no vectors."""


class ViewPlace(NamedTuple):
    """Layer and pooling of a view: the values of the columns ``layer`` and ``pooling``."""

    layer: int | None
    """None for several layers, and for an encoder that shows none."""
    pooling: str


def difference(one: str, other: str) -> str:
    """The name of one less the other."""
    return f"{one}{MINUS}{other}"


def is_difference(name: str) -> bool:
    """Whether a name is that of a difference."""
    return MINUS in name


def sides(name: str) -> tuple[str, ...]:
    """The two sides of a difference; of any other name, the name."""
    return tuple(name.split(MINUS))


def twin_name(model: str) -> str:
    """The name of the random-weight twin of a model."""
    return f"{model}{TWIN_SUFFIX}"


def is_twin(model: str) -> bool:
    """Whether a model is a random-weight twin."""
    return model.endswith(TWIN_SUFFIX)


def floor_name(kind: str) -> str:
    """The model name of a floor, such as ``floor:jaccard``."""
    return f"{FLOOR_PREFIX}{kind}"


def floor_kind(model: str) -> str:
    """What is after ``floor:`` in the name of a floor."""
    return model.removeprefix(FLOOR_PREFIX)


def is_floor(model: str) -> bool:
    """Whether a row's model is a floor."""
    return model.startswith(FLOOR_PREFIX)


def place_of(view: str) -> ViewPlace:
    """Layer and pooling of a view, of a difference of views or of a pair of views (``a & b``).

    The layer of two views is the one that they share, else None.
    """
    for separator in (MINUS, " & "):
        if separator in view:
            places = [place_of(side) for side in view.split(separator)]
            layers = {place.layer for place in places}
            poolings = dict.fromkeys(place.pooling for place in places)
            return ViewPlace(layers.pop() if len(layers) == 1 else None, separator.join(poolings))
    pooling, _, layers_text = view.partition("@")
    return ViewPlace(int(layers_text) if layers_text.isdigit() else None, pooling)
