"""Pictures of the studio: keys, bytes, thumbnails, tiles against a direct resize, the cache."""

from __future__ import annotations

import io
import json
import os
import threading
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image, ImageDraw

from groundingme import images
from groundingme.studio import tiles
from groundingme.studio.keeping import Kept
from groundingme.studio.tiles import Tiles, levels, window
from studio_app import MakeApp, enter, make_app

__all__ = ["make_app"]


def drawing(width: int, height: int, seed: int = 0) -> Image.Image:
    """Smooth colours, with shapes whose edges tell where they are."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 255, (5, 7, 3), dtype=np.uint8))
    picture = small.resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    for _ in range(12):
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        side = max(2, min(width, height) // 6)
        color = tuple(rng.integers(0, 255, 3).tolist())
        draw.rectangle((x, y, x + side, y + side), fill=color)
    return picture


def encoded(picture: Image.Image, format: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format, **({"quality": 95} if format == "JPEG" else {}) | options)
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "data" / "set"
    made.mkdir(parents=True)
    return made


def keys(folder: Path, client: TestClient, **pictures: bytes) -> dict[str, str]:
    """Puts pictures into a data set and gives their keys."""
    rows = []
    for name, data in pictures.items():
        (folder / name).write_bytes(data)
        rows.append({"id": name, "image": name, "description": name, "bbox": None})
    (folder / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    items = client.get("/api/datasets/set/samples.jsonl/samples").json()["items"]
    return {one["id"]: one["picture"] for one in items}


@pytest.fixture
def client(make_app: MakeApp) -> TestClient:
    return enter(make_app(), "Ann")


def opened(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


def test_the_picture_itself(client: TestClient, folder: Path) -> None:
    formats = {"a": "JPEG", "b": "PNG", "c": "WEBP", "d": "BMP", "e": "TIFF"}
    made = {name: encoded(drawing(90, 60), form) for name, form in formats.items()}
    for name, key in keys(folder, client, **made).items():
        answer = client.get(f"/api/pictures/{key}")
        assert answer.content == made[name]
        assert answer.headers["content-type"] == f"image/{formats[name].lower()}"
        assert answer.headers["x-content-type-options"] == "nosniff"
        info = client.get(f"/api/pictures/{key}/info").json()
        assert (info["width"], info["height"], info["tiled"]) == (90, 60, False)


@pytest.mark.parametrize(
    ("size", "format", "orientation"),
    [
        ((1701, 1203), "JPEG", 1), ((1701, 1203), "PNG", 1), ((1203, 1701), "JPEG", 6),
        ((2600, 517), "JPEG", 3), ((300, 200), "JPEG", 8), ((1, 1), "PNG", 1), ((513, 3), "PNG", 1),
        ((1025, 512), "WEBP", 1),
    ],
    ids=str,
)  # fmt: skip
def test_tiles_are_the_picture_at_every_level(
    client: TestClient, folder: Path, size: tuple[int, int], format: str, orientation: int
) -> None:
    """Each level, put together from its tiles, is the upright picture resized at once."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {"exif": exif} if format == "JPEG" else {}
    if format == "WEBP":
        options["lossless"] = True
    data = encoded(drawing(*size), format, **options)
    key = keys(folder, client, a=data)["a"]
    upright = images.open_upright(data)
    info = client.get(f"/api/pictures/{key}/info").json()
    assert (info["width"], info["height"]) == upright.size
    root = ET.fromstring(client.get(f"/api/pictures/{key}.dzi").text)
    space = "{http://schemas.microsoft.com/deepzoom/2008}"
    assert (root.get("TileSize"), root.get("Overlap"), root.get("Format")) == ("512", "1", "jpg")
    shown = root.find(f"{space}Size")
    assert shown is not None
    assert (int(shown.get("Width", 0)), int(shown.get("Height", 0))) == upright.size
    known = levels(upright.size)
    assert known[0] == (1, 1)
    assert known[-1] == upright.size
    for level, (width, height) in enumerate(known):
        sheet = Image.new("RGB", (width, height))
        for row in range(-(-height // 512)):
            for column in range(-(-width // 512)):
                place = f"/api/pictures/{key}_files/{level}/{column}_{row}.jpg"
                answer = client.get(place)
                assert answer.headers["content-type"] == "image/jpeg", answer.text
                box = window((width, height), column, row)
                assert box
                tile = opened(answer.content)
                assert tile.size == (box[2] - box[0], box[3] - box[1])
                sheet.paste(tile, box[:2])
        expected = upright.resize((width, height), Image.Resampling.BOX)
        # What JPEG itself loses is large in a few pixels of many colours.
        lossy = opened(encoded(expected, quality=tiles.QUALITY, subsampling=0))
        wanted = lossy if min(width, height) <= 64 else expected
        apart = np.abs(np.asarray(sheet, dtype=float) - np.asarray(wanted, dtype=float))
        most = 6 if max(width, height) < 8 else 4
        assert apart.mean() < most, (level, width, height, apart.mean())
        if min(width, height) > 40:
            # No shift: half a pixel would show at the edges of the shapes.
            shifted = np.roll(np.asarray(expected, dtype=float), 1, axis=1)
            moved = np.abs(np.asarray(sheet, dtype=float) - shifted)
            assert apart.mean() < moved.mean()
    for place in (f"{len(known)}/0_0", "0/1_0", "0/0_1", f"{len(known) - 1}/9_9"):
        assert client.get(f"/api/pictures/{key}_files/{place}.jpg").status_code == 404
    for place in ("x/0_0", "-1/0_0", "0/0_-1", "0/a_b", "99999999999999999999/0_0"):
        assert client.get(f"/api/pictures/{key}_files/{place}.jpg").status_code in (404, 422)


def test_a_shift_would_be_seen() -> None:
    """The comparison above can fail: a level of another size or place is farther off."""
    picture = drawing(600, 400)
    sheet = np.asarray(picture, dtype=float)
    assert np.abs(sheet - np.roll(sheet, 4, axis=1)).mean() > 4


@pytest.mark.parametrize(("side", "longest"), [(1, 160), (160, 160), (200, 320), (1280, 1280)])
def test_thumbnails(client: TestClient, folder: Path, side: int, longest: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(drawing(2000, 1000), exif=exif)
    key = keys(folder, client, a=data, small=encoded(drawing(50, 20)))
    answer = client.get(f"/api/pictures/{key['a']}/thumb", params={"side": side})
    thumb = opened(answer.content)
    assert thumb.size == (longest // 2, longest)
    expected = images.open_upright(data).resize(thumb.size, Image.Resampling.BOX)
    apart = np.abs(np.asarray(thumb, dtype=float) - np.asarray(expected, dtype=float))
    assert apart.mean() < 5
    assert opened(client.get(f"/api/pictures/{key['small']}/thumb").content).size == (50, 20)
    for bad in (0, 5000, "x"):
        assert client.get(f"/api/pictures/{key['a']}/thumb?side={bad}").status_code == 422


def test_transparent_and_grey_pictures_show_as_models_see_them(
    client: TestClient, folder: Path
) -> None:
    clear = Image.new("RGBA", (600, 600), (255, 0, 0, 0))
    deep = Image.fromarray(np.full((600, 600), 65535 // 2, dtype=np.uint16))
    made = keys(folder, client, a=encoded(clear, "PNG"), b=encoded(deep, "PNG"))
    for name, color in (("a", 255), ("b", 127)):
        tile = opened(client.get(f"/api/pictures/{made[name]}_files/10/0_0.jpg").content)
        assert np.abs(np.asarray(tile, dtype=float) - color).max() <= 2


def test_tiles_are_made_once(
    client: TestClient, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many ask at once, the picture is decoded once for each level, and never again."""
    key = keys(folder, client, a=encoded(drawing(2300, 1800)))["a"]
    decoded: list[tuple[int, int] | None] = []
    inside, most = 0, 0
    lock = threading.Lock()
    real = images.open_upright

    def counted(data: bytes, **options: Any) -> Image.Image:
        nonlocal inside, most
        with lock:
            decoded.append(options.get("least"))
            inside += 1
            most = max(most, inside)
        try:
            return real(data, **options)
        finally:
            with lock:
                inside -= 1

    monkeypatch.setattr(images, "open_upright", counted)
    places = [f"12/{c}_{r}" for c in range(5) for r in range(4)]
    places += ["10/0_0", "9/0_0", "8/0_0", "0/0_0", "11/0_0", "11/2_1"]

    def fetch(place: str) -> bytes:
        answer = client.get(f"/api/pictures/{key}_files/{place}.jpg")
        assert answer.status_code == 200, answer.text
        return answer.content

    with ThreadPoolExecutor(8) as pool:
        first = list(pool.map(fetch, places * 2))
    # The full size, the half, and all coarse levels from the quarter on.
    assert sorted(one for one in decoded if one) == [(575, 450), (1150, 900), (2300, 1800)]
    assert most == 1, "one picture is decoded at a time"
    assert first[: len(places)] == first[len(places) :]
    assert [fetch(place) for place in places] == first[: len(places)]
    assert len(decoded) == 3


def test_tiles_stay_after_a_restart_and_follow_the_picture(
    make_app: MakeApp, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    red, blue = (encoded(Image.new("RGB", (900, 900), name)) for name in ("red", "blue"))
    client = enter(make_app(), "Ann")
    key = keys(folder, client, a=red)["a"]
    place = f"/api/pictures/{key}_files/10/0_0.jpg"
    before = client.get(place).content
    kept = sorted(path for path in (tmp_path / "home" / "tiles").rglob("*") if path.is_file())
    assert not [path for path in kept if path.name.startswith(".")]
    again = enter(make_app(), "Ann")
    other = keys(folder, again, a=red)["a"]
    assert other != key, "another server, another secret"
    assert again.get(place).status_code == 404
    with monkeypatch.context() as patch:
        patch.setattr(images, "open_upright", None)
        assert again.get(f"/api/pictures/{other}_files/10/0_0.jpg").content == before
    (folder / "a").write_bytes(blue)
    os.utime(folder / "a", ns=(1, 1))
    after = opened(again.get(f"/api/pictures/{other}_files/10/0_0.jpg").content)
    assert np.asarray(after)[0, 0].tolist()[2] > 200


def test_the_folder_of_tiles_is_bounded(tmp_path: Path) -> None:
    made = Tiles(tmp_path / "tiles", most=300_000)
    noise = np.random.default_rng(0)
    digests = []
    for at in range(12):
        pixels = noise.integers(0, 255, (500, 500, 3), dtype=np.uint8)
        data = encoded(Image.fromarray(pixels))
        digest = f"{at:02}" * 32
        digests.append(digest)
        assert made.thumb(digest, 320, lambda data=data: data)  # type: ignore[misc]
        # What is used again and again stays.
        assert made.thumb(digests[0], 320, lambda: b"gone")
        os.utime(tmp_path / "tiles" / "00" / digests[0], ns=(2**62, 2**62))
    files = [path for path in (tmp_path / "tiles").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 300_000
    assert (tmp_path / "tiles" / "00" / digests[0]).is_dir()
    assert (tmp_path / "tiles" / digests[-1][:2] / digests[-1]).is_dir()
    assert len(files) < 12


def bomb() -> bytes:
    """A PNG that declares 60,000 x 60,000 pixels."""
    data = bytearray(encoded(Image.new("RGB", (8, 8)), "PNG"))
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    return bytes(data)


def test_what_is_no_picture_is_refused(client: TestClient, folder: Path) -> None:
    whole = encoded(drawing(900, 700))
    broken = bytearray(whole)
    broken[len(whole) // 3 : len(whole) // 3 + 400] = b"\xff" * 400
    made = keys(
        folder, client, text=b"root:x:0:0:secret", empty=b"", bomb=bomb(),
        cut=whole[: len(whole) // 2], page=b"<svg onload=alert(1)></svg>", broken=bytes(broken),
        pixels=encoded(drawing(40, 40), "PNG")[:-30] + b"\0" * 30,
    )  # fmt: skip
    for name in ("text", "empty", "bomb", "cut", "page"):
        for tail in ("", "/info", "/thumb", ".dzi", "_files/0/0_0.jpg"):
            answer = client.get(f"/api/pictures/{made[name]}{tail}")
            assert answer.status_code == 422, (name, tail, answer.status_code)
            error = answer.json()["error"]
            assert error["kind"].startswith("image-")
            assert str(folder) not in error["message"]
            assert "secret" not in answer.text
    for name in ("broken", "pixels"):
        for tail in ("/thumb", "_files/0/0_0.jpg"):
            answer = client.get(f"/api/pictures/{made[name]}{tail}")
            assert answer.status_code in (200, 422), answer.text
    (folder / "cut").unlink()
    assert client.get(f"/api/pictures/{made['cut']}").status_code == 404


def test_pictures_outside_of_their_folder_are_refused(
    client: TestClient, folder: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(encoded(drawing(50, 50), "PNG"))
    (folder / "link.png").symlink_to(secret)
    names = ["link.png", "../../secret.png", str(secret), "..\\..\\secret.png", "http://x/a.png"]
    rows = [
        {"id": str(at), "image": name, "description": "x", "bbox": None}
        for at, name in enumerate(names)
    ]
    (folder / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for one in client.get("/api/datasets/set/samples.jsonl/samples").json()["items"]:
        if one["picture"] is None:
            assert one["problem"]
            continue
        for tail in ("", "/thumb", "_files/0/0_0.jpg"):
            answer = client.get(f"/api/pictures/{one['picture']}{tail}")
            assert answer.status_code == 404, (one, answer.status_code)
            assert str(tmp_path) not in answer.text


def test_keys_cannot_be_made_up(client: TestClient, folder: Path, make_app: MakeApp) -> None:
    made = keys(folder, client, a=encoded(drawing(50, 50)))
    key = made["a"]
    body, _, signature = key.partition(".")
    pictures = client.app.state.studio.pictures  # type: ignore[attr-defined]
    strange = make_app().state.studio.pictures.key("data", "set/samples.jsonl", "a")
    forged = [
        "", "x", body, f".{signature}", f"{body}.", f"{body}.{signature[:-1]}",
        f"{body[:-1]}.{signature}", f"{body}a.{signature}", f"{key}.{signature}", key.upper(),
        "a" * 1900, "%2e%2e%2fsecret", "%00", "ключ", strange,
        pictures.key("file", "/etc/passwd"), pictures.key("data", "../secret.jsonl", "a"),
        pictures.key("run", "..", "a"), pictures.key("upload", "0" * 64),
        pictures.key("data", "set/samples.jsonl", "none"),
    ]  # fmt: skip
    for one in forged:
        for tail in ("", "/info", "/thumb", ".dzi", "_files/0/0_0.jpg"):
            answer = client.get(f"/api/pictures/{one}{tail}")
            assert answer.status_code in (404, 405, 422), (one, tail, answer.status_code)
            assert not answer.headers["content-type"].startswith("image/")
    assert client.get(f"/api/pictures/{key}").status_code == 200


def test_uploads_are_bounded(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("groundingme.studio.pictures.MAX_UPLOAD", 1000)
    data = {"description": "x", "model": "builtin/grounder"}
    big = encoded(drawing(400, 300))
    answer = client.post("/api/ask", data=data, files={"picture": ("a.jpg", big)})
    assert answer.status_code == 413
    answer = client.post("/api/ask", data=data, files={"picture": ("a.png", bomb())})
    assert answer.status_code == 422


def test_uploads_leave_in_the_order_of_their_last_use() -> None:
    kept: Kept[str, bytes] = Kept(10, len)
    for name in ("a", "b", "a", "c"):
        kept.get(name, lambda: b"1234")
    assert (kept.find("a"), kept.find("b"), kept.find("c")) == (b"1234", None, b"1234")


def test_levels_and_windows() -> None:
    assert levels((7680, 4320))[-3:] == [(1920, 1080), (3840, 2160), (7680, 4320)]
    assert len(levels((7680, 4320))) == 14
    assert window((1000, 600), 1, 1) == (511, 511, 1000, 600)
    assert window((1000, 600), 2, 0) is None
    assert tiles.TILE == 512


def test_a_full_disk_is_said(
    client: TestClient, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = keys(folder, client, a=encoded(drawing(900, 700)))["a"]

    def full(*args: Any, **more: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setattr(tiles, "write_atomically", full)
    for tail in ("/thumb", "_files/5/0_0.jpg"):
        answer = client.get(f"/api/pictures/{key}{tail}")
        assert answer.status_code == 409
        assert "No space left" in answer.json()["error"]["message"]
