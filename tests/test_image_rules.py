"""What a model's server and coordinates ask of an image, and that nothing else is done to it."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from groundingme import resizing
from groundingme.errors import ImageError
from groundingme.images import Encoded, ImageRule, prepare
from groundingme.models.families import families

CLAUDE = ImageRule(resize="claude")
QWEN = ImageRule(resize="qwen2.5-vl", from_pixels=16384 * 28 * 28)


def photo(width: int, height: int, format: str = "JPEG", **options: Any) -> bytes:
    """Smooth waves with a little noise: as hard to compress as a photo."""
    x, y = np.meshgrid(np.linspace(0, 9, width), np.linspace(0, 7, height))
    waves = np.stack([np.sin(x + y), np.cos(x * y / 3), np.sin(x) * np.cos(y)], axis=-1)
    noise = np.random.default_rng(1).normal(0, 6, waves.shape)
    pixels = np.clip(127 + 90 * waves + noise, 0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format, **options)
    return out.getvalue()


def pixels(encoded: Encoded | bytes) -> np.ndarray[Any, Any]:
    data = encoded if isinstance(encoded, bytes) else encoded.data
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB")).astype(float)


@pytest.mark.parametrize(
    ("rule", "size"),
    [
        (CLAUDE, (1092, 1092)),
        (CLAUDE, (640, 480)),
        (QWEN, (4000, 3000)),
        (QWEN, (101, 33)),
        (ImageRule(max_bytes=10**9), (640, 480)),
    ],
)
def test_what_fits_keeps_its_bytes(rule: ImageRule, size: tuple[int, int]) -> None:
    data = photo(*size)
    sent = prepare(data, rule=rule)
    assert sent.data is data
    assert (sent.width, sent.height, sent.full) == (*size, None)


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_what_does_not_fit_is_resized_by_the_rule(format: str) -> None:
    data = photo(3000, 1600, format)
    sent = prepare(data, rule=CLAUDE)
    expected = resizing.claude(3000, 1600)
    assert (sent.width, sent.height) == expected
    assert sent.full == (3000, 1600)
    assert sent.mime == f"image/{format.lower()}"
    assert pixels(sent).shape == (expected[1], expected[0], 3)
    with Image.open(io.BytesIO(data)) as picture:
        straight = np.asarray(picture.resize(expected, Image.Resampling.BICUBIC)).astype(float)
    assert np.abs(pixels(sent) - straight).mean() < 4  # decoding by a half changes little
    again = prepare(sent.data, rule=CLAUDE)
    assert again.data is sent.data


def test_a_turned_picture_is_resized_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = photo(2400, 1200, exif=exif.tobytes())
    sent = prepare(data, rule=CLAUDE)
    assert sent.full == (1200, 2400)
    assert (sent.width, sent.height) == resizing.claude(1200, 2400)
    upright = pixels(prepare(data))
    small = np.asarray(
        Image.fromarray(upright.astype(np.uint8)).resize((sent.width, sent.height))
    ).astype(float)
    assert np.abs(pixels(sent) - small).mean() < 5


def test_a_limit_of_bytes_costs_quality_and_no_pixels() -> None:
    data = photo(900, 700, "PNG")
    for most in (len(data) - 1, 200_000):
        sent = prepare(data, rule=ImageRule(max_bytes=most))
        assert len(sent.data) <= most
        assert (sent.mime, sent.width, sent.height, sent.full) == ("image/jpeg", 900, 700, None)
    jpeg = photo(900, 700, quality=98)
    sent = prepare(jpeg, rule=ImageRule(max_bytes=len(jpeg) // 2))
    assert len(sent.data) <= len(jpeg) // 2
    assert np.abs(pixels(sent) - pixels(jpeg)).mean() < 6


def test_a_limit_of_bytes_that_cannot_be_kept() -> None:
    with pytest.raises(ImageError, match="at most 2000 bytes, got") as caught:
        prepare(photo(900, 700), rule=ImageRule(max_bytes=2000))
    assert caught.value.kind == "too-large"


def test_a_given_quality_and_a_rule() -> None:
    sent = prepare(photo(3000, 1600, "PNG"), rule=CLAUDE, jpeg_quality=75)
    assert (sent.mime, (sent.width, sent.height)) == ("image/jpeg", resizing.claude(3000, 1600))


def test_rules_of_families_shrink_only() -> None:
    rules = [row.image for row in families() if row.image.resize]
    assert len(rules) == 5
    for rule in rules:
        for size in ((640, 480), (2250, 1500), (1500, 2250), (7680, 4320), (3, 9000)):
            w, h = rule.size(*size)
            assert w <= size[0] + 28
            assert h <= size[1] + 28
            assert rule.size(w, h) == (w, h)
