"""Words that rules may change, and into what: tables only.

Another word of a table is always one that a careful person would not use for the same thing:
purple does not become blue, nor a cap a hat.
"""

from __future__ import annotations

import re
from typing import NamedTuple


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[\w'-]+", text))


COLORS: dict[str, tuple[str, ...]] = {
    "red": ("orange", "pink", "maroon", "brown"),
    "orange": ("red", "yellow", "brown", "tan", "gold", "golden"),
    "yellow": ("orange", "gold", "golden", "beige", "tan", "blond", "blonde"),
    "green": ("teal", "turquoise", "olive"),
    "blue": ("purple", "teal", "turquoise", "navy"),
    "purple": ("blue", "pink", "violet", "maroon", "navy"),
    "pink": ("red", "purple", "violet"),
    "brown": ("red", "orange", "tan", "beige", "maroon", "black", "gold", "golden"),
    "black": ("navy", "brown", "grey", "gray"),
    "white": ("grey", "gray", "beige", "silver"),
    "grey": ("gray", "black", "white", "silver"),
    "gray": ("grey", "black", "white", "silver"),
    "beige": ("white", "tan", "brown", "yellow"),
    "tan": ("beige", "brown", "orange", "yellow"),
    "maroon": ("red", "brown", "purple"),
    "navy": ("blue", "black", "purple"),
    "teal": ("blue", "green", "turquoise"),
    "turquoise": ("blue", "green", "teal"),
    "violet": ("purple", "pink", "blue"),
    "gold": ("yellow", "orange", "brown", "golden"),
    "golden": ("yellow", "orange", "brown", "gold"),
    "silver": ("grey", "gray", "white"),
    "blond": ("blonde", "yellow", "white"),
    "blonde": ("blond", "yellow", "white"),
}
"""Each colour, and those that it is taken for."""

PEOPLE_NOUNS = _words(
    "man men woman women person people boy boys girl girls guy guys lady ladies gentleman child "
    "children kid kids baby toddler male female adult couple family player players skin folks"
)
NOT_COLORED = PEOPLE_NOUNS | _words(
    "wine retriever retrievers panda pandas pepper peppers onion onions cabbage tea rice bean "
    "beans chocolate board boards card carpet belt cross sox bull light lights gold medal bear "
    "bears fish house juice tree trees peel slice slices"
)
"""Nouns whose colour is part of their name, or no matter for rules."""

_HAIR = ("black", "brown", "blond", "red", "grey", "white")
_FUR = ("black", "white", "brown", "grey", "tan")
PALETTES: tuple[tuple[frozenset[str], tuple[str, ...]], ...] = (
    (_words("hair haired beard bearded mustache moustache ponytail"), _HAIR),
    (_words("eyes eyed eye"), ("brown", "blue", "green")),
    (
        _words(
            "dog dogs cat cats horse horses cow cows fur coated furred sheep goat goats rabbit "
            "mane pony bull calf foal puppy kitten"
        ),
        _FUR,
    ),
)
"""Colours of what does not come in all of them, by the noun that follows."""


class Material(NamedTuple):
    """What something is made of.

    Attributes:
        noun: After "made of".
        others: What it may become.
        never: Nouns with which it is a name of its own.
    """

    noun: str
    others: tuple[str, ...]
    never: frozenset[str] = frozenset()


MATERIALS: dict[str, Material] = {
    "wooden": Material("wood", ("metal", "plastic", "stone")),
    "wood": Material("wood", ("metal", "plastic", "stone"), _words("pecker stove fire")),
    "metal": Material("metal", ("wooden", "plastic", "glass"), _words("detector")),
    "metallic": Material("metal", ("wooden", "plastic")),
    "plastic": Material("plastic", ("metal", "wooden", "glass"), _words("surgery wrap")),
    "glass": Material("glass", ("metal", "plastic", "wooden"), _words("es full")),
    "leather": Material("leather", ("denim", "woolen")),
    "denim": Material("denim", ("leather", "woolen")),
    "woolen": Material("wool", ("leather", "denim")),
    "stone": Material("stone", ("wooden", "metal")),
    "brick": Material("brick", ("wooden", "glass")),
    "concrete": Material("concrete", ("wooden", "metal")),
    "ceramic": Material("ceramic", ("plastic", "metal")),
    "cardboard": Material("cardboard", ("wooden", "plastic", "metal")),
    "wicker": Material("wicker", ("metal", "plastic")),
    "steel": Material("steel", ("wooden", "plastic"), _words("drum drums")),
    "marble": Material("marble", ("wooden", "metal")),
}  # fmt: skip


def _one_of(*groups: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Each word, and all words of the other groups."""
    return {
        word: tuple(other[0] for other in groups if other is not group)
        for group in groups
        for word in group
    }


PATTERNS = _one_of(
    ("striped",),
    ("checkered", "checked", "chequered", "plaid"),
    ("polka-dot", "polka-dotted", "dotted", "polka dot", "spotted"),
    ("floral", "flowered"),
)
SHAPES: dict[str, tuple[str, ...]] = {
    "round": ("square", "triangular"),
    "circular": ("square", "triangular"),
    "square": ("round", "triangular"),
    "rectangular": ("round", "triangular"),
    "triangular": ("round", "square"),
    "oval": ("square", "triangular"),
    "curly": ("straight",),
    "short-sleeved": ("long-sleeved",),
    "long-sleeved": ("short-sleeved",),
    "short-sleeve": ("long-sleeve",),
    "long-sleeve": ("short-sleeve",),
}

_LENGTHS = (
    "hair", "haired", "sleeves", "sleeve", "pants", "beard", "tail", "neck", "skirt", "dress",
    "coat", "ears", "fur", "legs", "handle",
)  # fmt: skip
SIZED: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("short", "long", _LENGTHS),
    ("long", "short", _LENGTHS),
    ("wide", "narrow", ("brim", "stripes", "tie", "screen", "lapels")),
    ("narrow", "wide", ("brim", "stripes", "tie", "screen", "lapels")),
    ("thick", "thin", ("frames", "rims", "stripes", "crust", "trunk", "soles")),
    ("thin", "thick", ("frames", "rims", "stripes", "crust", "trunk", "soles")),
)
"""A size, its opposite, and the parts of which it is said for certain."""

RELATIVE: dict[str, str] = {
    "large": "small", "big": "small", "huge": "tiny", "small": "large", "little": "large",
    "tiny": "huge", "tall": "short", "wide": "narrow", "narrow": "wide", "thick": "thin",
    "thin": "thick",
}  # fmt: skip
"""Sizes that are a matter of comparison: the last that a rule changes."""

PARTS = _words(
    "handle lid spout cap cork straw cord antenna leg wheel window door roof mirror headlight "
    "headlights logo label sticker flag sail mast chimney balcony curtain cushion pillow armrest "
    "armrests backrest drawer shelf knob screen button buttons keyboard stem leaf leaves flower "
    "feather crest bow ribbon string tail bookmark holder bell bells fringe lace laces heel strap "
    "straps brim collar leash saddle basket horn horns antlers wing wings beak beard mustache "
    "moustache goatee ponytail bangs braid braids pigtails tattoo glasses sunglasses hat helmet "
    "tie scarf glove gloves backpack apron mask necklace earrings bracelet watch headphones hood "
    "zipper pocket pockets sleeves rack ladder crane propeller fender bumper license seat lamp "
    "lantern pattern stripes spots dots polka-dots icing frosting sprinkles topping cherry candle "
    "foam ice slit hole crack dent rim border frame base stand pedestal chain rope hook pin "
    "zippers badge medal crown stroller trailer sidecar windshield"
) - {"license"}
"""Parts and what is worn or carried: what "with" and "without" are changed before."""

FAMILIES: dict[str, tuple[str, ...]] = {
    "helmet": ("hat",),
    "hat": ("helmet",),
    "cap": ("helmet",),
    "beanie": ("helmet",),
    "headphones": ("sunglasses",),
    "tie": ("scarf",),
    "bow tie": ("scarf",),
    "scarf": ("tie",),
    "backpack": ("handbag",),
    "handbag": ("backpack",),
    "gloves": ("mittens",),
    "necklace": ("scarf",),
    "sunglasses": ("goggles",),
    "glasses": ("goggles",),
    "beard": ("ponytail",),
}
"""What is worn, and what may be worn in its place."""

OPPOSITES: tuple[tuple[str, str], ...] = (
    (r"wide open(?! field| air)", "closed"),
    (
        r"(?<!wide )(?<!in the )(?<!partly )(?<!half )open"
        r"(?! field| air| space| sea| water| kitchen| area| floor| fire)",
        "closed",
    ),
    (r"closed", "open"),
    (r"shut", "open"),
    (r"(?<!brightly )(?<!well )(?<!dimly )(?<!sun )lit(?! by)", "unlit"),
    (r"unlit", "lit"),
    (r"(?<=turned )on(?! (?:its|his|her|the|a)\b)", "off"),
    (r"(?<=turned )off", "on"),
    (r"(?<=switched )on", "off"),
    (r"(?<=switched )off", "on"),
    (r"(?<=lights )on(?! (?:its|his|her|the|a|top)\b)", "off"),
    (r"(?<=lights )off", "on"),
    (
        r"(?<!half )(?<!partly )full(?=$|[.,;]"
        r"| (?:glass|cup|bottle|bowl|plate|basket|bucket|cart|mug|jar|bag|box|shelf|tray)\b)",
        "empty",
    ),
    (r"(?<!half )(?<!almost )empty(?! (?:space|spot|street|room|field|lot)\b)", "full"),
    (r"smiling", "frowning"),
    (r"frowning", "smiling"),
    (r"awake", "asleep"),
    (r"asleep", "awake"),
    (r"(?<=facing )left\b", "right"),
    (r"(?<=facing )right\b", "left"),
    (r"(?<=looking )left\b", "right"),
    (r"(?<=looking )right\b", "left"),
    (r"(?<=facing to the )left\b(?! of)", "right"),
    (r"(?<=facing to the )right\b(?! of)", "left"),
    (r"(?<=to (?:his|her|its) )left\b(?! of)", "right"),
    (r"facing away from the camera", "facing the camera"),
    (r"facing away from the viewer", "facing the viewer"),
    (r"facing the camera", "facing away from the camera"),
    (r"facing the viewer", "facing away from the viewer"),
    (r"looking away from the camera", "looking at the camera"),
    (r"looking at the camera", "looking away from the camera"),
    (r"(?<=in (?:his|her) )left(?= hand\b)", "right"),
    (r"(?<=in (?:his|her) )right(?= hand\b)", "left"),
    (r"wet(?! ?suit| floor)", "dry"),
    (r"dry(?! cleaner| erase| land| grass)", "wet"),
    (r"raised(?! bed| platform)", "lowered"),
    (r"lowered", "raised"),
    (r"unfolded", "folded"),
    (r"folded", "unfolded"),
    (r"inflated", "deflated"),
    (r"deflated", "inflated"),
    (r"unpeeled", "peeled"),
    (r"peeled", "unpeeled"),
    (r"unripe", "ripe"),
    (r"ripe", "unripe"),
    (
        r"whole(?= (?:pizza|cake|apple|orange|banana|loaf|pie|carrot|sandwich|lemon|watermelon)\b)",
        "sliced",
    ),
    (r"sliced", "whole"),
    (r"uncovered", "covered"),
    (r"covered(?=$|[.,;])", "uncovered"),
    (r"parked", "moving"),
    (r"stationary", "moving"),
    (r"upright(?! piano)", "toppled"),
    (r"plugged in", "unplugged"),
    (r"unplugged", "plugged in"),
    (r"untied", "tied"),
)
"""Patterns of states, and what is the opposite; the first that fits a place counts."""

ANIMATE = PEOPLE_NOUNS | _words(
    "player batter catcher umpire pitcher skier surfer skater snowboarder rider cyclist officer "
    "policeman worker chef waiter student teacher tennis soldier crowd "
    "dog dogs puppy cat cats kitten horse horses pony cow cows bull calf sheep lamb goat goats "
    "elephant elephants giraffe giraffes zebra zebras bear bears bird birds duck ducks goose geese "
    "swan lion tiger monkey rabbit pig deer kangaroo penguin seagull pigeon parrot owl"
)

POSTURES: dict[str, tuple[str, ...]] = {
    "standing": ("sitting", "lying down"),
    "sitting": ("standing",),
    "seated": ("standing",),
    "lying": ("standing",),
    "laying": ("standing",),
    "kneeling": ("standing",),
    "crouching": ("standing",),
    "squatting": ("standing",),
    "walking": ("sitting",),
    "running": ("sitting", "standing still"),
    "jumping": ("sitting", "standing still"),
    "sleeping": ("standing",),
    "grazing": ("lying down",),
    "flying": ("perching",),
    "perched": ("flying",),
    "swimming": ("standing",),
}
"""What living things do, and what they cannot do at the same time."""


class Placed(NamedTuple):
    """A word that places the object, and its opposite.

    Attributes:
        pattern: Of the word alone.
        after: In its place.
        side: Where the object would then be, seen from where it is: `left`, `right`, `above`,
            `below`, or `depth` where a box does not tell.
    """

    pattern: str
    after: str
    side: str


_BODY = r"(?:hand|arm|leg|foot|shoulder|wrist|eye|ear|half|wing|paw|page|turn|wheel)\b"
_OTHER = r"(?! (?:of )?(?:his|her|its|their|the camera|the viewer|you)\b)"


def _at(word: str) -> str:
    """ "on the left", but neither "on the left of" nor "on the left arm"."""
    before = ("on the ", "at the ", "to the ", "on the far ", "to the far ", "on ", "on far ")
    placed = "|".join(f"(?<={one})" for one in before)
    return rf"(?:{placed}){word}\b(?! of\b)(?! side of\b)(?! {_BODY})(?= side\b|$|[,.;]| [a-z])"


def _first(word: str) -> str:
    """ "the left man", at the very beginning."""
    return rf"(?:(?<=^the )|(?<=^)){word}(?! {_BODY})(?= (?!of\b|side\b|and\b|in\b)[a-z]{{3,}})"


RELATIONS: tuple[Placed, ...] = (
    Placed(rf"left(?=(?: hand side| side)? of\b{_OTHER})", "right", "right"),
    Placed(rf"right(?=(?: hand side| side)? of\b{_OTHER})", "left", "left"),
    Placed(_at("left"), "right", "right"),
    Placed(_at("right"), "left", "left"),
    Placed(_first("left"), "right", "right"),
    Placed(_first("right"), "left", "left"),
    Placed(rf"on top of\b{_OTHER}", "under", "below"),
    Placed(rf"above\b{_OTHER}(?= \w)", "below", "below"),
    Placed(rf"(?<!down )below\b{_OTHER}(?= \w)", "above", "above"),
    Placed(rf"(?:underneath|beneath|under)\b{_OTHER}(?= (?:the|an?)\b)", "on top of", "above"),
    Placed(_first("top"), "bottom", "below"),
    Placed(_first("bottom"), "top", "above"),
    Placed(rf"in front of\b{_OTHER}(?= \w)", "behind", "depth"),
    Placed(rf"behind\b{_OTHER}(?= \w)", "in front of", "depth"),
    Placed(r"(?<=in the )foreground", "background", "depth"),
    Placed(r"(?<=in the )background", "foreground", "depth"),
)
"""Words that place an object, and their opposites."""

ORDINALS = (
    "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth",
)  # fmt: skip

FIRST_HALVES = _words(
    "alarm baby bath beach bedside bus coffee desk dice dump fire floor flower garden gift house "
    "ice kitchen laptop lunch office park passenger picture pickup plant police polar potted "
    "rocking school soccer soda stop street swivel table tea teddy tennis top toy traffic "
    "water wax wine wrist"
)
"""Words that make a name together with the noun behind them: a table lamp is no table."""

_PERSON = "person man woman boy girl child kid people player rider guy lady men women child baby"
_SETTINGS: dict[str, tuple[str, ...]] = {
    "kitchen": (
        "cup: mug glass teacup tumbler", "bottle: flask jar", "bowl: dish", "plate: dish saucer",
        "fork: cutlery", "knife: cutlery blade", "spoon: cutlery ladle", "wine glass: glass goblet",
        "toaster", "microwave: oven", "oven: stove microwave", "refrigerator: fridge freezer",
        "sink: basin", "kettle: teapot pot", "teapot: kettle pot", "pan: pot skillet wok",
    ),
    "food": (
        "banana: fruit bananas", "apple: fruit apples", "orange: fruit oranges", "sandwich: burger",
        "broccoli: vegetable vegetables", "carrot: vegetable carrots", "hot dog: sausage",
        "pizza: slice", "donut: doughnut pastry", "cake: pastry dessert", "lemon: fruit",
    ),
    "street": (
        "bicycle: bike cycle", "car: vehicle taxi van suv", "motorcycle: motorbike bike scooter",
        "bus: vehicle coach", "train: locomotive tram", "truck: vehicle lorry van pickup",
        "traffic light: signal stoplight", "fire hydrant: hydrant", "stop sign: sign",
        "parking meter: meter", "bench: seat pew", "boat: ship canoe vessel", "airplane: plane jet",
        "mailbox: postbox",
    ),
    "animals": (
        "bird: duck goose seagull pigeon parrot owl gull", "cat: kitten", "dog: puppy pup",
        "horse: pony foal mare", "sheep: lamb ram", "cow: bull calf ox cattle", "elephant",
        "bear: cub", "zebra", "giraffe", "rabbit: bunny hare", "pig: hog", "monkey: ape", "goat",
    ),
    "home": (
        "chair: seat armchair stool", "couch: sofa loveseat", "bed: mattress bunk",
        "dining table: table desk", "toilet: bathroom", "potted plant: plant flower flowers pot",
        "vase: pot jar urn", "clock: watch", "lamp: light lantern", "teddy bear: bear stuffed toy",
        "book: notebook magazine books", "scissors", "hair drier: dryer", "toothbrush: brush",
        "pillow: cushion", "basket: hamper", "candle", "bucket: pail", "guitar: instrument",
    ),
    "electronics": (
        "tv: television screen monitor", "laptop: computer notebook", "remote: controller control",
        "keyboard: computer", "cell phone: phone smartphone telephone", "camera",
    ),
    "sports": (
        "frisbee: disc", "skis: ski", "snowboard: board", "sports ball: ball", "kite",
        "baseball bat: bat", "baseball glove: glove mitt", "skateboard: board",
        "surfboard: board", "tennis racket: racket racquet",
    ),
    "carried": (
        "backpack: bag rucksack", "umbrella: parasol", "handbag: bag purse", "tie: necktie",
        "suitcase: bag luggage baggage",
    ),
    "people": (f"person: {_PERSON} {' '.join(sorted(PEOPLE_NOUNS - {'skin'}))}",),
}  # fmt: skip


class Noun(NamedTuple):
    """A class of objects.

    Attributes:
        name: As it stands in a description.
        near: Words that name it or something that it may be taken for, its own among them.
        setting: What it usually stands among.
    """

    name: str
    near: frozenset[str]
    setting: str


NOUNS: dict[str, Noun] = {
    row.partition(":")[0]: Noun(
        row.partition(":")[0], _words(row.partition(":")[0]) | _words(row.partition(":")[2]), name
    )
    for name, rows in _SETTINGS.items()
    for row in rows
}
"""Classes that one may be put in another's place, by name."""
