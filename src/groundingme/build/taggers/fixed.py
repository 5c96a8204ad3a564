"""The same tags for every picture: a vocabulary that a detector is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from groundingme import files
from groundingme.build.taggers import TAGGERS, Tag, Tags
from groundingme.errors import UsageError

if TYPE_CHECKING:
    from PIL import Image

COCO = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat",
    "traffic light", "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog",
    "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella",
    "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball", "kite",
    "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange",
    "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant",
    "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone",
    "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors",
    "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
"""The 80 classes of COCO, in its order."""

VOCABULARIES = {"coco": COCO}

MAX_BYTES = 2**24
"""Most bytes of a file of tags."""


class Fixed:
    """A vocabulary.

    Args:
        vocabulary: Names; the name of a known vocabulary (`coco`); or the path of a text file of
            one tag a line, in UTF-8, where empty lines are left out.

    Raises:
        UsageError: There is no such file, or no tag in it.
    """

    needs_image = False

    def __init__(self, *, vocabulary: Sequence[str] | str = "coco") -> None:
        if isinstance(vocabulary, str):
            names = VOCABULARIES.get(vocabulary) or read_names(vocabulary, "vocabulary")
        else:
            names = [str(name).strip() for name in vocabulary]
        self._tags = [Tag(name, 1.0) for name in dict.fromkeys(filter(None, names))]
        if not self._tags:
            raise UsageError(f"expected a vocabulary of at least one tag, got {vocabulary!r}")

    def tag(self, pictures: Sequence[Image.Image]) -> list[Tags]:
        """The vocabulary, once for each picture."""
        return [list(self._tags) for _ in pictures]


def read_names(path: str | Path, option: str) -> list[str]:
    """The lines of a text file, without spaces at their ends and without empty ones.

    Args:
        path: The file.
        option: Which option named it, for the message.

    Raises:
        UsageError: It cannot be read, or is no text in UTF-8.
    """
    try:
        data = files.read_bounded(path, MAX_BYTES)
    except OSError as error:
        raise UsageError(
            f"expected {option} as a text file of one entry a line, got {str(path)!r} "
            f"({error.strerror or error})"
        ) from None
    if data is None:
        raise UsageError(f"expected {option} as a file of at most {MAX_BYTES} bytes, got {path}")
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise UsageError(f"expected {option} as text in UTF-8, got {path}") from None
    return [line.strip() for line in lines if line.strip()]


TAGGERS.register("fixed", Fixed)
