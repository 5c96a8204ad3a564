"""The grounder in the package: a small net trained on Scenes, for trying and teaching.

It looks for things, reads what each is, and matches them with the description. It knows the world
of the data set `scenes` and nothing else; `docs/builtin-grounder.md` has its figures.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from groundingme import images
from groundingme.errors import ImageError, RequestError, UsageError
from groundingme.models import PROVIDERS, Model, Request
from groundingme.models.builtin.nets import Memory, Nets, Seen, shipped
from groundingme.models.builtin.words import description
from groundingme.registry import unknown
from groundingme.schema import Generation

MATCHERS = {"grounder": "match", "grounder-positive-only": "match-positive-only"}
"""The net behind each name. The second one has never been shown a question without an answer."""

_MEMORY = Memory()
_NOTED = 6
"""Most things that the reasoning names."""


class Grounder(Model):
    """Answers the unified prompt, or a bare description, with a box or null.

    At temperature 0 the most likely of all things and none; above it one drawn from
    softmax(logits / temperature), seeded by request and trajectory. `confidence` is the
    probability of the answer at temperature 1.

    Args:
        name: Of `MATCHERS`.
        weights: Folder with a matcher of one's own and its `grounder.json`, as the recipe and
            sweeps write them; nets that are not there are the package's. None for the package's.

    Raises:
        UsageError: No such name, or a folder without it.
    """

    coords = "abs"

    def __init__(self, name: str, *, weights: str | Path | None = None) -> None:
        if name not in MATCHERS:
            raise unknown("built-in model", name, MATCHERS)
        self.name = f"builtin/{name}"
        self._matcher = MATCHERS[name]
        self._own = Nets(Path(weights)) if weights is not None else None
        if self._own and not self._own.has(self._matcher):
            raise UsageError(
                f"expected {self._matcher}.onnx in {weights} for {self.name}, got none; name a "
                "folder that the recipe or a sweep has written"
            )

    def settings(self) -> dict[str, Any]:
        """Weights of one's own make another run: the folder's name and their digest."""
        if self._own is None:
            return {}
        return {"weights": f"{self._own.folder.name}@{self._own.table.weights}"}

    async def generate(self, request: Request) -> Generation:
        """One reply, made in a thread of its own."""
        return await asyncio.to_thread(self._answer, request, time.monotonic())

    async def choices(self, request: Request, n: int) -> list[Generation]:
        """N replies, for which the picture is looked at once."""
        asked = [
            msgspec.structs.replace(request, trajectory=request.trajectory + at) for at in range(n)
        ]
        began = time.monotonic()
        return await asyncio.to_thread(lambda: [self._answer(one, began) for one in asked])

    def _answer(self, request: Request, began: float) -> Generation:
        """A reply; its latency counts from `began`, so that waiting for a thread is in it."""
        nets = self._own or shipped()
        seen = self._see(nets, request)
        text = description(request.prompt)
        scores = nets.match(self._matcher, seen, text)
        chosen = choose(scores, request)
        chance = _softmax(scores)
        none = chosen == len(seen.boxes)
        box = None if none else [round(edge, 2) for edge in seen.boxes[chosen].tolist()]
        return Generation(
            id=request.id,
            trajectory=request.trajectory,
            text=json.dumps({"bbox_2d": box}),
            reasoning=_reasoning(nets, seen, chance),
            finish_reason="stop",
            latency=time.monotonic() - began,
            served_model=f"{self.name}@{nets.table.weights}",
            confidence=float(chance[chosen]),
        )

    def _see(self, nets: Nets, request: Request) -> Seen:
        image = request.image
        if image is None:
            raise RequestError("image", f"expected an image, got none; {self.name} needs one")

        def see() -> Seen:
            return nets.see(images.open_upright(image.data))

        try:
            return _MEMORY.get(f"{nets.eyes} {image.digest}", see)
        except ImageError as error:
            raise RequestError("image", str(error)) from None


def choose(scores: NDArray[np.float64], request: Request) -> int:
    """Index of the answer among the logits, as the request's temperature wants it."""
    if request.temperature <= 0:
        return int(np.argmax(scores))
    chance = _softmax(scores / request.temperature)
    dice = random.Random(f"{request.id}:{request.trajectory}").random()
    drawn = int(np.searchsorted(np.cumsum(chance), dice, side="right"))
    return min(drawn, len(scores) - 1)


def _softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    odds = np.exp(scores - scores.max())
    return np.asarray(odds / odds.sum())


def _reasoning(nets: Nets, seen: Seen, chance: NDArray[np.float64]) -> str:
    """What was considered, one line each, the likeliest first."""
    lines = []
    for which in np.argsort(-chance, kind="stable")[:_NOTED].tolist():
        if which == len(seen.boxes):
            lines.append(f"nothing matches: {chance[which]:.2f}")
        else:
            x1, y1, x2, y2 = (round(edge) for edge in seen.boxes[which].tolist())
            what = nets.note(seen, which)
            lines.append(f"saw a {what} from {x1},{y1} to {x2},{y2}: {chance[which]:.2f}")
    return "\n".join(lines)


PROVIDERS.register("builtin", Grounder)
