"""Rows of a mixture as they are trained on and evaluated: read, checked, held out, opened."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from groundingme import geometry, images
from groundingme.errors import DataError, ImageError, UsageError
from groundingme.images import FileImage
from groundingme.schema import Box
from groundingme.terminal import say
from groundingme.train.mixture import Mixture
from groundingme.train.tuning.base import Base


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One question with the answer to learn.

    Attributes:
        id: Of the row.
        image: Path of the picture.
        question: The user's turn, behind the picture.
        answer: The assistant's turn.
        box: xyxy pixels of the upright picture; None where nothing matches.
        width: Of the upright picture, in pixels.
        height: Of the upright picture, in pixels.
    """

    id: str
    image: str
    question: str
    answer: str
    box: Box | None
    width: int
    height: int

    def turns(self) -> dict[str, Any]:
        """The row as trl's trainers take it, with the path in place of the picture."""
        return {
            "images": [self.image],
            "prompt": [{"role": "user", "content": self.question}],
            "completion": [{"role": "assistant", "content": self.answer}],
        }


def rows_of(mixture: Mixture) -> list[Row]:
    """The rows of a mixture, in its order."""
    return [
        Row(
            id=row["id"],
            image=row["image"],
            question=row["prompt"][0]["content"],
            answer=row["completion"][0]["content"],
            box=tuple(row["box"]) if row["box"] is not None else None,
            width=row["width"],
            height=row["height"],
        )
        for row in mixture.rows()
    ]


def check_sizes(rows: Iterable[Row], base: Base, coords: str) -> None:
    """Whether the numbers of the answers are those of the pictures as the model will see them.

    Raises:
        UsageError: They refer to the pixels of a resized picture, and the processor makes it
            another size.
    """
    rule = geometry.coord_format(coords).resize
    if rule is None:
        return
    for width, height in {(row.width, row.height) for row in rows}:
        written, seen = rule(width, height), base.seen(width, height)
        if written != seen:
            raise UsageError(
                f"expected images in the size that the mixture's {coords} numbers refer to, got "
                f"{width} x {height} pixels shown as {seen[0]} x {seen[1]} and written for "
                f"{written[0]} x {written[1]}; give --max-pixels {written[0] * written[1]} or "
                "more, or make the mixture of smaller images"
            )


def hold_out(rows: Sequence[Row], share: float, seed: int) -> tuple[list[Row], list[Row]]:
    """Parts rows into those that are trained on and those that are evaluated.

    All rows of an image are on one side.

    Args:
        rows: In the order of the mixture, which both parts keep.
        share: Of the images that is held out, rounded up; 0 for none.
        seed: Decides which.

    Raises:
        UsageError: Nothing would be left to train on.
    """
    pictures = sorted({row.image for row in rows})
    number = -int(-share * len(pictures) // 1)
    if number >= len(pictures):
        raise UsageError(
            f"expected images to train on, got {len(pictures)} of which --held-out {share:g} "
            "holds out all; give --held-out 0"
        )
    held = set(random.Random(seed).sample(pictures, number))
    return (
        [row for row in rows if row.image not in held],
        [row for row in rows if row.image in held],
    )


def longest(rows: Sequence[Row], base: Base) -> tuple[int, int]:
    """Most tokens of a row, and most of an image."""
    sizes = {(row.width, row.height) for row in rows}
    image = max(base.tokens(*size) for size in sizes)
    texts = max((row.question + row.answer for row in rows), key=len)
    # The template's own words and marks are few.
    return image + len(base.processor.tokenizer(texts)["input_ids"]) + 32, image


class Opener:
    """Opens the pictures of rows when they are asked for; can be sent to other processes.

    A picture that cannot be decoded after all takes its row out: the spare one stands in.

    Args:
        spare: The columns of a row whose picture can be decoded.
    """

    def __init__(self, spare: dict[str, Any]) -> None:
        self._spare = spare

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        rows = [dict(zip(batch, one, strict=True)) for one in zip(*batch.values(), strict=True)]
        opened = [self._open(row) for row in rows]
        return {name: [row[name] for row in opened] for name in batch}

    def _open(self, row: dict[str, Any]) -> dict[str, Any]:
        path = row["images"][0]
        try:
            return {**row, "images": [open_picture(path)]}
        except ImageError as error:
            say(f"left out: {path}: {error}", err=True)
            return {**self._spare, "images": [open_picture(self._spare["images"][0])]}


def open_picture(path: str) -> Any:
    """The picture as every evaluation decodes it: RGB, upright.

    Raises:
        ImageError: It cannot be used.
    """
    return images.open_upright(FileImage(path).read())


def dataset(rows: Sequence[Row], columns: Callable[[Row], dict[str, Any]] = Row.turns) -> Any:
    """Rows as a data set of the library datasets, pictures opened when they are asked for.

    Args:
        rows: Of any number.
        columns: What the trainer gets of a row; `images` has the path of the picture.

    Raises:
        DataError: No picture of them can be decoded.
    """
    from datasets import Dataset

    spare = next((row for row in rows if _decodes(row)), None)
    if spare is None:
        raise DataError(f"expected pictures that can be decoded, got none in {len(rows)} rows")
    return Dataset.from_list([columns(row) for row in rows]).with_transform(Opener(columns(spare)))


def _decodes(row: Row) -> bool:
    try:
        open_picture(row.image)
    except ImageError:
        return False
    return True
