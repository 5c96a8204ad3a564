"""The data sets that scenes make: `scenes`, `scenes-hard`, `scenes-8k`, and any by its knobs."""

from __future__ import annotations

import random
from collections.abc import Mapping

import msgspec

from groundingme.datasets import Dataset
from groundingme.datasets.scenes.casting import Knobs
from groundingme.datasets.scenes.generator import Question, ask_about, compose
from groundingme.datasets.scenes.render import draw, encode
from groundingme.datasets.scenes.scene import Scene
from groundingme.errors import UsageError
from groundingme.registry import unknown
from groundingme.schema import Sample
from groundingme.taxonomy import REJECTION, SUBTASKS

SEEDS = "scenes"
"""Seeds of every data set begin so; the built-in grounder was trained on seeds that do not."""

Shares = Mapping[tuple[str, str], float]


_PAPER: Shares = {(row.l1, row.l2): row.samples for row in SUBTASKS}


class Preset(msgspec.Struct, frozen=True, kw_only=True):
    """A data set of scenes.

    Attributes:
        name: As `--data` takes it.
        knobs: How hard.
        n: Samples.
        seed: Of all of them.
        shares: Samples of each subtask in proportion; scaled to `n`.
        made_for: Second-level subtask that all scenes are made for; "" for each its own.
        paired: Whether every second rejection is asked of the picture of a positive, so that the
            same picture has a true and a false description.
    """

    name: str
    knobs: Knobs = Knobs()
    n: int = 1005
    seed: int = 0
    shares: Shares = msgspec.field(default_factory=lambda: dict(_PAPER))
    made_for: str = ""
    paired: bool = True


PRESETS: dict[str, Preset] = {
    "scenes": Preset(name="scenes"),
    "scenes-hard": Preset(
        name="scenes-hard",
        knobs=Knobs(
            distractors=(4, 7),
            clutter=(4, 8),
            size=(0.18, 0.27),
            small_size=(16.0, 28.0),
            visible=(0.3, 0.55),
            facts=(2, 10),
            similar=0.85,
        ),
    ),
    "scenes-8k": Preset(
        name="scenes-8k",
        knobs=Knobs(small_width=7680, small_size=(44.0, 120.0), distractors=(3, 7)),
        n=200,
        shares={("Limited", "Small"): 150, (REJECTION, "Appearance"): 50},
        made_for="Small",
        paired=False,
    ),
}


class SceneImage(msgspec.Struct, frozen=True):
    """A picture that is drawn when its bytes are asked for.

    Attributes:
        name: Such as `scenes-0-0017.jpg`.
        key: Seed of the scene.
        l1: Category of the question that the scene was made with.
        l2: Subtask of that question.
        made_for: Subtask that the scene was made for.
        knobs: How hard.
    """

    name: str
    key: str
    l1: str
    l2: str
    made_for: str
    knobs: Knobs

    def compose(self) -> tuple[Scene, Question]:
        """The scene, and the question that it was made with."""
        rng = random.Random(self.key)
        return compose(self.l1, self.l2, rng, self.knobs, made_for=self.made_for)

    def read(self) -> bytes:
        """A JPEG of quality 92; the same scene gives the same bytes with the same Pillow."""
        return encode(draw(self.compose()[0]))


def make_dataset(spec: str) -> Dataset:
    """A data set by its spec.

    Args:
        spec: A preset's name, or `NAME:KEY=VALUE,...` with `n`, `seed`, `rejections` (their
            share, in [0, 1]) and the names of `casting.Knobs`; a range is `LEAST-MOST`.

    Raises:
        UsageError: An unknown name or key, or a value that cannot be.
    """
    return from_preset(parse_spec(spec), spec)


def from_preset(preset: Preset, source: str) -> Dataset:
    """The samples of a preset."""
    samples = [_sample(preset, *row) for row in _plan(preset)]
    return Dataset(name=preset.name, source=source, samples=samples)


def parse_spec(spec: str) -> Preset:
    """The preset that a spec such as `scenes:seed=1,n=50` names.

    Raises:
        UsageError: As `make_dataset`.
    """
    name, _, rest = spec.partition(":")
    if name not in PRESETS:
        raise unknown("preset of scenes", name, PRESETS)
    preset = PRESETS[name]
    knobs: dict[str, object] = {}
    fields = {one.name: one for one in msgspec.structs.fields(Knobs)}
    for item in filter(None, (part.strip() for part in rest.split(","))):
        key, equals, text = item.partition("=")
        if not equals:
            raise UsageError(f"expected KEY=VALUE in {spec!r}, got {item!r}; such as n=50")
        if key == "n":
            preset = msgspec.structs.replace(preset, n=_whole(key, text, least=1))
        elif key == "seed":
            preset = msgspec.structs.replace(preset, seed=_whole(key, text, least=0))
        elif key == "rejections":
            preset = msgspec.structs.replace(preset, shares=_with_rejections(preset, text))
        elif key in fields:
            knobs[key] = _knob(key, text, fields[key].default)
        else:
            raise unknown("knob of scenes", key, [*fields, "n", "seed", "rejections"])
    changed = msgspec.structs.replace(preset.knobs, **knobs)
    if bool(changed.width) != bool(changed.height):
        raise UsageError(f"expected width and height together in {spec!r}, got one of them")
    title = preset.name if not rest else f"{preset.name}:{rest}"
    return msgspec.structs.replace(preset, name=title, knobs=changed)


