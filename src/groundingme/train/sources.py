"""Data sets as training takes them: the split `train`, wherever there is one."""

from __future__ import annotations

from groundingme.datasets import Dataset, load_dataset
from groundingme.errors import DataError, SplitError, UsageError

TRAIN = "train"


def load(data: str | Dataset, split: str | None = None) -> Dataset:
    """A data set to train on.

    `load_dataset` alone would take the split that a benchmark is run on.

    Args:
        data: As `load_dataset` takes it, or a data set.
        split: None takes `train`, or what there is where there is none of that name.

    Raises:
        UsageError: As `load_dataset`; or several splits are there and none is `train`.
    """
    if isinstance(data, Dataset):
        return data
    if split is None:
        try:
            return load_dataset(data, split=TRAIN)
        except SplitError as error:
            if len(error.splits) > 1:
                raise UsageError(
                    f"expected a split {TRAIN} of {data} to train on, got "
                    f"{', '.join(error.splits)}; name one with --split, or another data set"
                ) from None
        except DataError:
            pass
    return load_dataset(data, split=split)
