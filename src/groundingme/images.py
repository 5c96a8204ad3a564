"""Images as encoded bytes, decoded only when somebody needs pixels, and never trusted.

What becomes of an image on its way to a model (`prepare`):

====================================  ======================================================
JPEG (grey or colour), PNG and WebP   the original bytes: every server sees in them what we
of 8 bits or fewer, nothing below     see, whatever their size
EXIF orientation 2 to 8               turned upright, re-encoded: targets are in upright
                                      pixels, and not every server turns the picture
CMYK or YCCK JPEG                     converted to RGB (without a profile), re-encoded
alpha, or a transparent palette       laid on white, re-encoded; the original bytes where
                                      every pixel turns out opaque. Servers drop the alpha
                                      and see whatever colour is stored behind it, people who
                                      drew the box saw a white page
16 bits a channel                     scaled by their full range to 8 bits, re-encoded
animated PNG and WebP, any GIF        the first frame, re-encoded: some servers refuse them
BMP, TIFF, PPM, JPEG 2000, AVIF       re-encoded
zero bytes                            ImageError `empty`
the end is missing                    ImageError `truncated`; bytes behind the end are let be
no image, or damaged                  ImageError `unreadable`
an image of another kind              ImageError `unsupported`: HEIC, 12-bit or lossless JPEG,
                                      32-bit and floating-point pixels, CIELAB
declares more than `MAX_PIXELS`       ImageError `too-large`, from the header; not decoded
more than `MAX_BYTES` in a file       ImageError `too-large`; not read
a path out of the data set's folder   ImageError `outside`; not read (see `files`)
====================================  ======================================================

What was stored losslessly is re-encoded as PNG; the rest as JPEG of quality 95 with the chroma
sampling that it had. An `ImageRule` resizes where the model's coordinates depend on it, and keeps
to a server's limit of bytes. `jpeg_quality` re-encodes everything as JPEG of that quality, as the
published script does at 75.
"""

from __future__ import annotations

import hashlib
import io
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any

import msgspec

from groundingme import files, pixels, resizing
from groundingme.errors import ImageError, UsageError
from groundingme.image_headers import Header, read_header

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 178_956_970
"""Most pixels that an image may declare: five 8K pictures, half a gigabyte decoded.

It is the number beyond which Pillow refuses to open a picture.
"""

MAX_BYTES = 2**29
"""Most bytes of an encoded image: as many as those pixels take in RGB."""

_MIMES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
_LOWER_QUALITIES = (90, 80, 70, 60)
"""JPEG qualities for an image that has more bytes than its server takes."""
_OTHERS = ("BMP", "TIFF", "PPM", "JPEG2000", "AVIF")


class FileImage(msgspec.Struct, frozen=True):
    """An image in a file.

    Attributes:
        path: Where the file is.
        name: How its data set calls it; the path where nothing else is given.
        root: Folder that it must lie in, with all links followed; "" for anywhere.
    """

    path: str
    name: str = ""
    root: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            msgspec.structs.force_setattr(self, "name", self.path)

    def read(self) -> bytes:
        """The file's bytes.

        Raises:
            ImageError: `missing`, `outside` of its root, `too-large`, or `unreadable` where the
                file cannot be opened.
        """
        if "://" in self.name:
            raise ImageError(
                "missing",
                f"expected an image in a file, got the address {self.name}; save it as a file",
            )
        try:
            if self.root and not files.is_inside(self.path, self.root):
                raise ImageError(
                    "outside",
                    f"expected an image inside {self.root}, got {self.path}; move it there, or "
                    f"name its folder in {files.ROOTS}",
                )
            data = files.read_bounded(self.path, MAX_BYTES)
        except FileNotFoundError:
            raise ImageError(
                "missing", f"expected an image at {self.path}, got no file; put it there"
            ) from None
        except (OSError, ValueError) as error:
            said = (isinstance(error, OSError) and error.strerror) or error
            raise ImageError(
                "unreadable", f"expected an image at {self.path}, got: {said}"
            ) from None
        if data is None:
            raise ImageError(
                "too-large",
                f"expected an image of at most {MAX_BYTES} bytes at {self.path}, got a larger "
                "file; make it smaller",
            )
        return data


class BytesImage(msgspec.Struct, frozen=True):
    """An image held in memory.

    Attributes:
        name: How to call it.
        data: The encoded bytes.
    """

    name: str
    data: bytes

    def read(self) -> bytes:
        """The encoded bytes."""
        return self.data


class ImageRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model's server and coordinates ask of an image, beyond what any server does.

    Attributes:
        resize: Name in `resizing.RULES` of the resize that the model's coordinates refer to; ""
            for none. It is done here, so that a server with the same rule leaves the image alone.
        from_pixels: Images of fewer pixels are left to the server, which then resizes in no way
            that a setting of it could change; their bytes stay the original ones.
        max_bytes: Most bytes of the encoded image; 0 for no limit. Beyond it the image becomes a
            JPEG of lower quality, of the same size in pixels.
    """

    resize: str = ""
    from_pixels: int = 0
    max_bytes: int = 0

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height in pixels as sent, from those of the upright original."""
        if not self.resize or width * height < self.from_pixels:
            return width, height
        return resizing.RULES[self.resize](width, height)