def _whole(key: str, text: str, *, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        raise UsageError(f"expected {key} as a whole number, got {text!r}") from None
    if value < least:
        raise UsageError(f"expected {key} of {least} or more, got {value}")
    return value


_LIMITS: dict[str, tuple[float, float]] = {
    "width": (256, 7680),
    "height": (256, 7680),
    "small_width": (1280, 7680),
    "distractors": (0, 12),
    "clutter": (0, 16),
    "size": (0.05, 0.6),
    "small_size": (12, 200),
    "visible": (0.3, 0.9),
    "facts": (0, 12),
    "words": (1, 100),
    "paraphrase": (0, 2),
    "similar": (0, 1),
}


def _knob(key: str, text: str, default: object) -> object:
    """A knob's value: one number, or `LEAST-MOST` where the knob is a range."""
    whole = isinstance(default, int) or (isinstance(default, tuple) and isinstance(default[0], int))
    parts = text.split("-") if isinstance(default, tuple) else [text]
    least, most = _LIMITS[key]
    try:
        values = [int(part) if whole else float(part) for part in parts]
        if len(values) > 2 or sorted(values) != values:
            raise ValueError
    except ValueError:
        wanted = "LEAST-MOST or a number" if isinstance(default, tuple) else "a number"
        raise UsageError(f"expected {key} as {wanted}, got {text!r}") from None
    if any(not least <= value <= most for value in values):
        raise UsageError(f"expected {key} between {least:g} and {most:g}, got {text}")
    return (values[0], values[-1]) if isinstance(default, tuple) else values[0]


def _with_rejections(preset: Preset, text: str) -> Shares:
    share = _knob("similar", text, 0.5)
    assert isinstance(share, float)
    totals = dict.fromkeys((False, True), 0.0)
    for (l1, _), samples in preset.shares.items():
        totals[l1 == REJECTION] += samples
    part = {False: (1 - share) / totals[False], True: share / totals[True]}
    return {key: n * part[key[0] == REJECTION] for key, n in preset.shares.items()}


def _plan(preset: Preset) -> list[tuple[int, str, str, int]]:
    """Row number, subtask, and number within the subtask, of every sample.

    Subtasks are spread evenly over the rows, so that the first N are a fair sample of all.
    """
    total = sum(preset.shares.values())
    exact = {key: preset.n * share / total for key, share in preset.shares.items()}
    counts = {key: int(value) for key, value in exact.items()}
    rest = sorted(exact, key=lambda key: counts[key] - exact[key])
    for key in rest[: preset.n - sum(counts.values())]:
        counts[key] += 1
    spread = sorted(
        ((number + 0.5) / count, order, key, number)
        for order, (key, count) in enumerate(counts.items())
        for number in range(count)
    )
    return [(row, *key, number) for row, (_, _, key, number) in enumerate(spread)]


def _sample(preset: Preset, row: int, l1: str, l2: str, number: int) -> Sample:
    image = _image(preset, l1, l2, number)
    question: Question | None = None
    if preset.paired and l1 == REJECTION and number % 2 == 0:
        other = _image(preset, "Discriminative", l2, number)
        scene, _ = other.compose()
        rng = random.Random(f"{image.key}:pair")
        question = ask_about(scene, l1, l2, rng, preset.knobs)
        image = other if question else image
    if question is None:
        scene, question = image.compose()
    near = question.target if question.target >= 0 else question.near
    thing = scene.things[near]
    return Sample(
        id=f"{row:04}",
        description=question.description,
        target=scene.things[question.target].box if question.target >= 0 else None,
        width=scene.width,
        height=scene.height,
        image=image,
        subtask_l1=l1,
        subtask_l2=l2,
        detection_type=thing.kind,
        extra=_extra(scene, question),
    )


def _image(preset: Preset, l1: str, l2: str, number: int) -> SceneImage:
    kind = f"{l1.lower()}-{l2.lower()}"
    return SceneImage(
        name=f"{SEEDS}-{preset.seed}-{kind}-{number:04}.jpg",
        key=f"{SEEDS}:{preset.seed}:{kind}:{number}",
        l1=l1,
        l2=l2,
        made_for=preset.made_for,
        knobs=preset.knobs,
    )


def _extra(scene: Scene, question: Question) -> dict[str, object]:
    """What an analysis may want to know of a sample beyond the published columns."""
    index = question.target if question.target >= 0 else question.near
    thing = scene.things[index]
    extra: dict[str, object] = {
        "stage": scene.stage.name,
        "things": len(scene.things),
        "same_class": sum(other.kind == thing.kind for other in scene.things),
        "visible": round(thing.visible, 3),
        "objects": [
            {"kind": other.kind, "color": other.color, "bbox": [int(edge) for edge in other.box]}
            for other in scene.things
        ],
    }
    if question.changed:
        was, became = question.changed
        extra["changed"] = {
            "fact": was.name, "from": was.value, "to": became.value, "to_fact": became.name,
            "near": [int(edge) for edge in thing.box],
        }  # fmt: skip
    return extra
