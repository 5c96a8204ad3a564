"""Drawn scenes as arrays on disk: windows to look at, crops to read, questions to match."""

from __future__ import annotations

import io
import multiprocessing
import os
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops

from groundingme.datasets.scenes.generator import Question, compose, random_scene
from groundingme.datasets.scenes.render import draw
from groundingme.datasets.scenes.scene import Scene
from groundingme.geometry import iou_matrix
from groundingme.models.builtin import seeing
from groundingme.models.builtin.words import LONGEST_TEXT, spell
from groundingme.train.grounder import labels

WINDOW = 320
"""Side of what the looking net is trained on, in pixels."""

MOST_BOXES = 48

Arrays = dict[str, NDArray[Any]]


def scene_of(split: str, number: int) -> tuple[Scene, Question | None]:
    """The scene of that number in a split, and for some the question that it was made for.

    Every second one is made for a subtask on which other scenes allow few questions, or few of
    its kinds. Splits are names such as `train` and `val`; no benchmark draws from these seeds.
    """
    rng = random.Random(f"{split}:{number}")
    share = rng.random()
    if share < 0.16:
        return compose("Limited", "Occlusion", rng)
    if share < 0.28:
        return compose("Limited", "Small", rng)
    if share < 0.4:
        return compose("Spatial", "Relationship", rng)
    if share < 0.54:
        return compose("Spatial", "Counting", rng)
    return random_scene(rng, small=0.0), None


def picture_of(scene: Scene, rng: random.Random) -> Image.Image:
    """The scene drawn; half of the pictures have gone through JPEG, as many files have."""
    return _filed(draw(scene), rng)


def _filed(picture: Image.Image, rng: random.Random) -> Image.Image:
    if rng.random() < 0.5:
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=rng.randint(60, 95))
        picture = Image.open(file)
        picture.load()
    return picture


