"""Images on their way to a model: each row of the table in `images`, with files made by Pillow."""

from __future__ import annotations

import contextlib
import io
import struct
import time
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, features

from groundingme import images
from groundingme.errors import ImageError, UsageError
from groundingme.image_headers import read_header

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)
ORIENTATION = 0x0112


def encode(picture: Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def decode(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


def marked(width: int = 48, height: int = 32) -> Image.Image:
    """Blue, with a red corner of 16 x 16 pixels at the upper left."""
    picture = Image.new("RGB", (width, height), BLUE)
    picture.paste(RED, (0, 0, 16, 16))
    return picture


def noise(width: int = 64, height: int = 48, mode: str = "RGB") -> Image.Image:
    channels = len(Image.new(mode, (1, 1)).getbands())
    values = np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Image.fromarray(values.squeeze(), mode) if channels == 1 else _stack(values, mode)


def _stack(values: np.ndarray[Any, Any], mode: str) -> Image.Image:
    return Image.merge(mode, [Image.fromarray(values[..., i]) for i in range(values.shape[2])])


def png(width: int, height: int, bits: int, color: int, body: bytes = b"") -> bytes:
    """A PNG written by hand: Pillow writes neither 16-bit RGB nor a header without pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(body))
        + chunk(b"IEND", b"")
    )


def near(pixel: Any, color: tuple[int, int, int], by: int = 12) -> bool:
    return all(abs(a - b) <= by for a, b in zip(pixel, color, strict=True))


def passes(data: bytes, mime: str) -> bool:
    """Whether the original bytes are sent, under that type and the size of the picture."""
    sent = images.prepare(data)
    assert (sent.width, sent.height) == decode(data).size
    return sent.data == data and sent.mime == mime and images.probe(data).plain


def kind_of(call: Callable[[], object]) -> str:
    with pytest.raises(ImageError) as caught:
        call()
    assert "expected" in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value.kind


@pytest.mark.parametrize(
    ("picture", "format", "options", "mime"),
    [
        (noise(), "JPEG", {}, "image/jpeg"),
        (noise(), "JPEG", {"progressive": True, "quality": 95, "subsampling": 0}, "image/jpeg"),
        (noise(mode="L"), "JPEG", {}, "image/jpeg"),
        (noise(), "PNG", {}, "image/png"),
        (noise(mode="L"), "PNG", {}, "image/png"),
        (noise(mode="L").convert("1"), "PNG", {}, "image/png"),
        (noise().convert("P"), "PNG", {}, "image/png"),
        (noise().quantize(4), "PNG", {"bits": 2}, "image/png"),
        (noise(), "WEBP", {}, "image/webp"),
        (noise(), "WEBP", {"lossless": True}, "image/webp"),
        (Image.new("RGB", (1, 1)), "PNG", {}, "image/png"),
        (Image.new("RGB", (1, 3000)), "JPEG", {}, "image/jpeg"),
    ],
)
def test_plain_images_travel_untouched(
    picture: Image.Image, format: str, options: dict[str, Any], mime: str
) -> None:
    data = encode(picture, format, **options)
    assert passes(data, mime)
    found = images.probe(data)
    assert (found.format, found.width, found.height) == (format, *picture.size)
    assert (found.orientation, found.alpha, found.plain) == (1, False, True)
    np.testing.assert_array_equal(
        np.asarray(images.open_upright(data)), np.asarray(decode(data).convert("RGB"))
    )


def test_bytes_behind_the_end_are_let_be() -> None:
    for format, mime in (("JPEG", "image/jpeg"), ("PNG", "image/png"), ("WEBP", "image/webp")):
        assert passes(encode(noise(), format) + b"\0 appended by a camera" * 9, mime)


UPRIGHT_CORNERS = {
    1: "upper left",
    2: "upper right",
    3: "lower right",
    4: "lower left",
    5: "upper left",
    6: "upper right",
    7: "lower right",
    8: "lower left",
}
"""Where the stored upper left corner stands in the upright picture (CIPA DC-008)."""


def corner(picture: Image.Image, name: str) -> Any:
    x = 5 if "left" in name else picture.width - 6
    y = 5 if "upper" in name else picture.height - 6
    return picture.getpixel((x, y))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_upright(orientation: int, format: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encode(marked(), format, exif=exif, **({"quality": 95} if format != "TIFF" else {}))
    size = (48, 32) if orientation < 5 else (32, 48)

    upright = images.open_upright(data)
    sent = images.prepare(data)
    pixels = decode(sent.data)
    assert upright.size == (sent.width, sent.height) == pixels.size == size
    if format != "TIFF":
        found = images.probe(data)
        assert (found.width, found.height, found.orientation) == (*size, orientation)
        assert found.plain == (orientation == 1)
        assert (sent.data == data) == (orientation == 1)
    assert pixels.getexif().get(ORIENTATION, 1) == 1
    here = UPRIGHT_CORNERS[orientation]
    for name in set(UPRIGHT_CORNERS.values()):
        assert near(corner(upright, name), RED if name == here else BLUE)
        assert near(corner(pixels, name), RED if name == here else BLUE)


@pytest.mark.parametrize("value", [0, 9, 255, 65535])
def test_an_orientation_that_does_not_exist_is_none(value: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = value
    assert passes(encode(noise(), "JPEG", exif=exif), "image/jpeg")


@pytest.mark.parametrize(
    "block", [b"", b"II", b"XX*\0\x08\0\0\0", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff"]
)
def test_damaged_exif_is_no_reason_to_lose_an_image(block: bytes) -> None:
    data = encode(noise(), "JPEG", exif=b"Exif\0\0" + block)
    assert images.prepare(data).data == data


def test_big_endian_exif_is_read() -> None:
    block = (
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01"
        + struct.pack(">HHIHH", ORIENTATION, 3, 1, 6, 0)
        + b"\0" * 4
    )
    found = images.probe(encode(marked(), "JPEG", exif=block))
    assert (found.orientation, found.width, found.height) == (6, 32, 48)


def test_cmyk_becomes_rgb() -> None:
    picture = Image.new("CMYK", (40, 30), (0, 255, 255, 0))
    data = encode(picture, "JPEG", quality=95)
    assert images.probe(data).mode == "CMYK"
    assert not images.probe(data).plain
    sent = images.prepare(data)
    assert (sent.mime, sent.width, sent.height) == ("image/jpeg", 40, 30)
    assert decode(sent.data).mode == "RGB"
    assert near(decode(sent.data).getpixel((20, 15)), RED)


def test_sixteen_bits_of_grey_are_scaled_by_their_full_range() -> None:
    values = np.array([[0, 257, 32_896, 65_535], [128, 129, 65_406, 65_407]], dtype=np.uint16)
    data = encode(Image.fromarray(values), "PNG")
    assert images.probe(data).bits == 16
    sent = images.prepare(data)
    assert sent.mime == "image/png"
    grey = np.asarray(decode(sent.data))[..., 0]
    assert grey.tolist() == [[0, 1, 128, 255], [0, 1, 254, 255]]


def test_sixteen_bits_of_rgb_are_scaled_by_their_full_range() -> None:
    row = b"\0" + struct.pack(">6H", 65_535, 0, 0, 0, 32_896, 257)
    sent = images.prepare(png(2, 1, 16, 2, row))
    assert sent.mime == "image/png"
    pixels = np.asarray(decode(sent.data)).tolist()
    assert pixels[0][0] == [255, 0, 0]
    # Pillow keeps the upper byte of each channel.
    assert pixels[0][1] == [0, 128, 1]


def test_sixteen_bit_tiff_is_scaled_too() -> None:
    values = np.array([[0, 32_896, 65_535]], dtype=np.uint16)
    upright = images.open_upright(encode(Image.fromarray(values), "TIFF"))
    assert np.asarray(upright)[0, :, 0].tolist() == [0, 128, 255]


def test_a_transparent_palette_is_laid_on_white() -> None:
    picture = Image.new("P", (20, 10), 0)
    picture.putpalette([*RED, *BLUE])
    picture.paste(1, (10, 0, 20, 10))
    data = encode(picture, "PNG", transparency=1)
    assert images.probe(data).alpha
    sent = images.prepare(data)
    assert sent.mime == "image/png"
    assert decode(sent.data).mode == "RGB"
    assert decode(sent.data).getpixel((2, 2)) == RED
    assert decode(sent.data).getpixel((15, 2)) == WHITE


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_alpha_is_laid_on_white(format: str) -> None:
    picture = Image.new("RGBA", (20, 10), (*RED, 255))
    picture.paste((*BLUE, 0), (10, 0, 20, 10))
    picture.paste((0, 0, 0, 128), (0, 5, 10, 10))
    data = encode(picture, format, lossless=True, exact=True)
    sent = images.prepare(data)
    pixels = decode(sent.data)
    assert (sent.mime, pixels.mode, pixels.size) == ("image/png", "RGB", (20, 10))
    assert pixels.getpixel((2, 2)) == RED
    assert pixels.getpixel((15, 2)) == WHITE
    assert pixels.getpixel((2, 8)) == (127, 127, 127)


def test_lossy_webp_with_alpha_becomes_jpeg() -> None:
    picture = noise().convert("RGBA")
    picture.putalpha(7)
    sent = images.prepare(encode(picture, "WEBP"))
    assert (sent.mime, decode(sent.data).mode) == ("image/jpeg", "RGB")


@pytest.mark.parametrize(
    ("picture", "format", "mime"),
    [
        (noise().convert("RGBA"), "PNG", "image/png"),
        (noise().convert("LA"), "PNG", "image/png"),
    ],
)
def test_alpha_that_is_opaque_everywhere_changes_nothing(
    picture: Image.Image, format: str, mime: str
) -> None:
    data = encode(picture, format)
    sent = images.prepare(data)
    assert (sent.data, sent.mime) == (data, mime)
    # The header alone cannot tell.
    assert images.probe(data).alpha


def test_an_opaque_transparency_chunk_changes_nothing() -> None:
    picture = Image.new("P", (4, 4), 0)
    picture.putpalette([*RED, *BLUE])
    data = encode(picture, "PNG", transparency=bytes([255, 0]))
    assert images.prepare(data).data == data


@pytest.mark.parametrize(
    ("format", "mime"), [("GIF", "image/png"), ("WEBP", "image/jpeg"), ("PNG", "image/png")]
)
def test_of_an_animation_the_first_frame_is_sent(format: str, mime: str) -> None:
    first, second = Image.new("RGB", (32, 24), RED), Image.new("RGB", (32, 24), BLUE)
    data = encode(first, format, save_all=True, append_images=[second])
    sent = images.prepare(data)
    pixels = decode(sent.data)
    assert (sent.mime, sent.width, sent.height) == (mime, 32, 24)
    assert getattr(pixels, "n_frames", 1) == 1
    assert near(pixels.convert("RGB").getpixel((10, 10)), RED)


def test_a_gif_of_one_frame_is_re_encoded_too() -> None:
    data = encode(marked(), "GIF")
    assert not images.probe(data).plain
    sent = images.prepare(data)
    assert sent.mime == "image/png"
    assert decode(sent.data).getpixel((2, 2)) == RED


@pytest.mark.parametrize("format", ["BMP", "TIFF", "PPM"])
def test_rarer_lossless_formats_become_png_pixel_by_pixel(format: str) -> None:
    picture = noise()
    data = encode(picture, format)
    found = images.probe(data)
    assert (found.format, found.width, found.height, found.plain) == (format, 64, 48, False)
    sent = images.prepare(data)
    assert sent.mime == "image/png"
    np.testing.assert_array_equal(np.asarray(decode(sent.data)), np.asarray(picture))


@pytest.mark.parametrize("format", ["TIFF", "AVIF"])
def test_rarer_formats_name_their_upright_size_before_they_are_decoded(format: str) -> None:
    if format == "AVIF" and not features.check("avif"):
        pytest.skip("needs a Pillow that writes AVIF")
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    data = encode(marked(), format, exif=exif)
    found, sent = images.probe(data), images.prepare(data)
    assert (found.width, found.height) == (sent.width, sent.height) == (32, 48)
    assert near(corner(decode(sent.data), "upper right"), RED)


@pytest.mark.parametrize("quality", [1, 75, 100])
def test_jpeg_quality_re_encodes_whatever_comes(quality: int) -> None:
    for format in ("JPEG", "PNG", "WEBP", "GIF", "BMP"):
        data = encode(noise(), format)
        sent = images.prepare(data, jpeg_quality=quality)
        assert sent.mime == "image/jpeg"
        expected = encode(decode(data).convert("RGB"), "JPEG", quality=quality)
        assert sent.data == expected
        assert sent.digest.startswith("sha256:")


@pytest.mark.parametrize("quality", [0, -1, 101])
def test_a_quality_out_of_range_is_a_usage_error(quality: int) -> None:
    with pytest.raises(UsageError, match="1 to 100"):
        images.prepare(encode(noise(), "JPEG"), jpeg_quality=quality)


def test_chroma_sampling_is_kept_when_a_jpeg_is_turned() -> None:
    from PIL import JpegImagePlugin

    exif = Image.Exif()
    exif[ORIENTATION] = 3
    for sampling in (0, 1, 2):
        data = encode(noise(), "JPEG", exif=exif, subsampling=sampling)
        sent = decode(images.prepare(data).data)
        assert JpegImagePlugin.get_sampling(sent) == sampling


def test_a_phones_picture_with_a_second_one_behind_it_is_turned() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    data = encode(
        marked(), "MPO", save_all=True, append_images=[noise(16, 16)], exif=exif, quality=95
    )
    sent = images.prepare(data)
    assert (sent.mime, sent.width, sent.height) == ("image/jpeg", 32, 48)
    assert near(corner(decode(sent.data), "upper right"), RED)


def test_zero_bytes_are_empty() -> None:
    for call in (images.probe, images.prepare, images.open_upright):
        assert kind_of(lambda call=call: call(b"")) == "empty"  # type: ignore[misc]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_an_image_without_its_end_is_truncated(format: str, share: float) -> None:
    data = encode(noise(200, 150), format)
    cut = data[: int(len(data) * share)]
    kinds = {kind_of(lambda: images.prepare(cut)), kind_of(lambda: images.open_upright(cut))}
    # A TIFF has its directory at the end, so what is left of one is no image.
    assert kinds <= ({"truncated", "unreadable"} if format == "TIFF" else {"truncated"})
    if format in ("JPEG", "PNG", "WEBP"):
        assert kind_of(lambda: images.probe(cut)) == "truncated"
        assert images.probe(cut, whole=False).width == 200


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_any_cut_has_a_fate(format: str) -> None:
    data = encode(noise(24, 16), format)
    for end in range(1, len(data) - 1, max(1, len(data) // 150)):
        kind = kind_of(lambda end=end: images.prepare(data[:end]))  # type: ignore[misc]
        assert kind == "truncated" if end >= 16 else kind in ("truncated", "unreadable")


@pytest.mark.parametrize(
    "data",
    [
        b"<!doctype html><title>404 Not Found</title>",
        b"version https://git-lfs.github.com/spec/v1\n",
        b"\0" * 64,
        b"\xff\xd8\xff",
        b"RIFF\x24\0\0\0WAVEfmt ",
        b"%PDF-1.7\n",
    ],
)
def test_what_is_no_image_is_unreadable(data: bytes) -> None:
    expected = "truncated" if data.startswith(b"\xff\xd8") else "unreadable"
    assert kind_of(lambda: images.prepare(data)) == expected
    assert kind_of(lambda: images.probe(data)) == expected


def test_damage_inside_is_an_error_when_decoded() -> None:
    data = bytearray(encode(noise().convert("RGBA"), "PNG"))
    data[len(data) // 2] ^= 0xFF
    assert kind_of(lambda: images.prepare(bytes(data))) in ("unreadable", "truncated")


def test_kinds_that_cannot_be_shown_are_unsupported() -> None:
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 64
    assert kind_of(lambda: images.probe(heic)) == "unsupported"
    floats = encode(Image.fromarray(np.zeros((4, 4), dtype=np.float32)), "TIFF")
    assert kind_of(lambda: images.prepare(floats)) == "unsupported"
    wide = encode(Image.fromarray(np.full((4, 4), 70_000, dtype=np.int32)), "TIFF")
    assert kind_of(lambda: images.prepare(wide)) == "unsupported"
    lab = encode(Image.new("LAB", (4, 4)), "TIFF")
    assert kind_of(lambda: images.prepare(lab)) == "unsupported"
    jpeg = bytearray(encode(noise(), "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 4] = 12
    assert kind_of(lambda: images.probe(bytes(jpeg))) == "unsupported"
    jpeg[frame + 1] = 0xC3
    assert kind_of(lambda: images.probe(bytes(jpeg))) == "unsupported"


def test_a_decompression_bomb_is_too_large_and_never_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def decoded(*_: object, **__: object) -> None:
        raise AssertionError("the bomb was opened")

    bomb = png(60_000, 60_000, 8, 2, b"\0" * 1000)
    monkeypatch.setattr(images, "_open", decoded)
    for call in (images.probe, images.prepare, images.open_upright):
        assert kind_of(lambda call=call: call(bomb)) == "too-large"  # type: ignore[misc]
    assert kind_of(lambda: images.prepare(bomb, jpeg_quality=75)) == "too-large"


def test_formats_that_pillow_opens_are_held_to_the_limit_too() -> None:
    header = b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, 60_000, 60_000, 1, 24, *[0] * 6)
    assert kind_of(lambda: images.probe(header)) == "too-large"
    assert kind_of(lambda: images.probe(b"P6 60000 60000 255\n")) == "too-large"
    # Between the size at which Pillow warns and the one at which it refuses, nothing warns.
    assert images.probe(b"P6 10000 10000 255\n").width == 10_000


def test_the_limit_is_the_callers_to_lower() -> None:
    data = encode(noise(), "PNG")
    assert images.probe(data, max_pixels=64 * 48).width == 64
    assert kind_of(lambda: images.probe(data, max_pixels=64 * 48 - 1)) == "too-large"


def test_an_8k_photo_is_sent_as_it_is_within_milliseconds(tmp_path: Path) -> None:
    data = encode(Image.new("RGB", (7680, 4320), BLUE), "JPEG")
    path = tmp_path / "8k.jpg"
    path.write_bytes(data)
    image = images.FileImage(str(path))
    found = images.probe(data[:65_536], whole=False)
    assert (found.width, found.height, found.plain) == (7680, 4320, True)
    took = []
    for _ in range(5):
        began = time.thread_time()
        sent = images.prepare(image.read())
        took.append(time.thread_time() - began)
    # Decoding takes several hundred milliseconds.
    assert min(took) < 0.1
    assert (sent.data, sent.mime, sent.width, sent.height) == (data, "image/jpeg", 7680, 4320)


def test_a_file_has_a_name_and_a_missing_one_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    image = images.FileImage(str(path))
    assert image.name == str(path)
    assert images.FileImage(str(path), "row 7").name == "row 7"
    assert kind_of(image.read) == "missing"
    assert kind_of(images.FileImage(str(tmp_path)).read) == "unreadable"
    path.write_bytes(b"")
    assert image.read() == b""
    assert images.BytesImage("x", b"abc").read() == b"abc"


def test_warnings_stay_in_and_the_filters_are_restored_across_threads() -> None:
    data = encode(noise().convert("RGBA"), "PNG")
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(images.prepare, [data] * 40))) == 40
    assert list(warnings.filters) == before
    with pytest.raises(ImageError):
        images.open_upright(data[:-40])
    assert list(warnings.filters) == before


@given(
    st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8"])
)
def test_hostile_bytes_never_raise_anything_but_image_errors(body: bytes, magic: bytes) -> None:
    for whole in (True, False):
        with contextlib.suppress(ImageError):
            read_header(magic + body, whole=whole)
    with contextlib.suppress(ImageError):
        images.prepare(magic + body)
