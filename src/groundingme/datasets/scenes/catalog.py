"""What a scene can hold: kinds of things, colours, surfaces, parts, states, writing.

Pictures, descriptions, their proofs and the built-in grounder all read these tables, so a new
kind is a row here and its drawing in `sprites/`.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec


class Axis(NamedTuple):
    """Two states, of which a thing is always in exactly one.

    Attributes:
        values: The names of the two states.
        phrases: How each is said behind the noun ("that is ..."), several ways.
    """

    values: tuple[str, str]
    phrases: tuple[tuple[str, ...], tuple[str, ...]]


AXES: dict[str, Axis] = {
    "opening": Axis(("open", "closed"), (("open", "wide open"), ("closed", "shut"))),
    "light": Axis(
        ("lit", "unlit"), (("lit", "switched on", "glowing"), ("unlit", "switched off", "not lit"))
    ),
    "flame": Axis(("burning", "unlit"), (("burning", "lit"), ("unlit", "not lit", "blown out"))),
    "filling": Axis(
        ("full", "empty"), (("full", "full of water", "filled with water"), ("empty",))
    ),
    "mouth": Axis(("smiling", "frowning"), (("smiling", "happy"), ("frowning", "sad"))),
    "eyes": Axis(("awake", "asleep"), (("awake",), ("asleep", "sleeping"))),
    "wings": Axis(
        ("spread", "folded"),
        (
            ("spreading its wings", "holding its wings up"),
            ("resting its wings", "keeping its wings folded"),
        ),
    ),
    "stance": Axis(
        ("upright", "tilted"),
        (("upright", "standing straight"), ("tilted", "tipped to one side", "leaning")),
    ),
}

COLORS: dict[str, tuple[int, int, int]] = {
    "red": (208, 38, 44),
    "orange": (244, 138, 22),
    "yellow": (248, 212, 48),
    "green": (46, 150, 72),
    "blue": (36, 98, 206),
    "purple": (126, 58, 168),
    "pink": (244, 142, 184),
    "brown": (120, 76, 42),
    "black": (40, 40, 46),
    "white": (246, 245, 240),
    "grey": (142, 148, 156),
}
"""Base colour of each name, sRGB."""

ALL = tuple(COLORS)
BRIGHT = tuple(color for color in COLORS if color not in ("white", "grey"))

SURFACES: dict[str, tuple[str, ...]] = {
    "plain": ("plain", "solid-coloured"),
    "striped": ("striped",),
    "dotted": ("dotted", "polka-dot", "spotted"),
    "checked": ("checked", "chequered"),
    "wooden": ("wooden", "wood"),
    "metal": ("metal", "metallic"),
}
"""Each surface and the adjectives for it. Wooden things are brown, metal ones grey."""

FIXED_COLOR = {"wooden": "brown", "metal": "grey"}

SECOND_COLORS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("red", "green", "blue", "purple", "brown", "black"), ("white",)),
    "orange": ("brown",),
    "yellow": ("brown",),
    "pink": ("purple",),
    "white": ("grey", "blue"),
    "grey": ("black",),
}
"""What a careful person might also call a striped or checked thing of each colour: the name of the
colour that covers nearly as much of it."""

PATTERNS = ("plain", "striped", "dotted", "checked")


class Count(NamedTuple):
    """A detail that comes several times.

    Attributes:
        one: Its name.
        many: Its plural.
        least: Fewest of them.
        most: Most of them.
    """

    one: str
    many: str
    least: int
    most: int


class Kind(msgspec.Struct, frozen=True):
    """One kind of thing.

    Attributes:
        nouns: Names for it, the usual one first; no two kinds share one.
        height: Of the body beside other kinds at the same distance, about 1.
        surfaces: Names of `SURFACES`.
        parts: Optional parts, as they follow "with" and "without"; `name: phrase`.
        axis: Name of `AXES`, or "".
        text: What may be written on it: `letter`, `number`, `word`, or "".
        count: A detail that comes several times, or None.
        colors: Names of `COLORS`.
        floats: Whether it hangs in the air instead of standing.
    """

    nouns: tuple[str, ...]
    height: float
    surfaces: tuple[str, ...]
    parts: dict[str, str] = {}
    axis: str = ""
    text: str = ""
    count: Count | None = None
    colors: tuple[str, ...] = ALL
    floats: bool = False


KINDS: dict[str, Kind] = {
    "mug": Kind(("mug", "coffee mug", "cup"), 0.62, PATTERNS, {"handle": "handle"}, text="letter"),
    "bottle": Kind(("bottle", "flask"), 1.05, PATTERNS, {"cap": "cap"}, text="letter"),
    "bucket": Kind(("bucket", "pail"), 0.72, PATTERNS, {"bail": "wire handle"}, axis="filling"),
    "lamp": Kind(
        ("lamp", "table lamp"), 1.05, ("plain", "striped", "dotted"), {"cord": "pull cord"},
        axis="light", colors=BRIGHT,
    ),
    "candle": Kind(
        ("candle", "wax candle"), 0.8, ("plain", "striped"), {"holder": "holder"}, axis="flame"
    ),
    "book": Kind(
        ("book", "hardcover book"), 0.8, ("plain", "striped", "dotted"), {"bookmark": "bookmark"},
        axis="opening",
    ),
    "box": Kind(
        ("box", "gift box"), 0.66, ("plain", "striped", "dotted", "wooden", "metal"),
        {"bow": "bow"}, axis="opening", text="number",
    ),
    "umbrella": Kind(("umbrella", "parasol"), 1.15, PATTERNS, axis="opening"),
    "chair": Kind(
        ("chair", "seat"), 1.1, ("plain", "wooden", "metal"),
        {"armrests": "armrests", "cushion": "cushion"}, axis="stance",
    ),
    "sign": Kind(
        ("sign", "signpost"), 1.1, ("plain", "wooden"), {"lantern": "lantern on top"},
        axis="stance", text="word",
    ),
    "car": Kind(
        ("car", "toy car"), 0.66, PATTERNS, {"rack": "roof rack"}, axis="light", text="number"
    ),
    "house": Kind(
        ("house", "cottage", "little house"), 1.3, ("plain", "wooden"), {"chimney": "chimney"},
        axis="opening", count=Count("window", "windows", 1, 4),
    ),
    "robot": Kind(
        ("robot", "toy robot"), 1.15, ("plain", "metal"), {"antenna": "antenna"}, axis="mouth",
        text="number",
    ),
    "ball": Kind(("ball", "round ball"), 0.55, PATTERNS),
    "balloon": Kind(
        ("balloon", "party balloon"), 0.85, PATTERNS, {"string": "string"}, text="letter",
        floats=True,
    ),
    "clock": Kind(
        ("clock", "alarm clock"), 0.75, ("plain", "wooden", "metal"), {"bells": "bells on top"}
    ),
    "flowerpot": Kind(
        ("flowerpot", "potted plant", "plant pot"), 0.95, PATTERNS, {"flower": "flower"}
    ),
    "backpack": Kind(
        ("backpack", "rucksack", "schoolbag"), 0.9, PATTERNS, {"pocket": "front pocket"},
        axis="opening",
    ),
    "die": Kind(
        ("die", "dice cube"), 0.55, ("plain", "wooden"), count=Count("dot", "dots", 1, 6)
    ),
    "cat": Kind(
        ("cat", "house cat"), 0.8, ("plain", "striped", "dotted"), {"collar": "collar"},
        axis="eyes",
    ),
    "bird": Kind(
        ("bird", "songbird"), 0.66, ("plain", "dotted"), {"crest": "crest on its head"},
        axis="wings",
    ),
    "dresser": Kind(
        ("dresser", "chest of drawers"), 1.0, ("plain", "wooden"), {"mirror": "mirror on top"},
        count=Count("drawer", "drawers", 2, 5),
    ),
    "kite": Kind(("kite", "paper kite"), 0.9, PATTERNS, {"tail": "tail"}, floats=True),
    "hat": Kind(("hat", "top hat"), 0.58, PATTERNS, {"feather": "feather"}),
}  # fmt: skip
"""Every kind by name."""

WORDS = (
    "STOP", "EXIT", "OPEN", "CAFE", "TAXI", "ZOO", "BUS", "MILK", "SALE", "PARK", "BANK", "SHOP",
    "FISH", "WEST", "EAST", "FARM", "HOTEL", "MUSIC", "BREAD", "SLOW", "BIKE", "POOL", "KIOSK",
    "LUNCH", "GOLF", "JAZZ", "QUIET", "VIEW",
)  # fmt: skip
"""What stands on signs; five letters at most."""

LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ"
"""Without I, O and Q, which look like digits."""

LONGEST_TEXT = 5


def texts(kind: Kind) -> tuple[str, ...]:
    """Everything that may be written on things of that kind."""
    if kind.text == "letter":
        return tuple(LETTERS)
    if kind.text == "number":
        return tuple(map(str, range(2, 100)))
    return WORDS if kind.text == "word" else ()