class Probe(msgspec.Struct, frozen=True):
    """What the header of an image says.

    Attributes:
        format: As Pillow names it (`JPEG`, `PNG`, ...).
        mode: As Pillow names it (`RGB`, `L`, `CMYK`, ...).
        width: Of the upright image, in pixels.
        height: Of the upright image, in pixels.
        orientation: EXIF orientation, 1 to 8.
        bits: Per channel.
        alpha: Whether pixels may be transparent.
        plain: Whether any server sees in these bytes what we see, so that they can be sent.
    """

    format: str
    mode: str
    width: int
    height: int
    orientation: int
    bits: int
    alpha: bool
    plain: bool


class Encoded(msgspec.Struct, frozen=True):
    """An image as it is sent.

    Attributes:
        data: The encoded bytes.
        mime: `image/jpeg`, `image/png` or `image/webp`.
        width: In pixels.
        height: In pixels.
        full: Width and height of the upright original; None where that is the size sent.
    """

    data: bytes
    mime: str
    width: int
    height: int
    full: tuple[int, int] | None = None

    @property
    def digest(self) -> str:
        """`sha256:` and the hex digits of the bytes."""
        return f"sha256:{hashlib.sha256(self.data).hexdigest()}"


def probe(data: bytes, *, max_pixels: int = MAX_PIXELS, whole: bool = True) -> Probe:
    """Reads the header, and looks for the end.

    Args:
        data: The encoded image, or its first bytes.
        max_pixels: Most pixels that it may declare.
        whole: Whether `data` should be all of it; if not, a missing end is no error.

    Raises:
        ImageError: `empty`, `truncated`, `unreadable`, `unsupported` or `too-large`.
    """
    return _upright(_header(data, max_pixels, whole))


def prepare(
    data: bytes,
    *,
    jpeg_quality: int | None = None,
    max_pixels: int = MAX_PIXELS,
    rule: ImageRule | None = None,
) -> Encoded:
    """The image as it is sent: the original bytes wherever the table above allows it.

    Args:
        data: The encoded image.
        jpeg_quality: None, or 1 to 100: re-encode as JPEG of that quality, with chroma halved in
            both directions.
        max_pixels: Most pixels that it may declare.
        rule: What the model asks; None for nothing.

    Raises:
        ImageError: The image cannot be used.
        UsageError: `jpeg_quality` is out of range.
    """
    if jpeg_quality is not None and not 1 <= jpeg_quality <= 100:
        raise UsageError(f"expected a JPEG quality of 1 to 100, got {jpeg_quality}")
    header = _header(data, max_pixels)
    found = _upright(header)
    full = (found.width, found.height)
    size = rule.size(*full) if rule else full
    most = rule.max_bytes if rule and rule.max_bytes else sys.maxsize
    untouched = jpeg_quality is None and size == full and len(data) <= most
    if found.plain and untouched:
        return Encoded(data, _MIMES[found.format], *full)
    from PIL import Image

    with _Decoding(header.format):
        picture = _open(data, header, size if size != full else None)
        if untouched and _plain(header, alpha=False) and pixels.is_opaque(picture):
            return Encoded(data, _MIMES[found.format], *full)
        upright = _to_rgb(picture, header)
        if size != full:
            upright = upright.resize(size, Image.Resampling.BICUBIC)
        ways: list[dict[str, Any]] = [{"format": "JPEG", "quality": jpeg_quality}]
        if jpeg_quality is None:
            ways = [{"format": "JPEG", "quality": 95, "subsampling": pixels.subsampling(picture)}]
            if header.lossless:
                ways.insert(0, {"format": "PNG", "compress_level": 1})
        del picture
        lower = [q for q in _LOWER_QUALITIES if q < (jpeg_quality or 95)]
        ways += [{"format": "JPEG", "quality": quality} for quality in lower]
        for way in ways:
            buffer = io.BytesIO()
            upright.save(buffer, **way)
            if buffer.tell() <= most:
                resized = full if size != full else None
                return Encoded(buffer.getvalue(), _MIMES[way["format"]], *size, resized)
        raise ImageError(
            "too-large",
            f"expected an image of at most {most} bytes, got {buffer.tell()} at {size[0]} x "
            f"{size[1]} pixels and a JPEG quality of {ways[-1]['quality']}; make it smaller",
        )


def open_upright(
    data: bytes, *, max_pixels: int = MAX_PIXELS, least: tuple[int, int] | None = None
) -> Image.Image:
    """The image decoded: RGB of 8 bits, upright, laid on white where it is transparent.

    Args:
        data: The encoded image.
        max_pixels: Most pixels that it may declare.
        least: Width and height that suffice: a JPEG may come scaled down, but not below them.

    Raises:
        ImageError: The image cannot be used.
    """
    header = _header(data, max_pixels)
    with _Decoding(header.format):
        return _to_rgb(_open(data, header, least), header)


