"""Confidence from log-probabilities, by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundingme.models.confidence import Token, from_tokens


def tokens(*parts: str | tuple[str, float] | tuple[str, float, dict[str, float]]) -> list[Token]:
    """Tokens from texts, probabilities, and probabilities of others at that place."""
    made = []
    for part in parts:
        text, chance, others = part if isinstance(part, tuple) and len(part) == 3 else (
            (*part, {}) if isinstance(part, tuple) else (part, 1.0, {})
        )  # fmt: skip
        pairs = tuple((other, math.log(p)) for other, p in others.items())
        made.append(Token(text, math.log(chance), pairs))
    return made


def test_a_box_against_null() -> None:
    spelled = tokens(
        '{"', "bbox", "_2d", '":', (" [", 0.6, {" [": 0.6, " null": 0.2, " \n": 0.1}),
        ("10", 0.5), ", ", ("20", 0.25), ", ", ("30", 1.0), ", ", ("40", 1.0), "]}",
    )  # fmt: skip
    found = from_tokens('{"bbox_2d": [10, 20, 30, 40]}', spelled)
    assert found is not None
    assert found.answer == pytest.approx(0.6 / 0.8)
    assert found.coordinates == pytest.approx((math.log(0.5) + math.log(0.25)) / 4)


def test_null_against_a_box() -> None:
    spelled = tokens('{"bbox_2d', '": ', ("null", 0.3, {"null": 0.3, "[": 0.6, "[[": 0.1}), "}")
    found = from_tokens('{"bbox_2d": null}', spelled)
    assert found is not None
    assert found.answer == pytest.approx(0.3)
    assert found.coordinates is None


def test_reasoning_before_the_reply_is_skipped() -> None:
    spelled = tokens(
        "<think>", '{"bbox_2d": ', ("null", 0.01), "}", "</think>",
        '{"bbox_2d": ', ("null", 0.9, {"[": 0.1}), "}",
    )  # fmt: skip
    found = from_tokens('{"bbox_2d": null}', spelled)
    assert found is not None
    assert found.answer == pytest.approx(0.9)


def test_the_first_piece_of_null_counts_as_null() -> None:
    found = from_tokens(
        '{"bbox_2d": null}', tokens('{"bbox_2d": ', ("nu", 0.5, {"[": 0.5}), "ll", "}")
    )
    assert found is not None
    assert found.answer == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("I see nothing.", tokens("I see nothing.")),
        ("There is no matching object.", tokens("There is no matching object.")),
        ('{"bbox_2d": null}', tokens("something else")),
        ('{"bbox_2d": null}', []),
        ("", []),
    ],
)
def test_where_nothing_can_be_said(text: str, spelled: list[Token]) -> None:
    assert from_tokens(text, spelled) is None


def test_other_forms_of_a_box() -> None:
    spelled = tokens(("<|box_start|>", 0.7, {"null": 0.3}), "(1,2),(3,4)", "<|box_end|>")
    found = from_tokens("<|box_start|>(1,2),(3,4)<|box_end|>", spelled)
    assert found is not None
    assert found.answer == pytest.approx(0.7)


@given(
    st.text(max_size=80), st.lists(st.tuples(st.text(max_size=9), st.floats(-50, 0)), max_size=9)
)
def test_never_raises_and_stays_in_range(text: str, parts: list[tuple[str, float]]) -> None:
    spelled = [Token(part, logprob) for part, logprob in parts]
    for said in (text, "".join(part for part, _ in parts)):
        found = from_tokens(said, spelled)
        assert found is None or 0 <= found.answer <= 1
