"""YOLO in ONNX, of the kind that Ultralytics exports (YOLOv8 and later), through onnxruntime.

    [detect]
    by = "yolo"
    model = "yolov8n.onnx"

Input `(1, 3, S, S)` in [0, 1]; the picture is scaled to fit, and grey fills up the rest. Output
`(1, 4 + C, A)`: centre, width and height in pixels of the input, and a score for each of C
classes. It knows its classes and no others: the tags of a picture are not looked at.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from groundingme.build.detectors import DETECTORS, NOTHING, Found
from groundingme.build.records import Picture
from groundingme.build.suppress import suppress
from groundingme.build.taggers.fixed import COCO, read_names
from groundingme.errors import DataError, UsageError
from groundingme.models.options import share

if TYPE_CHECKING:
    from PIL import Image

_GREY = 114
"""What fills up the picture, as in training."""


class Yolo:
    """A YOLO.

    Args:
        model: The ONNX file.
        threshold: Score below which a box is left out, in [0, 1].
        iou: Of two boxes of one class beyond which the lower score is left out, in [0, 1]: every
            object is found by many anchors.
        classes: A text file with a name a line; "" for those in the model, else COCO's.
        threads: Of the processor; 0 for as many as onnxruntime sees fit.
        gpu: Whether it runs on the GPU; needs the package onnxruntime-gpu.
    """

    needs_image = True
    same_size = False
    files = ("model", "classes")

    def __init__(
        self,
        *,
        model: str,
        threshold: float = 0.25,
        iou: float = 0.7,
        classes: str = "",
        threads: int = 0,
        gpu: bool = False,
    ) -> None:
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads
        wanted = "CUDAExecutionProvider" if gpu else "CPUExecutionProvider"
        if wanted not in onnxruntime.get_available_providers():
            raise UsageError(
                "expected onnxruntime with CUDA for gpu = true, got one without; "
                "pip install onnxruntime-gpu"
            )
        try:
            self._session = onnxruntime.InferenceSession(model, settings, providers=[wanted])
        # The boundary: its exceptions are of a module that is private.
        except Exception as error:  # noqa: BLE001
            said = " ".join(str(error).split())[:200]
            raise UsageError(f"expected an ONNX model in {model}, got: {said}") from None
        taken = self._session.get_inputs()
        shape = taken[0].shape
        if len(taken) != 1 or len(shape) != 4:
            raise UsageError(f"expected a YOLO with one input (1, 3, S, S) in {model}, got {shape}")
        self._input = taken[0].name
        self._half = "float16" in taken[0].type
        self._size = tuple(one if isinstance(one, int) else 640 for one in shape[2:])
        self._threshold = share("threshold", threshold) or 0.0
        self._iou = share("iou", iou) or 0.0
        self._classes = list(read_names(classes, "classes")) if classes else self._own_names()

    def _own_names(self) -> list[str]:
        """The names that the exporter left in the file; COCO's where it left none."""
        said = self._session.get_modelmeta().custom_metadata_map.get("names", "")
        try:
            names: Any = ast.literal_eval(said)
            return [str(names[at]) for at in range(len(names))]
        except (ValueError, SyntaxError, KeyError, TypeError, MemoryError, RecursionError):
            return list(COCO)

    def detect(
        self, pictures: Sequence[Picture], images: Sequence[Image.Image]
    ) -> list[Found | Exception]:
        """What is in each picture; see `Detector.detect`."""
        return [self._found(image) for image in images]

    def _found(self, image: Image.Image) -> Found | Exception:
        pixels, scale, left, top = _letterbox(image, *self._size)
        values = np.asarray(pixels, np.float32).transpose(2, 0, 1)[None] / 255
        if self._half:
            values = values.astype(np.float16)
        out = np.asarray(self._session.run(None, {self._input: values})[0], np.float64)
        if out.ndim != 3 or out.shape[1] != 4 + len(self._classes):
            return DataError(
                f"expected an output (1, {4 + len(self._classes)}, A) for {len(self._classes)} "
                f"classes, got {out.shape}; name the file of its classes with `classes`"
            )
        scores = out[0, 4:].max(axis=0)
        sure = np.flatnonzero(scores >= self._threshold)
        if not len(sure):
            return NOTHING
        kinds = out[0, 4:, sure].argmax(axis=1)
        center, half = out[0, :2, sure], out[0, 2:4, sure] / 2
        boxes = np.concatenate([center - half, center + half], axis=1)
        boxes = (boxes - (left, top, left, top)) / scale
        by = suppress(boxes, kinds, scores[sure], policy="per-class", iou=self._iou).by
        kept = np.flatnonzero(by < 0)
        labels = [self._classes[kind] for kind in kinds[kept]]
        return Found(boxes[kept], labels, scores[sure][kept])


def _letterbox(
    image: Image.Image, height: int, width: int
) -> tuple[Image.Image, NDArray[np.float64], int, int]:
    """The picture scaled to fit, in the middle of grey.

    Returns:
        The input, the scale as x y x y, and how far the picture lies from the left and the top.
    """
    from PIL import Image

    share = min(width / image.width, height / image.height)
    size = max(1, round(image.width * share)), max(1, round(image.height * share))
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    canvas = Image.new("RGB", (width, height), (_GREY,) * 3)
    scaled = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    canvas.paste(scaled, (left, top))
    scale = np.array([size[0] / image.width, size[1] / image.height] * 2)
    return canvas, scale, left, top


DETECTORS.register("yolo", Yolo)
