"""The built-in grounder: what it answers, what it does with odd questions, and its pieces."""

from __future__ import annotations

import asyncio
import io
import json
import random
import shutil
import threading
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from groundingme.datasets.scenes.generator import compose
from groundingme.datasets.scenes.render import draw
from groundingme.errors import GroundingMEError, RequestError, UsageError
from groundingme.geometry import iou
from groundingme.images import Encoded, prepare
from groundingme.models import Request, load_model
from groundingme.models.builtin import choose, seeing
from groundingme.models.builtin.nets import WEIGHTS, Memory, Nets, Seen, shipped
from groundingme.models.builtin.words import LONGEST, QUOTE, UNKNOWN, description, encode, tokens
from groundingme.prompts import UNIFIED, UNIFIED_YXYX, render
from groundingme.schema import Box, Generation


def encoded(picture: Image.Image, format: str = "PNG") -> Encoded:
    file = io.BytesIO()
    picture.save(file, format)
    return prepare(file.getvalue())


def asked(image: Encoded, text: str, **values: object) -> Request:
    plain = {"id": "q", "prompt": render(UNIFIED, text), "image": image}
    sizes = {"width": image.width, "height": image.height}
    return Request(**{**plain, **sizes, **values})  # type: ignore[arg-type]


def answer(name: str, request: Request) -> Generation:
    return asyncio.run(load_model(f"builtin/{name}").generate(request))


def box_of(generation: Generation) -> Box | None:
    found = json.loads(generation.text)["bbox_2d"]
    return None if found is None else tuple(found)


@cache
def questions(l1: str, l2: str, count: int) -> list[tuple[Encoded, str, Box | None]]:
    found = []
    for number in range(count):
        rng = random.Random(f"tests:{l1}:{l2}:{number}")
        scene, question = compose(l1, l2, rng)
        target = scene.things[question.target].box if question.target >= 0 else None
        found.append((encoded(draw(scene)), question.description, target))
    return found


def right(name: str, l1: str, l2: str, count: int = 8) -> int:
    total = 0
    for image, text, target in questions(l1, l2, count):
        found = box_of(answer(name, asked(image, text)))
        if target is None or found is None:
            total += found is target
        else:
            total += float(iou([found], [target])[0]) >= 0.5
    return total


@pytest.mark.parametrize("name", ["grounder", "grounder-positive-only"])
@pytest.mark.parametrize("l2", ["Appearance", "Text", "State"])
def test_it_finds_what_is_there(name: str, l2: str) -> None:
    assert right(name, "Discriminative", l2) >= 5


def test_only_the_one_that_was_shown_rejections_rejects() -> None:
    subtasks = ("Appearance", "Component", "Text", "State")
    counts = [
        sum(right(name, "Rejection", l2, 6) for l2 in subtasks)
        for name in ("grounder", "grounder-positive-only")
    ]
    assert counts[0] >= 14
    assert counts[1] <= 3


def test_same_question_same_answer_whatever_came_before() -> None:
    image, text, _ = questions("Discriminative", "State", 8)[0]
    other, other_text, _ = questions("Discriminative", "Text", 8)[0]
    first = answer("grounder", asked(image, text))
    answer("grounder", asked(other, other_text))
    second = answer("grounder", asked(image, text, id="another", trajectory=3))
    fresh = Nets().see(draw_again(image))
    assert (first.text, first.reasoning) == (second.text, second.reasoning)
    assert first.confidence == second.confidence
    assert np.array_equal(fresh.boxes, shipped().see(draw_again(image)).boxes)


def draw_again(image: Encoded) -> Image.Image:
    return Image.open(io.BytesIO(image.data)).convert("RGB")


def test_many_at_once_answer_as_one_by_one() -> None:
    model = load_model("builtin/grounder")
    requests = [
        asked(image, text, id=str(number))
        for number, (image, text, _) in enumerate(questions("Discriminative", "State", 8) * 2)
    ]

    async def together() -> list[Generation]:
        return await asyncio.gather(*(model.generate(one) for one in requests))

    alone = [answer("grounder", one).text for one in requests]
    assert [one.text for one in asyncio.run(together())] == alone


