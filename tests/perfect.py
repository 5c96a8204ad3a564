"""A model that knows the truth, behind a real HTTP server.

The server speaks the protocols of OpenAI's chat completions, Claude and Gemini.

It decodes the picture that it gets, does with it what the vendor's code does, finds the target of
the description that it is asked for, and writes it in its family's numbers and wrapper. The
arithmetic is written here a second time and shares nothing with the package.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiohttp import web
from PIL import Image

from groundingme.datasets import Dataset
from groundingme.images import BytesImage
from groundingme.schema import Box, Sample

Size = tuple[int, int]


def smart_resize(w: int, h: int, least: int, most: int) -> Size:
    """Qwen's rule as its processor has it, height first."""
    factor = 28
    h_bar, w_bar = max(factor, round(h / factor) * factor), max(factor, round(w / factor) * factor)
    if h_bar * w_bar > most:
        beta = math.sqrt((h * w) / most)
        h_bar = max(factor, math.floor(h / beta / factor) * factor)
        w_bar = max(factor, math.floor(w / beta / factor) * factor)
    elif h_bar * w_bar < least:
        beta = math.sqrt(least / (h * w))
        h_bar = math.ceil(h * beta / factor) * factor
        w_bar = math.ceil(w * beta / factor) * factor
    return w_bar, h_bar


def only_small(w: int, h: int, edge: int, tokens: int) -> Size:
    """Claude sees what it gets where that is small enough; larger pictures are refused here."""
    if max(w, h) > edge or math.ceil(w / 28) * math.ceil(h / 28) > tokens:
        raise ValueError(f"{w} x {h} would be resized by the server")
    return w, h


def numbers(space: str, part: Sequence[float], size: Size) -> list[float]:
    """A box as a model writes it, not yet rounded but for location bins.

    Args:
        space: Name of a coordinate format.
        part: x1, y1, x2, y2 as shares of the picture's sides.
        size: Of the picture that the model got.
    """
    x1, y1, x2, y2 = part
    if space.startswith("abs"):
        w, h = {
            "abs-qwen2.5-vl": lambda: smart_resize(*size, 4 * 784, 16384 * 784),
            "abs-mimo-vl": lambda: smart_resize(*size, 8 * 784, 4096 * 784),
            "abs-claude": lambda: only_small(*size, 1568, 1568),
            "abs-claude-4.7": lambda: only_small(*size, 2576, 4784),
            "abs": lambda: size,
        }[space.removesuffix("-yxyx")]()
        a, b, c, d = x1 * w, y1 * h, x2 * w, y2 * h
        return [b, a, d, c] if space.endswith("yxyx") else [a, b, c, d]
    if space.startswith("loc"):
        bins = int(space.removeprefix("loc"))
        a, b, c, d = (min(bins - 1, math.floor(one * bins)) for one in part)
        return [a, b, c, d] if bins == 1000 else [b, a, d, c]
    full = int(space.removeprefix("n").removesuffix("-yxyx"))
    a, b, c, d = (one * full for one in part)
    return [b, a, d, c] if space.endswith("yxyx") else [a, b, c, d]


