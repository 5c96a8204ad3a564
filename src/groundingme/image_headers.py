"""The headers of the four formats that travel unchanged: JPEG, PNG, WebP and GIF.

Read here rather than by an imaging library, because it takes microseconds, starts nothing, warns
of nothing, and tells whether the end of the file is there without decoding anything.

Sources: ITU-T T.81 (JPEG), the PNG specification (third edition), RFC 9649 (WebP), the GIF89a
specification, and CIPA DC-008 (EXIF).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec

from groundingme.errors import ImageError


class Header(msgspec.Struct, frozen=True):
    """What the first bytes of an image declare.

    Attributes:
        format: `JPEG`, `PNG`, `WEBP` or `GIF`.
        mode: Channels, as Pillow names them (`L`, `RGB`, `P`, `CMYK`, `LA`, `RGBA`).
        width: As stored, in pixels.
        height: As stored, in pixels.
        orientation: EXIF orientation, 1 to 8; 1 where none is given.
        bits: Per channel.
        alpha: Whether pixels may be transparent.
        animated: Whether there may be more than one frame.
        lossless: Whether decoding gives the pixels that were encoded.
    """

    format: str
    mode: str
    width: int
    height: int
    orientation: int = 1
    bits: int = 8
    alpha: bool = False
    animated: bool = False
    lossless: bool = True


def read_header(data: bytes, *, whole: bool = True) -> Header | None:
    """Reads a header, or returns None where the bytes are of none of the four formats.

    Args:
        data: The encoded image, or its first part.
        whole: Whether `data` should be all of it; then its end is looked for.

    Raises:
        ImageError: `truncated` where something is missing, `unreadable` where the header
            contradicts itself, `unsupported` for a kind of JPEG that decoders do not read.
    """
    for format, magic, reader in _READERS:
        if data.startswith(magic) and (format != "WEBP" or data[8:12] in (b"WEBP", b"")):
            try:
                return reader(data, whole)
            except (struct.error, IndexError):
                raise truncated(format, len(data)) from None
    return None


def truncated(format: str, size: int) -> ImageError:
    """The error for an image whose end is missing."""
    return ImageError(
        "truncated", f"expected a whole {format} image, got its first {size} bytes; copy it again"
    )


def _unreadable(format: str, what: str) -> ImageError:
    return ImageError("unreadable", f"expected a {format} image, got one with {what}")


def _jpeg(data: bytes, whole: bool) -> Header:
    frame: tuple[int, int, int, int] | None = None
    orientation = 1
    at = 2
    while True:
        if data[at] != 0xFF:
            raise _unreadable("JPEG", f"byte {data[at]} where a marker should be")
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:
            at += 2
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        body = at + 4
        if marker == 0xDA or marker == 0xD9:
            break
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if marker not in (0xC0, 0xC1, 0xC2):
                raise ImageError(
                    "unsupported",
                    "expected a baseline or progressive JPEG, got a lossless, hierarchical or "
                    "arithmetic one; convert it",
                )
            bits, height, width, channels = struct.unpack_from(">BHHB", data, body)
            frame = width, height, channels, bits
        elif marker == 0xE1 and data[body : body + 6] == b"Exif\0\0" and orientation == 1:
            orientation = _orientation(data[body + 6 : at + 2 + length])
        at += 2 + length
    if frame is None:
        raise _unreadable("JPEG", "no frame header")
    width, height, channels, bits = frame
    mode = {1: "L", 3: "RGB", 4: "CMYK"}.get(channels)
    if mode is None or bits != 8 or not height:
        raise ImageError(
            "unsupported",
            f"expected a JPEG of 1, 3 or 4 channels of 8 bits, got {channels} of {bits}; "
            "convert it",
        )
    # Inside the scans a 0xFF is always followed by 0x00 or a restart marker, so the end marker
    # cannot be mistaken, and whatever cameras put behind it is let be.
    if whole and data.rfind(b"\xff\xd9", at) < 0:
        raise truncated("JPEG", len(data))
    return Header("JPEG", mode, width, height, orientation, lossless=False)


_PNG_MODES = {0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}


def _png(data: bytes, whole: bool) -> Header:
    if data[12:16] != b"IHDR":
        raise _unreadable("PNG", "no header chunk")
    width, height, bits, color = struct.unpack_from(">IIBB", data, 16)
    if color not in _PNG_MODES or not (width and height):
        raise _unreadable("PNG", f"colour type {color} and a size of {width} x {height}")
    orientation, transparent, animated = 1, color in (4, 6), False
    at = 8
    while True:
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IEND" or (kind == b"IDAT" and not whole):
            break
        if kind == b"tRNS":
            transparent = True
        elif kind == b"acTL":
            animated = True
        elif kind == b"eXIf":
            orientation = _orientation(data[at + 8 : at + 8 + length])
        at += 12 + length
    if whole and at + 12 > len(data):
        raise truncated("PNG", len(data))
    return Header("PNG", _PNG_MODES[color], width, height, orientation, bits, transparent, animated)


def _webp(data: bytes, whole: bool) -> Header:
    (length,) = struct.unpack_from("<I", data, 4)
    if whole and 8 + length > len(data):
        raise truncated("WEBP", len(data))
    size: tuple[int, int] | None = None
    frame: tuple[int, int] | None = None
    orientation, alpha, animated, lossless = 1, False, False, False
    for kind, at, end in _riff(data, min(8 + length, len(data))):
        if kind == b"VP8X":
            flags, width, width_high, height, height_high = struct.unpack_from("<B3xHBHB", data, at)
            size = 1 + width + (width_high << 16), 1 + height + (height_high << 16)
            alpha, animated = bool(flags & 0x10), bool(flags & 0x02)
        elif kind == b"VP8 ":
            width, height = struct.unpack_from("<HH", data, at + 6)
            frame = frame or (width & 0x3FFF, height & 0x3FFF)
        elif kind == b"VP8L":
            (bits,) = struct.unpack_from("<I", data, at + 1)
            frame = frame or (1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
            alpha, lossless = alpha or bool(bits >> 28 & 1), True
        elif kind == b"EXIF":
            block = data[at:end]
            orientation = _orientation(block.removeprefix(b"Exif\0\0"))
    if size and frame and size != frame:
        raise _unreadable("WEBP", f"a size of {size} and a picture of {frame}")
    size = size or frame
    if size is None:
        raise truncated("WEBP", len(data))
    mode = "RGBA" if alpha else "RGB"
    return Header("WEBP", mode, *size, orientation, 8, alpha, animated, lossless)


def _riff(data: bytes, end: int) -> Iterator[tuple[bytes, int, int]]:
    at = 12
    while at + 8 <= end:
        kind, length = struct.unpack_from("<4sI", data, at)
        yield kind, at + 8, min(at + 8 + length, end)
        at += 8 + length + (length & 1)


def _gif(data: bytes, whole: bool) -> Header:
    width, height = struct.unpack_from("<HH", data, 6)
    if not (width and height):
        raise _unreadable("GIF", f"a size of {width} x {height}")
    return Header("GIF", "P", width, height, alpha=True, animated=True)


_READERS = (
    ("JPEG", b"\xff\xd8\xff", _jpeg),
    ("PNG", b"\x89PNG\r\n\x1a\n", _png),
    ("WEBP", b"RIFF", _webp),
    ("GIF", b"GIF8", _gif),
)


def _orientation(block: bytes) -> int:
    """The orientation in an EXIF block; 1 where it has none or is damaged, as viewers take it."""
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return 1
    try:
        (at,) = struct.unpack_from(f"{order}I", block, 4)
        (entries,) = struct.unpack_from(f"{order}H", block, at)
        for start in range(at + 2, at + 2 + 12 * entries, 12):
            tag, kind = struct.unpack_from(f"{order}HH", block, start)
            if tag == 0x0112:
                form = {3: "H", 4: "I"}.get(kind)
                if form is None:
                    return 1
                (value,) = struct.unpack_from(f"{order}{form}", block, start + 8)
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:
        return 1
    return 1
