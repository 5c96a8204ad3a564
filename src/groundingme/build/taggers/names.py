"""Names of kinds of objects as models write them, made alike."""

from __future__ import annotations

import re
from collections.abc import Iterable

LONGEST = 60
"""Characters of a name; what is longer is no name of a kind of object."""

_IRREGULAR = {
    "people": "person", "persons": "person", "men": "man", "women": "woman", "children": "child",
    "feet": "foot", "teeth": "tooth", "geese": "goose", "mice": "mouse", "oxen": "ox",
    "leaves": "leaf", "knives": "knife", "wolves": "wolf", "shelves": "shelf", "loaves": "loaf",
    "scarves": "scarf", "calves": "calf", "hooves": "hoof", "halves": "half", "thieves": "thief",
    "buses": "bus", "lenses": "lens", "cookies": "cookie", "hoodies": "hoodie", "pies": "pie",
    "ties": "tie", "brownies": "brownie", "smoothies": "smoothie", "genies": "genie",
    "shoes": "shoe", "toes": "toe", "horseshoes": "horseshoe", "canoes": "canoe", "hoes": "hoe",
    "cacti": "cactus", "fungi": "fungus", "axes": "axe",
}  # fmt: skip

_AS_THEY_ARE = frozenset({
    "glasses", "sunglasses", "eyeglasses", "scissors", "pants", "trousers", "jeans", "shorts",
    "tights", "leggings", "overalls", "pajamas", "pyjamas", "clothes", "binoculars", "headphones",
    "earphones", "goggles", "tongs", "pliers", "tweezers", "skis", "stairs", "series", "species",
    "gas", "lens", "canvas", "atlas", "christmas", "swiss", "bias", "texas", "tennis", "gallows",
    "headquarters", "specimen", "ramen", "blinds", "bellows", "crossroads", "barracks",
    "clippers", "suspenders",
})  # fmt: skip
"""Words that end like a plural and are none, or have no other form."""


def singular(name: str) -> str:
    """A name whose last word is in the singular, by the rules of English.

    Example:
        >>> [singular(name) for name in ("traffic lights", "boxes", "berries", "bus", "glasses")]
        ['traffic light', 'box', 'berry', 'bus', 'glasses']
    """
    before, space, word = name.rpartition(" ")
    return f"{before}{space}{_singular(word)}"


def _singular(word: str) -> str:
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word.endswith("men") and word not in _AS_THEY_ARE:
        return f"{word[:-3]}man"
    if word in _AS_THEY_ARE or len(word) < 4 or not word.endswith("s"):
        return word
    if word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies"):
        return f"{word[:-3]}y"
    if word.endswith(("ches", "shes", "sses", "xes", "oes")):
        return word[:-2]
    return word[:-1]


def alike(names: Iterable[str], most: int, *, plurals: bool = True) -> list[str]:
    """Names in lower case and the singular, without articles and signs at their ends, each once.

    Args:
        names: As they were written.
        most: Most that are kept, from the first on.
        plurals: Whether plurals become singulars; not where names are whole phrases.

    Example:
        >>> alike(["The Dogs", "a dog", "- cup.", ""], 10)
        ['dog', 'cup']
    """
    kept: dict[str, None] = {}
    for name in names:
        plain = " ".join(re.sub(r"[\x00-\x1f\x7f]", " ", name[: 4 * LONGEST]).lower().split())
        plain = plain.strip(" \t.,;:!?*_-–•\"'`()[]{}<>")
        plain = re.sub(r"^(?:an?|the|some) ", "", plain)
        if plurals:
            plain = singular(plain)
        if plain and len(plain) <= LONGEST:
            kept[plain] = None
        if len(kept) == most:
            break
    return list(kept)
