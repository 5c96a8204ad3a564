"""CPU that asking costs apart from images: requests with a picture of 64x48 at a local server.

    .venv/bin/python bench/overhead.py

Reading, encoding, sending, receiving and keeping 1,500 replies in this process, without start-up
and scoring; the lowest of three turns, for 64 requests in flight and for `auto`. Then a whole run
of 1,005 samples as `groundingme eval` does it, with its progress, scores under both protocols and
files, and without progress.
"""

from __future__ import annotations

import asyncio
import io
import os
import tempfile
import time

from PIL import Image

from groundingme.datasets import Dataset
from groundingme.evaluation import evaluate
from groundingme.images import BytesImage
from groundingme.models import load_model
from groundingme.progress import Lines, Progress
from groundingme.runner import ask
from groundingme.schema import Generation, Sample
from run import server

REQUESTS = 1500
SAMPLES = 1005


def samples(count: int) -> list[Sample]:
    picture = io.BytesIO()
    Image.new("RGB", (64, 48), "red").save(picture, "JPEG")
    image = BytesImage("one.jpg", picture.getvalue())
    return [
        Sample(
            id=str(n),
            description=f"thing {n}",
            target=None if n % 4 == 0 else (6.0, 9.0, 32.0, 28.0),
            subtask_l1="Rejection" if n % 4 == 0 else "Discriminative",
            width=64,
            height=48,
            image=image,
        )
        for n in range(count)
    ]


def cpu(base_url: str, count: int, concurrency: int | None) -> float:
    """Seconds of CPU of this process."""
    got: list[Generation] = []
    model = load_model("openai/m", base_url=base_url)
    began = time.process_time()
    work = ask(
        model, samples(count), prompt="{description}", sink=got.append, concurrency=concurrency
    )
    asyncio.run(work)
    used = time.process_time() - began
    assert len(got) == count
    assert not any(one.failure for one in got)
    return used


def whole(base_url: str, progress: Progress | None) -> float:
    """Seconds of CPU of this process for a run from its first request to its last file."""
    dataset = Dataset(name="bench", source="bench", samples=samples(SAMPLES))
    with tempfile.TemporaryDirectory() as out:
        began = time.process_time()
        result = evaluate(
            "openai/m", dataset, coords="n1000", base_url=base_url, concurrency=64, out=out,
            progress=progress,
        )  # fmt: skip
        used = time.process_time() - began
    assert result.metrics["box"] == SAMPLES
    return used


def main() -> None:
    with server(100) as base_url:
        cpu(base_url, 200, 64)
        for concurrency in (64, None):
            best = min(cpu(base_url, REQUESTS, concurrency) for _ in range(3))
            print(f"{concurrency or 'auto':>5}  {1000 * best / REQUESTS:.2f} ms of CPU a request")
        with open(os.devnull, "w") as nowhere:
            for name, progress in (("whole run", Lines(nowhere)), ("without progress", None)):
                best = min(whole(base_url, progress) for _ in range(3))
                print(f"{name}: {best:.2f} s of CPU, {1000 * best / SAMPLES:.2f} ms a sample")


if __name__ == "__main__":
    main()