def _window(
    picture: Image.Image, boxes: NDArray[np.float32], scale: float, rng: random.Random
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A square of the picture at a scale, and the boxes in it [MOST_BOXES, 5]."""
    sheet, (sx, sy) = seeing.canvas(picture, scale)
    h, w = sheet.shape[:2]
    x, y = (round(rng.uniform(0, max(0, side - WINDOW))) for side in (w, h))
    window = np.full((WINDOW, WINDOW, 3), seeing.GREY, np.uint8)
    part = sheet[y : y + WINDOW, x : x + WINDOW]
    window[: part.shape[0], : part.shape[1]] = part
    found = np.full((MOST_BOXES, 5), -1, np.float32)
    moved = boxes * np.array([sx, sy, sx, sy], np.float32) - np.array([x, y, x, y], np.float32)
    inside = np.clip(moved, 0, [part.shape[1], part.shape[0]] * 2)
    whole = np.prod(moved[:, 2:] - moved[:, :2], axis=1)
    left = np.prod(inside[:, 2:] - inside[:, :2], axis=1)
    row = 0
    for box, all_of_it, rest in zip(inside, whole, left, strict=True):
        if rest <= 0 or row == MOST_BOXES:
            continue
        side = float(max(box[2] - box[0], box[3] - box[1]))
        # What is hardly in the window, or hardly larger than a pixel, is neither right nor wrong.
        clear = rest > 0.4 * all_of_it and side >= 3.0
        found[row] = [*box, float(clear)]
        row += 1
    return window, found


def _around(box: NDArray[np.float32], unit: float, rng: random.Random) -> NDArray[np.float64]:
    """A box as the looking net would find it: off by some of its size and of its pixels.

    Args:
        box: Edges in pixels of the picture.
        unit: Pixels of the picture to one pixel of the canvas.
        rng: Decides.
    """
    w, h = float(box[2] - box[0]), float(box[3] - box[1])
    spread = rng.choice((0.03, 0.06, 0.1))
    edges = [
        edge + rng.gauss(0, spread * side + 0.5 * unit)
        for edge, side in zip(box.tolist(), (w, h, w, h), strict=True)
    ]
    x1, x2 = sorted((edges[0], edges[2]))
    y1, y2 = sorted((edges[1], edges[3]))
    return np.array([x1, y1, max(x2, x1 + 2), max(y2, y1 + 2)])


def writing(picture: Image.Image, scene: Scene) -> NDArray[np.float64]:
    """Box around what is written on each thing [n, 4], as far as it shows; -1 where nothing is.

    Found as what changes when the same things are drawn without it.
    """
    boxes = np.full((len(labels.things(scene)[0]), 4), -1.0)
    if not any(one.text for one in scene.things):
        return boxes
    bare = [msgspec.structs.replace(one, text="") for one in scene.things]
    blank = draw(msgspec.structs.replace(scene, things=tuple(bare)))
    change = np.asarray(ImageChops.difference(picture, blank)).max(2) > 24
    for number, one in enumerate(scene.things):
        if not one.text:
            continue
        x1, y1, x2, y2 = (int(edge) for edge in one.box)
        rows, columns = np.nonzero(change[y1:y2, x1:x2])
        if len(rows) >= 6:
            low = (x1 + columns.min(), y1 + rows.min())
            boxes[number] = *low, x1 + columns.max() + 1, y1 + rows.max() + 1
    return boxes


_READABLE = 6.0
"""Height of writing in pixels below which nobody can read it."""


def _lines(
    picture: Image.Image, scene: Scene, written: NDArray[np.float64], rng: random.Random
) -> Iterator[tuple[Any, ...]]:
    for one, box in zip(scene.things, written, strict=False):
        size = (box[2:] - box[:2]).tolist()
        if not one.text or size[1] < _READABLE or one.visible < 0.97:
            continue
        for _ in range(3):
            noise = [rng.gauss(0, 0.05 * side + 0.3) for side in (*size, *size)]
            # A little room around it, so that as a rule nothing is cut off.
            room = np.array([-size[0], -size[1], size[0], size[1]]) * 0.08
            yield seeing.line(picture, box + room + noise), spell(one.text)


def _crops(
    picture: Image.Image, scene: Scene, written: NDArray[np.float64], rng: random.Random
) -> Iterator[tuple[Any, ...]]:
    boxes, visible, targets = labels.things(scene)
    long = max(picture.size)
    unit = 1 / seeing.scales(*picture.size)[-1]
    for box, seen, row, text in zip(boxes, visible, targets, written, strict=True):
        if box[2] <= box[0] or box[3] <= box[1]:
            continue
        for _ in range(2):
            square = seeing.squares(_around(box, unit, rng)[None])[0]
            edges = (box - np.tile(square[:2], 2)) / square[2]
            around = (text - np.tile(square[:2], 2)) / square[2] if text[2] > 0 else text
            yield seeing.crop(picture, square), 1.0, seen, edges, around, row
    nothing = np.full(labels.TARGET_SIZE, -1, np.int16)
    for _ in range(3):
        side = long * 2 ** rng.uniform(-5, -2)
        middle = [rng.uniform(0, end) for end in picture.size]
        wrong = np.array([[middle[0] - side / 2, middle[1] - side / 2, *middle]], np.float64)
        wrong[:, 2:] += side / 2
        if len(boxes) and iou_matrix(wrong, boxes).max() > 0.2:
            continue
        square = seeing.squares(wrong)[0]
        yield seeing.crop(picture, square), 0.0, 0.0, np.zeros(4), np.full(4, -1.0), nothing


def pictures(split: str, numbers: range) -> Arrays:
    """Windows and crops of these scenes."""
    windows, boxes_in, crops, lines = [], [], [], []
    for number in numbers:
        rng = random.Random(f"{split}:{number}:pixels")
        scene = scene_of(split, number)[0]
        plain = draw(scene)
        written = writing(plain, scene)
        picture = _filed(plain, rng)
        boxes = labels.things(scene)[0]
        looks = seeing.scales(*picture.size)
        lowest, highest = looks[0] * 0.8, max(min(1.0, looks[-1] * 1.2), looks[0])
        scale = lowest * (highest / lowest) ** rng.random()
        for one in (looks[0] * rng.uniform(0.9, 1.1), scale):
            window, found = _window(picture, boxes, one, rng)
            windows.append(window)
            boxes_in.append(found)
        crops += list(_crops(picture, scene, written, rng))
        lines += list(_lines(picture, scene, written, rng))
    made, thing, visible, edges, around, target = zip(*crops, strict=True)
    return {
        "windows": np.array(windows),
        "window_boxes": np.array(boxes_in, np.float32),
        "crops": np.array(made),
        "crop_thing": np.array(thing, np.float32),
        "crop_visible": np.array(visible, np.float32),
        "crop_edges": np.array(edges, np.float32),
        "lines": np.array([shown for shown, _ in lines], np.uint8).reshape(-1, *seeing.LINE, 3),
        "line_text": np.array([text for _, text in lines], np.int16).reshape(-1, LONGEST_TEXT),
        "crop_writing": np.array(around, np.float32),
        "crop_target": np.array(target, np.int16),
    }


def save(arrays: Arrays, folder: Path, number: int) -> None:
    """One shard: a file per array, each written whole or not at all."""
    for name, array in arrays.items():
        fresh = folder / f"{name}.{number:04d}.new"
        with fresh.open("wb") as file:
            np.save(file, array)
        fresh.replace(folder / f"{name}.{number:04d}.npy")


def _make(job: tuple[Callable[..., None], tuple[Any, ...]]) -> None:
    made, arguments = job
    made(*arguments)


def in_workers(
    jobs: Sequence[tuple[Callable[..., None], tuple[Any, ...]]],
    workers: int,
    say: Callable[[str], None],
    what: str,
) -> None:
    """Runs jobs in processes of one thread each and says how far it is."""
    os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="PASSIVE")
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers) as pool:
        for done, _ in enumerate(pool.imap_unordered(_make, jobs), 1):
            if done % max(1, len(jobs) // 10) == 0 or done == len(jobs):
                say(f"{what}: {done} of {len(jobs)}")


def make_pictures(folder: Path, split: str, shard: int, size: int) -> None:
    """Draws one shard of scenes, unless it is there."""
    if not (folder / f"crop_target.{shard:04d}.npy").exists():
        save(pictures(split, range(shard * size, (shard + 1) * size)), folder, shard)


class Shelf:
    """All shards of some arrays in a folder, mapped into memory.

    Args:
        folder: Where the shards are.
        names: Of arrays with one row for one example.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.names = names
        shards = [{path.suffixes[0] for path in folder.glob(f"{name}.*.npy")} for name in names]
        whole = sorted(set.intersection(*shards))
        self._arrays = {
            name: [np.load(folder / f"{name}{shard}.npy", mmap_mode="r") for shard in whole]
            for name in names
        }
        sizes = [len(array) for array in self._arrays[names[0]]]
        self._ends = np.cumsum(sizes)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def column(self, name: str) -> NDArray[Any]:
        """All rows of one array."""
        return np.concatenate(self._arrays[name])

    def rows(self, numbers: NDArray[np.int64]) -> Arrays:
        """Those rows of every array."""
        shard = np.searchsorted(self._ends, numbers, side="right")
        start = np.concatenate([[0], self._ends])[shard]
        return {
            name: np.stack(
                [
                    arrays[which][row]
                    for which, row in zip(shard.tolist(), (numbers - start).tolist(), strict=True)
                ]
            )
            for name, arrays in self._arrays.items()
        }

    def draw(self, rng: np.random.Generator, size: int) -> Arrays:
        """A batch of random rows."""
        return self.rows(rng.integers(0, len(self), size))
