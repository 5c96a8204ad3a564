"""How long the studio's API takes to show runs: 50 of 1,005 samples, and one of 100,000.

    python bench/browse.py [--runs 50] [--samples 1005] [--large 100000] [FOLDER]

Makes the runs through the real store, starts the app in a process of its own on a real socket, and
asks each address cold and warm. Times are wall times in ms as a client on this machine sees them,
`cpu` is the processor time that the server spent, and memory is the server's peak. A folder that
is given keeps the runs for the next time; the studio's caches are made anew.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

SUBTASKS = (
    ("Discriminative", "Appearance"), ("Discriminative", "Component"), ("Discriminative", "Text"),
    ("Discriminative", "State"), ("Spatial", "Relationship"), ("Spatial", "Counting"),
    ("Limited", "Occlusion"), ("Limited", "Small"), ("Rejection", "Appearance"),
    ("Rejection", "Component"), ("Rejection", "Text"), ("Rejection", "State"),
)  # fmt: skip
COLOURS = ("red", "green", "blue", "grey")


def samples(count: int) -> list[Any]:
    """Questions about half as many images of 1,000 x 800 pixels."""
    from groundingme.images import FileImage
    from groundingme.schema import Sample

    dice = random.Random(1)
    found = []
    for at in range(count):
        l1, l2 = SUBTASKS[at % len(SUBTASKS)]
        x, y = dice.uniform(0, 700), dice.uniform(0, 500)
        found.append(
            Sample(
                id=f"{at:06}",
                description=f"the {dice.choice(COLOURS)} thing number {at}, "
                "left of the two that stand beside each other",
                target=None if l1 == "Rejection" else (x, y, x + 200, y + 200),
                width=1000,
                height=800,
                image=FileImage(f"/nowhere/{at // 2}.jpg", f"{at // 2}.jpg"),
                subtask_l1=l1,
                subtask_l2=l2,
            )
        )
    return found


def make_run(out: Path, name: str, dataset: Any, skill: float, seed: int) -> None:
    """A run whose model is right with a chance of `skill`."""
    from groundingme.saving import save_samples
    from groundingme.schema import Generation, Run
    from groundingme.store import RunFolder

    run = Run(
        model=f"openai/{name}", data="made", data_name="made", data_fingerprint=dataset.fingerprint,
        samples=len(dataset), prompt="{description}", settings={"temperature": 0.0},
        created=f"2026-01-01T00:00:{seed % 60:02}",
    )  # fmt: skip
    folder = RunFolder.find_or_create(out, run)
    dice = random.Random(seed)
    with folder.lock():
        save_samples(dataset, folder.path)
        for one in dataset:
            right = dice.random() < skill
            box = list(one.target) if one.target and right else [10.0, 10.0, 90.0, 90.0]
            if (one.target is None) == right:
                box = None  # type: ignore[assignment]
            folder.append(
                Generation(
                    id=one.id,
                    text=json.dumps({"bbox_2d": box}),
                    reasoning="I see two things. " * 20 + "It is at [100, 100, 300, 300].",
                    finish_reason="stop",
                    prompt_tokens=900,
                    completion_tokens=100 + dice.randrange(100),
                    latency=1.0 + dice.random(),
                    confidence=dice.random(),
                    image_digest=f"sha256:{one.image.name}",
                    sent_width=1000,
                    sent_height=800,
                )
            )


def make(out: Path, runs: int, small: int, large: int) -> None:
    """All runs, where they are not there yet."""
    from groundingme.datasets import Dataset

    if out.is_dir():
        return
    data = Dataset(name="made", source="made", samples=samples(small))
    for at in range(runs):
        make_run(out, f"model-{at:02}", data, 0.3 + 0.5 * at / max(1, runs), at)
    if large:
        data = Dataset(name="large", source="large", samples=samples(large))
        make_run(out, "large", data, 0.6, 1)


def make_picture(folder: Path) -> None:
    """A data set of one JPEG of 7,680 x 4,320 pixels, with detail everywhere."""
    import numpy as np
    from PIL import Image

    if folder.is_dir():
        return
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rough = Image.fromarray(rng.integers(0, 255, (540, 960, 3), dtype=np.uint8))
    fine = rng.integers(0, 12, (4320, 7680, 1), dtype=np.uint8)
    picture = np.asarray(rough.resize((7680, 4320), Image.Resampling.BICUBIC)) // 2 + fine
    Image.fromarray(picture).save(folder / "large.jpg", quality=92)
    row = {"id": "1", "image": "large.jpg", "description": "the thing", "bbox": [9, 9, 99, 99]}
    (folder / "samples.jsonl").write_text(json.dumps(row) + "\n")


def ask_picture(client: Client) -> None:
    """The picture: what a viewer asks for when it opens, then at full size."""
    page = client.timed("data set of one picture", "/api/datasets/samples.jsonl/samples")
    place = f"/api/pictures/{page['items'][0]['picture']}"
    client.timed("8K JPEG, as stored", place)
    client.timed("8K JPEG, info", f"{place}/info")
    client.timed("8K JPEG, thumbnail", f"{place}/thumb?side=320")
    client.timed("8K JPEG, first tile", f"{place}_files/9/0_0.jpg")
    client.timed("8K JPEG, first tile of 1,920 pixels", f"{place}_files/11/0_0.jpg")
    client.timed("8K JPEG, another of them", f"{place}_files/11/1_1.jpg")
    client.timed("8K JPEG, first tile of full size", f"{place}_files/13/3_3.jpg")
    client.timed("8K JPEG, another of them", f"{place}_files/13/9_5.jpg")


def peak() -> float:
    """Most memory of this process in MB; what `getrusage` says includes its parent's."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1000
    return float("nan")


