"""Descriptions by a model behind a real server, and from boxes alone."""

from __future__ import annotations

import base64
import io
import json
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from chat import ChatServer, Holding, Reply
from groundingme.build import rules
from groundingme.build.describe import DescribeOptions, work
from groundingme.build.questions import Asked, Question, Shown, ask_all
from groundingme.build.reading import is_english, read
from groundingme.build.stage import Context
from groundingme.cache import Cache
from groundingme.errors import FatalError, ImageError, JobError
from groundingme.schema import Generation
from targets import coco, cups, picture, target

GOOD = "A blue cup with a white handle on the table."


def options(server: ChatServer, **more: object) -> DescribeOptions:
    given = {"model": "openai/describer", "base_url": server.base_url}
    return DescribeOptions(**(given | more))  # type: ignore[arg-type]


def shown(request: dict[str, object]) -> Image.Image:
    """The picture in a request."""
    content = request["messages"][0]["content"]  # type: ignore[index]
    url = next(part["image_url"]["url"] for part in content if part["type"] == "image_url")
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))


# ---- replies


@pytest.mark.parametrize(
    ("text", "description"),
    [
        ("A red mug on a tray.", "A red mug on a tray."),
        ('"A red mug on a tray."', "A red mug on a tray."),
        ("**Description:** A red mug on a tray.", "A red mug on a tray."),
        ("Sure! Here is the description:\n\nA red mug on a tray.", "A red mug on a tray."),
        ("```\nA red mug\non a tray.\n```", "A red mug on a tray."),
        ('```json\n{"description": "A red mug on a tray."}\n```', "A red mug on a tray."),
        ("<think>It is red.</think>A red mug on a tray.", "A red mug on a tray."),
        ("1. A red mug on a tray.", "A red mug on a tray."),
        ('"OPEN" is on the door, "EXIT" beside it', '"OPEN" is on the door, "EXIT" beside it'),
        ('the sign that says "Sorry, I cannot help"', 'the sign that says "Sorry, I cannot help"'),
        ("a man with no hat in the image", "a man with no hat in the image"),
        ("a red box of chocolates on the table", "a red box of chocolates on the table"),
        (
            "the woman in a red dress with a white outline",
            "the woman in a red dress with a white outline",
        ),
    ],
)
def test_what_is_read(text: str, description: str) -> None:
    assert read(Generation(id="x", text=text), words=(3, 30)) == (description, "")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "empty"),
        ("...", "empty"),
        ("I'm sorry, but I can't help with that.", "refused"),
        ("As an AI language model, I do not describe people.", "refused"),
        ("UNCLEAR", "unclear"),
        ("**UNCLEAR**: two of them look the same", "unclear"),
        ("There is no matching object in the image.", "unclear"),
        ("The cup outlined in red on the table", "outline"),
        ("The cup inside the red box on the table", "outline"),
        ("The highlighted cup on the left", "outline"),
        ("The cup in the bounding box", "outline"),
        ("The cup at [12, 40, 80, 99] on the table", "coordinates"),
        ("The cup at coordinates of the middle", "coordinates"),
        ("Der rote Becher auf dem Tisch neben der Flasche", "language"),
        ("红色的杯子在桌子上", "language"),
        ("a cup", "short"),
        ("a cup " * 40, "long"),
        ('{"description": "A red mug', "cut"),
        ("Error: upstream timed out", "error"),
    ],
)
def test_what_is_no_description(text: str, problem: str) -> None:
    assert read(Generation(id="x", text=text), words=(3, 30)) == ("", problem)


def test_a_reply_cut_at_the_limit_is_none() -> None:
    cut = Generation(id="x", text="A red mug on a tr", finish_reason="length")
    assert read(cut, words=(1, 30)).problem == "cut"
    whole = msgspec.structs.replace(cut, text="A red mug on a tray.")
    assert read(whole, words=(1, 30)).description == "A red mug on a tray."
    assert read(msgspec.structs.replace(cut, text=""), words=(1, 30)).problem == "cut"


def test_english() -> None:
    assert is_english("the café's red façade near the river")
    assert is_english('a sign that says "出口" above the door')
    assert not is_english("la taza roja que está sobre la mesa")


# ---- the model


