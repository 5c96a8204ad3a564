"""Answers that look at no picture: they put a model's score in perspective."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

from groundingme.models import PROVIDERS, Model, Request
from groundingme.registry import unknown
from groundingme.schema import Box, Generation

Rule = Callable[[Request], Box | None]


def _whole(request: Request) -> Box:
    return (0.0, 0.0, float(request.width), float(request.height))


def _center(request: Request) -> Box:
    w, h = request.width, request.height
    return (w * 0.25, h * 0.25, w * 0.75, h * 0.75)


def _random(request: Request) -> Box:
    rng = random.Random(f"groundingme:{request.id}:{request.trajectory}")
    x1, x2 = sorted(rng.uniform(0, request.width) for _ in range(2))
    y1, y2 = sorted(rng.uniform(0, request.height) for _ in range(2))
    return (x1, y1, x2, y2)


RULES: dict[str, Rule] = {
    "center": _center,
    "whole": _whole,
    "random": _random,
    "null": lambda request: None,
}
"""`center`: half of each side, centred. `whole`: the image. `random`: corners drawn evenly,
seeded by the sample's id, so the same in any order. `null`: always a rejection."""


class Baseline(Model):
    """One rule, answering in the asked JSON in pixels of the original image."""

    needs_image = False
    coords = "abs"

    def __init__(self, name: str) -> None:
        if name not in RULES:
            raise unknown("baseline", name, RULES)
        self.name = f"baseline/{name}"
        self._rule = RULES[name]

    async def generate(self, request: Request) -> Generation:
        box = self._rule(request)
        rounded = None if box is None else [round(edge, 2) for edge in box]
        return Generation(
            id=request.id,
            trajectory=request.trajectory,
            text=json.dumps({"bbox_2d": rounded}),
            finish_reason="stop",
        )


PROVIDERS.register("baseline", Baseline)
