"""What a study may still spend, and what it has spent."""

from __future__ import annotations

import math
from collections.abc import Sequence

from groundingme.errors import JobError
from groundingme.evaluation import spending_for
from groundingme.scale.selection import SampleRun
from groundingme.store import RunFolder
from groundingme.studies.study import Done, Setting


def left(setting: Setting, done: Sequence[Done], what: str) -> float | None:
    """Dollars of the budget that the conditions so far leave; None where there is none.

    Args:
        setting: With the budget.
        done: All that was paid for.
        what: Comes next.

    Raises:
        JobError: Nothing is left.
    """
    budget: float | None = setting.asking.get("budget")
    if budget is None:
        return None
    for one in done:
        spending = spending_for(one.condition.label, setting.asking.get("price"), None)
        spending.add_all(RunFolder.open(one.path).trajectories().values())
        budget -= spending.dollars
    if budget <= 0:
        raise JobError(f"the budget is spent before {what}; a larger --budget goes on")
    return budget


def spent_by(run: SampleRun, setting: Setting) -> tuple[float, float]:
    """Tokens and dollars of one sampled answer, on average; NaN where they are not known."""
    spending = spending_for(run.folder.run.model, setting.asking.get("price"), None)
    said = [one for one in run.generations.values() if not one.failure]
    counted = [one for one in said if one.completion_tokens is not None]
    if not counted:
        return math.nan, math.nan
    tokens = sum((one.prompt_tokens or 0) + (one.completion_tokens or 0) for one in counted)
    paid = [spending.price.of(one) if spending.price else None for one in counted]
    known = [one for one in paid if one is not None]
    return tokens / len(counted), sum(known) / len(counted) if known else math.nan
