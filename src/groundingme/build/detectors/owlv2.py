"""OWLv2 and OWL-ViT, through transformers.

    [detect]
    by = "owlv2"
    model = "google/owlv2-base-patch16-ensemble"

Each tag is a query of its own, up to 16 tokens long, so tags do not see each other; `prompt` puts
words around it, as in training.

Sources: arXiv 2205.06230, arXiv 2306.09683.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundingme.build.detectors import DETECTORS
from groundingme.build.detectors.zeroshot import ZeroShot
from groundingme.errors import UsageError
from groundingme.models.detectors import LABEL

_TOGETHER = 256
"""Tags that are asked for at once: what bounds the memory for scores."""


class Owl(ZeroShot):
    """An OWLv2 or OWL-ViT.

    Args:
        model: Hub id, or path of a folder.
        threshold: Score from which there is a box, in [0, 1].
        text_threshold: Score from which a box has a further label, in [0, 1]; 1 for none.
        prompt: The query for a tag, which stands in place of `{}`.
        device: Such as `cuda:1` or `cpu`; "" for the first GPU where there is one.
        dtype: Of the arithmetic: `float32`, `float16` or `bfloat16`. The weights are float32.
        revision: Branch, tag or commit on the Hub; "" for the newest.
    """

    def __init__(
        self,
        *,
        model: str,
        threshold: float = 0.1,
        text_threshold: float = 1.0,
        prompt: str = "a photo of a {}",
        device: str = "",
        dtype: str = "float32",
        revision: str = "",
    ) -> None:
        if prompt.count("{}") != 1:
            raise UsageError(f"expected a prompt with {{}} in it for the tag, got {prompt!r}")
        super().__init__(
            LABEL, model=model, threshold=threshold, text_threshold=text_threshold,
            device=device, dtype=dtype, revision=revision,
        )  # fmt: skip
        self._prompt = prompt

    def chunks(self, tags: Sequence[str]) -> list[list[str]]:
        """Up to `_TOGETHER` tags, in their order."""
        said = [tag for tag in dict.fromkeys(tags) if tag.strip()]
        return [list(some) for some in _batched(said, _TOGETHER)]

    def look(
        self, asked: Sequence[Sequence[str]], pixels: dict[str, Any]
    ) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Scores of every patch for every tag, and its box; see `ZeroShot.look`."""
        import torch

        most = max(map(len, asked))
        tokenizer = self.processor.tokenizer
        length = int(self.model.config.text_config.max_position_embeddings)
        texts = [
            tokenizer(
                [self._prompt.replace("{}", tag) for tag in tags], padding="max_length",
                truncation=True, max_length=length, return_tensors="pt",
            )
            for tags in asked
        ]  # fmt: skip
        # Every picture has as many queries; those that begin with 0 are none.
        ids = torch.zeros((len(asked), most, length), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, text in enumerate(texts):
            ids[row, : len(asked[row])] = text["input_ids"]
            mask[row, : len(asked[row])] = text["attention_mask"]
        seen = self.model(
            input_ids=ids.flatten(0, 1).to(self.device),
            attention_mask=mask.flatten(0, 1).to(self.device),
            **pixels,
        )
        logits = seen.logits.float().cpu().double().sigmoid().numpy()
        boxes = seen.pred_boxes.float().cpu().numpy().astype(np.float64)
        return [
            (scores[:, : len(tags)], mine)
            for tags, scores, mine in zip(asked, logits, boxes, strict=True)
        ]

    def scale(self, size: tuple[int, int]) -> tuple[int, int]:
        """OWLv2 fills a picture up to a square at its right or lower side; OWL-ViT squeezes it."""
        return (max(size),) * 2 if self.model.config.model_type == "owlv2" else size


def _batched(tags: Sequence[str], size: int) -> list[tuple[str, ...]]:
    left = iter(tags)
    return list(iter(lambda: tuple(itertools.islice(left, size)), ()))


DETECTORS.register("owlv2", Owl)
