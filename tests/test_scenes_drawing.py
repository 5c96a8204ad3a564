"""Drawn scenes: boxes against pixels, every attribute visible, the same on every run."""

from __future__ import annotations

import io
import itertools
import time
from collections.abc import Iterator

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from groundingme.datasets.scenes import sprites
from groundingme.datasets.scenes.backdrop import STAGES, backdrop
from groundingme.datasets.scenes.catalog import (
    AXES,
    COLORS,
    FIXED_COLOR,
    KINDS,
    LETTERS,
    LONGEST_TEXT,
    WORDS,
    texts,
)
from groundingme.datasets.scenes.render import (
    Window,
    draw,
    encode,
    measure,
    reach,
    silhouette,
    sprite,
    whole,
)
from groundingme.datasets.scenes.scene import Scene, Stage, Thing
from groundingme.datasets.scenes.sheet import contact_sheet, scene_sheet
from groundingme.datasets.scenes.sprites.lettering import write

WALL = Stage(name="wall", seed=1)
ROOM = Stage(name="room", seed=1, horizon=120.0)


def states(name: str) -> tuple[str, ...]:
    axis = KINDS[name].axis
    return AXES[axis].values if axis else ("",)


def counts(name: str) -> tuple[int, ...]:
    count = KINDS[name].count
    return tuple(range(count.least, count.most + 1)) if count else (0,)


def part_sets(name: str) -> Iterator[tuple[str, ...]]:
    parts = tuple(KINDS[name].parts)
    return itertools.chain.from_iterable(
        itertools.combinations(parts, n) for n in range(len(parts) + 1)
    )


def plain(name: str, **changes: object) -> Thing:
    """An ordinary thing of that kind in the middle of a picture of 400 x 300."""
    thing = Thing(
        kind=name, color="red", state=states(name)[0], count=counts(name)[-1], x=200.0, y=200.0,
        height=64.0,
    )  # fmt: skip
    return msgspec.structs.replace(thing, **changes)


def picture(*things: Thing, stage: Stage = WALL, size: tuple[int, int] = (400, 300)) -> Image.Image:
    return draw(Scene(width=size[0], height=size[1], stage=stage, things=things))


def pixels(*things: Thing, stage: Stage = WALL) -> NDArray[np.int64]:
    return np.asarray(picture(*things, stage=stage)).astype(np.int64)


def changed(one: NDArray[np.int64], other: NDArray[np.int64], least: int = 1) -> NDArray[np.bool_]:
    return np.abs(one - other).max(axis=2) >= least


