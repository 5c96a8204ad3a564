"""What a run folder keeps beside the replies: its samples, and its scores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from groundingme.datasets import Dataset, load_dataset
from groundingme.errors import RunError, UsageError
from groundingme.schema import Sample
from groundingme.store import RunFolder, kept, write_atomically

if TYPE_CHECKING:
    from groundingme.result import Result


def save_samples(dataset: Dataset, path: Path) -> None:
    """Writes `samples.jsonl`, the questions and targets of a run, so that it scores by itself.

    The columns are those of the `folder` data set, with the image's name in place of its path.
    """
    if (path / "samples.jsonl").exists():
        return
    lines = [
        msgspec.json.encode(
            {
                "id": one.id,
                "image": one.image.name if one.image else None,
                "description": one.description,
                "bbox": one.target,
                "detection_type": one.detection_type,
                "subtask_l1": one.subtask_l1,
                "subtask_l2": one.subtask_l2,
                "width": one.width,
                "height": one.height,
                **({"problem": one.problem} if one.problem else {}),
            }
        )
        for one in dataset
    ]
    with kept(path / "samples.jsonl"):
        write_atomically(path / "samples.jsonl", b"\n".join(lines) + b"\n", durable=True)


def load_samples(folder: RunFolder) -> Dataset:
    """The samples that a run keeps, without their images.

    Raises:
        RunError: The file is missing or damaged.
    """
    path = folder.path / "samples.jsonl"
    try:
        rows = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
        samples = [
            Sample(
                id=row["id"],
                description=row["description"],
                target=tuple(row["bbox"]) if row["bbox"] else None,
                width=row["width"],
                height=row["height"],
                detection_type=row["detection_type"],
                subtask_l1=row["subtask_l1"],
                subtask_l2=row["subtask_l2"],
                problem=row.get("problem", ""),
            )
            for row in rows
        ]
    except (OSError, UnicodeDecodeError, msgspec.DecodeError, KeyError, TypeError) as error:
        said = error.strerror if isinstance(error, OSError) else f"a damaged line ({error})"
        raise RunError(
            f"expected the samples of the run in {path}, got: {said}; restore the file, or score "
            "the run with --data DATA"
        ) from None
    return Dataset(name=folder.run.data_name, source=str(path), samples=samples)


def load_run_data(folder: RunFolder) -> tuple[Dataset, str]:
    """The samples of a run with their images, where the data set is still to be had.

    Returns:
        The samples, and a line on why there are no images; "" where there are.
    """
    run = folder.run
    try:
        dataset = load_dataset(run.data, split=run.settings.get("split"))
        dataset = dataset.select(subset=run.subset, limit=run.limit)
    except UsageError as error:
        return load_samples(folder), f"no pictures: {error}"
    if dataset.fingerprint != run.data_fingerprint:
        return load_samples(folder), f"no pictures: {run.data} has changed since the run"
    return dataset, ""


_PASSING = ("run", "interrupted", "incomplete", "dollars")
"""What is not a figure of the replies: prices change, and so does what is demanded of a run."""


def save_scores(result: Result, path: Path) -> None:
    """Writes `scores.json` (the figures) and `scores.jsonl` (one sample a line) into `path`.

    Both depend on the replies alone: neither times nor paths are in them, so an interrupted and
    resumed run ends with the same bytes as an uninterrupted one.
    """
    figures = {k: v for k, v in result.as_dict().items() if k not in _PASSING}
    written = msgspec.json.format(msgspec.json.encode(figures))
    lines = b"\n".join(msgspec.json.encode(one) for one in result.scores) + b"\n"
    for name, content in (("scores.json", written), ("scores.jsonl", lines)):
        with kept(path / name):
            write_atomically(path / name, content, durable=True)
