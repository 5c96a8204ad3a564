"""A model whose every answer is given beforehand, and samples that need no picture."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from groundingme.datasets import Dataset
from groundingme.models import Model, Request
from groundingme.schema import Box, Generation, Sample


class Scripted(Model):
    """Says what a function of the request gives: a text, a box in pixels, or None for a rejection.

    Attributes:
        requests: All that it was asked.
    """

    needs_image = False
    coords = "abs"

    def __init__(self, name: str, says: Callable[[Request], str | Box | None]) -> None:
        self.name = f"scripted/{name}"
        self._says = says
        self.requests: list[Request] = []

    async def generate(self, request: Request) -> Generation:
        self.requests.append(request)
        said = self._says(request)
        text = said if isinstance(said, str) else json.dumps({"bbox_2d": said})
        return Generation(id=request.id, text=text, finish_reason="stop")


TARGET: Box = (300.0, 40.0, 460.0, 120.0)
ELSEWHERE: Box = (400.0, 300.0, 500.0, 400.0)


def dataset(subtasks: Sequence[tuple[str, str]], each: int, name: str = "made") -> Dataset:
    """`each` samples of every subtask; those of Rejection have no target."""
    samples = [
        Sample(
            id=f"{l1}-{l2}-{number}".lower(),
            description=f"thing {number}",
            target=None if l1 == "Rejection" else TARGET,
            width=640,
            height=480,
            subtask_l1=l1,
            subtask_l2=l2,
        )
        for l1, l2 in subtasks
        for number in range(each)
    ]
    return Dataset(name=name, source=name, samples=samples)
