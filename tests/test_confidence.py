"""Confidence from log-probabilities, by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundingme import evaluate
from groundingme.errors import RetryableError, UsageError
from groundingme.models import Request, load_model
from groundingme.models.confidence import Token, agreement, from_tokens, spelled
from groundingme.models.mock import Mock
from groundingme.models.sampled import Sampled
from groundingme.parsing import parse
from groundingme.runner import RetryPolicy
from groundingme.schema import Generation
from perfect import questions


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


def test_the_end_of_a_reply_is_no_box() -> None:
    others = {"<|im_end|>": 0.1, "<eos>": 0.1, "<box>": 0.1, "<": 0.1, "<|det|>": 0.1}
    found = from_tokens('{"bbox_2d": null}', tokens('{"bbox_2d": ', ("null", 0.5, others), "}"))
    assert found is not None
    assert found.answer == pytest.approx(0.5 / 0.8)


@given(
    st.text(max_size=80), st.lists(st.tuples(st.text(max_size=9), st.floats(-50, 0)), max_size=9)
)
def test_never_raises_and_stays_in_range(text: str, parts: list[tuple[str, float]]) -> None:
    spelled = [Token(part, logprob) for part, logprob in parts]
    for said in (text, "".join(part for part, _ in parts)):
        found = from_tokens(said, spelled)
        assert found is None or 0 <= found.answer <= 1


def box(*numbers: float) -> str:
    return json.dumps({"bbox_2d": list(numbers)})


NULL, ODD = '{"bbox_2d": null}', "I cannot say."


@pytest.mark.parametrize(
    ("texts", "share"),
    [
        ([box(0, 0, 10, 10), box(0, 0, 10, 10), box(0, 0, 10, 5), box(0, 0, 10, 4), NULL], 0.5),
        ([NULL, NULL, "There is no matching object.", box(0, 0, 10, 10), ODD], 0.5),
        ([box(0, 0, 10, 10), ODD], 0.0),
        ([box(5, 5, 5, 5), box(5, 5, 5, 5)], 0.0),
        ([NULL, NULL], 1.0),
        ([ODD, ODD, NULL], None),
        ([NULL], None),
    ],
)
def test_agreement(texts: list[str], share: float | None) -> None:
    assert agreement([parse(text) for text in texts]) == share


def test_agreement_is_the_same_in_every_format() -> None:
    """A scale and the order of axes leave an IoU as it is."""
    one, other = (100, 200, 300, 400), (120, 180, 310, 420)
    for sx, sy in ((1, 1), (0.45, 0.7), (0.001, 0.002)):
        for order in ((0, 1, 2, 3), (1, 0, 3, 2)):
            texts = [
                box(*([c * s for c, s in zip(coords, (sx, sy) * 2, strict=True)][i] for i in order))
                for coords in (one, other)
            ]
            assert agreement([parse(text) for text in texts]) == 1.0


def test_how_tokens_are_spelled() -> None:
    """A decoder that drops the blank before the first word, as that of SentencePiece does."""
    words = ["\u2581{", "\u2581null", "}", "\u2581and"]

    def decode(ids: list[int]) -> str:
        return "".join(words[i] for i in ids).replace("\u2581", " ").removeprefix(" ")

    ids = [0, 1, 2, 3, 1, 1, 1, 1, 1, 2, 3]
    assert spelled(decode, ids)[:4] == ["{", " null", "}", " and"]
    assert "".join(spelled(decode, ids)) == decode(ids)
    assert spelled(decode, []) == []


class Replies(Mock):
    """Says one thing greedily and others when it is sampled, and counts."""

    def __init__(self, greedy: str, *sampled: str, broken_at: int = 0) -> None:
        self.asked: list[tuple[float, int]] = []

        def script(request: Request) -> str:
            self.asked.append((request.temperature, request.trajectory))
            if len(self.asked) == broken_at:
                raise RetryableError("server", "later", retry_after=0)
            return sampled[request.trajectory - 1] if request.trajectory else greedy

        super().__init__("replies", script=script)

    async def generate(self, request: Request) -> Generation:
        found = await super().generate(request)
        return Generation(
            id=found.id, trajectory=found.trajectory, text=found.text,
            prompt_tokens=100, completion_tokens=5, latency=0.5,
        )  # fmt: skip


def test_a_run_with_samples(tmp_path: Path) -> None:
    data = questions({(640, 480): [(0, 0, 10, 10)]})
    model = Replies(box(0, 0, 10, 10), box(0, 0, 10, 9), NULL, box(0, 0, 10, 10), ODD, broken_at=3)
    sampled = Sampled(model, samples="4", sample_temperature=0.7)
    result = evaluate(sampled, data, out=tmp_path, retry=RetryPolicy(base=0.0))
    assert result.accuracy == 1.0
    assert model.asked == [(0.0, 0), (0.7, 1), (0.7, 2), (0.7, 2), (0.7, 3), (0.7, 4)]
    assert result.path
    (line,) = (result.path / "generations.jsonl").read_text().splitlines()
    kept = json.loads(line)
    assert kept["text"] == box(0, 0, 10, 10)
    assert kept["confidence"] == 0.5
    assert (kept["prompt_tokens"], kept["completion_tokens"], kept["latency"]) == (500, 25, 2.5)
    assert kept.get("trajectory", 0) == 0
    settings = json.loads((result.path / "run.json").read_text())["settings"]
    assert (settings["samples"], settings["sample_temperature"]) == (4, 0.7)
    plain = evaluate(Replies(NULL), data, out=tmp_path)
    assert plain.path != result.path


def test_samples_of_every_provider() -> None:
    model = load_model("baseline/center", samples="3")
    assert (model.name, model.needs_image, model.coords) == ("baseline/center", False, "abs")
    assert model.settings()["samples"] == 3
    for wrong in ({"samples": "0"}, {"samples": 2, "sample_temperature": "0"},
                  {"samples": 2, "sample_temperature": "warm"}):  # fmt: skip
        with pytest.raises(UsageError, match="expected"):
            load_model("baseline/center", **wrong)