def test_describes_and_asks_nothing_twice(tmp_path: Path) -> None:
    targets = cups(tmp_path, 4)
    (tmp_path / "stage").mkdir()
    context = Context(folder=tmp_path / "stage")
    with ChatServer(default=lambda prompt: Reply(GOOD)) as server:
        done = work(targets, options(server), context)
        assert [one.description for one in done] == [GOOD] * 12
        assert all(one.drafts == [GOOD] for one in done)
        assert len(server.asked) == 12
        assert "called" not in server.asked[0]
        assert "There are 2 more of its kind" in server.asked[0]
        assert work(targets, options(server), context) == done
        assert len(server.asked) == 12
        assert not targets[0].description, "the stage before keeps its records"


def test_the_model_sees_a_red_outline_or_a_crop(tmp_path: Path) -> None:
    box = (100.0, 80.0, 200.0, 160.0)
    where = picture(tmp_path, "one.jpg", [box])
    whole, small = target(where, box, []), target(where, box, [], id="s", subtask_l2="Small")
    with ChatServer(default=lambda prompt: Reply(GOOD)) as server:
        work([whole, small], options(server, concurrency=1), Context(folder=tmp_path))
        outlined, cut = map(shown, server.requests)
        prompts = server.asked
    assert outlined.size == (400, 300)
    pixels = np.asarray(outlined.convert("RGB")).astype(int)
    red = (pixels[..., 0] > 180) & (pixels[..., 1] < 90) & (pixels[..., 2] < 90)
    rows, columns = np.nonzero(red)
    assert (rows.min(), rows.max()) == (pytest.approx(78, abs=3), pytest.approx(162, abs=3))
    assert (columns.min(), columns.max()) == (pytest.approx(98, abs=3), pytest.approx(202, abs=3))
    assert not red[85:155, 105:195].any(), "the object itself is not drawn upon"
    assert cut.size[0] == 336
    assert abs(cut.size[0] / cut.size[1] - 120 / 100) < 0.02
    blue = np.asarray(cut.convert("RGB")).astype(int)
    assert blue[cut.size[1] // 2, cut.size[0] // 2, 2] > 150
    assert "outlined in red" in prompts[0]
    assert "outlined" not in prompts[1]


def test_each_subtask_has_its_own_focus(tmp_path: Path) -> None:
    from groundingme.build.prompts import FOCUS
    from groundingme.taxonomy import L2

    assert set(FOCUS) == set(L2)
    made = [target("x", (0, 0, 9, 9), [], id=name, subtask_l2=name) for name in FOCUS]
    from groundingme.build.prompts import OUTLINE, render

    prompts = [render(OUTLINE, one, (10, 40)) for one in made]
    assert len(set(prompts)) == len(FOCUS)
    assert not any(re.search(r"\{\w+\}", one) for one in prompts)
    assert all("10 to 40 words" in one for one in prompts)


def test_refusals_garbage_and_failures_are_counted_apart(tmp_path: Path) -> None:
    replies = [
        Reply(GOOD), Reply("I'm sorry, I cannot describe people."), Reply("UNCLEAR"),
        Reply("The cup outlined in red."), Reply(""), Reply(status=400), Reply("%%%"),
    ]  # fmt: skip
    boxes = [(10.0 * n, 10.0, 10.0 * n + 8, 20.0) for n in range(len(replies))]
    where = picture(tmp_path, "one.jpg", boxes)
    targets = [target(where, box, []) for box in boxes]
    told: list[str] = []
    asked = iter(replies)
    with ChatServer(default=lambda prompt: next(asked)) as server:
        context = Context(folder=tmp_path, tell=told.append)
        done = work(targets, options(server, concurrency=1), context)
    fates = ["", "refused", "unclear", "outline", "empty", "", "empty"]
    assert [one.fate for one in done] == fates
    assert [bool(one.failure) for one in done] == [False] * 5 + [True, False]
    assert done[0].description == GOOD
    assert told[-1].startswith("describe: 1 of 7 (2 empty, 1 refused")


def test_a_failed_one_is_asked_again_by_the_next_run(tmp_path: Path) -> None:
    targets = cups(tmp_path, 2)
    broken = [True]

    def reply(prompt: str) -> Reply:
        return Reply(status=400) if broken[0] and "cup" in prompt and flip() else Reply(GOOD)

    flips = iter([False, True, False, True, False, False])

    def flip() -> bool:
        return next(flips)

    with ChatServer(default=reply) as server:
        context = Context(folder=tmp_path)
        once = work(targets, options(server, concurrency=1), context)
        assert sum(bool(one.failure) for one in once) == 2
        assert all(one.failure.startswith("bad-request: ") for one in once if one.failure)
        broken[0] = False
        again = work(targets, options(server), msgspec_retry(context))
        assert len(server.asked) == 8
    assert all(one.description == GOOD for one in again)


def msgspec_retry(context: Context) -> Context:
    return Context(folder=context.folder, tell=context.tell, retry_failed=True)


def test_several_drafts(tmp_path: Path) -> None:
    targets = cups(tmp_path, 1, "Text")
    words = iter(["a cup of tea on the table", "UNCLEAR", 'a cup that says "TEA" on it'] * 3)
    with ChatServer(default=lambda prompt: Reply(next(words))) as server:
        done = work(targets, options(server, drafts=3, concurrency=1), Context(folder=tmp_path))
        assert {one["temperature"] for one in server.requests} == {0.7}
    assert len(server.asked) == 9
    # Asked draft by draft: the first of all three targets, then the second, then the third.
    first = ["a cup of tea on the table", "UNCLEAR", 'a cup that says "TEA" on it']
    assert [one.drafts for one in done] == [[first[0]], [], [first[2]]]
    assert [one.fate for one in done] == ["no-text", "unclear", ""]
    assert done[2].description == first[2]


def test_a_picture_that_is_gone_fails_its_targets_alone(tmp_path: Path) -> None:
    targets = cups(tmp_path, 3)
    (tmp_path / "p001.jpg").unlink()
    with ChatServer(default=lambda prompt: Reply(GOOD)) as server:
        done = work(targets, options(server), Context(folder=tmp_path))
    assert [bool(one.failure) for one in done] == [False] * 3 + [True] * 3 + [False] * 3
    assert done[3].failure.startswith("image: expected an image at ")
    with pytest.raises(ImageError):
        Shown(targets[3].where, targets[3].box, "crop").read()


def test_a_wrong_key_ends_the_stage(tmp_path: Path) -> None:
    targets = cups(tmp_path, 6)
    with (
        ChatServer(default=lambda prompt: Reply(status=401)) as server,
        pytest.raises(FatalError, match=r"^describe: "),
    ):
        work(targets, options(server), Context(folder=tmp_path))


def test_an_outage_in_the_middle_loses_nothing(tmp_path: Path) -> None:
    targets = cups(tmp_path, 6)
    count = [0]

    def reply(prompt: str) -> Reply:
        count[0] += 1
        return Reply(status=503, headers={"Retry-After": "0"}) if 5 < count[0] < 9 else Reply(GOOD)

    with ChatServer(default=reply) as server:
        done = work(targets, options(server, concurrency=2), Context(folder=tmp_path))
    assert all(one.description == GOOD for one in done)


def test_the_budget_ends_it_and_a_larger_one_goes_on(tmp_path: Path) -> None:
    targets = cups(tmp_path, 6)
    with ChatServer(default=lambda prompt: Reply(GOOD)) as server:
        # 11 + 7 tokens a reply at 1 $ each: 18 $ per million replies.
        given = options(server, price="1,1", concurrency=1)
        with pytest.raises(JobError, match="stopped at the budget"):
            work(targets, given, Context(folder=tmp_path, budget=7 * 18e-6))
        assert len(server.asked) == 7
        done = work(targets, given, Context(folder=tmp_path, budget=1.0))
        assert len(server.asked) == 18
    assert all(one.description for one in done)


def test_the_cache_is_shared_by_builds(tmp_path: Path) -> None:
    targets = cups(tmp_path, 2)
    cache = Cache(tmp_path / "replies.sqlite")
    with ChatServer(default=lambda prompt: Reply(GOOD)) as server:
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            done = work(targets, options(server), Context(folder=tmp_path / name, cache=cache))
            assert all(one.description == GOOD for one in done)
        # The pictures are drawn alike, but where the object lies tells the questions apart.
        assert len(server.asked) <= 6
    cache.close()


def test_a_question_without_a_picture(tmp_path: Path) -> None:
    with ChatServer(default=lambda prompt: Reply(prompt.upper())) as server:
        asked = Asked(model="openai/m", base_url=server.base_url)
        questions = [Question("a", "one"), Question("b", "two"), Question("c", "one")]
        replies = ask_all(questions, asked, Context(folder=tmp_path), stage="test")
    assert {id: one.text for id, one in replies.items()} == {"a": "ONE", "b": "TWO", "c": "ONE"}
    assert sorted(server.asked) == ["one", "two"], "the same words are asked once"


SCRIPT = """
import sys, msgspec
from pathlib import Path
from groundingme.build.describe import DescribeOptions, work
from groundingme.build.records import Target
from groundingme.build.stage import Context
from groundingme.interrupting import Interrupted
targets = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=list[Target])
options = DescribeOptions(model="openai/m", base_url=sys.argv[2], concurrency=4)
try:
    done = work(targets, options, Context(folder=Path(sys.argv[3])))
except Interrupted:
    sys.exit(130)
Path(sys.argv[4]).write_bytes(msgspec.json.encode(done))
"""


def test_killed_and_interrupted_it_goes_on_where_it_was(tmp_path: Path) -> None:
    targets = cups(tmp_path, 20)
    listed = tmp_path / "targets.json"
    listed.write_bytes(msgspec.json.encode(targets))

    holding = Holding(lambda prompt: Reply(GOOD), 8)

    with ChatServer(default=holding) as server:

        def start(out: str) -> subprocess.Popen[bytes]:
            command = [
                sys.executable,
                "-c",
                SCRIPT,
                str(listed),
                server.base_url,
                str(tmp_path),
                out,
            ]
            return subprocess.Popen(command)

        def written() -> list[str]:
            file = next(iter((tmp_path / "asked").glob("*/generations.jsonl")), None)
            if file is None:
                return []
            *lines, _ = file.read_bytes().split(b"\n")
            return [json.loads(line)["id"] for line in lines]

        for number, how in enumerate((signal.SIGKILL, signal.SIGINT, signal.SIGKILL), 1):
            holding.answer_only(8)
            process = start(str(tmp_path / "out.json"))
            while holding.held < 4:
                assert process.poll() is None
                time.sleep(0.01)
            process.send_signal(how)
            code = process.wait(90)
            assert code == (130 if how is signal.SIGINT else -signal.SIGKILL)
            assert len(set(written())) == len(written()) == 8 * number
        holding.answer_only(None)
        asked = len(server.asked)
        assert start(str(tmp_path / "out.json")).wait(120) == 0
        assert len(server.asked) - asked == 60 - 24, "what was answered is not asked"
    done = json.loads((tmp_path / "out.json").read_bytes())
    assert [one["description"] for one in done] == [GOOD] * 60
    assert len(written()) == len(set(written())) == 60


# ---- options


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "expected a model that describes"),
        ({"model": "opnai/x"}, "did you mean 'openai'"),
        ({"model": "openai/"}, "expected a model as PROVIDER/NAME"),
        ({"model": "openai/x", "drafts": 3, "temperature": 0.0}, "temperature above 0"),
        ({"model": "openai/x", "min_words": 9, "max_words": 8}, "min_words of at most max_words"),
        ({"model": "openai/x", "prompt": "no/such.txt"}, "expected a prompt at no/such.txt"),
        ({"model": "openai/x", "drafts": 0}, "`int` >= 1"),
        ({"model": "openai/x", "modle": "y"}, "unknown field `modle`"),
        ({"by": "magic"}, "Invalid enum value 'magic'"),
    ],
)
def test_options_that_cannot_be(given: dict[str, object], said: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=re.escape(said)):
        msgspec.convert(given, DescribeOptions)


