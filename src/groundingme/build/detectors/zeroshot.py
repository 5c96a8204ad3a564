"""What the detectors that are told what to look for have in common; see `grounding_dino`, `owlv2`.

The tags of a picture are looked for in chunks. In every chunk each place where the model sees
something (a *query* of it) has a score for each tag. Where the best of them reaches `threshold`
there is a box, labelled with that tag, and once more with every further tag that reaches
`text_threshold`: the stage `suppress` then decides which of the labels stays.
"""

from __future__ import annotations

import abc
import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from groundingme.build.detectors import NOTHING, Found
from groundingme.build.records import Picture
from groundingme.errors import MissingDependencyError, UsageError
from groundingme.models.options import share
from groundingme.models.transformers import first_line

if TYPE_CHECKING:
    from PIL import Image

DTYPES = ("float32", "float16", "bfloat16")


class ZeroShot(abc.ABC):
    """A detector of transformers that is told what to look for.

    Args:
        types: Types of models that it can be.
        model: Hub id, or path of a folder.
        threshold: Score from which there is a box, in [0, 1].
        text_threshold: Score from which a box has a further label, in [0, 1]; 1 for none.
        device: Such as `cuda:1` or `cpu`; "" for the first GPU where there is one.
        dtype: Of the arithmetic: `float32`, `float16` or `bfloat16`. The weights are float32.
        revision: Branch, tag or commit on the Hub; "" for the newest.
    """

    needs_image = True
    same_size = True

    def __init__(
        self,
        types: Sequence[str],
        *,
        model: str,
        threshold: float,
        text_threshold: float,
        device: str,
        dtype: str,
        revision: str,
    ) -> None:
        for package in ("torch", "transformers"):
            if importlib.util.find_spec(package) is None:
                raise MissingDependencyError(
                    f"expected torch and transformers for the detector of {model}, got no "
                    f"{package}; pip install 'groundingme[build]'"
                )
        if dtype not in DTYPES:
            raise UsageError(f"expected dtype as one of {', '.join(DTYPES)}, got {dtype!r}")
        self._threshold = share("threshold", threshold) or 0.0
        self._further = share("text_threshold", text_threshold) or 0.0
        self._dtype = dtype
        self._load(types, model, device, {"revision": revision} if revision else {})

    def _load(self, types: Sequence[str], model: str, device: str, given: dict[str, str]) -> None:
        import torch
        from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        try:
            self.processor: Any = AutoProcessor.from_pretrained(model, **given)
            loaded: Any = AutoModelForZeroShotObjectDetection.from_pretrained(model, **given)
            self.model: Any = loaded.to(self.device).eval()
        # The boundary: transformers raises whatever a missing file, a wrong type, an absent package
        # or a full device comes to.
        except Exception as error:  # noqa: BLE001
            raise UsageError(
                f"expected a detector that transformers can load, got {model}: {first_line(error)}"
            ) from None
        found = self.model.config.model_type
        if found not in types:
            raise UsageError(
                f"expected a detector of one of the types {', '.join(types)}, got {found} at "
                f"{model}"
            )

    def detect(
        self, pictures: Sequence[Picture], images: Sequence[Image.Image]
    ) -> list[Found | Exception]:
        """What is in each picture; see `Detector.detect`."""
        import torch

        if len({image.size for image in images}) > 1:
            # Filled up to one size, the smaller ones would look different.
            each = zip(pictures, images, strict=True)
            return [self.detect([one], [image])[0] for one, image in each]
        chunks = [self.chunks(one.tags) for one in pictures]
        parts: list[list[Found]] = [[] for _ in pictures]
        turns = max(map(len, chunks), default=0)
        if turns:
            seen = self.processor.image_processor(images=list(images), return_tensors="pt")
            pixels = {name: value.to(self.device) for name, value in seen.items()}
        for turn in range(turns):
            which = [at for at, mine in enumerate(chunks) if len(mine) > turn]
            some = pixels
            if len(which) < len(pictures):
                some = {name: value[which] for name, value in pixels.items()}
            asked = [chunks[at][turn] for at in which]
            half = self._dtype != "float32"
            kind = getattr(torch, self._dtype)
            with (
                torch.inference_mode(),
                torch.autocast(
                    self.device.partition(":")[0], dtype=kind if half else None, enabled=half
                ),
            ):
                answers = self.look(asked, some)
            for at, tags, (scores, boxes) in zip(which, asked, answers, strict=True):
                corners = self._corners(boxes, images[at].size)
                parts[at].append(self._labelled(scores, corners, tags))
        return [_together(mine) for mine in parts]

    @abc.abstractmethod
    def chunks(self, tags: Sequence[str]) -> list[list[str]]:
        """The tags as they are asked for together; those that say nothing are left out."""

    @abc.abstractmethod
    def look(
        self, asked: Sequence[Sequence[str]], pixels: dict[str, Any]
    ) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """What the model sees.

        Args:
            asked: Tags of each picture.
            pixels: What the image processor made of the pictures, on the device.

        Returns:
            For each picture scores of shape `(Q, T)` in [0, 1], and boxes of shape `(Q, 4)`:
            centre, width and height as shares.
        """

    def scale(self, size: tuple[int, int]) -> tuple[int, int]:
        """What the shares of boxes are shares of, in pixels: the picture's width and height."""
        return size

    def _corners(self, boxes: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
        center, half = boxes[:, :2], boxes[:, 2:] / 2
        return np.concatenate([center - half, center + half], axis=1) * (self.scale(size) * 2)

    def _labelled(
        self, scores: NDArray[np.float64], boxes: NDArray[np.float64], tags: Sequence[str]
    ) -> Found:
        best = scores.argmax(axis=1)
        sure = scores.max(axis=1) >= self._threshold
        chosen = sure[:, None] & (scores >= self._further)
        chosen[sure, best[sure]] = True
        query, tag = np.nonzero(chosen)
        return Found(boxes[query], [tags[at] for at in tag.tolist()], scores[query, tag])


def _together(parts: Sequence[Found]) -> Found:
    if not parts:
        return NOTHING
    return Found(
        np.concatenate([one.boxes for one in parts]),
        [label for one in parts for label in one.labels],
        np.concatenate([one.scores for one in parts]),
    )