def test_a_reply_says_what_was_considered_and_how_sure_it_is() -> None:
    image, text, _ = questions("Discriminative", "Appearance", 8)[0]
    reply = answer("grounder", asked(image, text))
    assert reply.finish_reason == "stop"
    assert reply.prompt_tokens is None
    assert reply.completion_tokens is None
    assert reply.served_model == f"builtin/grounder@{shipped().table.weights}"
    assert reply.confidence is not None
    assert 0 < reply.confidence <= 1
    lines = reply.reasoning.splitlines()
    shares = [float(line.rsplit(" ", 1)[1]) for line in lines]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == pytest.approx(reply.confidence, abs=0.006)
    assert sum(shares) <= 1.04
    assert any(line.startswith("saw a ") for line in lines)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_samples_follow_the_softmax(temperature: float) -> None:
    scores = np.array([1.0, 0.0, 2.0, -1.0])
    image = encoded(Image.new("RGB", (8, 8)))
    count = 6000
    drawn = Counter(
        choose(scores, asked(image, "x", trajectory=number, temperature=temperature))
        for number in range(count)
    )
    odds = np.exp(scores / temperature)
    chance = odds / odds.sum()
    for which, share in enumerate(chance):
        spread = (share * (1 - share) / count) ** 0.5
        assert drawn[which] / count == pytest.approx(share, abs=4 * spread)


def test_a_sample_depends_on_request_and_trajectory_alone() -> None:
    scores = np.zeros(50)
    image = encoded(Image.new("RGB", (8, 8)))

    def draw_one(**values: object) -> int:
        return choose(scores, asked(image, "x", temperature=1.0, **values))

    assert draw_one(id="a", trajectory=1) == draw_one(id="a", trajectory=1)
    assert len({draw_one(id="a", trajectory=number) for number in range(20)}) > 10
    assert len({draw_one(id=str(number)) for number in range(20)}) > 10
    assert choose(scores, asked(image, "x")) == 0


ODD_TEXTS = (
    "",
    "  ",
    "}{",
    '"',
    '""',
    "😀 Ω " * 30,
    "zyx " * 5000,
    '"' + "A" * 999 + '"',
    "red\0mug",
)


@pytest.mark.parametrize("text", ODD_TEXTS, ids=range(len(ODD_TEXTS)))
@pytest.mark.parametrize("whole", [True, False])
def test_any_prompt_is_answered(text: str, whole: bool) -> None:
    image = questions("Discriminative", "State", 8)[0][0]
    prompt = render(UNIFIED, text) if whole else text
    reply = answer("grounder", asked(image, text, prompt=prompt))
    assert set(json.loads(reply.text)) == {"bbox_2d"}


@pytest.mark.parametrize("size", [(1, 1), (3, 900), (900, 3), (40, 30), (3000, 2000)])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_any_picture_is_answered(size: tuple[int, int], mode: str) -> None:
    image = encoded(Image.new(mode, size, 90), "JPEG")
    box = box_of(answer("grounder", asked(image, "the red mug")))
    if box:
        assert 0 <= box[0] <= box[2] <= size[0]
        assert 0 <= box[1] <= box[3] <= size[1]


def test_boxes_are_in_pixels_of_the_picture_whatever_its_size() -> None:
    picture = draw_again(questions("Discriminative", "State", 8)[0][0])
    large = picture.resize((picture.width * 2, picture.height * 2), Image.Resampling.BICUBIC)
    one, two = (shipped().see(shown).boxes / scale for shown, scale in ((picture, 1), (large, 2)))
    assert len(one) >= 3
    closest = [max(float(iou([a], [b])[0]) for b in two) for a in one]
    assert sorted(closest)[1] > 0.8, "all but one at most are found again"


def test_requests_that_cannot_be_answered_fail_alone() -> None:
    image = Encoded(b"\x89PNG\r\n\x1a\n broken", "image/png", 5, 5)
    with pytest.raises(RequestError, match="expected"):
        answer("grounder", asked(image, "the mug"))
    with pytest.raises(RequestError, match="got none"):
        answer("grounder", Request(id="q", prompt="the mug"))


