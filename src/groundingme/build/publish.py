"""The stage `publish`: targets become a data set, with a card that says where each came from.

    data/README.md            the card: figures, licence, how it was made
    data/croissant.json       the same for machines (mlcommons.org/croissant)
    data/provenance.jsonl     one line a sample: picture, drafts, changes, verdicts
    data/data/*.parquet       the published columns
    coco/ tsv/ ...            other layouts, where asked for

Boxes are rounded to whole pixels, as the published columns have them, so every layout says the
same.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from groundingme.build import card, croissant
from groundingme.build.records import Target
from groundingme.build.sources import locate
from groundingme.build.stage import Context
from groundingme.build.verify import FLAGS
from groundingme.datasets import Dataset
from groundingme.datasets.export import export, mark
from groundingme.errors import DataError, JobError, UsageError
from groundingme.registry import unknown
from groundingme.schema import Box, Sample
from groundingme.store import kept, write_atomically

DATA = "data"
"""Folder of what is published, in the folder of the stage."""

Layout = Literal["parquet", "folder", "coco", "tsv", "refcoco", "label-studio"]


class PublishOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Section `[publish]`.

    Attributes:
        name: Of the data set, for people.
        layouts: Besides `parquet`, which is always written.
        split: Name of the split.
        license: As the Hub names it (`cc-by-4.0`, ...); "" leaves it open, and the card says so.
        authors: Names, for the card.
        summary: A few sentences on what it is, for the card.
        without: Flags of `verify`; targets that have one of them are left out.
        min_rank: Least rank of `verify`, in [0, 1].
    """

    name: str = "my-grounding"
    layouts: list[Layout] = []
    split: Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9_]*$")] = "test"
    license: str = ""
    authors: list[str] = []
    summary: str = ""
    without: list[str] = []
    min_rank: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0

    def __post_init__(self) -> None:
        for flag in self.without:
            if flag not in FLAGS and not flag.startswith("draft-"):
                raise unknown("flag of verify", flag, FLAGS)


def publish(
    targets: list[Target],
    options: PublishOptions,
    context: Context,
    tick: Callable[[int, int], None] = lambda done, total: None,
) -> list[Target]:
    """Writes the data set into the stage's folder.

    Args:
        targets: Reviewed or not; those that go no further are left out and counted in the card.
        options: Of the section.
        context: Its `history` goes into the card.
        tick: Called with the samples that are written, in all layouts together, and their number.

    Returns:
        The same targets; those that were left out here have a fate.

    Raises:
        DataError: Nothing is left to publish, or a picture cannot be read any more.
    """
    for one in targets:
        if one.goes_on:
            one.fate = _left_out(one, options)
    chosen = [one for one in targets if one.goes_on]
    if not chosen:
        raise DataError(
            f"expected targets to publish, got none of {len(targets)}; see groundingme build status"
        )
    dataset = as_dataset(chosen, options.name)
    out = context.folder / DATA
    layouts = tuple(dict.fromkeys(("parquet", *options.layouts)))
    for n, layout in enumerate(layouts):
        place = out if layout == "parquet" else context.folder / layout
        _remove_another(place, dataset)
        before, total = n * len(dataset), len(layouts) * len(dataset)
        tell = partial(_tell, tick, before, total)
        export(dataset, place, layout=layout, split=options.split, tick=tell)
    figures = card.figures(chosen)
    history = context.history()
    with kept(out):
        lines = [_provenance(str(n), one) for n, one in enumerate(chosen)]
        write_atomically(out / "provenance.jsonl", b"\n".join(lines) + b"\n")
        text = card.write(options, figures, history, left_out=len(targets) - len(chosen))
        write_atomically(out / "README.md", text.encode())
        write_atomically(
            out / "croissant.json", croissant.write(options, out, len(dataset)).encode()
        )
    return targets


def _tell(tick: Callable[[int, int], None], before: int, total: int, done: int) -> None:
    tick(before + done, total)


