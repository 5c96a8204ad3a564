"""The first look at each picture: its size, digest, perceptual hash and sharpness."""

from __future__ import annotations

import hashlib

from groundingme import images
from groundingme.build import hashing
from groundingme.build.records import Picture
from groundingme.build.sources.listing import SourceOptions
from groundingme.build.sources.places import locate
from groundingme.build.stage import PictureWork
from groundingme.errors import DataError, ImageError

LOOKED_AT = 512
"""Longer side of what hash and sharpness are taken from, in pixels; larger ones are scaled down."""


def make_look(options: SourceOptions, seed: int) -> PictureWork:
    """The work of the stage `source`.

    Each picture is read once. A JPEG is decoded at a half, a quarter or an eighth of its size
    where that is enough, so an 8K one takes a tenth of the time and memory.
    """

    def work(pictures: list[Picture]) -> list[Picture]:
        for one in pictures:
            if one.goes_on:
                try:
                    _look(one, options)
                except (DataError, ImageError) as error:
                    one.failure = str(error)
        return pictures

    return work


def _look(picture: Picture, options: SourceOptions) -> None:
    from PIL import Image

    data = locate(picture.where).read()
    probe = images.probe(data, max_pixels=options.max_pixels)
    share = min(1.0, LOOKED_AT / max(probe.width, probe.height))
    size = (max(1, round(probe.width * share)), max(1, round(probe.height * share)))
    image = images.open_upright(data, max_pixels=options.max_pixels, least=size)
    image = image.convert("L").resize(size, Image.Resampling.BOX)
    picture.width, picture.height = probe.width, probe.height
    picture.digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    picture.hash = hashing.perceptual(image)
    picture.sharpness = hashing.sharpness(image)
    if min(probe.width, probe.height) < options.min_side:
        picture.fate = "small"
    elif picture.sharpness < options.min_sharpness:
        picture.fate = "blurred"
