"""Images of training data: told apart by their bytes, and kept once."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from groundingme import images
from groundingme.errors import ImageError
from groundingme.schema import ImageSource
from groundingme.store import write_atomically

_SUFFIXES = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp"}


class Look(msgspec.Struct, frozen=True):
    """What is known of an image.

    Attributes:
        digest: Hex digits of the SHA-256 of its stored bytes; "" where it cannot be used.
        width: Of the upright image, in pixels.
        height: Likewise.
        problem: Why it cannot be used, in a line; "" where it can.
        kind: The same in a word of `ImageError.kind`.
    """

    digest: str = ""
    width: int = 0
    height: int = 0
    problem: str = ""
    kind: str = ""


class Looks:
    """Reads every image once, however many samples ask of it."""

    def __init__(self) -> None:
        self._known: dict[ImageSource, Look] = {}

    def __call__(self, image: ImageSource | None) -> Look:
        """What is known of an image; it is read where that is nothing yet."""
        if image is None:
            return Look(problem="expected an image, got none", kind="missing")
        found = self._known.get(image)
        if found is None:
            found = self._known[image] = _look(image)
        return found


def _look(image: ImageSource) -> Look:
    try:
        data = image.read()
        seen = images.probe(data)
    except ImageError as error:
        return Look(problem=str(error), kind=error.kind)
    return Look(hashlib.sha256(data).hexdigest(), seen.width, seen.height)


class Store:
    """A folder in which every image lies once, named by its bytes.

    It holds the original bytes, but for images in which not every reader sees the same (turned by
    EXIF, CMYK, transparent, of 16 bits, ...): of those what evaluation sends to a model, which is
    upright RGB. See the table in `images`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._names: dict[str, str] = {}

    def keep(self, image: ImageSource, digest: str) -> str:
        """The image's name in the folder; it is written where it is not there yet.

        Args:
            image: To be kept.
            digest: Of its stored bytes: see `Look`.

        Raises:
            ImageError: It cannot be read.
            OSError: It cannot be written.
        """
        if digest not in self._names:
            sent = images.prepare(image.read())
            name = f"{hashlib.sha256(sent.data).hexdigest()[:20]}.{_SUFFIXES[sent.mime]}"
            path = self.folder / name
            if not path.exists():
                self.folder.mkdir(exist_ok=True)
                write_atomically(path, sent.data)
            self._names[digest] = name
        return self._names[digest]


def is_intact(name: str, data: bytes) -> bool:
    """Whether bytes are those that an image of a `Store` was named by."""
    return hashlib.sha256(data).hexdigest().startswith(name.partition(".")[0])