def picture(size: Size) -> bytes:
    """A JPEG with a red corner at the top left and a blue one at the bottom right."""
    image = Image.new("RGB", size, (200, 200, 190))
    w, h = size
    image.paste((220, 20, 20), (0, 0, w // 8, h // 8))
    image.paste((20, 20, 220), (w - w // 8, h - h // 8, w, h))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=60)
    return out.getvalue()


def questions(targets: Mapping[Size, Sequence[Box | None]], *, sized: bool = True) -> Dataset:
    """Samples about one picture of each size; without sizes where `sized` is false."""
    samples = []
    for size, boxes in targets.items():
        image = BytesImage(f"{size[0]}x{size[1]}.jpg", picture(size))
        for number, box in enumerate(boxes):
            samples.append(
                Sample(
                    id=f"{size[0]}x{size[1]}-{number}",
                    description=f"thing {number} in the picture of {size[0]} by {size[1]}",
                    target=box,
                    width=size[0] if sized else 0,
                    height=size[1] if sized else 0,
                    image=image,
                    subtask_l1="Spatial" if box else "Rejection",
                    subtask_l2="Counting" if box else "Text",
                )
            )
    return Dataset(name="perfect", source="here", samples=samples)


Says = Callable[[Sequence[float] | None], str]
"""From the numbers of a box, or None where there is no target, to the text of a reply."""


class PerfectServer:
    """The server; its address is `base_url`. `speak` decides what the model behind it says.

    Attributes:
        bodies: What was asked, without the picture's bytes.
        sizes: Of the pictures that came.
        digests: Of their bytes.
    """

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.sizes: list[Size] = []
        self.digests: list[str] = []
        self._seen: dict[str, Size] = {}
        self._ready = threading.Event()

    def speak(
        self, samples: Sequence[Sample], sizes: Sequence[Size], space: str, says: Says
    ) -> None:
        """Sets who is behind the server.

        Args:
            samples: What it knows the truth of.
            sizes: Of each sample's original picture.
            space: The coordinate format that it writes.
            says: How.
        """
        self._truth = {
            one.description: one.target
            and [edge / side for edge, side in zip(one.target, size * 2, strict=True)]
            for one, size in zip(samples, sizes, strict=True)
        }
        self._space, self._says = space, says
        self.bodies, self.sizes, self.digests = [], [], []

    def __enter__(self) -> PerfectServer:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(client_max_size=2**28)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/messages", self._messages)
        app.router.add_post("/{version}/models/{name}:generateContent", self._gemini)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        assert site._server is not None
        host, port = site._server.sockets[0].getsockname()  # type: ignore[attr-defined]
        self.origin = f"http://{host}:{port}"
        self.base_url = f"{self.origin}/v1"
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _chat(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        image, text = body["messages"][-1]["content"]
        data = base64.b64decode(image["image_url"].pop("url").partition(",")[2])
        self.bodies.append(body)
        try:
            message = {"role": "assistant", "content": self._say(data, text["text"])}
        except (ValueError, KeyError) as error:
            return web.json_response({"error": {"message": str(error)}}, status=400)
        return web.json_response({"choices": [{"message": message, "finish_reason": "stop"}]})

    async def _messages(self, request: web.Request) -> web.Response:
        """Claude's protocol."""
        body = json.loads(await request.read())
        image, text = body["messages"][-1]["content"]
        data = base64.b64decode(image["source"].pop("data"))
        self.bodies.append(body)
        try:
            content = [{"type": "text", "text": self._say(data, text["text"])}]
        except (ValueError, KeyError) as error:
            said = {"type": "invalid_request_error", "message": str(error)}
            return web.json_response({"type": "error", "error": said}, status=400)
        return web.json_response(
            {
                "id": "msg_1", "type": "message", "role": "assistant", "model": body["model"],
                "content": content, "stop_reason": "end_turn", "stop_sequence": None,
                "usage": {"input_tokens": 1, "output_tokens": 1},
            }
        )  # fmt: skip

    async def _gemini(self, request: web.Request) -> web.Response:
        """Gemini's protocol."""
        body = json.loads(await request.read())
        image, text = body["contents"][-1]["parts"]
        data = base64.urlsafe_b64decode(image["inlineData"].pop("data"))
        self.bodies.append(body)
        try:
            content = {"role": "model", "parts": [{"text": self._say(data, text["text"])}]}
        except (ValueError, KeyError) as error:
            said = {"code": 400, "status": "INVALID_ARGUMENT", "message": str(error)}
            return web.json_response({"error": said}, status=400)
        return web.json_response({"candidates": [{"content": content, "finishReason": "STOP"}]})

    def _say(self, data: bytes, text: str) -> str:
        size = self._look(data)
        asked = [known for known in self._truth if known in text]
        part = self._truth[max(asked, key=len)]
        return self._says(None if part is None else numbers(self._space, part, size))

    def _look(self, data: bytes) -> Size:
        """Decodes a picture, each only once, and sees to it that it stands upright and whole."""
        digest = hashlib.sha256(data).hexdigest()
        if digest not in self._seen:
            with Image.open(io.BytesIO(data)) as opened:
                rgb = opened.convert("RGB")
            w, h = rgb.size
            corners: list[Any] = [rgb.getpixel((w // 20, h // 20)), rgb.getpixel((w - 1, h - 1))]
            if corners[0][0] < 150 or corners[0][2] > 90 or corners[1][2] < 150:
                raise ValueError("the picture is not the one that was asked about")
            self._seen[digest] = rgb.size
        self.sizes.append(self._seen[digest])
        self.digests.append(digest)
        return self._seen[digest]
