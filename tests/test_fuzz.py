"""Any reply whatever is read, soundly and in linear time. `tests/fuzz/` looks for more of them."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundingme import official, protocols
from groundingme.parsing import parse
from groundingme.schema import Generation, Sample
from peak import peak_of
from sound import FINISHES, check, check_growth, check_scores

KEPT = sorted((Path(__file__).parent / "data" / "replies").glob("*.jsonl"))
REPLIES = [json.loads(line) for path in KEPT for line in path.read_text("utf-8").splitlines()]

PIECES = (
    *"{}[]()<>|\\/\"'`,.:;=-+ \n\t0123x，。",
    '{"bbox_2d": ', '"bbox_2d"', "'box_2d':", "bbox=", "bounding box ", "coordinates ", "坐标",
    "null", "None", "NaN", "Infinity", "1e999", "-1e308", "9" * 400, "12", "-3.5", ".5", "1.",
    "[1, 2, 3, 4]", "(1,2),(3,4)", "[[", "]]", "}, {", "<box>", "</box>", "<|box_start|>",
    "<|begin_of_box|>", "<bbox>", "<|det|>", "\\boxed{", "<loc_1>", "<loc0002>", "<think>",
    "</think>", "◁/think▷", "[/THINK]", "<|channel|>final<|message|>", "```json\n", "x1", "y_max=3",
    "left: 4", "Answer: ", "no matching object", "not found in the image", "none of ", "I cannot",
    "sorry", "Error:", "没有匹配", "見つかりません", "İ", "ı", "ſ", "Infinİty", "ınf",
    "x_mİn: 1, ", "\u3000", "\x00", "٣", "½", "if ",
    "other ",
)  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=20).map("".join)


def test_there_are_kept_replies() -> None:
    assert len(REPLIES) >= 50
    assert all(row.keys() == {"text", "reasoning", "finish"} for row in REPLIES)
    outcomes = {parse(row["text"], row["reasoning"]).outcome for row in REPLIES}
    assert outcomes == {"box", "rejected", "unparsed"}


@pytest.mark.parametrize("at", range(0, len(REPLIES), 10))
def test_kept_replies(at: int) -> None:
    for row in REPLIES[at : at + 10]:
        check(**row)
        check_scores(**row)
        if row["text"]:
            check_growth("", row["text"], '{"bbox_2d": [1, 2')


@given(TEXTS, TEXTS, st.sampled_from(FINISHES))
def test_every_reader_takes_any_reply(text: str, reasoning: str, finish: str) -> None:
    check(text, reasoning, finish)


@settings(max_examples=50)
@given(TEXTS, TEXTS, st.sampled_from(FINISHES))
def test_every_protocol_scores_any_reply(text: str, reasoning: str, finish: str) -> None:
    check_scores(text, reasoning, finish)


@settings(max_examples=50)
@given(TEXTS, TEXTS.filter(bool), TEXTS)
def test_time_grows_no_faster_than_the_reply(head: str, piece: str, tail: str) -> None:
    check_growth(head, piece, tail)


@settings(max_examples=40)
@given(st.tuples(*[st.floats(-1e300, 1e300) | st.integers(-(10**30), 10**30)] * 4))
def test_a_box_of_any_numbers_is_scored(box: tuple[float, float, float, float]) -> None:
    check_scores(json.dumps({"bbox_2d": box}))
    answer = parse(json.dumps({"bbox_2d": box}))
    assert answer.coords == tuple(map(float, box))


@pytest.mark.parametrize(
    "piece", ['{"bbox_2d": [', "[1,2,3,4]\n", "[[],", '{"a":', "没有匹配", "1 "]
)
def test_a_reply_of_two_megabytes_is_read(piece: str) -> None:
    text = piece * (2_000_000 // len(piece))
    began = time.process_time()
    check(text)
    check('{"bbox_2d": [' + text + '{"bbox_2d": [1, 2, 30, 40]}')
    # A quadratic step would take an hour.
    assert time.process_time() - began < 20


def test_a_reply_of_ten_megabytes_takes_little_memory(tmp_path: Path) -> None:
    code = """
from groundingme import official, parsing
print(parsing.parse('{"bbox_2d": [' * 770_000).outcome)
print(parsing.parse("[1, 2, 3, 4, " * 770_000 + '{"bbox_2d": null}').outcome)
official.parse_official('{"bbox_2d": [' * 770_000)
"""
    took, said = peak_of(code, tmp_path / "none")
    assert said == "unparsed\nrejected"
    assert took < 80


def test_an_answer_behind_ten_megabytes_is_found() -> None:
    text = "[1, 2, 3, 4, " * 700_000 + '\n{"bbox_2d": [1, 2, 30, 40]}'
    assert parse(text).coords == (1, 2, 30, 40)
    assert parse(text[:-3]).outcome == "unparsed"


def test_replies_of_ten_megabytes_are_scored_and_counted() -> None:
    texts = {"a": "x" * 10**7, "b": '{"bbox_2d": [' * 700_000, "c": "1" * 10**7}
    samples = [
        Sample(id=id, description="a cup", target=(1.0, 2.0, 3.0, 4.0), width=64, height=48)
        for id in texts
    ]
    replies = {id: Generation(id=id, text=text) for id, text in texts.items()}
    for protocol in protocols.PROTOCOLS:
        scores = protocols.score(samples, replies, protocol=protocol)
        assert len(list(scores)) == 3
        assert not any(one.iou for one in scores)


def test_a_number_of_millions_of_digits_is_no_number() -> None:
    digits = "1" * 3_000_000
    for reply in (f"[{digits}, 2, 3, 4]", f'{{"bbox_2d": [{digits}, 2, 3, 4]}}'):
        assert parse(reply).coords is None
        began = time.process_time()
        assert all(math.isfinite(one) or one == math.inf for one in official.parse_official(reply))
        assert time.process_time() - began < 20
