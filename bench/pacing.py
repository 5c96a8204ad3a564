"""Finding out how many requests a server can take, beside fixed numbers.

    .venv/bin/python bench/pacing.py            about nine minutes
    .venv/bin/python bench/pacing.py --quick    about five

Two servers with room for 20 requests of half a second at once: one refuses more with 429, the
other lets them wait. `groundingme eval` asks each with `--concurrency auto`, 4, 16, 20 and 64, one
after the other. Speed is counted at the server: replies a second over the last half of them, when
a setting has settled, and over all. `tests/test_pacing_of_runs.py` has the same with a simulated
clock, where no other work on the machine plays a part.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from aiohttp import web
from PIL import Image

ROOM = 20
LATENCY = 0.5
SETTINGS = ("auto", "4", "16", "20", "64")
REPLY = {
    "choices": [{"message": {"content": '{"bbox_2d": null}'}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 100, "completion_tokens": 10},
}


class Server:
    """Room for `ROOM` requests; `queue` says whether others wait or are refused.

    Attributes:
        replies: When each reply was sent.
        refused: How many requests were.
    """

    def __init__(self, *, queue: bool) -> None:
        self._queue = queue
        self._busy = 0
        self.replies: list[float] = []
        self.refused = 0
        self._ready = threading.Event()

    def __enter__(self) -> Server:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._room = asyncio.Semaphore(ROOM)
        app = web.Application(client_max_size=2**28)
        app.router.add_post("/v1/chat/completions", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = site._server.sockets[0].getsockname()  # type: ignore[union-attr, attr-defined]
        self.base_url = f"http://{host}:{port}/v1"
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        await request.read()
        if self._room.locked() and not self._queue:
            self.refused += 1
            return web.json_response({"error": {"message": "too many"}}, status=429)
        async with self._room:
            await asyncio.sleep(LATENCY)
        self.replies.append(time.perf_counter())
        return web.json_response(REPLY)


def write_data(folder: Path, samples: int) -> Path:
    """Many questions about one small picture."""
    folder.mkdir()
    Image.new("RGB", (64, 48), "teal").save(folder / "one.png")
    rows = [
        {"id": n, "image": "one.png", "description": f"thing {n}", "bbox": None, "width": 64}
        | {"height": 48}
        for n in range(samples)
    ]
    (folder / "samples.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return folder


def measure(data: Path, out: Path, setting: str, *, queue: bool) -> dict[str, Any]:
    """One run; its speed as the server saw it."""
    with Server(queue=queue) as server:
        subprocess.run(
            [sys.executable, "-m", "groundingme", "eval", "openai/m", "--data", str(data),
             "--base-url", server.base_url, "--concurrency", setting, "--out", str(out), "--quiet"],
            check=True, capture_output=True,
        )  # fmt: skip
    times = server.replies
    half = len(times) // 2
    return {
        "settled": round((len(times) - half) / (times[-1] - times[half - 1]), 1),
        "whole": round(len(times) / (times[-1] - times[0] + LATENCY), 1),
        "refused": server.refused,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer samples")
    parser.add_argument("--out", default="bench/pacing.json", help="JSON to write")
    chosen = parser.parse_args()
    samples = 500 if chosen.quick else 1000
    found: dict[str, Any] = {"samples": samples, "most": ROOM / LATENCY}
    print(f"{'server':<9}{'setting':>8}{'settled/s':>11}{'whole/s':>9}{'refused':>9}")
    with tempfile.TemporaryDirectory() as work:
        data = write_data(Path(work) / "data", samples)
        for queue in (False, True):
            name = "queues" if queue else "refuses"
            for setting in SETTINGS:
                one = measure(data, Path(work) / f"{name}-{setting}", setting, queue=queue)
                found[f"{name} {setting}"] = one
                print(
                    f"{name:<9}{setting:>8}{one['settled']:>11}{one['whole']:>9}"
                    f"{one['refused']:>9}",
                    flush=True,
                )
            for part in ("settled", "whole"):
                best = max(found[f"{name} {one}"][part] for one in SETTINGS[1:])
                ratio = round(found[f"{name} auto"][part] / best, 3)
                found[f"{name} {part} ratio"] = ratio
                print(f"{name:<9}auto against the best fixed one, {part}: {ratio}")
    Path(chosen.out).write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
