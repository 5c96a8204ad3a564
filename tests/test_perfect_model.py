"""A perfect model of every family scores 100 %: through HTTP, at 8K, in its own words.

The server behind these tests (`perfect`) knows the truth and writes it as the family does, in the
pixels of what its vendor's code makes of the picture that it gets. What is asked is only the name.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest

import perfect
from groundingme import calibration, evaluate
from groundingme.calibration import calibrate
from groundingme.geometry import COORD_FORMATS, iou
from groundingme.models.families import Family, families, find_family
from groundingme.protocols import score
from groundingme.schema import Box, Generation, Sample
from perfect import PerfectServer
from served_names import FAMILY_OF

SIZES = ((640, 480), (2250, 1500), (1500, 2250), (7680, 4320))

# At 8K two are 40 px or less: a grid of 1000 steps is 7.7 px wide there, one of 1024 bins 7.5 px.
TARGETS: dict[perfect.Size, list[Box | None]] = {
    (640, 480): [(37, 41, 120, 133), (520, 402, 638, 478), (300, 200, 324, 219), None],
    (2250, 1500): [(1800, 1203, 2240, 1490), (17, 33, 77, 81), (1110, 5, 1410, 1499), None],
    (1500, 2250): [(1203, 1800, 1490, 2240), (33, 17, 81, 77), (5, 1110, 1499, 1410), None],
    (7680, 4320): [(7601, 4251, 7641, 4281), (5003, 1507, 5043, 1547), None],
}
SERVED = {family: name for name, family in reversed(FAMILY_OF.items())}
WITH_BOXES = [row for row in families() if row.boxes]
KNOWN = [row for row in WITH_BOXES if row.coords]
UNKNOWN = [row for row in WITH_BOXES if not row.coords]
HIDDEN = ("n1000", "abs", "n1000-yxyx", "abs-qwen2.5-vl", "n1", "n999", "abs-yxyx", "abs-mimo-vl",
          "n1-yxyx")  # fmt: skip
"""What rows without a known format may turn out to write."""
SMALL, LESS_SMALL = (1456, 819), (2576, 1449)
"""What Claude sees of a picture of 7680 x 4320: 52 x 30 and 92 x 52 tokens of 28 x 28."""
JSON = '{{"bbox_2d": [{}, {}, {}, {}]}}'


@pytest.fixture(scope="module")
def server() -> Iterator[PerfectServer]:
    with PerfectServer() as running:
        yield running


@pytest.fixture(scope="module")
def asked() -> perfect.Dataset:
    return perfect.questions(TARGETS)


def sizes_of(samples: Sequence[Sample]) -> list[perfect.Size]:
    return [perfect_size(one.id) for one in samples]


def perfect_size(id: str) -> perfect.Size:
    w, _, h = id.partition("-")[0].partition("x")
    return int(w), int(h)


def says(row: Family, thoughts: str = "") -> perfect.Says:
    """As the family writes; one rejection after another where it has several."""
    no = itertools.cycle([*row.rejects, '{"bbox_2d": null}', "There is no matching object."])

    def speak(numbers: Sequence[float] | None) -> str:
        if numbers is None:
            return thoughts + next(no)
        written = row.write(numbers) or JSON.format(*(round(one) for one in numbers))
        return thoughts + written

    return speak


def plain(space: str) -> perfect.Says:
    """The asked JSON, with as many digits as the format needs."""

    def speak(numbers: Sequence[float] | None) -> str:
        if numbers is None:
            return '{"bbox_2d": null}'
        return JSON.format(
            *(round(one, 4 if space in ("n1", "n1-yxyx") else None) for one in numbers)
        )

    return speak


@pytest.mark.parametrize("row", KNOWN, ids=lambda row: row.name)
def test_every_family(
    row: Family, server: PerfectServer, asked: perfect.Dataset, tmp_path: Path
) -> None:
    server.speak(asked.samples, sizes_of(asked.samples), row.coords, says(row))
    result = evaluate(
        f"openai/{SERVED[row.name]}", asked, base_url=server.base_url, out=tmp_path / "runs"
    )
    assert result.failed == 0, result.notes
    wrong = [(one.id, one.outcome, one.reason, one.iou) for one in result.scores if one.iou < 0.5]
    assert not wrong
    assert result.accuracy == 1.0
    assert result.run.coords == row.coords
    originals = {image.digest() for image in map(_Digest, asked.samples)}
    kept = sum(one in originals for one in server.digests)
    assert kept == len(asked) or row.image.resize
    assert kept >= 4  # picture of 640 x 480 goes as it is to every server
    if row.prompt != "native":
        order = "[y1, x1, y2, x2]" if row.coords.endswith("yxyx") else "[x1, y1, x2, y2]"
        texts = [body["messages"][-1]["content"][1]["text"] for body in server.bodies]
        assert all(order in text for text in texts)


class _Digest:
    def __init__(self, sample: Sample) -> None:
        assert sample.image
        self.data = sample.image.read()

    def digest(self) -> str:
        return perfect.hashlib.sha256(self.data).hexdigest()


@pytest.mark.parametrize("row", [row for row in WITH_BOXES if row.native], ids=lambda row: row.name)
def test_every_native_prompt_after_thoughts(
    row: Family, server: PerfectServer, asked: perfect.Dataset, tmp_path: Path
) -> None:
    space = row.coords_under("native")
    thoughts = "It may be [1, 2, 3, 4], or null.\n</think>\n\n" if row.thinking else ""
    server.speak(asked.samples, sizes_of(asked.samples), space, says(row, thoughts))
    result = evaluate(
        f"openai/{SERVED[row.name]}",
        asked,
        prompt="native",
        base_url=server.base_url,
        out=tmp_path / "runs",
    )
    assert (result.accuracy, result.run.coords) == (1.0, space), result.notes
    texts = [body["messages"][-1]["content"][1]["text"] for body in server.bodies]
    assert all(row.native.partition("{description}")[0] in text for text in texts)


@pytest.mark.parametrize(
    ("name", "package", "prompt"),
    [
        ("google/gemini-2.5-pro", "google.genai", "auto"),
        ("google/gemini-2.5-pro", "google.genai", "native"),
        ("google/gemini-3-pro-preview", "google.genai", "auto"),
        ("anthropic/claude-opus-4-6", "anthropic", "auto"),
        ("anthropic/claude-opus-4-6", "anthropic", "native"),
        ("anthropic/claude-opus-4-8", "anthropic", "auto"),
        ("anthropic/claude-sonnet-5", "anthropic", "auto"),
    ],
)
@pytest.mark.filterwarnings("ignore:Inheritance class Aiohttp:DeprecationWarning")
def test_through_the_vendor_s_own_protocol_and_sdk(
    name: str, package: str, prompt: str, server: PerfectServer, asked: perfect.Dataset,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    pytest.importorskip(package)
    monkeypatch.setenv("GEMINI_API_KEY", "of-no-use-here")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "of-no-use-here")
    row = find_family(name)
    assert row
    server.speak(asked.samples, sizes_of(asked.samples), row.coords_under(prompt), says(row))
    result = evaluate(name, asked, prompt=prompt, base_url=server.origin, out=tmp_path / "runs")
    assert (result.accuracy, result.failed) == (1.0, 0), result.notes
    assert result.run.coords == row.coords
    if not row.image.resize:
        originals = {image.digest() for image in map(_Digest, asked.samples)}
        assert set(server.digests) == originals


@pytest.mark.parametrize(
    ("row", "space"),
    [(row, space) for row, space in zip(UNKNOWN, itertools.cycle(HIDDEN), strict=False)],
    ids=lambda one: one if isinstance(one, str) else one.name,
)
def test_every_unknown_family_after_calibration(
    row: Family,
    space: str,
    server: PerfectServer,
    asked: perfect.Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = f"openai/{SERVED[row.name]}"
    easy = undrawn()
    monkeypatch.setattr(calibration, "questions", lambda: easy)
    server.speak(easy, sizes_of(easy), space, plain(space))
    found = calibrate(name, base_url=server.base_url)
    assert (found.coords, found.doubt) == (space, "")
    assert found.fits[0].iou > 0.95
    assert found.margin > found.low > 0
    server.speak(asked.samples, sizes_of(asked.samples), space, plain(space))
    result = evaluate(name, asked, base_url=server.base_url, out=tmp_path / "runs")
    assert (result.accuracy, result.run.coords) == (1.0, space), result.notes


def undrawn() -> tuple[Sample, ...]:
    """The questions of `calibrate`, about plain pictures of the same sizes."""
    made: dict[perfect.Size, bytes] = {}
    for one in calibration.questions():
        made.setdefault((one.width, one.height), perfect.picture((one.width, one.height)))
    return tuple(
        msgspec.structs.replace(
            one,
            image=perfect.BytesImage("plain.jpg", made[one.width, one.height]),
            description=f"{one.description} ({one.id})",
        )
        for one in calibration.questions()
    )


@pytest.mark.parametrize("name", ["XiaomiMiMo/MiMo-VL-7B-RL", "claude-opus-4-6", "gemini-2.5-pro"])
def test_where_the_data_set_does_not_know_its_sizes(
    name: str, server: PerfectServer, tmp_path: Path
) -> None:
    asked = perfect.questions({size: TARGETS[size] for size in SIZES[1:3]}, sized=False)
    row = find_family(name)
    assert row
    server.speak(asked.samples, sizes_of(asked.samples), row.coords, says(row))
    result = evaluate(f"openai/{name}", asked, base_url=server.base_url, out=tmp_path / "runs")
    assert result.accuracy == 1.0, [(one.id, one.reason, one.iou) for one in result.scores]


def test_declared_pixels_of_a_resized_picture_are_those_of_what_was_sent(
    server: PerfectServer, tmp_path: Path
) -> None:
    asked = perfect.questions({size: TARGETS[size] for size in SIZES[:2]})
    row = next(row for row in families() if row.name == "claude")
    server.speak(asked.samples, sizes_of(asked.samples), "abs-claude", says(row))
    result = evaluate(
        "openai/claude-opus-4-6",
        asked,
        coords="abs",
        base_url=server.base_url,
        out=tmp_path / "runs",
    )
    assert result.accuracy == 1.0
    assert {w for w, _ in server.sizes} == {640, 1344}


def test_a_family_that_writes_no_boxes_is_said_so(server: PerfectServer, tmp_path: Path) -> None:
    asked = perfect.questions({(640, 480): TARGETS[640, 480]})
    server.speak(asked.samples, sizes_of(asked.samples), "n1000", lambda numbers: "none")
    result = evaluate(
        "openai/allenai/Molmo2-8B", asked, base_url=server.base_url, out=tmp_path / "runs"
    )
    assert any("points and no boxes" in note for note in result.notes)


def tiny(n: int = 1000) -> list[Box]:
    """Objects of 10 to 30 pixels, anywhere in a picture of 7680 x 4320."""
    dice = np.random.default_rng(8)
    side = dice.integers(10, 31, (n, 2))
    corner = (dice.random((n, 2)) * ((7680, 4320) - side)).round()
    return [tuple(map(float, (*a, *(a + b)))) for a, b in zip(corner, side, strict=True)]  # type: ignore[misc]


def reachable(space: str, boxes: Sequence[Box]) -> float:
    """Share of tiny objects at 8K that a perfect model gets, given that it must round."""
    size = {"abs-claude": SMALL, "abs-claude-4.7": LESS_SMALL}.get(space, (7680, 4320))
    samples, generations = [], {}
    for number, box in enumerate(boxes):
        part = [edge / side for edge, side in zip(box, (7680, 4320) * 2, strict=True)]
        numbers = perfect.numbers(space, part, size)
        digits = 3 if space.startswith("n1") and space[2:3] in ("", "-") else 0
        text = JSON.format(*(round(one, digits) for one in numbers))
        id = str(number)
        samples.append(Sample(id=id, description="", target=box, width=7680, height=4320))
        full = size != (7680, 4320)
        generations[id] = Generation(
            id=id,
            text=text,
            sent_width=size[0],
            sent_height=size[1],
            full_width=7680 * full,
            full_height=4320 * full,
        )
    ious = score(samples, generations, protocol="strict", coords=space).ious
    return float((ious >= 0.5).mean())


def test_what_rounding_leaves_of_tiny_objects_is_what_the_page_says() -> None:
    page = (Path(__file__).resolve().parents[1] / "docs" / "models.md").read_text(encoding="utf-8")
    boxes = tiny()
    assert iou(boxes, boxes).min() == 1.0
    for space in ("abs", "abs-qwen2.5-vl", "abs-mimo-vl", "n999", "n1000", "n1000-yxyx", "n1",
                  "loc1000", "loc1024", "abs-claude", "abs-claude-4.7"):  # fmt: skip
        assert f"| `{space}` | {100 * reachable(space, boxes):.1f} |" in page, space
    assert {"abs-yxyx", "n1-yxyx"} < set(COORD_FORMATS)
