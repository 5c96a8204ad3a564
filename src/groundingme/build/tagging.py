"""The stage `tag`: what may be in each picture, so that a detector can be asked for it."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from groundingme.build.config import check_options
from groundingme.build.opening import opened
from groundingme.build.records import Picture
from groundingme.build.stage import PictureWork
from groundingme.build.taggers import TAGGERS, make


class TagOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Section `[tag]`.

    Attributes:
        by: Name of the tagger: `fixed`, `ram`, `florence` or `mllm`.
        batch: Pictures given to it at a time.
        most: Most tags of a picture that was looked at; the best ones stay.
        options: What else the section says, for the tagger.
    """

    by: str = "fixed"
    batch: Annotated[int, msgspec.Meta(ge=1)] = 8
    most: Annotated[int, msgspec.Meta(ge=1)] = 100
    options: dict[str, Any] = {}


def check_tagger(by: str, options: dict[str, Any]) -> None:
    """Whether there is such a tagger, and takes these options; no weights are loaded.

    Raises:
        UsageError: There is none, or it does not, or a file that they name cannot be read.
    """
    check_options("tagger", by, TAGGERS.get(by), options)
    make(by, **options)


def make_tag(options: TagOptions, seed: int) -> PictureWork:
    """The work of the stage."""
    tagger = make(options.by, **options.options)
    most = options.most if tagger.needs_image else None

    def work(pictures: list[Picture]) -> list[Picture]:
        if tagger.needs_image:
            batches = opened(pictures, options.batch)
        else:
            going = [one for one in pictures if one.goes_on]
            unseen: list[Any] = [None] * len(going)
            batches = iter([(going, unseen)])
        for some, images in batches:
            for picture, tags in zip(some, tagger.tag(images), strict=True):
                if isinstance(tags, Exception):
                    picture.failure = f"tag: {tags}"
                    continue
                picture.tags = [tag.name for tag in tags[:most]]
                picture.tag_scores = [float(tag.score) for tag in tags[:most]]
                if not tags:
                    picture.fate = "untagged"
        return pictures

    return work