def serve(runs: str, home: str, port: int) -> None:
    """The app, until its parent ends its input."""
    import threading

    import uvicorn

    from groundingme.studio.app import create_app
    from groundingme.studio.settings import Settings

    roots = (Path(runs).with_name("pictures"),)
    app = create_app(Settings(runs=Path(runs), home=Path(home), roots=roots))
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))

    def watch() -> None:
        for line in sys.stdin:
            if line.strip() == "usage":
                used = resource.getrusage(resource.RUSAGE_SELF)
                print(used.ru_utime + used.ru_stime, peak(), flush=True)
        server.should_exit = True

    threading.Thread(target=watch, daemon=True).start()
    server.run()


class Client:
    """Asks a server, and tells what it took."""

    def __init__(self, runs: Path, home: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, __file__, "--serve", str(runs), str(home), str(port)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.base = f"http://127.0.0.1:{port}"
        for _ in range(300):
            try:
                self.get("/api/session")
                break
            except OSError:
                time.sleep(0.1)

    def get(self, address: str) -> bytes:
        with urllib.request.urlopen(self.base + address) as reply:
            return bytes(reply.read())

    def usage(self) -> tuple[float, float]:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write("usage\n")
        self.process.stdin.flush()
        cpu, memory = self.process.stdout.readline().split()
        return float(cpu), float(memory)

    def timed(self, title: str, address: str) -> Any:
        """One line of the table; gives the body."""
        before, _ = self.usage()
        began = time.perf_counter()
        body = self.get(address)
        wall = time.perf_counter() - began
        after, memory = self.usage()
        print(
            f"{title:<44} {1000 * wall:8.0f} {1000 * (after - before):8.0f} "
            f"{len(body) / 1000:9.1f} {memory:8.0f}"
        )
        return json.loads(body) if body[:1] == b"{" else body

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(20)


def ask_all(client: Client) -> None:
    """Every address, cold and then warm."""
    rounds, listed = 0, {"pending": 1}
    while listed["pending"]:
        rounds += 1
        listed = client.timed(f"list of runs, cold, {rounds}", "/api/runs")
    listed = client.timed("list of runs, warm", "/api/runs")
    ids = [one["id"] for one in listed["items"]]
    large = next((id for id in ids if "large" in id), None)
    small = [id for id in ids if id != large]
    for title, id in (("small", small[0]), ("large", large)):
        if id is None:
            continue
        place = f"/api/runs/{urllib.parse.quote(id)}"
        for heat in ("cold", "warm"):
            client.timed(f"{title} run, {heat}", place)
            client.timed(f"{title} run, samples, {heat}", f"{place}/samples?limit=200")
        client.timed(f"{title} run, last page", f"{place}/samples?limit=200&offset=800")
        client.timed(f"{title} run, a category, wrong", f"{place}/samples?l1=Limited&right=false")
        client.timed(f"{title} run, a search", f"{place}/samples?query=number%20777")
        client.timed(f"{title} run, by IoU", f"{place}/samples?order=iou")
        page = client.timed(f"{title} run, a sample", f"{place}/samples/000010")
        client.timed(f"{title} run, the next one", f"{place}/samples/{page['next']}")
        client.timed(f"{title} run, samples.csv", f"{place}/samples.csv")
    for count in (2, 4):
        query = "&".join(f"run={urllib.parse.quote(id)}" for id in small[:count])
        for heat in ("cold", "warm"):
            client.timed(f"compare {count} small runs, {heat}", f"/api/compare?{query}")
    client.timed("compare, a sample of 4", f"/api/compare/samples/000010?{query}")
    client.timed("runs.csv", "/api/runs.csv")


def main() -> None:
    """Makes runs, serves them, asks."""
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2], sys.argv[3], int(sys.argv[4]))
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--samples", type=int, default=1005)
    parser.add_argument("--large", type=int, default=100_000)
    parser.add_argument("folder", nargs="?")
    given = parser.parse_args()
    temporary = tempfile.mkdtemp(prefix="browse-")
    try:
        folder = Path(given.folder or temporary)
        make_picture(folder / "pictures")
        make(folder / "runs", given.runs, given.samples, given.large)
        for title in ("first start", "second start, figures on disk"):
            print(f"{title:<44} {'wall ms':>8} {'cpu ms':>8} {'kB':>9} {'MB peak':>8}")
            client = Client(folder / "runs", Path(temporary) / "home")
            try:
                ask_picture(client)
                ask_all(client)
            finally:
                client.close()
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


if __name__ == "__main__":
    main()
