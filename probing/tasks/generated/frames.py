"""Who does what to whom: the frames of the verbs and the modifiers of the nouns.

An argument says which noun classes make sense in a place, and which make none there whatever the
word (``odd``); classes that are in neither list may or may not make sense and are not used.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

PERSON = ("worker", "kin")
ANIMATE = (*PERSON, "animal")
PROPER = ("city", "weekday", "month")
_PLANT = ("flower", "tree")
_MEAL = ("produce", "dish")
_THING = ("clothing", "tool", "furniture", "container", "openable")
PLACE = ("building", "room", "area", "landmark")
_HAPPENING = ("event", "weather", "incident")
_NO_AGENT = (*_MEAL, *_PLANT, *_THING, "instrument", "music", "idea", "event", "weather", "room")


class Shape(StrEnum):
    """What follows the verb."""

    INTRANSITIVE = "nothing: the guests smiled"
    MOTION = "a path: the guests ran into the house"
    TRANSITIVE = "an object: the guests greeted the king"
    TALK = "a topic: the guests argued about the law"
    PUT = "an object and a place: the guests hid the key in the drawer"
    GIVE = "an object and a recipient: the guests gave the rose to the nun"
    CLAUSE = "a clause: the guests said that the king smiled"
    INFINITIVE = "an infinitive: the guests wanted to greet the king"
    STATE = "an adjective: the guests seemed tired"


class Trait(StrEnum):
    """What else a verb goes with."""

    MANNER = "an adverb of manner, as for anything done on purpose"
    PLACE = "the place where it happens"
    TIME = "the time when it happens, the progressive, and clauses of time"
    PASSIVE = "the passive"


@dataclass(frozen=True)
class Argument:
    """Noun classes that make sense in a place, and classes that make none there."""

    classes: tuple[str, ...]
    odd: tuple[str, ...] = ()


@dataclass(frozen=True)
class Frame:
    """A group of verbs that take the same subjects, objects and adjuncts."""

    name: str
    shape: Shape
    subject: Argument
    object: Argument | None
    traits: frozenset[Trait]


_SOMEONE = Argument(PERSON, _NO_AGENT)
_BODY = Argument(ANIMATE, ("idea", "event", "weather", "music", "incident"))
_MOVER = Argument(ANIMATE, _NO_AGENT)
_DECIDER = Argument((*PERSON, "org"), _NO_AGENT)


def _frames() -> Iterable[Frame]:
    manner, place, time, passive = Trait.MANNER, Trait.PLACE, Trait.TIME, Trait.PASSIVE
    act = (manner, place, time)
    deed = (*act, passive)

    def frame(name: str, shape: Shape, subject: Argument, *traits: Trait) -> Frame:
        return Frame(name, shape, subject, None, frozenset(traits))

    def transitive(
        name: str, subject: Argument, classes: tuple[str, ...], odd: tuple[str, ...], *traits: Trait
    ) -> Frame:
        return Frame(name, Shape.TRANSITIVE, subject, Argument(classes, odd), frozenset(traits))

    yield frame("emote", Shape.INTRANSITIVE, _SOMEONE, place, time)
    yield frame("rest", Shape.INTRANSITIVE, _BODY, place, time)
    yield frame("depart", Shape.INTRANSITIVE, Argument(ANIMATE), time)
    yield frame(
        "happen",
        Shape.INTRANSITIVE,
        Argument(("event",), (*_MEAL, *_PLANT, *_THING, "animal", "building", "vehicle", *PERSON)),
        *(place, time),
    )
    yield frame(
        "malfunction",
        Shape.INTRANSITIVE,
        Argument(("device", "vehicle"), ("flower", "idea", "clothing", "text")),
        time,
    )
    yield frame(
        "grow",
        Shape.INTRANSITIVE,
        Argument(_PLANT, ("tool", "device", "vehicle", "text", "clothing")),
        *(place, time),
    )
    yield frame(
        "rage",
        Shape.INTRANSITIVE,
        Argument(("weather",), ("clothing", "furniture", "tool", *_MEAL, "text", "flower")),
        time,
    )
    yield frame("go", Shape.MOTION, _MOVER, manner, time)
    yield Frame(
        "talk",
        Shape.TALK,
        _SOMEONE,
        Argument((*_HAPPENING, "idea", "animal", "vehicle", "text", "city", *PERSON)),
        frozenset(act),
    )

    yield transitive(
        "eat",
        Argument(ANIMATE, _NO_AGENT),
        (*_MEAL, "ingredient"),
        ("vehicle", "building", "furniture", "idea", *_HAPPENING, "device", *PLACE, "music"),
        *deed,
    )
    yield transitive(
        "prepare", _SOMEONE, ("dish",), ("landmark", "area", "weather", "incident"), *deed
    )
    yield transitive(
        "peel",
        _SOMEONE,
        ("produce",),
        ("idea", *_HAPPENING, "music", "building", "landmark", "area", "openable"),
        *deed,
    )
    yield transitive(
        "wear",
        _SOMEONE,
        ("clothing",),
        ("idea", *_HAPPENING, "music", *PLACE, "vehicle", "produce"),
        *(manner, time, passive),
    )
    yield transitive(
        "repair",
        _SOMEONE,
        ("device", "vehicle"),
        ("animal", "produce", *_PLANT, "weather", "worker"),
        *deed,
    )
    yield transitive(
        "drive",
        _SOMEONE,
        ("vehicle",),
        (*_MEAL, "flower", "music", "weather", "text", "incident"),
        *(manner, time, passive),
    )
    yield transitive(
        "build",
        _DECIDER,
        ("building",),
        ("animal", *_MEAL, "flower", "weather", "kin"),
        time,
        passive,
    )
    yield transitive(
        "write",
        _SOMEONE,
        ("text",),
        ("animal", *_MEAL, "vehicle", "furniture", "weather", "building", "tree", "landmark"),
        *deed,
    )
    yield transitive(
        "study",
        _SOMEONE,
        ("text",),
        (*_MEAL, "furniture", "clothing", "vehicle", "tool", "animal", "flower", "weather"),
        *(manner, time, passive),
    )
    yield transitive(
        "sing",
        _SOMEONE,
        ("music",),
        (*_MEAL, "furniture", "building", "vehicle", "clothing", "tool", "landmark", "flower"),
        *deed,
    )
    yield transitive("draw", _SOMEONE, ("picture",), (), *deed)
    yield transitive(
        "play",
        _SOMEONE,
        ("instrument",),
        (*_MEAL, "building", "furniture", "clothing", *_PLANT, "weather", "animal", "landmark"),
        *act,
    )
    yield transitive("help", _SOMEONE, PERSON, _NO_AGENT, *deed)
    yield transitive(
        "tend",
        _SOMEONE,
        ("animal",),
        ("idea", *_HAPPENING, "building", "music", "furniture", "text", "landmark"),
        *deed,
    )
    yield transitive(
        "bite",
        Argument(("animal",), _NO_AGENT),
        ANIMATE,
        ("idea", *_HAPPENING, "music", "area", "building"),
        *(place, time, passive),
    )
    yield transitive(
        "judge",
        _DECIDER,
        ("idea",),
        (*_MEAL, "clothing", "furniture", "tool", *_PLANT, "container"),
        *(time, passive),
    )
    yield transitive("debate", _DECIDER, ("idea",), (), time, passive)
    yield transitive(
        "attend",
        _SOMEONE,
        ("event",),
        (*_MEAL, "furniture", "tool", "clothing", *_PLANT, "landmark", "container"),
        *(time, passive),
    )
    yield transitive(
        "handle", _SOMEONE, ("tool", "container", "clothing", "picture"), _HAPPENING, *deed
    )
    yield transitive(
        "keep",
        _SOMEONE,
        ("tool", "clothing", "text", "picture"),
        ("weather",),
        *(time, passive),
    )
    visible = (*ANIMATE, *PLACE, *_PLANT, "vehicle", "tool", "picture", "text", "furniture")
    yield transitive("notice", _SOMEONE, visible, (), time, passive)
    liked = (*PERSON, "animal", "dish", "music", "event", "building", "clothing", "city", "area")
    yield transitive("like", _SOMEONE, liked, ())
    yield transitive(
        "amuse",
        Argument((*_HAPPENING, "idea")),
        PERSON,
        (*_MEAL, *_PLANT, *_THING, "vehicle"),
        time,
    )
    yield transitive(
        "destroy",
        Argument(("weather",), (*_MEAL, "clothing", "flower", "music", "text")),
        ("building", "vehicle", "tree", "openable"),
        ("idea", "music", "incident"),
        *(time, passive),
    )
    yield transitive(
        "cultivate",
        _SOMEONE,
        ("flower",),
        ("building", "vehicle", *_HAPPENING, "device", "furniture", "openable", "music"),
        *deed,
    )
    yield transitive(
        "climb", _SOMEONE, ("tree",), (*_MEAL, "text", "music", *_HAPPENING, "idea"), *deed
    )
    yield transitive(
        "explore",
        _SOMEONE,
        ("building", "area"),
        (*_MEAL, "flower", "music", "weather"),
        *(manner, time, passive),
    )
    yield transitive(
        "reach", _SOMEONE, ("landmark", "area"), (*_MEAL, "clothing", "music"), time, passive
    )
    yield transitive(
        "tidy", _SOMEONE, ("room",), ("idea", *_HAPPENING, "music"), manner, time, passive
    )
    yield transitive(
        "open",
        _SOMEONE,
        ("openable",),
        ("produce", "animal", *_PLANT, "weather", "music", "clothing"),
        *(manner, time, passive),
    )
    yield transitive(
        "fill",
        _SOMEONE,
        ("container",),
        ("idea", *_HAPPENING, "music", "landmark"),
        *deed,
    )
    yield transitive(
        "drink",
        _SOMEONE,
        ("beverage",),
        (*_THING, "building", "vehicle", "idea", *_HAPPENING, "music", "animal", "text"),
        *deed,
    )
    yield Frame(
        "put",
        Shape.PUT,
        _SOMEONE,
        Argument(("tool", "text", "clothing"), ("weather", "idea", "landmark", "event", "area")),
        frozenset((manner, time)),
    )
    yield Frame(
        "give",
        Shape.GIVE,
        _SOMEONE,
        Argument(("tool", "text", "clothing", "flower"), ("weather", "landmark", "area")),
        frozenset((manner, time)),
    )
    yield frame("say", Shape.CLAUSE, _SOMEONE)
    yield frame("want", Shape.INFINITIVE, _SOMEONE)
    yield frame("seem", Shape.STATE, Argument(PERSON, _NO_AGENT))


FRAMES: dict[str, Frame] = {frame.name: frame for frame in _frames()}
"""Every frame by its name, which is also its key in ``words.VERBS``."""


@cache
def frames_for(
    shapes: tuple[Shape, ...],
    *,
    subject: str | None = None,
    object_class: str | None = None,
    traits: frozenset[Trait] = frozenset(),
) -> tuple[Frame, ...]:
    """The frames of some shapes with this subject, this object and these traits."""
    return tuple(
        frame
        for frame in FRAMES.values()
        if frame.shape in shapes
        and traits <= frame.traits
        and (subject is None or subject in frame.subject.classes)
        and (object_class is None or (frame.object and object_class in frame.object.classes))
    )


@cache
def odd_verbs(shape: Shape, subject: str, object_class: str | None) -> tuple[str, ...]:
    """Names of the frames of this shape whose verbs make no sense with these arguments."""
    return tuple(
        frame.name
        for frame in frames_for((shape,))
        if subject in frame.subject.odd or (frame.object and object_class in frame.object.odd)
    )


_NOT_INSIDE = ("produce", "animal", "tool", "idea", "flower")
_NOT_NEAR = ("idea", "music", "incident")
INSIDE = Argument(("building", "area", "room"), _NOT_INSIDE)
_TOWN = Argument(("city",))
_OUTSIDE = Argument(("building", "landmark", "area"), _NOT_NEAR)

PLACES: tuple[tuple[str, Argument], ...] = (
    *(("in", INSIDE), ("in", INSIDE), ("in", _TOWN)),
    *(("near", _OUTSIDE), ("beside", Argument(("landmark", "building"), _NOT_NEAR))),
    *(("behind", Argument(("building",), _NOT_NEAR)), ("outside", Argument(("building",)))),
)
"""Where something happens, as preposition and argument."""

PATHS: tuple[tuple[str, Argument], ...] = (
    ("through", Argument(("area", "building"), ("idea", "music", "tool", "clothing", *_MEAL))),
    ("across", Argument(("area",), ("idea", "music", "tool", "clothing", *_MEAL))),
    ("into", Argument(("building", "room"), ("idea", "music", "tool", "clothing", "flower"))),
    ("toward", Argument(("building", "landmark"), ("idea", "music"))),
    ("past", Argument(("building", "landmark"), ("idea", "music"))),
)
"""Where somebody goes."""

STORES: tuple[tuple[str, Argument], ...] = (
    ("in", Argument(("container", "room", "building"), ("animal", "idea", "weather", "music"))),
    ("on", Argument(("furniture",), ("idea", "weather", "music", "incident"))),
    ("under", Argument(("furniture",), ("idea", "weather", "music", "incident"))),
    ("behind", Argument(("furniture",), ("idea", "weather", "music"))),
)
"""Where somebody puts something."""

_HERE = (("in", _TOWN), ("near", _OUTSIDE), ("behind", Argument(("building",), _NOT_NEAR)))
_FROM = ("from", _TOWN)
_INDOORS = ("in", Argument(("room", "building"), _NOT_INSIDE))
_ABOUT = ("about", Argument(("animal", "landmark", "city", "worker", "weather")))

MODIFIERS: dict[str, tuple[tuple[str, Argument], ...]] = {
    **dict.fromkeys(PERSON, (_FROM, _FROM, ("near", _OUTSIDE))),
    **dict.fromkeys(("org", "instrument"), (_FROM,)),
    "animal": (("near", _OUTSIDE), ("in", Argument(("area", "building"), _NOT_INSIDE))),
    "dish": (_FROM,),
    **dict.fromkeys(("tool", "clothing"), (_FROM, ("on", Argument(("furniture",))))),
    "produce": (("in", Argument(("container",))), _FROM),
    "flower": (("in", Argument(("area",))), ("near", _OUTSIDE)),
    "tree": (("near", _OUTSIDE), ("behind", Argument(("building",)))),
    **dict.fromkeys(("device", "furniture", "openable", "container"), (_INDOORS,)),
    "vehicle": (("near", _OUTSIDE), ("behind", Argument(("building",)))),
    **dict.fromkeys(("building", "area", "landmark"), _HERE),
    "room": (("of", Argument(("building",))),),
    **dict.fromkeys(("text", "music"), (_ABOUT, ("by", Argument(("worker",))))),
    "picture": (("of", Argument(("worker", "animal", "landmark", "city"))), _FROM),
    "idea": (("about", Argument(("event", "text", "vehicle", "building"))),),
    "event": (("in", Argument(("city", "building"))),),
    "incident": (("in", Argument(("city", "area", "building"))),),
    "weather": (("in", Argument(("city", "area"))),),
}
"""What a noun of a class is modified by, as preposition and argument."""

DESCRIPTIONS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(PERSON, ("character", "age", "nationality")),
    "animal": ("breed", "size", "color"),
    "produce": ("taste", "size"),
    "dish": ("prepared", "nationality"),
    **dict.fromkeys(("org", "beverage", "ingredient"), ("nationality",)),
    "flower": ("bloom", "color"),
    **dict.fromkeys(("tree", "landmark"), ("size",)),
    "clothing": ("worth", "color", "fabric"),
    "tool": ("worth", "size", "color"),
    "furniture": ("worth", "vintage", "color", "wood"),
    **dict.fromkeys(("container", "openable"), ("size", "color")),
    "instrument": ("worth", "vintage", "nationality"),
    "device": ("size", "machine"),
    "vehicle": ("worth", "size", "color", "nationality"),
    **dict.fromkeys(("building", "room", "area"), ("size", "scenery")),
    "text": ("style", "nationality"),
    "music": ("sound", "vintage", "nationality"),
    "picture": ("worth", "vintage", "nationality"),
    "idea": ("merit",),
    "event": ("occasion",),
    "weather": ("force",),
    "incident": ("impact",),
}
"""Adjective groups for a noun class, in the order in which two of them stand."""
