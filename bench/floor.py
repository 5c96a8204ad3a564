"""The floor: a plain asyncio client that does nothing but base64 the stored bytes and post them.

    python bench/floor.py BASE_URL FOLDER CONCURRENCY SAMPLES

FOLDER is a data set of `bench/data.py`. What any client of this protocol must do, done with the
HTTP library that we use, and nothing else: no headers of images read, no digests, no run folder,
no retries, no scores.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from pathlib import Path

import aiohttp

PROMPT = "Please provide the bounding box of the object the following statement describes:\n"


async def worker(
    session: aiohttp.ClientSession, base_url: str, folder: Path, rows: list[dict[str, str]]
) -> None:
    while rows:
        row = rows.pop()
        text = json.dumps({"type": "text", "text": PROMPT + row["description"]}).encode()
        body = b"".join(
            [
                b'{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":'
                b'"data:image/jpeg;base64,',
                base64.b64encode((folder / row["image"]).read_bytes()),
                b'"}},',
                text,
                b']}],"model":"bench","temperature":0,"max_completion_tokens":20480}',
            ]
        )
        async with session.post(f"{base_url}/chat/completions", data=body) as response:
            reply = await response.json()
        assert reply["choices"][0]["message"]["content"]


async def main(base_url: str, folder: Path, concurrency: int, samples: int) -> None:
    lines = (folder / "samples.jsonl").read_text().splitlines()[:samples]
    rows = [json.loads(line) for line in reversed(lines)]
    headers = {"Content-Type": "application/json"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        await asyncio.gather(*[worker(session, base_url, folder, rows) for _ in range(concurrency)])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:5])))