def span(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1


def off(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def holds(outer: tuple[float, ...], inner: tuple[float, ...], slack: float) -> bool:
    """Whether one box holds another, but for so many pixels."""
    x1, y1, x2, y2 = (b - a for a, b in zip(outer, inner, strict=True))
    return min(x1, y1) >= -slack and max(x2, y2) <= slack


def test_every_kind_has_a_drawing() -> None:
    assert set(sprites.DRAWN) == set(KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_the_extent_is_where_the_pixels_are(name: str) -> None:
    for parts, state, lean, flip, height in itertools.product(
        part_sets(name), states(name), (0.0, 17.3, -26.0), (False, True), (21.4, 130.0)
    ):
        thing = plain(
            name, parts=parts, state=state, lean=lean, flip=flip, height=height, x=200.37, y=200.81
        )
        x1, y1, x2, y2 = whole(reach(thing))
        wide = Window(x1 - 4, y1 - 4, x2 + 4, y2 + 4)
        inked = span(np.asarray(silhouette(thing, wide)) > 0)
        found = (inked[0] + wide.x1, inked[1] + wide.y1, inked[2] + wide.x1, inked[3] + wide.y1)
        assert off(found, (x1, y1, x2, y2)) <= 1, thing


@pytest.mark.parametrize("name", KINDS)
def test_the_extent_is_that_of_the_solid_shapes_and_of_nothing_else(name: str) -> None:
    kind = KINDS[name]
    for at, surface in enumerate(kind.surfaces):
        color = FIXED_COLOR.get(surface, kind.colors[at % len(kind.colors)])
        text = texts(kind)[at] if kind.text else ""
        thing = plain(name, color=color, surface=surface, text=text, lean=9.0, flip=bool(at % 2))
        corners = np.concatenate(
            [shape.points for shape in sprites.shapes(thing) if shape.role == "solid"]
        )
        box = (*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist())
        assert off(box, sprites.extent(thing)) < 1e-12
        everything = np.concatenate(
            [shape.points for shape in sprites.shapes(thing) if shape.role == "over"] or [corners]
        )
        spill = max(
            *(corners.min(axis=0) - everything.min(axis=0)),
            *(everything.max(axis=0) - corners.max(axis=0)),
        )
        assert spill < 0.02, "writing and details stay on the thing"


@pytest.mark.parametrize("name", KINDS)
def test_bodies_stand_on_their_foot_and_are_one_high(name: str) -> None:
    for state in states(name):
        x1, y1, x2, y2 = sprites.extent(plain(name, state=state, parts=()))
        assert x1 < 0 < x2
        assert y2 == pytest.approx(0, abs=0.03)
        assert -1.5 < y1 < -0.93


@pytest.mark.parametrize("name", [name for name in KINDS if not KINDS[name].floats])
def test_what_leans_stands_on_its_lowest_corner(name: str) -> None:
    for lean in (-28.0, -16.0, 3.0, 28.0):
        assert sprites.extent(plain(name, lean=lean))[3] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("name", KINDS)
def test_flipping_mirrors_the_extent(name: str) -> None:
    for lean in (0.0, 20.0):
        x1, y1, x2, y2 = sprites.extent(plain(name, lean=lean, parts=tuple(KINDS[name].parts)))
        mirrored = sprites.extent(
            plain(name, lean=-lean, flip=True, parts=tuple(KINDS[name].parts))
        )
        assert off(mirrored, (-x2, y1, -x1, y2)) < 1e-9


def looks(thing: Thing, size: int = 120) -> NDArray[np.int64]:
    """The thing alone on an even grey ground."""
    window = Window(0, 0, 2 * size, size)
    there = msgspec.structs.replace(thing, x=float(size), y=0.75 * size)
    colors, mask = sprite(there, window)
    ground = Image.new("RGB", colors.size, (205, 208, 214))
    ground.paste(colors, None, mask)
    return np.asarray(ground).astype(np.int64)


def variants(name: str) -> Iterator[tuple[str, list[Thing]]]:
    """Things of one kind that differ in one attribute only."""
    kind = KINDS[name]
    base = plain(name, height=48.0, color="blue")
    yield (
        "surface",
        [
            msgspec.structs.replace(base, surface=surface, color=FIXED_COLOR.get(surface, "brown"))
            for surface in kind.surfaces
        ],
    )
    if "metal" in kind.surfaces:
        yield (
            "metal",
            [msgspec.structs.replace(base, surface=s, color="grey") for s in ("plain", "metal")],
        )
    yield "color", [msgspec.structs.replace(base, color=color) for color in kind.colors]
    for part in kind.parts:
        yield part, [msgspec.structs.replace(base, parts=parts) for parts in ((), (part,))]
    if kind.axis and kind.axis != "stance":
        yield "state", [msgspec.structs.replace(base, state=state) for state in states(name)]
    if kind.axis == "stance":
        yield "stance", [msgspec.structs.replace(base, lean=lean) for lean in (0.0, 16.0)]
    if kind.count:
        yield "count", [msgspec.structs.replace(base, count=count) for count in counts(name)]
    if kind.text:
        yield "text", [msgspec.structs.replace(base, text=text) for text in ("", *texts(kind)[:12])]


@pytest.mark.parametrize("name", KINDS)
def test_every_attribute_shows_at_48_pixels(name: str) -> None:
    for attribute, things in variants(name):
        seen = [looks(thing) for thing in things]
        for (one, a), (other, b) in itertools.combinations(zip(things, seen, strict=True), 2):
            strong = changed(a, b, 40).sum()
            assert strong >= 12, (attribute, one, other)


@pytest.mark.parametrize("name", KINDS)
def test_looks_change_only_inside_the_box(name: str) -> None:
    kind = KINDS[name]
    text = texts(kind)[-1] if kind.text else ""
    one = plain(name, text=text, surface=kind.surfaces[-1], lean=11.0, color="blue")
    (measured,) = measure([one], 400, 300)
    other = msgspec.structs.replace(one, color="orange", surface="plain", text="")
    x1, y1, x2, y2 = map(int, measured.box)
    there = changed(pixels(one), pixels(other))
    assert there[y1:y2, x1:x2].sum() > 60
    there[y1:y2, x1:x2] = False
    assert not there.any()


def shares(thing: Thing) -> dict[str, float]:
    """How much of a thing is nearest to each colour's name."""
    colors, mask = sprite(thing, whole(reach(thing)))
    body = np.asarray(colors).reshape(-1, 3)[np.asarray(mask).ravel() == 255].astype(np.int64)
    away = ((body[:, None] - np.array(list(COLORS.values()))) ** 2).sum(axis=2).argmin(axis=1)
    return {name: float((away == at).mean()) for at, name in enumerate(COLORS)}


@pytest.mark.parametrize("name", KINDS)
def test_a_plain_thing_has_its_colour_over_most_of_its_body(name: str) -> None:
    for color, state in itertools.product(KINDS[name].colors, states(name)):
        share = shares(plain(name, color=color, state=state))
        own = share.pop(color)
        assert own > 0.36, (color, state, own)
        assert own > 1.25 * max(share.values()), (color, state, own, share)


@pytest.mark.parametrize("name", KINDS)
def test_patterns_leave_the_base_colour_in_front(name: str) -> None:
    kind = KINDS[name]
    for surface in set(kind.surfaces) & {"striped", "dotted"}:
        for color in kind.colors:
            share = shares(plain(name, color=color, surface=surface, height=90.0))
            assert share[color] > max(0.25, 0.75 * max(share.values())), (surface, color, share)


BLANK = ("mug", "ball", "balloon", "die", "kite")
"""Kinds whose every pixel depends on their colour, so that a change of it shows where they are."""


@given(
    name=st.sampled_from(BLANK),
    x=st.floats(40, 200),
    y=st.floats(60, 160),
    height=st.floats(30, 90),
    front=st.sampled_from(sorted(KINDS)),
    dx=st.floats(-60, 60),
    dy=st.floats(-50, 50),
    lean=st.sampled_from((0.0, 22.0)),
)
@settings(max_examples=40, deadline=None)
def test_measure_agrees_with_the_picture(
    name: str, x: float, y: float, height: float, front: str, dx: float, dy: float, lean: float
) -> None:
    behind = plain(name, x=x, y=y, height=height, color="blue", lean=lean)
    before = plain(front, x=x + dx, y=y + dy, height=60.0, color="green")
    size = (240, 180)
    seen = measure([behind, before], *size)[0]
    other = msgspec.structs.replace(behind, color="yellow")

    def shot(thing: Thing, *rest: Thing) -> NDArray[np.int64]:
        return np.asarray(picture(thing, *rest, size=size)).astype(np.int64)

    covered, uncovered = shot(behind, before), shot(behind)
    faint, plainly = (changed(covered, shot(other, before), least) for least in (6, 100))
    alone = measure([behind], *size)[0]
    assert seen.full == alone.full
    area = changed(uncovered, shot(other), 24).sum() / max(alone.visible, 1e-9)
    share = changed(covered, shot(other, before), 24).sum() / area
    assert seen.visible == pytest.approx(share, abs=0.08)
    if plainly.any():
        assert holds(seen.box, span(plainly), 1), "what can plainly be seen lies in the box"
    if seen.box[2] > seen.box[0]:
        assert holds(span(faint), seen.box, 2), "the box ends where nothing can be seen"


def test_measure_asks_no_pixels_where_nothing_covers(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise AssertionError("rasterised")

    monkeypatch.setattr("groundingme.datasets.scenes.render.silhouette", fail)
    things = [plain(name, x=60 + 130.0 * at, height=40.0) for at, name in enumerate(KINDS)]
    seen = measure(things, 4000, 300)
    assert all(thing.visible == 1 and thing.box == thing.full for thing in seen)
    assert all(v == round(v) for thing in seen for v in thing.box)
    with pytest.raises(AssertionError, match="rasterised"):
        measure([*things, things[0]], 4000, 300)


@pytest.mark.parametrize("name", KINDS)
def test_a_thing_behind_itself_cannot_be_seen(name: str) -> None:
    thing = plain(name)
    behind, before = measure([thing, thing], 400, 300)
    assert behind.visible < 0.08
    assert before.visible == 1


@pytest.mark.parametrize("name", KINDS)
def test_the_frame_cuts(name: str) -> None:
    x1, _, x2, _ = sprites.extent(plain(name))
    half = plain(name, x=-64 * (x1 + x2) / 2)
    (cut,) = measure([half], 400, 300)
    assert cut.box[0] == 0 > cut.full[0]
    for x in np.arange(-3, 3, 0.25):
        (just,) = measure([plain(name, x=float(x) - 64 * x1)], 400, 300)
        assert just.box[0] == max(0, just.full[0])
    assert cut.box[2] == cut.full[2]
    assert holds(cut.full, cut.box, 0)
    assert 0.2 < cut.visible < 0.8
    (gone,) = measure([plain(name, x=-500.0)], 400, 300)
    assert gone.visible == 0
    assert gone.box == (0, 0, 0, 0)
    assert picture(half, plain(name, x=-500.0)).size == (400, 300)


def test_painting_follows_the_order() -> None:
    red, blue = plain("ball"), plain("ball", color="blue", x=220.0)
    ahead = [tuple(picture(*pair).getpixel((212, 172))) for pair in ((red, blue), (blue, red))]
    assert ahead[0][2] > ahead[0][0]
    assert ahead[1][0] > ahead[1][2]


def every_kind() -> tuple[Thing, ...]:
    return tuple(
        plain(name, x=40 + 80.0 * (at % 6), y=90 + 75.0 * (at // 6), height=50.0, lean=at % 3,
              parts=tuple(KINDS[name].parts), text=(*texts(KINDS[name]), "")[0])
        for at, name in enumerate(KINDS)
    )  # fmt: skip


@pytest.mark.parametrize("stage", STAGES)
def test_the_same_scene_gives_the_same_bytes(stage: str) -> None:
    here = Stage(name=stage, seed=7, horizon=150.0 if stage not in ("shelf", "wall") else 0.0,
                 boards=(100.0, 200.0, 300.0) if stage == "shelf" else ())  # fmt: skip
    scene = Scene(width=512, height=384, stage=here, things=every_kind())
    first = encode(draw(scene))
    for cache in (sprites.look, sprites._plain, sprites._reach, sprites._silhouette):
        cache.cache_clear()
    assert encode(draw(scene)) == first
    other = msgspec.structs.replace(here, seed=8)
    assert backdrop(other, 512, 384).tobytes() != backdrop(here, 512, 384).tobytes()


@pytest.mark.parametrize("stage", STAGES)
def test_things_stand_out_from_backdrops(stage: str) -> None:
    horizon = 150.0 if stage not in ("shelf", "wall") else 0.0
    boards = (100.0, 200.0, 300.0) if stage == "shelf" else ()
    for seed in range(12):
        lights = []
        for night in (False, True):
            here = Stage(name=stage, seed=seed, horizon=horizon, boards=boards, night=night)
            ground = np.asarray(backdrop(here, 384, 320).reduce(8)).reshape(-1, 3).astype(float)
            lights.append(ground.mean())
            away = np.sqrt(((ground[:, None] - np.array(list(COLORS.values()))) ** 2).sum(axis=2))
            near = (away < 40).mean(axis=0)
            for color, share in zip(COLORS, near, strict=True):
                if color not in ("white", "grey"):
                    assert share < 0.1, (seed, night, color, share)
        assert lights[0] > 150
        assert 0.55 < lights[1] / lights[0] < 0.9


def test_a_rug_fills_its_box() -> None:
    stage = Stage(name="room", seed=3, horizon=120.0)
    with_rug = msgspec.structs.replace(stage, rug=(120.0, 180.0, 300.0, 260.0))
    bare, rugged = (np.asarray(backdrop(s, 400, 300)).astype(np.int64) for s in (stage, with_rug))
    there = changed(bare, rugged, 24)
    middle = np.zeros_like(there)
    middle[184:256, 124:296] = True
    assert there[215:225, 125:295].mean() > 0.5
    assert off(span(there), (120, 180, 300, 260)) <= 14


def test_lit_things_glow_and_their_boxes_do_not() -> None:
    for name, on, out in (("lamp", "lit", "unlit"), ("car", "lit", "unlit")):
        lit, unlit = plain(name, state=on), plain(name, state=out)
        assert measure([lit], 400, 300)[0].box == measure([unlit], 400, 300)[0].box
        x1, y1, x2, y2 = map(int, measure([lit], 400, 300)[0].box)
        there = changed(pixels(lit, stage=ROOM), pixels(unlit, stage=ROOM), 8)
        there[y1:y2, x1:x2] = False
        assert there.sum() > 100


def test_characters_are_distinct_when_small() -> None:
    def glyph(character: str) -> NDArray[np.int64]:
        canvas = Image.new("L", (48, 48))
        from PIL import ImageDraw

        for polygon in write(character, 40.0, 40.0):
            corners = np.rint(polygon + 24).astype(int).ravel().tolist()
            ImageDraw.Draw(canvas).polygon(corners, fill=255)
        return np.asarray(canvas.reduce(4)).astype(np.int64)

    for group in (LETTERS, "0123456789"):
        drawn = {character: glyph(character) for character in group}
        for one, other in itertools.combinations(group, 2):
            apart = np.abs(drawn[one] - drawn[other]).sum() / 255
            assert apart > 3.5, (one, other, apart)
    for one, other in ("8B", "5S", "2Z", "6G", "7T"):
        assert np.abs(glyph(one) - glyph(other)).sum() / 255 > 3.5, (one, other)


@pytest.mark.parametrize("text", [*WORDS, "88", "W", "11"])
def test_writing_fits_its_box(text: str) -> None:
    assert len(text) <= LONGEST_TEXT
    corners = np.concatenate(write(text, 0.98, 0.27))
    assert np.abs(corners[:, 0]).max() <= 0.49 + 0.002
    assert np.abs(corners[:, 1]).max() <= 0.135 + 0.01
    assert np.abs(corners[:, 0]).max() > 0.45 or np.abs(corners[:, 1]).max() > 0.12


@pytest.mark.parametrize("name", [name for name in KINDS if KINDS[name].text])
def test_writing_is_never_mirrored(name: str) -> None:
    text = {"letter": "F", "number": "27", "word": "EAST"}[KINDS[name].text]

    def inked(flip: bool) -> NDArray[np.bool_]:
        with_text, without = plain(name, text=text, flip=flip), plain(name, flip=flip)
        there = changed(looks(with_text), looks(without), 60)
        x1, y1, x2, y2 = span(there)
        return there[y1:y2, x1:x2]

    straight, flipped = inked(False), inked(True)
    rows, columns = (min(a, b) for a, b in zip(straight.shape, flipped.shape, strict=True))
    same = straight[:rows, :columns] == flipped[:rows, :columns]
    mirrored = straight[:rows, :columns] == flipped[:rows, :columns][:, ::-1]
    assert same.mean() > 0.85
    assert same.mean() > mirrored.mean() + 0.1


def test_files_keep_full_colour() -> None:
    with Image.open(io.BytesIO(encode(picture(plain("mug"))))) as image:
        assert image.format == "JPEG"
        assert {layer[1:3] for layer in image.layer} == {(1, 1)}  # type: ignore[attr-defined]
        near = np.asarray(image).astype(np.int64)
    assert np.abs(near - pixels(plain("mug"))).mean() < 2


def test_eight_thousand_pixels() -> None:
    stage = Stage(name="street", seed=2, horizon=1700.0)
    small = plain("cat", x=5000.5, y=3000.25, height=30.0)
    large = plain("car", x=1500.0, y=4000.0, height=1500.0, color="blue")
    start = time.process_time()
    image = picture(large, small, stage=stage, size=(7680, 4320))
    assert time.process_time() - start < 12
    assert image.size == (7680, 4320)
    near = image.crop((4985, 2970, 5016, 3001)).resize((1, 1), Image.Resampling.BOX)
    r, g, _ = near.getpixel((0, 0))
    assert r > g + 30
    x1, _, x2, _ = measure([large], 7680, 4320)[0].box
    assert x1 < 10 < 2900 < x2


def test_the_contact_sheet_holds_every_kind() -> None:
    sheet = contact_sheet(height=24)
    rows = np.asarray(sheet).astype(np.int64)
    tall = sheet.height // len(KINDS)
    for at in range(len(KINDS)):
        part = rows[at * tall : (at + 1) * tall].reshape(-1, 3)
        vivid = (part.max(axis=1) - part.min(axis=1) > 120).sum()
        assert vivid > 100, list(KINDS)[at]


def test_scenes_come_in_a_grid() -> None:
    small = Scene(width=64, height=48, stage=WALL, things=())
    tall = Scene(width=48, height=96, stage=WALL, things=())
    sheet = scene_sheet([small, tall, small], columns=2, width=64)
    assert sheet.size == (128, 96)
    corners = [sheet.getpixel(at) for at in ((0, 0), (64, 0), (96, 24), (127, 95), (0, 95))]
    blank = [pixel == (255, 255, 255) for pixel in corners]
    assert blank == [False, True, False, True, False]