def test_a_prompt_of_ones_own(tmp_path: Path) -> None:
    own = tmp_path / "own.txt"
    own.write_text("Describe the {label} ({subtask}). {unknown} stays. {words}")
    targets = cups(tmp_path, 1)[:1]
    with ChatServer(default=lambda prompt: Reply(GOOD)) as server:
        work(targets, options(server, prompt=str(own)), Context(folder=tmp_path))
    assert server.asked == ["Describe the cup (Appearance). {unknown} stays. 10 to 45"]
    own.write_text("Describe it.")
    with pytest.raises(Exception, match=r"expected a prompt with \{label\}"):
        options(server, prompt=str(own))


# ---- rules


def test_rules_describe_real_boxes_and_are_true_of_one_alone(shared: Path, tmp_path: Path) -> None:
    subtasks = ("Appearance", "Component", "State", "Relationship", "Counting", "Occlusion")
    targets = coco(shared, subtasks)
    given = DescribeOptions(by="rules")
    done = work(targets, given, Context(folder=tmp_path))
    described = [one for one in done if one.description]
    assert len(targets) > 700
    assert len(described) > 0.5 * len(targets)
    assert all(one.fate == "no-rule" for one in done if not one.description)
    checked = 0
    for one in described:
        fits = [fit for box in [one.box, *one.others] if (fit := true_of(one, box)) is not None]
        if fits:
            checked += 1
            assert fits[0], one.description
            assert not any(fits[1:]), one.description
    assert checked > 0.75 * len(described), "most sentences are understood by the second reader"
    texts = {re.sub(r"^[A-Z]", lambda m: m[0].lower(), one.description) for one in described}
    assert len(texts) > 150, "there is some variety"
    assert work(targets, given, Context(folder=tmp_path)) == done
    assert work(targets, given, Context(folder=tmp_path, seed=1)) != done


ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh")