def _header(data: bytes, max_pixels: int, whole: bool = True) -> Header:
    if not data:
        raise ImageError("empty", "expected an image, got 0 bytes; copy it again")
    header = read_header(data, whole=whole) or _pillow_header(data)
    if header.width * header.height > max_pixels:
        raise ImageError(
            "too-large",
            f"expected at most {max_pixels} pixels, got an image that declares "
            f"{header.width} x {header.height}; make it smaller",
        )
    return header


def _upright(header: Header) -> Probe:
    width, height = header.width, header.height
    if header.orientation >= 5:
        width, height = height, width
    return Probe(
        header.format,
        header.mode,
        width,
        height,
        header.orientation,
        header.bits,
        header.alpha,
        _plain(header, header.alpha),
    )


def _plain(header: Header, alpha: bool) -> bool:
    return (
        header.format in _MIMES
        and header.orientation == 1
        and header.mode != "CMYK"
        and header.bits <= 8
        and not alpha
        and not header.animated
    )


class _Decoding:
    """Around every use of Pillow: its warnings stay in, its exceptions become `ImageError`.

    Pillow warns of damaged metadata that does not touch the pixels, and the filters of `warnings`
    belong to the whole process; so the first thread to enter mutes Pillow and the last restores.
    """

    _lock = threading.Lock()
    _inside = 0
    _muted = warnings.catch_warnings()

    def __init__(self, format: str) -> None:
        self._format = format

    def __enter__(self) -> None:
        with self._lock:
            if not _Decoding._inside:
                _Decoding._muted = warnings.catch_warnings()
                _Decoding._muted.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")
            _Decoding._inside += 1

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        with self._lock:
            _Decoding._inside -= 1
            if not _Decoding._inside:
                _Decoding._muted.__exit__(kind, error, trace)
        # The boundary: on hostile bytes Pillow's decoders raise whatever comes to hand.
        if isinstance(error, Exception) and not isinstance(error, ImageError):
            said = " ".join(str(error).split()) or type(error).__name__
            if "truncated" in said.lower():
                raise ImageError(
                    "truncated",
                    f"expected a whole {self._format} image, got: {said}; copy it again",
                ) from None
            raise ImageError(
                "unreadable",
                f"expected {_with_article(self._format)} image, got a damaged one: {said}",
            ) from None


def _with_article(format: str) -> str:
    return f"an {format}" if format[:1] in "AO" else f"a {format}"


def _pillow_header(data: bytes) -> Header:
    """The header of the rarer formats, which are never sent as they are."""
    from PIL import Image, UnidentifiedImageError

    if data[4:8] == b"ftyp" and data[8:12] in (b"heic", b"heix", b"mif1", b"msf1"):
        raise ImageError(
            "unsupported", "expected JPEG, PNG, WebP or TIFF, got HEIC; convert it to JPEG"
        )
    with _Decoding("readable"):
        try:
            picture = Image.open(io.BytesIO(data), formats=_OTHERS)
        except UnidentifiedImageError:
            raise ImageError(
                "unreadable",
                f"expected an image, got {len(data)} bytes that begin with {data[:8]!r}",
            ) from None
        except Image.DecompressionBombError as error:
            raise ImageError("too-large", f"expected a smaller image: {error}") from None
        width, height = picture.size
        # Pillow names the upright size of a TIFF and the stored size of the others; `_to_rgb`
        # turns all of them, so the header says that nothing is left to turn.
        if picture.format != "TIFF" and picture.getexif().get(0x0112, 1) >= 5:
            width, height = height, width
        mode = picture.mode
        transparent = "A" in mode or "transparency" in picture.info
        bits = 16 if mode.startswith("I") else 8
        lossless = picture.format not in ("AVIF", "JPEG2000")
        return Header(
            picture.format or "", mode, width, height, 1, bits, transparent, False, lossless
        )


def _open(data: bytes, header: Header, least: tuple[int, int] | None = None) -> Image.Image:
    """Decoded; a JPEG by a half, quarter or eighth where that is still `least` pixels or more.

    Args:
        data: The encoded image.
        header: Of it.
        least: Width and height, upright; None for the full size.
    """
    from PIL import Image

    picture = Image.open(io.BytesIO(data), formats=(header.format,))
    if header.format not in _OTHERS and picture.size != (header.width, header.height):
        w, h = picture.size
        raise ImageError(
            "unreadable",
            f"expected {header.width} x {header.height} pixels as the header declares, got "
            f"{w} x {h}; save it anew",
        )
    if least and header.format == "JPEG":
        # Twice what is needed, so that the last step is a smooth one.
        w, h = least if header.orientation < 5 else least[::-1]
        picture.draft(None, (2 * w, 2 * h))
    picture.load()
    return picture


def _to_rgb(picture: Image.Image, header: Header) -> Image.Image:
    from PIL import ImageOps

    if header.format in _OTHERS:
        ImageOps.exif_transpose(picture, in_place=True)
    return pixels.to_rgb(picture, header.orientation)
