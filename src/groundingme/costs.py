"""What replies cost: prices per million tokens, and a budget that a run never exceeds.

Prices stand in `prices.toml`, each with the month it was looked up. Rows of a file of the same
form in the user's configuration folder go before them.
"""

from __future__ import annotations

import functools
import os
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from groundingme.errors import UsageError
from groundingme.schema import Generation


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model's tokens cost.

    Attributes:
        match: Regular expression that is searched in the served name, in any case.
        prompt: US dollars per million prompt tokens.
        completion: US dollars per million completion tokens, reasoning included.
        as_of: Month in which that was looked up, such as `2026-01`.
    """

    match: str
    prompt: float
    completion: float
    as_of: str = ""

    def of(self, generation: Generation) -> float | None:
        """US dollars of one reply; None where the server did not count its tokens."""
        if generation.prompt_tokens is None or generation.completion_tokens is None:
            return None
        spent = generation.prompt_tokens * self.prompt
        return (spent + generation.completion_tokens * self.completion) / 1e6


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    price: list[Price] = []


def config_folder() -> Path:
    """Where the user's own settings are: GROUNDINGME_CONFIG, or a folder of the usual place."""
    if folder := os.environ.get("GROUNDINGME_CONFIG"):
        return Path(folder).expanduser()
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "groundingme"


def find_price(model: str) -> Price | None:
    """The price of a served name such as `gemini-2.5-pro`, or None where none is known.

    Raises:
        UsageError: The user's `prices.toml` cannot be read.
    """
    own = config_folder() / "prices.toml"
    rows = (*(_read(own) if own.exists() else ()), *_shipped())
    return next((row for row in rows if re.search(row.match, model, re.IGNORECASE)), None)


def parse_price(text: str) -> Price:
    """`PROMPT,COMPLETION` in US dollars per million tokens, as `--price` takes it.

    Raises:
        UsageError: It is not two numbers of 0 or more.
    """
    try:
        prompt, completion = (float(part) for part in text.split(","))
        if not (0 <= prompt < float("inf") and 0 <= completion < float("inf")):
            raise ValueError
    except ValueError:
        raise UsageError(
            f"expected a price as PROMPT,COMPLETION in dollars per million tokens, such as "
            f"1.25,10, got {text!r}"
        ) from None
    return Price(match=".", prompt=prompt, completion=completion)


@functools.cache
def _shipped() -> tuple[Price, ...]:
    return _read(Path(__file__).with_name("prices.toml"))


def _read(path: Path) -> tuple[Price, ...]:
    try:
        table = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _Table)
        for row in table.price:
            re.compile(row.match)
    except (OSError, ValueError, msgspec.ValidationError, re.error) as error:
        raise UsageError(
            f"expected [[price]] rows with match, prompt and completion in {path}, got: {error}"
        ) from None
    return tuple(table.price)


class Spending(msgspec.Struct, kw_only=True):
    """Tokens and dollars of a run, and whether one more request fits its budget.

    Attributes:
        price: None where it is not known; then only tokens are counted.
        budget: Most US dollars, or None.
        prompt_tokens: Counted so far.
        completion_tokens: Counted so far.
        dollars: Spent so far.
        uncounted: Replies whose tokens the server did not count.
        largest: Dollars of the dearest reply so far.
        cached: Replies that came from the cache and cost nothing.
    """

    price: Price | None
    budget: float | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    dollars: float = 0.0
    uncounted: int = 0
    largest: float = 0.0
    cached: int = 0

    def add(self, generation: Generation) -> None:
        """Counts one more reply."""
        if generation.failure:
            return
        if generation.cached:
            self.cached += 1
            return
        if generation.prompt_tokens is None or generation.completion_tokens is None:
            self.uncounted += 1
            return
        self.prompt_tokens += generation.prompt_tokens
        self.completion_tokens += generation.completion_tokens
        cost = self.price.of(generation) if self.price else None
        if cost is not None:
            self.dollars += cost
            self.largest = max(self.largest, cost)

    def add_all(self, generations: Iterable[Generation]) -> None:
        """Counts many replies."""
        for generation in generations:
            self.add(generation)

    def affords(self, in_flight: int) -> bool:
        """Whether one more request fits the budget, with what is in flight still to be paid.

        Every open request is taken to cost as much as the dearest reply so far. Before the first
        reply nothing is known, so one request goes out alone.
        """
        if self.budget is None:
            return True
        if not self.largest:
            return in_flight == 0 and self.dollars < self.budget
        return self.dollars + (in_flight + 1) * self.largest <= self.budget

    def stopped(self, left: int) -> str:
        """Why `left` samples were not asked, in one line; "" where the budget is not why."""
        if self.budget is None or not left or self.affords(0):
            return ""
        return (
            f"stopped at the budget of ${self.budget:g}: ${self.dollars:.4f} are spent, the next "
            f"request could cost ${self.largest:.4f}, and {left} samples are not asked; the same "
            "command with a larger --budget goes on"
        )

    def line(self) -> str:
        """What was used, in one line; "" where nothing was counted."""
        tokens = self.prompt_tokens + self.completion_tokens
        kept = f"{self.cached:,} replies from the cache" if self.cached else ""
        if not tokens:
            return kept
        said = (
            f"{tokens:,} tokens ({self.prompt_tokens:,} prompt, "
            f"{self.completion_tokens:,} completion)"
        )
        if self.price:
            dated = f", prices of {self.price.as_of}" if self.price.as_of else ""
            said += f", ${self.dollars:.4f}{dated}"
        if self.uncounted:
            said += f"; {self.uncounted} replies came without a count"
        return f"{said}; {kept}" if kept else said
