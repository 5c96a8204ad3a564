"""One run that is killed again and again, beside one that is left in peace.

    .venv/bin/python bench/soak.py --kills 200       some minutes
    .venv/bin/python bench/soak.py --kills 20        a look

Each session of `groundingme eval` gets a SIGKILL at a random moment: most of them while it asks,
some while it starts. After every kill it is checked that no reply that had been written is gone,
and that nothing was asked that had a reply before the session began. At the end the same command
is left in peace, and the scores must be those of the other run, byte for byte. The script ends
with 1 as soon as something of this does not hold.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from chat import ChatServer, Reply
from test_kill import REPLIES, whole_lines

LATENCY = 0.04


def reply(description: str) -> Reply:
    """The same words for the same question, whenever it is asked."""
    return Reply(REPLIES[zlib.crc32(description.encode()) % len(REPLIES)], delay=LATENCY)


def write_data(folder: Path, samples: int) -> Path:
    from PIL import Image

    folder.mkdir()
    Image.new("RGB", (100, 80), "teal").save(folder / "one.png")
    rows = [
        {
            "id": f"s{number}",
            "image": "one.png",
            "description": f"thing {number}",
            "bbox": None if number % 3 == 0 else [25, 20, 75, 60],
            "width": 100,
            "height": 80,
        }
        for number in range(samples)
    ]
    (folder / "samples.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return folder


def must(holds: bool, said: str) -> None:
    if not holds:
        sys.exit(f"does not hold: {said}")


class Soak:
    """A server, a data set, and sessions of one command on it."""

    def __init__(self, work: Path, server: ChatServer, samples: int) -> None:
        self.server = server
        self.out = work / "killed"
        self.data = write_data(work / "data", samples)
        self.lost = self.most_lost = self.idle = 0

    def command(self, out: Path) -> list[str]:
        return [
            sys.executable, "-m", "groundingme", "eval", "openai/m", "--coords", "abs", "--json",
            "--data", str(self.data), "--base-url", self.server.base_url, "--out", str(out),
        ]  # fmt: skip

    def written(self) -> set[str]:
        file = next(iter(self.out.glob("*/generations.jsonl")), None)
        ids = whole_lines(file) if file else []
        must(len(set(ids)) == len(ids), "no sample is written twice")
        return set(ids)

    def kill_one(self, chance: random.Random) -> None:
        before, asked = self.written(), len(self.server.asked)
        process = subprocess.Popen(
            self.command(self.out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        if chance.random() < 0.85:
            while len(self.server.asked) == asked:
                time.sleep(0.005)
                must(process.poll() is None, "the session asks until it is killed")
            time.sleep(chance.uniform(0, 0.3))
        else:
            time.sleep(chance.uniform(0, 1.5))
        seen = self.written()
        process.kill()
        must(process.wait() == -9, "the session was alive when it was killed")
        time.sleep(2 * LATENCY)  # what it had sent has arrived
        after = self.written()
        new = {f"s{one.split()[1]}" for one in self.server.asked[asked:]}
        must(before <= seen <= after, "what was written stays")
        must(not before & new, "nothing that has a reply is asked")
        must(after - before <= new, "what is written was asked")
        lost = len(new - after)
        self.lost += lost
        self.most_lost = max(self.most_lost, lost)
        self.idle += not new


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--samples", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    chance = random.Random(chosen.seed)
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="groundingme-soak-") as folder,
        ChatServer(default=reply, keep=False) as server,
    ):
        soak = Soak(Path(folder), server, chosen.samples)
        peace = subprocess.run(
            soak.command(Path(folder) / "peace"), capture_output=True, check=True
        )
        must(len(server.asked) == chosen.samples, "a run in peace asks each sample once")
        server.asked.clear()
        for number in range(1, chosen.kills + 1):
            soak.kill_one(chance)
            if number % 20 == 0:
                print(f"{number} kills, {len(soak.written())} written", file=sys.stderr, flush=True)
        written, asked = len(soak.written()), len(server.asked)
        must(written < chosen.samples, "the kills fall into the run; give more --samples")
        last = subprocess.run(soak.command(soak.out), capture_output=True, check=True)
        must(len(server.asked) - asked == chosen.samples - written, "the rest is asked once")
        must(len(soak.written()) == chosen.samples, "every sample has a reply")
        folders = [Path(json.loads(one.stdout)["run"]) for one in (peace, last)]
        for name in ("scores.json", "scores.jsonl"):
            one, other = ((folder / name).read_bytes() for folder in folders)
            must(one == other, f"{name} has the same bytes")
        found: dict[str, Any] = {
            "kills": chosen.kills,
            "before the first request": soak.idle,
            "samples": chosen.samples,
            "written when the last kill came": written,
            "requests": len(server.asked),
            "in flight when killed": soak.lost,
            "most of one kill": soak.most_lost,
            "seconds": round(time.monotonic() - began),
        }
        must(len(server.asked) == chosen.samples + soak.lost, "asked twice is what was in flight")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
