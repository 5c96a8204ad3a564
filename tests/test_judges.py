"""Judges: what they ask, what they are shown, and which replies count as a verdict."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from groundingme.errors import ImageError, UnknownNameError
from groundingme.images import BytesImage
from groundingme.judges import JUDGES, Candidate, read_letter
from groundingme.judges.checklist import clauses
from groundingme.judges.pictures import COLORS, pair
from groundingme.judges.words import LONGEST_TRACE
from groundingme.schema import Sample


def sample(width: int = 640, height: int = 480) -> Sample:
    out = io.BytesIO()
    Image.new("RGB", (width, height), "#808080").save(out, "PNG")
    return Sample(
        id="s", description='the red mug with a handle, marked "a, b"', target=(1.0, 2.0, 3.0, 4.0),
        width=width, height=height, image=BytesImage(name="s.png", data=out.getvalue()),
    )  # fmt: skip


BOX = Candidate(trajectory=3, box=(100.4, 50.0, 220.0, 210.0), text="t", reasoning="first, look")
OTHER = Candidate(trajectory=5, box=(300.0, 300.0, 400.0, 420.0), text="the reply alone")
NULL = Candidate(trajectory=9, text='{"bbox_2d": null}', reasoning="nothing fits")


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        (r"so \boxed{A}", 0),
        (r"\boxed{ B }.", 1),
        (r"\boxed{\text{B}}", 1),
        (r"<think>\boxed{A} maybe</think> \boxed{B}", 1),
        (r"\boxed{A} ... again \boxed{A}", 0),
        ("**B**", 1),
        (" a ", None),
        (r"\boxed{A} or \boxed{B}", None),
        (r"\boxed{C}", None),
        ("A is better than B", None),
        ("", None),
    ],
)
def test_a_verdict_is_one_letter(reply: str, letter: int | None) -> None:
    assert read_letter(reply) == letter


@pytest.mark.parametrize("name", JUDGES.names())
def test_no_judge_sees_the_target(name: str) -> None:
    with_target = sample()
    for one in JUDGES.get(name)().asks(with_target, BOX, OTHER):
        assert one is not None
        assert with_target.description in one.prompt
        for number in ("(1, 2)", "(3, 4)"):
            assert number not in one.prompt
        if one.image:
            shown = np.asarray(Image.open(io.BytesIO(one.image))).astype(int)
            green = np.abs(shown - (0x12, 0xB7, 0x6A)).max(axis=2) < 40
            assert not green.any(), "the colour of targets"


def test_the_trace_judge_sees_no_image_and_both_traces() -> None:
    (ask,) = JUDGES.get("traces")().asks(sample(), BOX, NULL)
    assert ask is not None
    assert ask.image is None
    assert "first, look" in ask.prompt
    assert "nothing fits" in ask.prompt
    assert "(100, 50) to (220, 210)" in ask.prompt
    assert "Answer B: no object in the picture matches" in ask.prompt
    for word in ("Instruction", "Observation", "Logic", "Rigour", "Conclusion"):
        assert word in ask.prompt


def test_a_long_trace_keeps_its_beginning_and_its_end() -> None:
    long = Candidate(trajectory=0, reasoning="begin " + "x" * 50_000 + " end")
    (ask,) = JUDGES.get("traces")().asks(sample(), long, BOX)
    assert ask is not None
    assert len(ask.prompt) < LONGEST_TRACE + 3000
    assert "begin" in ask.prompt
    assert " end\n" in ask.prompt
    assert f"[... {50_010 - LONGEST_TRACE} characters left out ...]" in ask.prompt


def test_the_picture_holds_both_boxes_where_they_are() -> None:
    shown = np.asarray(Image.open(io.BytesIO(pair(sample(), (BOX, OTHER))))).astype(int)
    scale = 1280 / 640
    for candidate, color in zip((BOX, OTHER), COLORS, strict=True):
        ink = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
        near = np.abs(shown[:960] - ink).max(axis=2) < 40
        ys, xs = np.nonzero(near)
        assert candidate.box is not None
        found = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
        assert np.abs(np.array(found) - np.array(candidate.box) * scale).max() <= 12


def test_boxes_beyond_the_frame_and_without_area_are_shown_too() -> None:
    for box in ((600.0, 400.0, 900.0, 700.0), (5.0, 5.0, 5.0, 5.0), (700.0, 500.0, 710.0, 510.0)):
        assert pair(sample(), (Candidate(trajectory=0, box=box), NULL))


def test_without_an_image_the_judge_says_so() -> None:
    bare = Sample(id="s", description="d", target=None)
    with pytest.raises(ImageError, match="expected an image to judge by"):
        JUDGES.get("answers")().asks(bare, BOX, OTHER)


def test_clauses_are_the_parts_that_can_be_checked() -> None:
    assert clauses('the red mug with a handle, marked "a, b"') == [
        "the red mug", "with a handle", 'marked "a, b"',
    ]  # fmt: skip
    assert clauses("A small dog that is lying on the sofa and has a blue collar.") == [
        "A small dog", "that is lying on the sofa", "has a blue collar",
    ]  # fmt: skip
    assert clauses("the cup") == ["the cup"]


def test_the_checklist_counts_what_holds() -> None:
    judge = JUDGES.get("checklist")()
    assert judge.verdict(["1. yes\n2. no\n3. yes", "1. yes\n2. no\n3. no"]) == 0
    assert judge.verdict(["1. yes\n2. no", "1: Yes\n2: yes"]) == 1
    assert judge.verdict(["1. yes", "1. yes"]) is None
    assert judge.verdict(["1. yes\n1. no", "1. yes"]) is None
    assert judge.verdict(["certainly", "1. yes"]) is None


def test_in_the_checklist_a_box_beats_a_rejection_only_if_all_holds() -> None:
    judge = JUDGES.get("checklist")()
    asks = judge.asks(sample(), NULL, BOX)
    assert asks[0] is None
    assert asks[1] is not None
    assert judge.verdict(["", "1. yes\n2. yes"]) == 1
    assert judge.verdict(["", "1. yes\n2. no"]) == 0
    assert judge.verdict(["1. yes", ""]) == 0
    assert judge.verdict(["", "who knows"]) is None
    assert judge.verdict(["", ""]) is None


def test_an_unknown_judge_is_named() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'traces'"):
        JUDGES.get("trace")
