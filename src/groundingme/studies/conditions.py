"""Conditions that many studies have: every model on the same data, and its runs by their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from groundingme.datasets import Dataset
from groundingme.studies.study import Condition, Done, Setting

AS_IT_IS = "as it is"
"""Name of the condition in which nothing is changed."""


def everyone(setting: Setting, data: Mapping[str, Dataset] | None = None) -> list[Condition]:
    """Every model on every one of these data sets, by the name of the condition.

    Args:
        setting: Its models, and its first data set as it is where no others are given.
        data: Others.
    """
    return [
        Condition(name=name, model=model, dataset=dataset)
        for model in setting.models
        for name, dataset in ({AS_IT_IS: setting.dataset} if data is None else data).items()
    ]


def by_model(done: Sequence[Done]) -> dict[str, dict[str, Done]]:
    """The runs of each model by the name of their condition, both in the order of the plan."""
    found: dict[str, dict[str, Done]] = {}
    for one in done:
        found.setdefault(one.condition.label, {})[one.condition.name] = one
    return found
