"""GroundingDINO and MM-GroundingDINO, through transformers.

    [detect]
    by = "grounding-dino"
    model = "IDEA-Research/grounding-dino-base"

A picture's tags become texts such as `cat. traffic light.`, as many as the text encoder's 256
tokens take, and every token of a text gets a score in every query. The score of a tag is the
highest of its own tokens; those of the full stops and of other tags are not looked at. (The labels
that the library makes of all tokens above a threshold run several tags together, and cut others.)

Sources: arXiv 2303.05499, arXiv 2401.02361.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from groundingme.build.detectors import DETECTORS
from groundingme.build.detectors.zeroshot import ZeroShot
from groundingme.models.detectors import PHRASE, phrase

_ENDS = 2
"""Tokens before the first tag and behind the last."""


class _Text(NamedTuple):
    """Tags in tokens.

    Attributes:
        ids: Of the tokens.
        spans: Where each tag's tokens begin and end.
    """

    ids: list[int]
    spans: list[tuple[int, int]]


class GroundingDino(ZeroShot):
    """A GroundingDINO.

    Args:
        model: Hub id, or path of a folder.
        threshold: Score from which there is a box, in [0, 1].
        text_threshold: Score from which a box has a further label, in [0, 1]; 1 for none.
        device: Such as `cuda:1` or `cpu`; "" for the first GPU where there is one.
        dtype: Of the arithmetic: `float32`, `float16` or `bfloat16`. The weights are float32.
        revision: Branch, tag or commit on the Hub; "" for the newest.
    """

    def __init__(
        self,
        *,
        model: str,
        threshold: float = 0.25,
        text_threshold: float = 0.25,
        device: str = "",
        dtype: str = "float32",
        revision: str = "",
    ) -> None:
        super().__init__(
            PHRASE, model=model, threshold=threshold, text_threshold=text_threshold,
            device=device, dtype=dtype, revision=revision,
        )  # fmt: skip
        tokenizer = self.processor.tokenizer
        self._stop, self._question = tokenizer.convert_tokens_to_ids([".", "?"])
        self._marks = {*tokenizer.all_special_ids, self._stop, self._question}
        self._most = min(int(self.model.config.max_text_len), int(tokenizer.model_max_length))
        self._known: dict[str, list[int]] = {}

    def chunks(self, tags: Sequence[str]) -> list[list[str]]:
        """As many tags together as the text encoder takes, in their order."""
        chunks: list[list[str]] = []
        room = 0
        for tag in dict.fromkeys(tags):
            needed = len(self._tokens(tag)) + 1
            if needed == 1:
                continue
            if needed > room:
                chunks.append([])
                room = self._most - _ENDS
            chunks[-1].append(tag)
            room -= needed
        return chunks

    def look(
        self, asked: Sequence[Sequence[str]], pixels: dict[str, Any]
    ) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Scores of every query for every tag, and its box; see `ZeroShot.look`."""
        import torch

        texts = [self._text(tags) for tags in asked]
        length = max(len(one.ids) for one in texts)
        ids = torch.full((len(texts), length), self.processor.tokenizer.pad_token_id)
        mask = torch.zeros_like(ids)
        for row, text in enumerate(texts):
            ids[row, : len(text.ids)] = torch.tensor(text.ids)
            mask[row, : len(text.ids)] = 1
        seen = self.model(
            input_ids=ids.to(self.device),
            attention_mask=mask.to(self.device),
            token_type_ids=torch.zeros_like(ids).to(self.device),
            **pixels,
        )
        tokens = seen.logits.float().cpu().double().sigmoid().numpy()
        boxes = seen.pred_boxes.float().cpu().numpy().astype(np.float64)
        return [
            (np.stack([scores[:, a:b].max(axis=1) for a, b in text.spans], axis=1), mine)
            for text, scores, mine in zip(texts, tokens, boxes, strict=True)
        ]

    def _text(self, tags: Sequence[str]) -> _Text:
        tokenizer = self.processor.tokenizer
        ids, spans = [int(tokenizer.cls_token_id)], []
        for tag in tags:
            tokens = self._tokens(tag)
            spans.append((len(ids), len(ids) + len(tokens)))
            ids += [*tokens, self._stop]
        return _Text([*ids, int(tokenizer.sep_token_id)], spans)

    def _tokens(self, tag: str) -> list[int]:
        """A tag's tokens without any that would end it; cut where it alone is too long."""
        if tag not in self._known:
            words = phrase(tag).removesuffix(".")
            ids = self.processor.tokenizer(words, add_special_tokens=False)["input_ids"]
            fine = [one for one in ids if one not in self._marks]
            self._known[tag] = fine[: self._most - _ENDS - 1]
        return self._known[tag]


DETECTORS.register("grounding-dino", GroundingDino)
