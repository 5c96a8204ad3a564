"""What must hold of any reply whatever: asked by the tests of hypothesis and by the fuzzer."""

from __future__ import annotations

import math
import time

from groundingme import official, protocols
from groundingme.parsing import parse
from groundingme.schema import Generation, Sample

SAMPLES = (
    Sample(id="a", description="a cup", target=(10.0, 20.0, 30.0, 40.0), width=640, height=480),
    Sample(id="b", description="a cup", target=None, width=640, height=480),
)
FINISHES = ("", "stop", "length", "content_filter")

SHORT, LONG = 40_000, 100_000
"""Characters of a repetitive reply: for a first look, and for the comparison with twice as many."""


def check(text: str, reasoning: str = "", finish: str = "") -> None:
    """Every reader takes the reply, and what it gives is sound.

    Raises:
        AssertionError: It is not.
    """
    answer = parse(text, reasoning, finish_reason=finish)
    assert answer.outcome in ("box", "rejected", "unparsed")
    assert answer.reason
    assert (answer.coords is not None) == (answer.outcome == "box")
    assert (answer.span is None) == (answer.outcome == "unparsed")
    if answer.coords is not None:
        assert len(answer.coords) == 4
        assert all(type(one) is float and math.isfinite(one) for one in answer.coords)
    if answer.span is not None:
        start, end = answer.span
        assert 0 <= start < end <= len(text if answer.source == "text" else reasoning)
    numbers = official.parse_official(text)
    assert len(numbers) == 4
    assert all(type(one) is float for one in numbers)


def check_scores(text: str, reasoning: str = "", finish: str = "") -> None:
    """Every protocol scores the reply, on a positive and on a rejection.

    Raises:
        AssertionError: A score is none.
    """
    for coords in ("abs", "n1000"):
        for protocol in protocols.PROTOCOLS:
            replies = {
                one.id: Generation(id=one.id, text=text, reasoning=reasoning, finish_reason=finish)
                for one in SAMPLES
            }
            scores = protocols.score(SAMPLES, replies, protocol=protocol, coords=coords)
            for score in scores:
                assert score.outcome in protocols.OUTCOMES
                if protocol != "official-lmms-eval":
                    assert 0 <= score.iou <= 1
                if protocol == "strict" and score.box is not None:
                    assert all(map(math.isfinite, score.box))


def seconds(head: str, piece: str, tail: str, size: int) -> float:
    """CPU seconds of reading `head`, `piece` over and over up to `size` characters, and `tail`."""
    text = head + piece * (size // len(piece) + 1) + tail
    began = time.thread_time()
    parse(text)
    official.parse_official(text)
    return time.thread_time() - began


def check_growth(head: str, piece: str, tail: str = "") -> None:
    """Reading takes time linear in the length of the reply.

    A linear step takes 2 to 40 ms on `SHORT` characters, a quadratic one half a second; and for
    twice as many characters a linear one takes twice as long, a quadratic one four times.

    Raises:
        AssertionError: It does not.
    """
    if seconds(head, piece, tail, SHORT) < 0.15:
        return
    single = min(seconds(head, piece, tail, LONG) for _ in range(3))
    if single < 0.15:
        # The machine was busy with something else when it took long.
        return
    double = min(seconds(head, piece, tail, 2 * LONG) for _ in range(3))
    assert double < 3 * single, (single, double, head, piece, tail)
    assert double < 5, (single, double, head, piece, tail)
