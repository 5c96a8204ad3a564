"""Prices, and budgets that hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from groundingme.costs import Price, Spending, find_price, parse_price
from groundingme.errors import UsageError
from groundingme.schema import Generation


def reply(prompt: int | None, completion: int | None, **more: str) -> Generation:
    return Generation(id="1", prompt_tokens=prompt, completion_tokens=completion, **more)


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GROUNDINGME_CONFIG", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "prompt", "completion"),
    [
        ("gemini-2.5-pro", 1.25, 10.0),
        ("google/gemini-2.5-flash", 0.30, 2.50),
        ("gemini-2.5-flash-lite", 0.10, 0.40),
        ("gpt-4o-2024-08-06", 2.50, 10.0),
        ("gpt-4o-mini", 0.15, 0.60),
        ("anthropic/claude-sonnet-4.5", 3.0, 15.0),
        ("claude-opus-4-1-20250805", 15.0, 75.0),
    ],
)
def test_names_find_their_price(name: str, prompt: float, completion: float) -> None:
    price = find_price(name)
    assert price is not None
    assert (price.prompt, price.completion) == (prompt, completion)


def test_a_name_that_nobody_sells_has_no_price() -> None:
    assert find_price("Qwen/Qwen3-VL-8B-Instruct") is None
    assert find_price("gpt-4o-audio-preview") is None


def test_dollars_by_hand() -> None:
    price = Price(match="x", prompt=2.0, completion=10.0)
    assert price.of(reply(1000, 50)) == pytest.approx(0.0025)
    assert price.of(reply(None, 50)) is None


def test_own_prices_go_first(config: Path) -> None:
    own = config / "prices.toml"
    own.write_text('[[price]]\nmatch = "gemini"\nprompt = 7\ncompletion = 8\n')
    price = find_price("gemini-2.5-pro")
    assert price is not None
    assert (price.prompt, price.completion) == (7, 8)
    for wrong in (
        "[[price]]\nmatch = 3\n",
        "nonsense",
        '[[price]]\nmatch="("\nprompt=1\ncompletion=1',
    ):
        own.write_text(wrong)
        with pytest.raises(UsageError, match="expected \\[\\[price\\]\\] rows"):
            find_price("gemini-2.5-pro")


@pytest.mark.parametrize("text", ["1", "1,2,3", "a,b", "-1,2", "nan,1", "inf,1"])
def test_wrong_prices_are_said(text: str) -> None:
    with pytest.raises(UsageError, match="expected a price as PROMPT,COMPLETION"):
        parse_price(text)


def test_a_budget_holds_whatever_is_in_flight() -> None:
    spending = Spending(price=parse_price("0,1000000"), budget=10.0)
    assert spending.affords(0)
    assert not spending.affords(1)  # nothing is known yet, so one goes alone
    spending.add(reply(0, 2))
    assert spending.affords(3)  # 2 spent, 3 and one more at 2 each: 10
    assert not spending.affords(4)
    spending.add(reply(0, 3))
    assert not spending.affords(1)  # 5 spent, two more at 3 each: 11
    assert spending.dollars == 5.0


def test_what_is_not_counted_is_said() -> None:
    spending = Spending(price=None)
    spending.add_all([reply(10, 5), reply(None, None), reply(7, 7, failure="timeout")])
    assert spending.line() == "15 tokens (10 prompt, 5 completion); 1 replies came without a count"
    assert Spending(price=None).line() == ""
