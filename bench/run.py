"""Speed and memory of groundingme beside the least that the same work can cost.

    make bench                              a few minutes
    .venv/bin/python bench/run.py --quick   less than one

Everything is measured in one run, side by side and in turns, each in a process of its own, so that
the ratios hold on a busy machine as well; the absolute figures beside them are of this machine.

- **Asking.** `groundingme eval` against a plain asyncio client (`floor.py`) that base64s and posts
  the same bytes, both with 64 requests in flight at a server with a fixed latency (`server.py`).
  CPU a request is taken from the difference between a large and a small number of samples, which
  leaves start-up out; the ratio with start-up stands beside it. Memory is the peak of the process.
- **Scoring.** `groundingme score` against a process that only runs `json.loads` over the lines of
  the same files; and step by step (`steps.py`).
- **Starting.** `groundingme --help` against `python -c "import click"`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

# This module stays small: Linux counts a parent's memory at the fork as its child's peak.
HERE = Path(__file__).resolve().parent
PYTHON = sys.executable
COMMAND = str(Path(PYTHON).with_name("groundingme"))
CONCURRENCY = 64

LOADS = """
import json, pathlib, sys
for name in ("samples.jsonl", "replies.jsonl"):
    for line in (pathlib.Path(sys.argv[1]) / name).open():
        json.loads(line)
"""


class Usage(NamedTuple):
    """What a finished process used: seconds of CPU, seconds by the clock, peak bytes."""

    cpu: float
    wall: float
    rss: int


class _Peak(threading.Thread):
    """Watches a process's highest resident size, where the system shows it (Linux).

    What `wait4` reports there begins with the size of whoever started the process.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.kilobytes = 0
        self.done = threading.Event()
        self._status = Path(f"/proc/{pid}/status")
        self.start()

    def run(self) -> None:
        while not self.done.wait(0.02):
            try:
                lines = self._status.read_text().splitlines()
            except OSError:
                return
            found = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
            self.kilobytes = max([self.kilobytes, *map(int, found)])


