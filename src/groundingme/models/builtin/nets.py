"""The shipped nets under onnxruntime: what is in a picture, and which of it is meant."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from groundingme.errors import UsageError
from groundingme.models.builtin import seeing
from groundingme.models.builtin.words import LONGEST_TEXT, encode

if TYPE_CHECKING:
    from PIL import Image

WEIGHTS = Path(__file__).parent / "weights"

LEAST_CENTRE = 0.12
"""Lowest probability of a centre in the whole picture that is looked at further."""

LEAST_CLOSER = 0.2
"""The same in a closer look, which sees parts of large things as things of their own."""

LEAST_THING = 0.3
"""Lowest probability of a thing that is still one."""

LEAST_WRITTEN = 0.2
"""Lowest probability that something is written on a thing for trying to read it."""


class Table(msgspec.Struct, frozen=True):
    """What stands in `grounder.json`.

    Attributes:
        weights: Digest of the nets.
        offsets: Added to the logit of none, for each model's name.
        kinds: Names, in the order of their probabilities. So are the next two.
        colors: Of the eleven colours.
        surfaces: Of the surfaces.
        features: Start and end of each property among the features.
        words: In the order of their numbers.
    """

    weights: str
    offsets: dict[str, float]
    kinds: list[str]
    colors: list[str]
    surfaces: list[str]
    features: dict[str, tuple[int, int]]
    words: list[str]


class Seen(msgspec.Struct, frozen=True):
    """The things in one picture.

    Attributes:
        boxes: In pixels of the picture, float64 [n, 4].
        features: What was read off them, [n, F].
        places: As `seeing.places`, [n, 6].
    """

    boxes: NDArray[np.float64]
    features: seeing.Array
    places: seeing.Array


SEEING = ("look", "read", "spell")
"""Nets that see a picture; what they see does not depend on the matcher."""


class Nets:
    """All nets of a folder; each is loaded when it is first needed. Safe to share by threads.

    Args:
        folder: With `grounder.json` and the nets; one that is not there is the package's.

    Raises:
        UsageError: The folder has no table, or one that does not fit the nets.
    """

    def __init__(self, folder: Path = WEIGHTS) -> None:
        self.folder = folder
        self.table = _table(folder)
        if not all(self._path(name).parent == folder for name in SEEING):
            mine, known = self.table.features, _table(WEIGHTS).features
            if mine != known:
                raise UsageError(
                    f"expected features as the package's nets read them, got others in "
                    f"{folder / 'grounder.json'}; put look.onnx, read.onnx and spell.onnx there"
                )
        self._vocabulary = {word: number for number, word in enumerate(self.table.words)}
        self._sessions: dict[str, Any] = {}
        self._lock = threading.Lock()

    @cached_property
    def eyes(self) -> str:
        """Digest of the nets that see: with the same one, the same is seen."""
        digest = hashlib.sha256()
        for name in SEEING:
            digest.update(self._path(name).read_bytes())
        return digest.hexdigest()[:16]

    def has(self, matcher: str) -> bool:
        """Whether the folder itself has a matcher of that name."""
        return (self.folder / f"{matcher}.onnx").is_file()

    def _path(self, name: str) -> Path:
        mine = self.folder / f"{name}.onnx"
        return mine if mine.is_file() else WEIGHTS / f"{name}.onnx"

    def _run(self, name: str, inputs: dict[str, Any]) -> list[Any]:
        import onnxruntime

        with self._lock:
            if name not in self._sessions:
                options = onnxruntime.SessionOptions()
                options.intra_op_num_threads = options.inter_op_num_threads = 1
                options.log_severity_level = 3
                self._sessions[name] = onnxruntime.InferenceSession(
                    str(self._path(name)), options, providers=["CPUExecutionProvider"]
                )
        found: list[Any] = self._sessions[name].run(None, inputs)
        return found

    def look(self, picture: Image.Image) -> tuple[NDArray[np.float64], seeing.Array]:
        """Boxes [n, 4] in pixels of the picture and how certain each is [n], best first."""
        found, scores, ranks = [], [], []
        for number, scale in enumerate(seeing.scales(*picture.size)):
            sheet, (sx, sy) = seeing.canvas(picture, scale)
            centres, sides = self._run("look", {"picture": sheet[None]})
            least = LEAST_CLOSER if number else LEAST_CENTRE
            boxes, certain = seeing.peaks(centres[0], sides[0], least, 2 * seeing.MOST)
            if number:
                # A closer look is for what was too small before; what it cuts apart is large.
                small = np.max(boxes[:, 2:] - boxes[:, :2], axis=1, initial=0) <= seeing.SMALL
                boxes, certain = boxes[small], certain[small]
            found.append(boxes / [sx, sy, sx, sy])
            scores.append(certain)
            # Of one thing seen twice, the closer look has the better box.
            ranks.append(certain + 0.5 * number)
        boxes, certain, rank = (np.concatenate(parts) for parts in (found, scores, ranks))
        boxes = np.clip(boxes, 0, [*picture.size] * 2)
        solid = np.min(boxes[:, 2:] - boxes[:, :2], axis=1, initial=np.inf) >= 1.0
        boxes, certain, rank = boxes[solid], certain[solid], rank[solid]
        keep = seeing.distinct(boxes, rank, 0.5)
        boxes, certain = boxes[keep], certain[keep]
        best = np.argsort(-certain, kind="stable")[: seeing.MOST]
        return boxes[best], certain[best]

    def read(
        self, picture: Image.Image, boxes: NDArray[np.float64]
    ) -> tuple[seeing.Array, NDArray[np.float64], NDArray[np.float64]]:
        """What is in each box: features [n, F] but for text, a better box [n, 4], writing [n, 4].

        The last are boxes around what is written on it, where anything is.
        """
        around = seeing.squares(boxes)
        crops = np.stack([seeing.crop(picture, square) for square in around])
        features, edges = self._run("read", {"crops": crops})
        better, writing = (
            seeing.refined(around, part, *picture.size) for part in (edges[:, :4], edges[:, 4:])
        )
        return features, better, writing

    def spell(
        self, picture: Image.Image, features: seeing.Array, writing: NDArray[np.float64]
    ) -> seeing.Array:
        """Probabilities [n, places x letters] of the characters in boxes with writing."""
        start, end = self.table.features["text"]
        text = np.zeros((len(writing), end - start), np.float32)
        # The first class of every place is that nothing stands there.
        text[:, :: (end - start) // LONGEST_TEXT] = 1.0
        written = features[:, self.table.features["written"][0]]
        rows = np.flatnonzero(written >= LEAST_WRITTEN)
        if len(rows):
            size = writing[rows, 2:] - writing[rows, :2]
            room = np.concatenate([-size, size], 1) * 0.08
            lines = [seeing.line(picture, box) for box in writing[rows] + room]
            found = self._run("spell", {"lines": np.stack(lines)})[0]
            share = written[rows, None]
            text[rows] = share * found + (1 - share) * text[rows]
        return text

    def see(self, picture: Image.Image) -> Seen:
        """Everything in a picture."""
        boxes, _ = self.look(picture)
        width = max(end for _, end in self.table.features.values())
        features = np.zeros((0, width), np.float32)
        if len(boxes):
            features, boxes, writing = self.read(picture, boxes)
            small = np.max(boxes[:, 2:] - boxes[:, :2], axis=1) < 0.06 * max(picture.size)
            if small.any():
                # Few pixels were found of these; the first reading says where to look again.
                features[small], boxes[small], writing[small] = self.read(picture, boxes[small])
            thing = features[:, self.table.features["thing"][0]]
            keep = seeing.distinct(boxes, thing, 0.75)
            keep = keep[thing[keep] >= LEAST_THING]
            features, boxes, writing = features[keep], boxes[keep], writing[keep]
            features = np.concatenate([features, self.spell(picture, features, writing)], 1)
        return Seen(boxes, features, seeing.places(boxes, *picture.size))

    def match(self, name: str, seen: Seen, text: str) -> NDArray[np.float64]:
        """Logits of each thing, and of none, for a description; [n + 1].

        Args:
            name: Of the matcher: `match` or `match-positive-only`.
            seen: In the picture.
            text: The description.
        """
        if not len(seen.boxes):
            return np.zeros(1)
        numbers, letters = encode(text, self._vocabulary)
        inputs: dict[str, Any] = {"words": numbers[None], "letters": letters[None]}
        inputs |= {"features": seen.features[None], "places": seen.places[None]}
        scores = self._run(name, inputs)[0][0].astype(np.float64)
        scores[-1] += self.table.offsets.get(name, 0.0)
        return np.asarray(scores)

    def note(self, seen: Seen, which: int) -> str:
        """What one of the things looks like, in a few words."""
        said = []
        for part, names in (
            ("surface", self.table.surfaces),
            ("color", self.table.colors),
            ("kind", self.table.kinds),
        ):
            start, end = self.table.features[part]
            said.append(names[int(np.argmax(seen.features[which, start:end]))])
        return " ".join(word for word in said if word != "plain")


def _table(folder: Path) -> Table:
    path = folder / "grounder.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Table)
    except (OSError, msgspec.DecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise UsageError(
            f"expected the table of a built-in grounder in {path}, got: {said}; name a folder "
            "that its recipe or a sweep has written"
        ) from None


@cache
def shipped() -> Nets:
    """The nets in the package, loaded once."""
    return Nets()


class Memory:
    """What was seen in the last pictures, by a key; several threads may ask for the same.

    Args:
        most: Pictures remembered.
    """

    def __init__(self, most: int = 1200) -> None:
        self._most = most
        self._kept: OrderedDict[str, Future[Seen]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str, see: Callable[[], Seen]) -> Seen:
        """What is remembered under `key`; else `see()`, which runs once.

        Raises:
            Exception: Whatever `see` raises; nothing is remembered then.
        """
        with self._lock:
            found = self._kept.get(key)
            mine = found is None
            if found is None:
                found = self._kept[key] = Future()
                while len(self._kept) > self._most:
                    self._kept.popitem(last=False)
            else:
                self._kept.move_to_end(key)
        if mine:
            try:
                found.set_result(see())
            except BaseException as error:
                with self._lock:
                    if self._kept.get(key) is found:
                        del self._kept[key]
                found.set_exception(error)
                raise
        return found.result()
