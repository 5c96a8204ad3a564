"""The stages that look at boxes alone: suppress, filter, sort."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import numpy as np

from groundingme import taxonomy
from groundingme.build.candidates import CandidateOptions, candidates
from groundingme.build.filters import REASONS, FilterOptions, filter_boxes
from groundingme.build.records import FATES, Picture
from groundingme.build.stage import PictureWork
from groundingme.build.suppress import suppress

_SUPPRESSED = FATES.index("suppressed")
_FATE_OF = np.array([FATES.index(reason) for reason in REASONS], np.int8)
_BITS = np.int32(1) << np.arange(len(taxonomy.SUBTASKS), dtype=np.int32)


class SuppressOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Section `[suppress]`.

    Attributes:
        policy: Which of overlapping boxes stays: see `suppress`.
        iou: Largest intersection over union at which boxes do not clash, in [0, 1].
        containment: For `containment`: largest share of the smaller box inside the larger.
    """

    policy: Literal["instances", "per-class", "agnostic", "containment", "none"] = "instances"
    iou: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.7
    containment: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.9


def make_suppress(options: SuppressOptions, seed: int) -> PictureWork:
    """The work of the stage: fates of boxes that lost to another one."""

    def work(pictures: list[Picture]) -> list[Picture]:
        for found in (one.found for one in pictures if one.goes_on):
            codes, _ = found.codes()
            keep = suppress(
                found.boxes, codes, found.scores,
                policy=options.policy, iou=options.iou, containment=options.containment,
            ).keep  # fmt: skip
            found.fates[~keep] = _SUPPRESSED
        return pictures

    return work


def make_filter(options: FilterOptions, seed: int) -> PictureWork:
    """The work of the stage: fates of boxes that are no targets; a picture without any is out."""

    def work(pictures: list[Picture]) -> list[Picture]:
        for picture in pictures:
            if not picture.goes_on:
                continue
            found, kept = picture.found, picture.found.kept
            if not len(kept):
                picture.fate = "empty"
                continue
            codes, _ = found.codes()
            size = (picture.width, picture.height)
            first = filter_boxes(found.boxes[kept], codes[kept], size, options).first
            found.fates[kept[first >= 0]] = _FATE_OF[first[first >= 0]]
            if (first >= 0).all():
                picture.fate = "no-target"
        return pictures

    return work


def make_sort(options: CandidateOptions, seed: int) -> PictureWork:
    """The work of the stage: which subtasks each box suits."""

    def work(pictures: list[Picture]) -> list[Picture]:
        for picture in pictures:
            if not picture.goes_on:
                continue
            found = picture.found
            # Boxes that a filter turned down are still instances, neighbours and things in front.
            there = np.flatnonzero(found.fates != _SUPPRESSED)
            codes, _ = found.codes()
            suits = candidates(
                found.boxes[there], codes[there], (picture.width, picture.height), options,
                eligible=found.fates[there] == 0,
            )  # fmt: skip
            found.subtasks[there] = suits @ _BITS
            if not found.subtasks.any():
                picture.fate = "no-candidate"
        return pictures

    return work
