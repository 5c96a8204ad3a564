"""A small build to annotate, and a studio that serves it in a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from groundingme.build import tables
from groundingme.build.records import Change, Target, Verdict
from groundingme.build.sources import place
from groundingme.datasets import load_dataset
from groundingme.schema import Box, Sample

BIG = (7680, 4320)
"""Width and height of the big picture."""


def make_build(work: Path, *, scenes: int = 8, big: bool = True) -> Path:
    """A WORK folder as `groundingme build` leaves it after `verify`, with its pictures in it."""
    pictures = work / "pictures"
    pictures.mkdir(parents=True)
    targets = [_big(pictures)] if big else []
    for n, sample in enumerate(load_dataset(f"scenes:n={scenes}")):
        targets.append(_target(sample, pictures, n))
    stage = work / "04-verify-0123456789"
    stage.mkdir()
    tables.write(stage / "000000.parquet", targets, Target)
    (stage / "done").write_text("1")
    return work


def _target(sample: Sample, pictures: Path, n: int) -> Target:
    assert sample.image is not None
    name = f"scene-{n:02}.png"
    (pictures / name).write_bytes(sample.image.read())
    box = sample.target or (100.0, 100.0, 220.0, 240.0)
    rejection = sample.target is None
    return Target(
        id=f"{name}#0" + "-Component" * rejection,
        picture=name,
        where=place(str(pictures.resolve()), name),
        width=sample.width,
        height=sample.height,
        box=box,
        label=sample.detection_type,
        score=0.83,
        subtask_l1=sample.subtask_l1,
        subtask_l2=sample.subtask_l2,
        others=[_beside(box, 90.0), _beside(box, -90.0)],
        drafts=[sample.description, f"{sample.description} It is the one that is meant."],
        description=sample.description,
        original=sample.description.replace("that has", "without") if rejection else "",
        changes=[Change(kind="Component", before="without", after="that has", by="rules")]
        if rejection else [],
        verdicts=[
            Verdict(model="builtin", outcome="box", box=_beside(box, 4.0), iou=0.91, agrees=True),
            Verdict(model="mock:vague", outcome="rejected", box=None, iou=0.0, agrees=False),
        ],
        flags=["not-unique"] if n % 3 == 1 else [],
        rank=1.0 - n / 100,
    )  # fmt: skip


def _beside(box: Box, by: float) -> Box:
    return (max(box[0] + by, 0.0), box[1], max(box[2] + by, 1.0), box[3])


def _big(pictures: Path) -> Target:
    """An 8K JPEG: a gradient with a grid, so that each place looks like no other."""
    import numpy as np
    from PIL import Image, ImageDraw

    width, height = BIG
    across = np.linspace(40, 200, width, dtype=np.uint8)[None, :]
    down = np.linspace(60, 180, height, dtype=np.uint8)[:, None]
    rows = np.stack(np.broadcast_arrays(across, down, (across // 2 + down // 2)), axis=-1)
    picture = Image.fromarray(np.ascontiguousarray(rows))
    drawing = ImageDraw.Draw(picture)
    for x in range(0, width, 240):
        for y in range(0, height, 240):
            drawing.ellipse((x + 60, y + 60, x + 180, y + 180), fill=(x % 255, y % 255, 120))
    drawing.rectangle((5200, 2600, 5319, 2689), fill=(220, 40, 40))
    picture.save(pictures / "big.jpg", quality=88)
    return Target(
        id="big.jpg#0", picture="big.jpg", where=place(str(pictures.resolve()), "big.jpg"),
        width=width, height=height, box=(5190.0, 2590.0, 5330.0, 2700.0), label="sign", score=0.71,
        subtask_l1="Limited", subtask_l2="Small", others=[(1000.0, 800.0, 1600.0, 1400.0)],
        drafts=["the small red sign"], description="the small red sign", rank=1.0,
    )  # fmt: skip


class Served:
    """A studio in a process of its own, that can be killed and started again at its address."""

    def __init__(self, folder: Path, root: Path, *options: str) -> None:
        self._folder, self._root, self._options = folder, root, options
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.home = folder / "home"
        self.address = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Served:
        (self._folder / "runs").mkdir(parents=True, exist_ok=True)
        log = (self._folder / "server.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "groundingme", "studio", "--no-open", "--port", str(self.port),
             "--runs", str(self._folder / "runs"), "--home", str(self.home),
             "--root", str(self._root), *self._options],
            stdout=log, stderr=log, env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        log.close()
        for _ in range(600):
            if self.process.poll() is not None:
                break
            try:
                urllib.request.urlopen(f"{self.address}/api/session", timeout=5).read()
                return self
            except OSError:
                time.sleep(0.1)
        raise AssertionError((self._folder / "server.log").read_text()[-2000:])

    def kill(self) -> None:
        """Ends it at once, as a power cut does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()