def true_of(one, box) -> bool | None:  # type: ignore[no-untyped-def]
    """A second reading of the sentences, by plain sorting; None where it knows them not."""
    text = one.description.lower()
    boxes = [one.box, *one.others]
    center = {b: ((b[0] + b[2]) / 2, (b[1] + b[3]) / 2) for b in boxes}
    area = {b: (b[2] - b[0]) * (b[3] - b[1]) for b in boxes}
    if " half of the picture" in text:
        left = "left half" in text
        boxes = [b for b in boxes if (center[b][0] < one.width / 2) == left]
        if box not in boxes:
            return False
    ends = {"left": (0, 1), "right": (0, -1), "top": (1, 1), "bottom": (1, -1)}
    words = {
        "leftmost": "left", "farthest to the left": "left", "rightmost": "right",
        "farthest to the right": "right", "topmost": "top", "highest up": "top",
        "lowest": "bottom", "farthest down": "bottom",
    }  # fmt: skip
    if " to the left of " in text or " to the right of " in text or "est to " in text:
        return None
    rank = next((n for n, word in enumerate(ORDINALS) if f"{word} " in text), None)
    end = next((e for e in ends if f"from the {e}" in text), None)
    if rank is None or end is None:
        rank, end = 0, next((words[w] for w in words if w in text), None)
    if end is not None:
        axis, sign = ends[end]
        order = sorted(boxes, key=lambda b: sign * center[b][axis])
        return bool(order[rank] == box)
    if "largest" in text:
        return bool(max(boxes, key=lambda b: area[b]) == box)
    if "smallest" in text:
        return bool(min(boxes, key=lambda b: area[b]) == box)
    if "corner" in text:
        x, y = center[box][0] / one.width, center[box][1] / one.height
        return bool((x < 0.5) == ("left corner" in text) and (y < 0.5) == ("upper" in text))
    return None


