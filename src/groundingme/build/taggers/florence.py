"""Florence-2 as a tagger: what it finds in a picture is what may be in it.

"Florence-2: Advancing a Unified Representation for a Variety of Vision Tasks", arXiv 2311.06242,
through the model's own class in transformers. Its boxes are let be; a detector finds them anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from groundingme.build.taggers import TAGGERS, Tag, Tags, check_dtype, needs, place
from groundingme.build.taggers.names import alike
from groundingme.errors import JobError, UsageError
from groundingme.models.options import whole
from groundingme.models.transformers import first_line

if TYPE_CHECKING:
    from PIL import Image

TASKS = ("<OD>", "<DENSE_REGION_CAPTION>")
"""Tasks whose answers name objects: by class, or by a short description."""

MOST = 100
"""Tags of one picture; more than that is a reply that repeats itself."""


class Florence:
    """Florence-2 from a hub id or a local folder, in the format of transformers' own class.

    Args:
        model: Such as `florence-community/Florence-2-large`.
        task: `<OD>` for classes, or `<DENSE_REGION_CAPTION>` for short descriptions.
        revision: Branch, tag or commit on the Hub.
        device: Such as `cuda:1` or `cpu`; None for the first GPU where there is one.
        dtype: `float32`, `float16` or `bfloat16`; `auto` is float16 on a GPU, else float32.
        batch_size: Most pictures at once.
        beams: Of the search for the best reply, as the authors use it; 1 is greedy.
        max_tokens: Most tokens of a reply.

    Raises:
        UsageError: An option cannot be used.
        MissingDependencyError: Torch or transformers is not installed.
    """

    needs_image = True

    def __init__(
        self,
        *,
        model: str = "florence-community/Florence-2-large",
        task: str = "<OD>",
        revision: str | None = None,
        device: str | None = None,
        dtype: str = "auto",
        batch_size: int | str = 8,
        beams: int | str = 3,
        max_tokens: int | str = 1024,
    ) -> None:
        needs("florence")
        if task not in TASKS:
            raise UsageError(f"expected task as one of {', '.join(TASKS)}, got {task!r}")
        self._path = model
        self._task = task
        self._revision = revision
        self._device = device
        self._dtype = check_dtype(dtype)
        self._size = whole("batch_size", batch_size, 1) or 1
        self._beams = whole("beams", beams, 1)
        self._most = whole("max_tokens", max_tokens, 1)
        self._loaded: tuple[Any, Any] | None = None

    def tag(self, pictures: Sequence[Image.Image]) -> list[Tags]:
        """What it names, in its own order, each once and with score 1.

        Raises:
            JobError: It cannot be loaded, or memory does not suffice.
        """
        found: list[Tags] = []
        for at in range(0, len(pictures), self._size):
            replies = self._replies(pictures[at : at + self._size])
            found += [self._read(reply) for reply in replies]
        return found

    def _replies(self, pictures: Sequence[Image.Image]) -> list[str]:
        import torch

        if self._loaded is None:
            self._loaded = self._load()
        model, processor = self._loaded
        inputs = processor(
            images=list(pictures), text=[self._task] * len(pictures), return_tensors="pt"
        ).to(model.device, model.dtype)
        try:
            with torch.inference_mode():
                written = model.generate(
                    **inputs,
                    max_new_tokens=self._most,
                    num_beams=self._beams,
                    do_sample=False,
                )
        except torch.OutOfMemoryError:
            raise JobError(
                f"expected memory for {len(pictures)} pictures at once on {model.device}, got too "
                "little; make batch_size smaller"
            ) from None
        replies: list[str] = processor.batch_decode(written, skip_special_tokens=False)
        return replies

    def _read(self, reply: str) -> list[Tag]:
        assert self._loaded is not None
        # The size only scales the boxes, which nobody asks for.
        read = self._loaded[1].post_process_generation(
            text=reply, task=self._task, image_size=(1, 1)
        )
        labels = read[self._task]["labels"]
        return [Tag(name, 1.0) for name in alike(labels, MOST, plurals=self._task == "<OD>")]

    def _load(self) -> tuple[Any, Any]:
        from transformers import AutoProcessor, Florence2ForConditionalGeneration

        device, dtype = place(self._device, self._dtype)
        given = {"revision": self._revision} if self._revision else {}
        try:
            processor = AutoProcessor.from_pretrained(self._path, **given)
            model = Florence2ForConditionalGeneration.from_pretrained(
                self._path, dtype=dtype, **given
            )
            model.to(device)
        # The boundary: transformers raises whatever a missing file, a wrong type, an absent package
        # or a full device comes to.
        except Exception as error:  # noqa: BLE001
            raise JobError(
                f"expected a Florence-2 that transformers can load, got {self._path}: "
                f"{first_line(error)}"
            ) from None
        return model.eval(), processor


TAGGERS.register("florence", Florence)
