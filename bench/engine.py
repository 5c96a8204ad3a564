"""Whether an engine in this process ever waits for its client: a stand-in counts its idle time.

    .venv/bin/python bench/engine.py

The stand-in takes batches as `transformers/` and `vllm/` do (`models/batching.py`), decodes the
pictures of a batch (1125x750), and then sleeps as long as a device would: 0.4 s and 0.06 s an
image. Idle is what lies between the end of one batch and the start of the next one, as a share of
the time from the first start to the last end. The first batch, for which a device must wait, is
left out. How long a picture took to decode stands beside it: where that is more than 0.06 s, the
machine and not the client is too slow for the device.

Each batch size is measured as models in this process do it, with pictures decoded while the batch
before is on the device and twice a batch in hand; and as one would without, with pictures decoded
in the batch and 16 samples in hand.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from data import numbered, photo
from groundingme import images
from groundingme.images import FileImage
from groundingme.models import Model, Request
from groundingme.models.batching import Batches
from groundingme.runner import ask
from groundingme.schema import Generation, Sample

START, EACH = 0.4, 0.06
"""Seconds of a batch, and of each image in it."""


class Engine(Model):
    """The stand-in.

    Args:
        size: Most questions of a batch.
        ahead: Whether pictures are decoded while the batch before is on the device.
    """

    def __init__(self, size: int, *, ahead: bool) -> None:
        self.name = "bench/engine"
        self.in_hand = 2 * size if ahead else 0
        self.spans: list[tuple[float, float]] = []
        self.sizes: list[int] = []
        how: dict[str, Any] = {"prepare": self._decoded} if ahead else {}
        self.decoding = 0.0
        self._ahead = ahead
        self._batches = Batches(self._work, size, **how)

    async def generate(self, request: Request) -> Generation:
        return await self._batches.ask(request)

    async def aclose(self) -> None:
        await self._batches.aclose()

    def _decoded(self, requests: Sequence[Request]) -> list[tuple[Request, Any]]:
        began = time.perf_counter()
        with ThreadPoolExecutor(4) as pool:
            pictures = pool.map(
                lambda one: images.open_upright(one.image.data) if one.image else None, requests
            )
            found = list(zip(requests, pictures, strict=True))
        self.decoding += time.perf_counter() - began
        return found

    def _work(self, given: Any) -> list[Generation]:
        questions = given if self._ahead else self._decoded(given)
        began = time.perf_counter()
        time.sleep(START + EACH * len(questions))
        self.spans.append((began, time.perf_counter()))
        self.sizes.append(len(questions))
        return [Generation(id=request.id, text="null") for request, _ in questions]

    def idle(self) -> float:
        """Share of the time, in [0, 1]."""
        whole = self.spans[-1][1] - self.spans[0][0]
        return 1 - sum(end - began for began, end in self.spans) / whole


def main() -> None:
    found: dict[str, Any] = {}
    print(
        f"{'batch':>6}{'samples':>9}  {'decoded':<22}{'batches of':<16}{'idle':>6}{'decoding':>14}"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "one.jpg"
        path.write_bytes(numbered(photo(1125, 750, np.random.default_rng(7)), 1))
        image = FileImage(str(path))
        for size, count in ((1, 20), (8, 80), (32, 160)):
            samples = [
                Sample(id=str(n), description=f"thing {n}", target=None, image=image)
                for n in range(count)
            ]
            for ahead in (True, False):
                engine = Engine(size, ahead=ahead)
                work = ask(engine, samples, prompt="{description}", sink=lambda one: None)
                asyncio.run(work)
                where = "while one is answered" if ahead else "in the batch"
                sizes = f"{min(engine.sizes)} to {max(engine.sizes)}"
                each = f"{1000 * engine.decoding / count:.0f} ms each"
                idle = f"{100 * engine.idle():.1f}%"
                print(f"{size:>6}{count:>9}  {where:<22}{sizes:<16}{idle:>6}{each:>14}", flush=True)
                found[f"{size} {where}"] = round(engine.idle(), 4)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