def test_rules_say_nothing_where_boxes_do_not_tell() -> None:
    box, twin = (100.0, 100.0, 140.0, 160.0), (104.0, 102.0, 143.0, 161.0)
    one = target("x", box, [twin])
    assert rules.describe(one, {"cup": [box, twin]}, random.Random(0)) == ""
    text = target("x", box, [(300.0, 100.0, 340.0, 160.0)], subtask_l2="Text")
    assert rules.describe(text, {"cup": [box, *text.others]}, random.Random(0)) == ""


def test_rules_use_another_thing() -> None:
    box, other, dog = (
        (10.0, 100.0, 50.0, 160.0),
        (250.0, 100.0, 290.0, 160.0),
        (60.0, 90.0, 120.0, 170.0),
    )
    one = target("x", box, [other], subtask_l2="Relationship")
    boxes = {"cup": [box, other], "dog": [dog]}
    said = {
        rules.describe(one, boxes, random.Random(seed)).lower().rstrip(".") for seed in range(40)
    }
    bare = {text.partition(",")[0] for text in said}
    assert bare == {
        "the cup to the left of the dog",
        "the cup closest to the dog",
        "the cup nearest to the dog",
    }


def test_a_head_and_a_true_tail() -> None:
    wide = (10.0, 100.0, 110.0, 140.0)
    rest = [(200.0, 100.0, 220.0, 140.0), (300.0, 100.0, 320.0, 140.0)]
    one = target("x", wide, rest)
    boxes = {"cup": [wide, *rest]}
    said = [rules.describe(one, boxes, random.Random(seed)) for seed in range(60)]
    tails = {text.rstrip(".").partition(", ")[2] for text in said if ", " in text}
    assert "which is wider than it is tall" in tails
    assert "which is taller than it is wide" not in tails
    assert "which is the smallest of them" not in tails


def test_the_page_names_every_fate_and_flag() -> None:
    from groundingme.build import reading, variants, verify

    root = Path(__file__).resolve().parents[1]
    page = (root / "docs" / "build-descriptions.md").read_text(encoding="utf-8")
    words = [
        word
        for module in (reading, variants, verify)
        for word in re.findall(r"^``([\w-]+)``", module.__doc__ or "", re.MULTILINE)
    ]
    assert len(words) >= 25
    assert [word for word in words if f"`{word}`" not in page] == []
