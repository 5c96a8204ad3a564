"""Pictures by signed keys: original bytes, thumbnails, deep-zoom tiles.

A key names what shows the picture (a sample of a run, of a data set, an item of a project), never
a path, and is signed, so that a client can only ask for pictures that it was told of. Whoever has
such things registers how they are found.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from groundingme import images
from groundingme.errors import ImageError
from groundingme.images import BytesImage, FileImage
from groundingme.schema import ImageSource
from groundingme.studio.errors import ApiError, not_found
from groundingme.studio.keeping import Kept
from groundingme.studio.settings import MAX_UPLOAD, Settings
from groundingme.studio.tiles import Tiles

UPLOAD = "upload"
MOST_UPLOADED = 4 * MAX_UPLOAD
"""Bytes of uploaded pictures that are kept, in memory."""
TILED_FROM = 4_000_000
"""Pixels beyond which a page should show tiles and not the whole picture."""

MIMES = {
    "JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "BMP": "image/bmp",
    "TIFF": "image/tiff", "AVIF": "image/avif", "JPEG2000": "image/jp2",
    "PPM": "image/x-portable-pixmap",
}  # fmt: skip

_SIGNATURE = 15
"""Bytes of a signature: a number without padding in base 64."""
_LONGEST = 2_000

Resolver = Callable[..., ImageSource]
"""From the names in a key to the picture; raises `ApiError` where there is none."""


class Picture(NamedTuple):
    """The bytes of a picture, known to be one.

    Attributes:
        data: As stored.
        digest: SHA-256 of them, in hex digits.
        found: What the header says.
    """

    data: bytes
    digest: str
    found: images.Probe


class Pictures:
    """Finds pictures by their keys.

    Args:
        settings: Of the studio; its `home` keeps thumbnails and tiles.
    """

    def __init__(self, settings: Settings) -> None:
        self._secret = hashlib.sha256(f"pictures:{settings.secret}".encode()).digest()
        self._resolvers: dict[str, Resolver] = {UPLOAD: self._uploaded}
        self._uploads: Kept[str, bytes] = Kept(MOST_UPLOADED, len)
        self._digests: Kept[tuple[object, ...], tuple[str, images.Probe]] = Kept(20_000)
        self.tiles = Tiles(settings.home / "tiles")

    def register(self, kind: str, resolver: Resolver) -> None:
        """Says how pictures of a kind are found: `resolver` is given the names of the key."""
        self._resolvers[kind] = resolver

    def key(self, kind: str, *names: str) -> str:
        """A signed key of letters, digits, `-`, `_` and one `.`."""
        body = _text(msgspec.json.encode([kind, *names]))
        return f"{body}.{self._sign(body)}"

    def open(self, key: str) -> ImageSource:
        """The picture that a key names.

        Raises:
            ApiError: 404 where the key was not made here, or its picture is gone.
        """
        body, _, signature = key.partition(".")
        good = self._sign(body)
        if len(key) > _LONGEST or not hmac.compare_digest(signature.encode(), good.encode()):
            raise not_found("a picture", key[:60])
        try:
            kind, *names = msgspec.json.decode(_bytes(body), type=list[str])
        except (msgspec.DecodeError, ValueError):
            raise not_found("a picture", key[:60]) from None
        resolver = self._resolvers.get(kind)
        if resolver is None:
            raise not_found("a picture", key[:60])
        return resolver(*names)

    def load(self, key: str) -> Picture:
        """The bytes of a picture, checked.

        Raises:
            ApiError: 404 where it is gone, 422 where it is none, or too large.
        """
        source = self.open(key)
        with _said():
            return self._checked(source.read())

    def info(self, key: str) -> tuple[str, images.Probe]:
        """Digest and header of a picture, which are kept while its file stays the same.

        Raises:
            ApiError: As `load`.
        """
        source = self.open(key)

        def make() -> tuple[str, images.Probe]:
            picture = self._checked(source.read())
            return picture.digest, picture.found

        with _said():
            return self._digests.get(_version(key, source), make)

    def keep(self, data: bytes) -> str:
        """Keeps an uploaded picture for a while, and gives its key.

        Raises:
            ApiError: 422 where it is no picture, 413 where it is too large.
        """
        if len(data) > MAX_UPLOAD:
            raise ApiError(
                413, "too-large", f"expected a picture of at most {MAX_UPLOAD} bytes, got more"
            )
        with _said():
            picture = self._checked(data)
        self._uploads.put(picture.digest, data)
        return self.key(UPLOAD, picture.digest)

    def thumb(self, key: str, side: int) -> bytes:
        """A small picture as JPEG, its longer side `side` pixels or less.

        Raises:
            ApiError: As `load`.
        """
        digest, _ = self.info(key)
        with _said():
            return self.tiles.thumb(digest, side, lambda: self.load(key).data)

    def tile(self, key: str, level: int, column: int, row: int) -> bytes:
        """A deep-zoom tile as JPEG.

        Raises:
            ApiError: 404 where the picture has no such tile, else as `load`.
        """
        digest, found = self.info(key)
        with _said():
            size = found.width, found.height
            made = self.tiles.tile(digest, size, level, column, row, lambda: self.load(key).data)
        if made is None:
            raise not_found("a tile", f"{level}/{column}_{row}")
        return made

    def _checked(self, data: bytes) -> Picture:
        found = images.probe(data)
        return Picture(data, hashlib.sha256(data).hexdigest(), found)

    def _uploaded(self, digest: str) -> ImageSource:
        data = self._uploads.find(digest)
        if data is None:
            raise not_found("an uploaded picture", digest[:12])
        return BytesImage(f"upload-{digest[:12]}", data)

    def _sign(self, body: str) -> str:
        made = hmac.new(self._secret, body.encode(), hashlib.sha256).digest()
        return _text(made[:_SIGNATURE])


def _version(key: str, source: ImageSource) -> tuple[object, ...]:
    if isinstance(source, FileImage):
        try:
            known = os.stat(source.path)
        except OSError:
            return key, 0, 0
        return key, known.st_mtime_ns, known.st_size
    return (key,)


class _said:  # noqa: N801 - reads as a word
    """What is wrong with an image becomes an answer."""

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ImageError):
            gone = error.kind in ("missing", "outside")
            said = "expected a picture in the data roots, got none" if gone else str(error)
            raise ApiError(404 if gone else 422, f"image-{error.kind}", said) from None


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")


def _bytes(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as error:
        raise ValueError(str(error)) from None