def test_an_unknown_name_is_told_the_known_ones() -> None:
    with pytest.raises(GroundingMEError, match="grounder-positive-only"):
        load_model("builtin/grounde")


def test_the_description_is_cut_out_of_the_prompts() -> None:
    for template in (UNIFIED, UNIFIED_YXYX):
        for text in ("the red mug", "two\nlines", 'with "{description}" on it'):
            assert description(render(template, text)) == text
    assert description("the red mug") == "the red mug"


def test_what_is_quoted_is_one_token_by_its_characters() -> None:
    assert tokens('Of the MUGS, one “B” or "12".')[2:] == [
        ("mugs", ""),
        (",", ""),
        ("one", ""),
        ("<quote>", "B"),
        ("or", ""),
        ("<quote>", "12"),
        (".", ""),
    ]
    numbers, letters = encode('the "b1" xyzzy', {"the": 7, "<quote>": QUOTE})
    assert numbers.tolist() == [7, QUOTE, UNKNOWN]
    assert letters.tolist() == [[0] * 5, [12, 2, 0, 0, 0], [0] * 5]
    numbers, letters = encode("", {})
    assert (numbers.shape, letters.shape) == ((1,), (1, 5))
    assert len(encode("the " * 500, {})[0]) == LONGEST


def test_every_word_of_the_scenes_is_known() -> None:
    known = set(shipped().table.words)
    for l1, l2 in (("Discriminative", "State"), ("Spatial", "Counting"), ("Limited", "Occlusion")):
        for number in range(40):
            _, question = compose(l1, l2, random.Random(f"words:{l2}:{number}"))
            assert {word for word, _ in tokens(question.description)} <= known


