"""Large PNG through libvips: the same tiles as with Pillow, and the same errors."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from groundingme import images
from groundingme.errors import ImageError
from groundingme.studio import vips
from groundingme.studio.tiles import Tiles, levels

SIZE = (2600, 1700)


def png(mode: str = "RGB", size: tuple[int, int] = SIZE) -> bytes:
    rng = np.random.default_rng(0)
    rough = Image.fromarray(rng.integers(0, 255, (17, 26, 3), dtype=np.uint8))
    file = io.BytesIO()
    rough.resize(size, Image.Resampling.BICUBIC).convert(mode).save(file, "PNG", compress_level=1)
    return file.getvalue()


@pytest.fixture(scope="module")
def large() -> bytes:
    return png()


@pytest.fixture
def with_vips() -> None:
    if vips.library() is None:
        pytest.skip("needs pyvips (extra vips)")


@pytest.mark.usefixtures("with_vips")
@pytest.mark.parametrize("size", [*levels(SIZE)[-4:], (160, 105), (1300, 425), (260, 850)])
def test_pixels_are_those_of_pillow(large: bytes, size: tuple[int, int]) -> None:
    mine = vips.reduced(large, size)
    assert mine is not None
    pillow = images.open_upright(large).resize(size, Image.Resampling.BOX)
    off = np.abs(np.asarray(mine, np.int16) - np.asarray(pillow, np.int16))
    assert mine.size == size
    assert off.mean() <= (0 if size == SIZE else 0.6)
    assert off.max() <= 3


@pytest.mark.usefixtures("with_vips")
def test_tiles_are_made_with_it(
    large: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tile(folder: str) -> bytes | None:
        return Tiles(tmp_path / folder).tile("ab" * 32, SIZE, len(levels(SIZE)) - 1, 1, 1, read)

    def read() -> bytes:
        return large

    used = []
    reduced = vips.reduced
    monkeypatch.setattr(vips, "reduced", lambda *given: used.append(1) or reduced(*given))
    assert tile("with") == tile("again")
    assert used == [1, 1]
    monkeypatch.setattr(vips, "library", lambda: None)
    assert tile("without") == tile("with")


@pytest.mark.usefixtures("with_vips")
def test_other_kinds_and_small_ones_are_left_to_pillow(large: bytes) -> None:
    jpeg = io.BytesIO()
    Image.open(io.BytesIO(large)).save(jpeg, "JPEG")
    others = {mode: png(mode) for mode in ("L", "P", "RGBA")}
    for data in (jpeg.getvalue(), *others.values(), png(size=(400, 300))):
        assert vips.reduced(data, (200, 130)) is None


@pytest.mark.usefixtures("with_vips")
def test_what_is_broken_is_said_as_without_it(large: bytes, tmp_path: Path) -> None:
    cut = large[: len(large) // 2]
    with pytest.raises(ImageError) as without:
        images.open_upright(cut)
    with pytest.raises(ImageError) as caught:
        Tiles(tmp_path).thumb("cd" * 32, 320, lambda: cut)
    assert str(caught.value) == str(without.value)


def test_without_it_nothing_changes(large: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vips, "library", lambda: None)
    assert vips.reduced(large, (200, 130)) is None
