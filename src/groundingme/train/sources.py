"""Data sets as training takes them: the split `train`, wherever there is one."""

from __future__ import annotations

from groundingme.datasets import Dataset, load_dataset
from groundingme.errors import DataError

TRAIN = "train"


def load(data: str | Dataset, split: str | None = None) -> Dataset:
    """A data set to train on.

    `load_dataset` alone would take the split that a benchmark is run on.

    Args:
        data: As `load_dataset` takes it, or a data set.
        split: None takes `train`, or what there is where there is none of that name.

    Raises:
        UsageError: As `load_dataset`.
    """
    if isinstance(data, Dataset):
        return data
    if split is None:
        try:
            return load_dataset(data, split=TRAIN)
        except DataError:
            pass
    return load_dataset(data, split=split)
