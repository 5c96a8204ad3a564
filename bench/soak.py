"""One run that is killed again and again, beside one that is left in peace.

    .venv/bin/python bench/soak.py --kills 200       some minutes
    .venv/bin/python bench/soak.py --kills 20        a look

Each session of `groundingme eval` gets a SIGKILL at a random moment: most of them while it asks,
some while it starts. After every kill it is checked that no reply that had been written is gone,
and that nothing was asked that had a reply before the session began. At the end the same command
is left in peace, and the scores must be those of the other run, byte for byte. The script ends
with 1 as soon as something of this does not hold.

    .venv/bin/python bench/soak.py --mixed --kills 40

In this one the server also fails a fifth of all requests in the ways of `tests/faults.py`, and
each session ends in one of three ways at random: by SIGKILL; by a disk that is full (a limit on
the size of files, which cuts a line in the middle); or with a server that goes away while it is
asked, for a second or for good.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from chat import ChatServer, Reply
from faults import PASSING, Moody
from test_kill import REPLIES

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
        self.ends: Counter[str] = Counter()

    def command(self, out: Path) -> list[str]:
        return [
            sys.executable, "-m", "groundingme", "eval", "openai/m", "--coords", "abs", "--json",
            "--data", str(self.data), "--base-url", self.server.base_url, "--out", str(out),
        ]  # fmt: skip

    def written(self) -> set[str]:
        file = next(iter(self.out.glob("*/generations.jsonl")), None)
        whole = file.read_bytes().rpartition(b"\n")[0].splitlines() if file else []
        rows = [json.loads(line) for line in whole]
        ids = [one["id"] for one in rows if "failure" not in one]
        must(len(set(ids)) == len(ids), "no sample has two replies")
        return set(ids)

    def start(self, full: int | None = None) -> subprocess.Popen[bytes]:
        """A session; on a disk on which a file has so many bytes at most."""

        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (full, full))  # type: ignore[arg-type]

        return subprocess.Popen(
            [*self.command(self.out), "--retries", "3", "--outage-for", "2", "--timeout", "2"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            preexec_fn=limit if full else None,
        )  # fmt: skip

    def mixed_one(self, chance: random.Random) -> None:
        """A session that ends as it comes, and what must hold whatever that was."""
        before, asked = self.written(), len(self.server.asked)
        # The first session writes the samples, which are larger than the replies.
        ends = ("killed", "outage", "server gone", "disk full")
        end = chance.choice(ends if before else ends[:3])
        self.ends[end] += 1
        file = next(iter(self.out.glob("*/generations.jsonl")), None)
        size = file.stat().st_size if file else 0
        full = size + chance.randrange(2000, 20_000) if end == "disk full" else None
        process = self.start(full)
        said = b""
        if full:
            said = process.communicate(timeout=600)[1]
            must(process.returncode in (0, 1), f"a full disk ends with 1: {said!r}")
            must(b"Traceback" not in said, f"a full disk is one line: {said!r}")
        else:
            while len(self.server.asked) < asked + 5:
                time.sleep(0.005)
                must(process.poll() is None, "the session asks until it ends")
            time.sleep(chance.uniform(0, 1.0))
            if end != "killed":
                self.server.go_away()
                time.sleep(chance.uniform(0.5, 1.5))
            if end == "outage":
                self.server.come_back()
                time.sleep(chance.uniform(0.5, 3))
            if end == "server gone":
                said = process.communicate(timeout=600)[1]
                self.server.come_back()
                must(process.returncode == 1, f"without a server it ends with 1: {said!r}")
                must(b"did not come back in" in said, f"it says so: {said!r}")
            else:
                process.kill()
                process.communicate()
        time.sleep(2 * LATENCY)
        after = self.written()
        new = {f"s{one.split()[1]}" for one in self.server.asked[asked:]}
        must(before <= after, "what was written stays")
        must(not before & new, "nothing that has a reply is asked")
        must(after - before <= new, "what is written was asked")

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
    parser.add_argument("--mixed", action="store_true", help="faults, outages and full disks too")
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
        moody = Moody(reply, 0.2, chosen.seed, PASSING)
        if chosen.mixed:
            server._default = moody
        for number in range(1, chosen.kills + 1):
            (soak.mixed_one if chosen.mixed else soak.kill_one)(chance)
            if number % 20 == 0:
                print(f"{number} kills, {len(soak.written())} written", file=sys.stderr, flush=True)
        written, asked = len(soak.written()), len(server.asked)
        must(written < chosen.samples, "the kills fall into the run; give more --samples")
        server._default = reply
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
        if chosen.mixed:
            found["ends"] = dict(soak.ends)
            found["faults"] = sum(moody.met.values())
        else:
            must(len(server.asked) == chosen.samples + soak.lost, "asked twice was in flight")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