def test_what_was_seen_is_remembered_and_seen_once() -> None:
    memory = Memory(2)
    counts: Counter[str] = Counter()
    gate = threading.Event()

    def see(key: str) -> Seen:
        counts[key] += 1
        gate.wait(5)
        return Seen(np.zeros((0, 4)), np.zeros((0, 1), np.float32), np.zeros((0, 6), np.float32))

    found: list[Seen] = []
    threads = [
        threading.Thread(target=lambda: found.append(memory.get("a", lambda: see("a"))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join()
    assert counts["a"] == 1
    assert all(one is found[0] for one in found)
    for key in ("b", "a", "c", "a", "b"):
        memory.get(key, lambda key=key: see(key))  # type: ignore[misc]
    assert counts == {"a": 1, "b": 2, "c": 1}


def test_a_failure_is_not_remembered() -> None:
    memory = Memory()
    with pytest.raises(ZeroDivisionError):
        memory.get("a", lambda: 1 / 0)  # type: ignore[arg-type,return-value]
    seen = Seen(np.zeros((0, 4)), np.zeros((0, 1), np.float32), np.zeros((0, 6), np.float32))
    assert memory.get("a", lambda: seen) is seen


def test_peaks_are_the_tops_of_hills() -> None:
    centres = np.zeros((20, 30), np.float32)
    centres[4, 5], centres[4, 6], centres[15, 20] = 0.9, 0.6, 0.5
    sides = np.full((4, 20, 30), 10.0, np.float32)
    sides[2] = 20
    boxes, scores = seeing.peaks(centres, sides, 0.3)
    assert scores.tolist() == [pytest.approx(0.9), pytest.approx(0.5)]
    assert boxes.tolist() == [[12, 8, 42, 28], [72, 52, 102, 72]]
    assert len(seeing.peaks(centres, sides, 0.95)[0]) == 0
    assert len(seeing.peaks(centres, sides, 0.3, most=1)[0]) == 1


@pytest.mark.parametrize("box", [(40, 30, 80, 60), (0, 0, 30, 50), (150, 70, 200, 100)])
def test_edges_read_in_a_crop_are_edges_in_the_picture(box: tuple[int, int, int, int]) -> None:
    picture = Image.new("RGB", (200, 100), "black")
    ImageDraw.Draw(picture).rectangle((*box[:2], box[2] - 1, box[3] - 1), fill="white")
    square = seeing.squares(np.array([box], float) + np.array([-2, 1, 3, 2]))
    crop = seeing.crop(picture, square[0]).astype(float)
    white = crop[..., 0] - (crop == seeing.GREY).all(2) * seeing.GREY
    across, down = white.max(0) / 255, white.max(1) / 255
    first, last = (np.argmax(line > 0.5) for line in (across, across[::-1]))
    top, bottom = (np.argmax(line > 0.5) for line in (down, down[::-1]))
    n = seeing.CROP
    edges = np.array([[first, top, n - last, n - bottom]], np.float32) / n
    found = seeing.refined(square, edges, 200, 100)[0]
    assert np.abs(found - box).max() <= 1.5 * square[0, 2] / n


def test_the_canvas_keeps_the_picture_and_fills_up() -> None:
    picture = Image.new("RGB", (100, 50), "white")
    sheet, (sx, sy) = seeing.canvas(picture, 0.5)
    assert sheet.shape == (32, 64, 3)
    assert (sx, sy) == (0.5, 0.5)
    assert (sheet[:25, :50] == 255).all()
    assert (sheet[25:] == seeing.GREY).all()


def test_large_pictures_are_looked_at_more_closely() -> None:
    assert len(seeing.scales(800, 600)) == 1
    assert len(seeing.scales(1920, 1080)) == 2
    assert len(seeing.scales(7680, 4320)) == 3
    assert max(seeing.scales(20, 10)) <= 1.5


def test_the_weights_are_small() -> None:
    sizes = [path.stat().st_size for path in WEIGHTS.iterdir()]
    assert sum(sizes) < 5_000_000
    assert {path.name for path in WEIGHTS.glob("*.onnx")} == {
        "look.onnx",
        "read.onnx",
        "spell.onnx",
        "match.onnx",
        "match-positive-only.onnx",
    }


def own_weights(folder: Path, *, matcher: str = "match.onnx", name: str = "match.onnx") -> Path:
    """A folder with a matcher of the package and its table, as a sweep leaves it."""
    folder.mkdir()
    shutil.copy(WEIGHTS / matcher, folder / name)
    shutil.copy(WEIGHTS / "grounder.json", folder)
    return folder


def test_weights_of_ones_own_answer_in_place_of_the_packages(tmp_path: Path) -> None:
    image, text, _ = questions("Rejection", "Text", 6)[0]
    own = own_weights(tmp_path / "own", matcher="match-positive-only.onnx")
    replies = [
        asyncio.run(model.generate(asked(image, text)))
        for model in (
            load_model("builtin/grounder", weights=str(own)),
            load_model("builtin/grounder-positive-only"),
            load_model("builtin/grounder"),
        )
    ]
    assert replies[0].text == replies[1].text != replies[2].text
    assert load_model("builtin/grounder").settings() == {}
    mine = load_model("builtin/grounder", weights=own).settings()
    assert mine == {"weights": f"own@{shipped().table.weights}"}


def test_what_is_seen_is_shared_by_matchers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("groundingme.models.builtin._MEMORY", Memory())
    looked = []
    see = Nets.see
    monkeypatch.setattr(Nets, "see", lambda self, picture: looked.append(1) or see(self, picture))
    image, text, _ = questions("Discriminative", "Text", 8)[0]
    for options in ({}, {"weights": str(own_weights(tmp_path / "own"))}):
        asyncio.run(load_model("builtin/grounder", **options).generate(asked(image, text)))
    assert len(looked) == 1


def test_weights_that_are_none_are_told_before_anything_is_asked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"grounder\.json"):
        load_model("builtin/grounder", weights=str(tmp_path))
    own = own_weights(tmp_path / "own")
    with pytest.raises(UsageError, match=r"match-positive-only\.onnx"):
        load_model("builtin/grounder-positive-only", weights=own)
    table = json.loads((own / "grounder.json").read_text(encoding="utf-8"))
    table["features"]["kind"] = [0, 1]
    (own / "grounder.json").write_text(json.dumps(table), encoding="utf-8")
    with pytest.raises(UsageError, match=r"look\.onnx, read\.onnx and spell\.onnx"):
        load_model("builtin/grounder", weights=own)