def measure(*command: str | Path) -> Usage:
    """Runs a command to its end; one that fails stops the measurement with what it said."""
    with tempfile.TemporaryFile("w+") as said:
        began = time.perf_counter()
        process = subprocess.Popen([str(part) for part in command], stdout=said, stderr=said)
        peak = _Peak(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        peak.done.set()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            sys.exit(
                f"{' '.join(map(str, command))} ended with {process.returncode}:\n{said.read()}"
            )
    # Kilobytes on Linux, bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    rss = peak.kilobytes * 1024 or usage.ru_maxrss * unit
    return Usage(usage.ru_utime + usage.ru_stime, wall, rss)


def middle(runs: list[Usage]) -> Usage:
    """The median of each figure, and the highest peak."""
    return Usage(
        statistics.median(one.cpu for one in runs),
        statistics.median(one.wall for one in runs),
        max(one.rss for one in runs),
    )


@contextmanager
def server(latency_ms: int) -> Iterator[str]:
    """The address of a server process, which ends with the block."""
    process = subprocess.Popen(
        [PYTHON, str(HERE / "server.py"), str(latency_ms)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    try:
        yield json.loads(process.stdout.readline())["base_url"]
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


def asking(
    work: Path, size: tuple[int, int], counts: tuple[int, int], turns: int, latency_ms: int
) -> dict[str, Any]:
    """Both clients on images of one size, from a folder and from parquet, in turns.

    The latency is long enough for a client to have as many requests in flight as it will.
    """
    data = work / f"{size[0]}x{size[1]}"
    made = subprocess.run(
        [PYTHON, HERE / "data.py", "images", data, *map(str, size), str(counts[1])],
        check=True,
        capture_output=True,
        text=True,
    )
    runs: dict[str, list[Usage]] = {}
    with server(latency_ms) as base_url:

        def floor(count: int) -> Usage:
            script = HERE / "floor.py"
            folder = data / "folder"
            return measure(PYTHON, script, base_url, folder, str(CONCURRENCY), str(count))

        def ours(layout: str, count: int) -> Usage:
            out = data / "runs"
            used = measure(
                COMMAND, "eval", "openai/bench", "--data", data / layout, "--base-url", base_url,
                "--concurrency", str(CONCURRENCY), "--limit", str(count), "--out", out, "--quiet",
            )  # fmt: skip
            shutil.rmtree(out)
            return used

        floor(counts[0])  # once for the caches of the disk and of the interpreter
        for _ in range(turns):
            for count in counts:
                runs.setdefault(f"floor {count}", []).append(floor(count))
                for layout in ("folder", "parquet"):
                    runs.setdefault(f"{layout} {count}", []).append(ours(layout, count))
    shutil.rmtree(data)
    used = {name: middle(all) for name, all in runs.items()}
    few, many = counts

    def a_request(name: str) -> float:
        return 1000 * (used[f"{name} {many}"].cpu - used[f"{name} {few}"].cpu) / (many - few)

    found: dict[str, Any] = {
        "size": list(size),
        "jpeg_mb": json.loads(made.stdout)["jpeg_mb"],
        "samples": list(counts),
        "latency_ms": latency_ms,
        "floor": {"cpu_ms": round(a_request("floor"), 2), "rss_mb": mb(used[f"floor {many}"])},
    }
    for layout in ("folder", "parquet"):
        found[layout] = {
            "cpu_ms": round(a_request(layout), 2),
            "ratio": round(a_request(layout) / a_request("floor"), 2),
            "ratio_with_start": round(used[f"{layout} {many}"].cpu / used[f"floor {many}"].cpu, 2),
            "rss_mb": {str(count): mb(used[f"{layout} {count}"]) for count in counts},
        }
    return found


def scoring(work: Path, counts: tuple[int, int], turns: int) -> dict[str, Any]:
    """`groundingme score` on ordinary replies."""
    runs: dict[str, list[Usage]] = {}
    folders = [work / f"replies-{count}" for count in counts]
    for folder, count in zip(folders, counts, strict=True):
        subprocess.run([PYTHON, HERE / "data.py", "replies", folder, str(count)], check=True)
    for _ in range(turns):
        for folder, count in zip(folders, counts, strict=True):
            replies = folder / "replies.jsonl"
            ours = measure(COMMAND, "score", replies, "--data", folder, "--json")
            runs.setdefault(f"score {count}", []).append(ours)
            runs.setdefault(f"loads {count}", []).append(measure(PYTHON, "-c", LOADS, folder))
    printed = subprocess.run(
        [PYTHON, HERE / "steps.py", folders[1]], check=True, capture_output=True, text=True
    )
    steps = json.loads(printed.stdout)
    used = {name: middle(all) for name, all in runs.items()}
    few, many = counts

    def a_reply(name: str) -> float:
        return (used[f"{name} {many}"].cpu - used[f"{name} {few}"].cpu) / (many - few)

    return {
        "replies": list(counts),
        "replies_per_core_second": round(1 / a_reply("score")),
        "strict_replies_per_core_second": round(
            1e6 / (steps["parse, strict"] + steps["score, strict"])
        ),
        "cpu_us": round(1e6 * a_reply("score"), 2),
        "json_loads_cpu_us": round(1e6 * a_reply("loads"), 2),
        "ratio": round(a_reply("score") / a_reply("loads"), 2),
        "rss_mb": {str(count): mb(used[f"score {count}"]) for count in counts},
        "steps_cpu_us": steps,
    }


def starting(turns: int) -> dict[str, Any]:
    """`groundingme --help` against the import of click alone."""
    ours: list[Usage] = []
    floor: list[Usage] = []
    for _ in range(turns):
        floor.append(measure(PYTHON, "-c", "import click"))
        ours.append(measure(COMMAND, "--help"))
    help, click = middle(ours), middle(floor)
    return {
        "help_ms": round(1000 * help.wall, 1),
        "import_click_ms": round(1000 * click.wall, 1),
        "ratio": round(help.wall / click.wall, 2),
        "ratio_cpu": round(help.cpu / click.cpu, 2),
    }


def mb(used: Usage) -> int:
    return round(used.rss / 1e6)


def table(found: dict[str, Any]) -> Iterator[tuple[str, str, str, str, str]]:
    """Rows of: what, the floor, ours, the ratio or figure that counts, the aim."""
    yield "", "floor", "groundingme", "ratio", "aim"
    for name, most in (("photos", "300"), ("8k", "600")):
        one = found[name]
        floor = one["floor"]
        size = f"{one['size'][0]}x{one['size'][1]}"
        for layout in ("folder", "parquet"):
            ours = one[layout]
            aim = "<= 2" if name == "photos" else ""
            cpu, ratio = f"{ours['cpu_ms']} ms", f"{ours['ratio']}"
            yield f"{size}, {layout}: CPU a request", f"{floor['cpu_ms']} ms", cpu, ratio, aim
            start = f"{ours['ratio_with_start']}"
            yield f"  with start-up, {one['samples'][1]} samples", "", "", start, ""
            peaks = " / ".join(str(peak) for peak in ours["rss_mb"].values())
            counts = " / ".join(ours["rss_mb"])
            rss = f"{floor['rss_mb']} MB"
            yield f"  peak memory, {counts} samples", rss, f"{peaks} MB", "", f"< {most} MB"
    score = found["score"]
    loads = f"{score['json_loads_cpu_us']} us"
    each = f"{score['cpu_us']} us"
    yield "score: CPU a reply (floor: json.loads)", loads, each, f"{score['ratio']}", ""
    rate = f"{score['replies_per_core_second']:,}/s"
    yield "  whole command, both protocols, a core", "", rate, "", ""
    rate = f"{score['strict_replies_per_core_second']:,}/s"
    yield "  parsing and scoring, strict, a core", "", rate, "", ">= 100,000/s"
    for step, spent in score["steps_cpu_us"].items():
        yield f"  {step}", "", f"{spent} us", "", ""
    start = found["help"]
    floor_ms, help_ms = f"{start['import_click_ms']} ms", f"{start['help_ms']} ms"
    yield "--help (floor: import click)", floor_ms, help_ms, f"{start['ratio']}", "<= 2"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer samples and turns")
    parser.add_argument("--out", default="bench/results.json", help="JSON to write")
    chosen = parser.parse_args()
    quick, turns = chosen.quick, 1 if chosen.quick else 5
    work = Path(tempfile.mkdtemp(prefix="groundingme-bench-"))
    try:
        found = {
            "quick": quick,
            "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
            "concurrency": CONCURRENCY,
            "photos": asking(work, (2250, 1500), (100, 200) if quick else (100, 500), turns, 500),
            "8k": asking(work, (7680, 4320), (64, 80) if quick else (64, 128), min(turns, 3), 2000),
            "score": scoring(work, (5_000, 25_000) if quick else (20_000, 120_000), turns),
            "help": starting(5 if quick else 25),
        }
    finally:
        shutil.rmtree(work)
    rows = list(table(found))
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    for first, *rest in rows:
        cells = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        print("  ".join([first.ljust(widths[0]), *cells]).rstrip())
    out = Path(chosen.out)
    out.write_text(json.dumps(found, indent=2) + "\n")
    print(f"\nAll figures: {out}")


if __name__ == "__main__":
    main()
