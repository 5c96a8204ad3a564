"""Open-vocabulary detectors as grounders: the description is the query, the best box the answer.

GroundingDINO, MM-GroundingDINO, OWL-ViT and OWLv2 through transformers
(`groundingme[transformers]`), from a hub id or a local folder.
"""

from __future__ import annotations

import inspect
import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from groundingme import images
from groundingme.errors import FatalError, ImageError, RequestError
from groundingme.models import PROVIDERS, Model, Request
from groundingme.models.batching import Batches, Outcome
from groundingme.models.builtin.words import description
from groundingme.models.options import share
from groundingme.models.transformers import fingerprint, first_line, needs_torch
from groundingme.schema import Generation

PHRASE = ("grounding-dino", "mm-grounding-dino")
"""Types of models that look for the phrases of a sentence, each ended by a full stop."""
LABEL = ("owlv2", "owlvit")
"""Types of models that look for labels."""


class Detector(Model):
    """A detector that is asked for one thing.

    The box of the highest score answers, and `confidence` is its score; below the threshold the
    answer is null, and `confidence` is what the score lacks to 1. Box and score are in
    `reasoning` either way, so another threshold needs no second run. A detector knows no
    instructions: of the unified prompt it reads the description, other prompts it reads whole, so
    `{description}` is the prompt to give it. Queries beyond the model's length are cut (OWL reads
    16 tokens), which `finish_reason` says: `cut-query`.

    Args:
        name: Hub id, or path of a folder.
        threshold: Score below which nothing matches, in [0, 1]; None for the default of the
            model's own post-processing (0.25 for GroundingDINO, 0.1 for OWL).
        device: Such as `cuda:1` or `cpu`; None for the first GPU where there is one.
        revision: Branch, tag or commit on the hub.
    """

    coords = "abs"

    def __init__(
        self,
        name: str,
        *,
        threshold: float | str | None = None,
        device: str | None = None,
        revision: str | None = None,
    ) -> None:
        needs_torch("detector")
        self.name = f"detector/{name}"
        self._path = name
        self._threshold = share("threshold", threshold)
        self._device = device
        self._revision = revision
        self._loaded: tuple[Any, Any] | None = None
        # One by one: filling up pictures to one size changes what these models see.
        self._batches = Batches(self._work, 1)

    def settings(self) -> dict[str, Any]:
        """The threshold, and which weights."""
        chosen = {
            "threshold": self._threshold,
            "revision": self._revision,
            "weights": fingerprint(Path(self._path)),
        }
        return {name: value for name, value in chosen.items() if value not in (None, "")}

    async def generate(self, request: Request) -> Generation:
        """One reply.

        Raises:
            FatalError: The detector cannot be loaded.
            RequestError: There is no image, or it cannot be used.
        """
        return await self._batches.ask(request)

    async def aclose(self) -> None:
        """Waits for the picture in hand. The weights stay loaded for the next run."""
        await self._batches.aclose()

    def _work(self, requests: Sequence[Request]) -> list[Outcome]:
        if self._loaded is None:
            self._loaded = self._load()
        return [self._answer(request, *self._loaded) for request in requests]

    def _load(self) -> tuple[Any, Any]:
        import torch
        from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

        given = {"revision": self._revision} if self._revision else {}
        try:
            processor = AutoProcessor.from_pretrained(self._path, **given)
            model = AutoModelForZeroShotObjectDetection.from_pretrained(self._path, **given)
            model.to(self._device or ("cuda" if torch.cuda.is_available() else "cpu"))
        # The boundary: transformers raises whatever a missing file, a wrong type, an absent package
        # or a full device comes to.
        except Exception as error:  # noqa: BLE001
            raise FatalError(
                "load",
                f"expected a detector that transformers can load, got {self._path}: "
                f"{first_line(error)}",
            ) from None
        if model.config.model_type not in (*PHRASE, *LABEL):
            raise FatalError(
                "load",
                f"expected a detector of one of the types {', '.join((*PHRASE, *LABEL))}, got "
                f"{model.config.model_type} at {self._path}",
            )
        return model.eval(), processor

    def _answer(self, request: Request, model: Any, processor: Any) -> Outcome:
        import torch

        if request.image is None:
            return RequestError("image", f"expected an image, got none; {self.name} needs one")
        try:
            picture = images.open_upright(request.image.data)
        except ImageError as error:
            return RequestError("image", str(error))
        began = time.perf_counter()
        query, most = description(request.prompt), processor.tokenizer.model_max_length
        text: Any = [[query]]
        if model.config.model_type in PHRASE:
            text = query = phrase(query)
            most = model.config.max_text_len
        length = len(processor.tokenizer(query)["input_ids"])
        inputs = processor(
            images=picture, text=text, truncation=True, max_length=most, return_tensors="pt"
        ).to(model.device)
        with torch.inference_mode():
            seen = model(**inputs)
        settle = processor.post_process_grounded_object_detection
        found = settle(seen, threshold=0.0, target_sizes=[(picture.height, picture.width)])[0]
        best = int(found["scores"].argmax())
        score = float(found["scores"][best])
        box = [round(edge, 2) for edge in found["boxes"][best].tolist()]
        least = self._threshold
        if least is None:
            least = inspect.signature(settle).parameters["threshold"].default
        sure = score >= least
        return Generation(
            id=request.id,
            trajectory=request.trajectory,
            text=json.dumps({"bbox_2d": box if sure else None}),
            reasoning=f"best of {len(found['scores'])} boxes for {query!r}: {box}, {score:.4f}",
            finish_reason="stop" if length <= most else "cut-query",
            prompt_tokens=min(length, most),
            latency=round(time.perf_counter() - began, 4),
            served_model=self._path,
            confidence=score if sure else 1 - score,
        )


def phrase(text: str) -> str:
    """A description as one phrase: lower case, and a full stop at its end alone.

    GroundingDINO takes full stops and question marks for the ends of phrases, and lets no word of
    one phrase see those of another.

    Example:
        >>> phrase("The man in shirt no. 5. Left of him: a dog?")
        'the man in shirt no 5 left of him: a dog.'
    """
    return " ".join(re.sub(r"[.?]", " ", text.lower()).split()) + "."


PROVIDERS.register("detector", Detector)