def _remove_another(folder: Path, dataset: Dataset) -> None:
    """Removes what was published here before from other targets, as after `--retry-failed`."""
    with contextlib.suppress(FileNotFoundError):
        if mark(folder)["fingerprint"] != dataset.fingerprint:
            shutil.rmtree(folder)


def _left_out(target: Target, options: PublishOptions) -> str:
    if not target.description:
        return "undescribed"
    if target.is_rejection and not target.changes:
        # Chosen for Rejection, and no stage made its description untrue.
        return "still-true"
    if flag := next((one for one in target.flags if one in options.without), ""):
        return f"flagged {flag}"
    return "low-rank" if target.rank < options.min_rank else ""


def as_dataset(targets: Sequence[Target], name: str) -> Dataset:
    """Targets as samples, numbered in their order; boxes in whole pixels.

    A rejection's sample has no target; `extra` keeps `original_description` and `original_bbox`.
    """
    return Dataset(
        name=name, source=name, samples=[_sample(n, one) for n, one in enumerate(targets)]
    )


class _Named(msgspec.Struct, frozen=True):
    """A picture under its name in the build; where it lies is a matter of this machine."""

    name: str
    image: Any

    def read(self) -> bytes:
        data: bytes = self.image.read()
        return data


def _sample(number: int, target: Target) -> Sample:
    box = whole(target.box, target.width, target.height)
    extra: dict[str, Any] = {"target": target.id}
    if target.is_rejection:
        extra |= {"original_description": target.original, "original_bbox": list(box)}
    return Sample(
        id=str(number),
        description=target.description,
        target=None if target.is_rejection else box,
        width=target.width,
        height=target.height,
        image=_Named(target.picture, locate(target.where)),
        subtask_l1=target.subtask_l1,
        subtask_l2=target.subtask_l2,
        detection_type=target.label,
        extra=extra,
    )


def whole(box: Box, width: int, height: int) -> Box:
    """The box in whole pixels inside the picture, at least one pixel wide and high.

    >>> whole((0.4, 2.6, 9.9, 2.7), 10, 10)
    (0.0, 3.0, 10.0, 4.0)
    """
    x1, y1 = min(max(round(box[0]), 0), width - 1), min(max(round(box[1]), 0), height - 1)
    x2, y2 = min(max(round(box[2]), x1 + 1), width), min(max(round(box[3]), y1 + 1), height)
    return float(x1), float(y1), float(x2), float(y2)


def _provenance(id: str, target: Target) -> bytes:
    told = msgspec.to_builtins(target)
    # Where the picture lay on somebody's disk is nobody else's business.
    told.pop("where")
    return msgspec.json.encode({"sample": id, "target": told.pop("id"), **told})


def push(folder: Path, repository: str, *, private: bool = True) -> str:
    """Uploads a published data set to the Hub, or to that of the variable `HF_ENDPOINT`.

    Args:
        folder: With `README.md` and `data/`.
        repository: `OWNER/NAME`; made where there is none.
        private: Of a repository that is made.

    Returns:
        The address of the commit.

    Raises:
        UsageError: There is no data set, or no login.
        JobError: The Hub refused.
    """
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

    if not (folder / "README.md").exists():
        raise UsageError(f"expected a published data set at {folder}, got none; publish it first")
    hub = huggingface_hub.HfApi()
    try:
        hub.create_repo(repository, repo_type="dataset", private=private, exist_ok=True)
        done = hub.upload_folder(
            repo_id=repository,
            repo_type="dataset",
            folder_path=folder,
            ignore_patterns=[".*"],
            commit_message="Published by groundingme",
        )
    except (HFValidationError, LocalTokenNotFoundError) as error:
        raise UsageError(
            f"expected OWNER/NAME and a login for the Hub, got: {_line(error)}"
        ) from None
    except (HfHubHTTPError, OSError) as error:
        raise JobError(f"the Hub did not take {repository}: {_line(error)}; try again") from None
    return str(done.commit_url)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
