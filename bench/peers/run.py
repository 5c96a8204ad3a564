"""groundingme beside the published evaluation script and inspect_ai, in turns, in one run.

    .venv/bin/python bench/peers/run.py --published FOLDER     some minutes
    .venv/bin/python bench/peers/run.py --quick                without the published script

FOLDER holds the benchmark's published `evaluate.py`, as its repository has it
(`git clone https://github.com/lirang04/GroundingME`); without it, it is left out. The peers are
installed into an environment of their own, `.cache/bench-peers`, and never with groundingme.

All ask the same server (`bench/server.py`, which answers after 50 ms) with 64 requests in flight.
CPU and memory are those of the whole process, start-up and scoring included: the middle of the
turns, and the highest peak. The floor is `bench/floor.py`, which does nothing but post the bytes.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

BENCH = Path(__file__).resolve().parents[1]
ENVIRONMENT = BENCH.parent / ".cache" / "bench-peers"
PACKAGES = ("inspect_ai", "openai", "datasets", "pillow", "tqdm")
SIZES = (((64, 48), 1005, 201), ((2250, 1500), 300, 60))
"""Width and height, samples, samples of a quick run."""

spec = importlib.util.spec_from_file_location("bench_run", BENCH / "run.py")
assert spec
assert spec.loader
bench = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bench)


def environment() -> Path:
    """The peers' interpreter; installed where it is missing."""
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", ENVIRONMENT], check=True)
    missing = subprocess.run(
        [python, "-c", "import inspect_ai, openai, datasets, PIL, tqdm"],
        capture_output=True,
        check=False,
    )
    if missing.returncode:
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    return python


def for_datasets(parquet: Path, out: Path) -> Path:
    """The same rows with what the `datasets` package wants to know of pictures."""
    import pyarrow.parquet as pq

    (file,) = parquet.glob("*.parquet")
    table = pq.read_table(file)
    kinds = {"id": "string", "description": "string", "subtask_l1": "string",
             "subtask_l2": "string", "width": "int64", "height": "int64"}  # fmt: skip
    features: dict[str, Any] = {
        name: {"dtype": kind, "_type": "Value"} for name, kind in kinds.items()
    }
    features["image"] = {"_type": "Image"}
    features["bbox"] = {"feature": {"dtype": "float64", "_type": "Value"}, "_type": "Sequence"}
    features = {name: features[name] for name in table.column_names}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    out.mkdir(parents=True)
    pq.write_table(table.replace_schema_metadata(metadata), out / file.name, row_group_size=100)
    return out


def clients(
    data: Path, python: Path, published: Path | None, samples: int, work: Path
) -> dict[str, Callable[[str], list[Any]]]:
    """The command of each, given the server's address."""
    flight = str(bench.CONCURRENCY)
    folder = data / "folder"

    def ours(layout: str) -> Callable[[str], list[Any]]:
        return lambda url: [
            bench.COMMAND, "eval", "openai/bench", "--data", data / layout, "--base-url", url,
            "--concurrency", flight, "--limit", str(samples), "--out", work / "runs", "--quiet",
        ]  # fmt: skip

    found: dict[str, Callable[[str], list[Any]]] = {
        "floor": lambda url: [
            bench.PYTHON, BENCH / "floor.py", url, folder, flight, str(samples),
        ],
        "groundingme, folder": ours("folder"),
        "groundingme, parquet": ours("parquet"),
        "inspect_ai": lambda url: [
            python, BENCH / "peers" / "inspect_task.py", url, folder, flight, str(samples),
            work / "logs",
        ],
    }  # fmt: skip
    if published:
        parquet = for_datasets(data / "parquet", work / "published")
        script = published / "evaluate.py"
        found["published script"] = lambda url: [
            python, script, "--api-url", url, "--api-key", "none", "--model-name", "bench",
            "--dataset", parquet, "--split", "test", "--workers", flight, "--limit", str(samples),
            "--output", work / "published.json",
        ]  # fmt: skip
    return found


def one_size(
    size: tuple[int, int], samples: int, turns: int, python: Path, published: Path | None
) -> dict[str, Any]:
    work = Path(tempfile.mkdtemp(prefix="groundingme-peers-"))
    try:
        data = work / "data"
        subprocess.run(
            [bench.PYTHON, BENCH / "data.py", "images", data, *map(str, size), str(samples)],
            check=True, capture_output=True,
        )  # fmt: skip
        used: dict[str, list[Any]] = {}
        commands = clients(data, python, published, samples, work)
        with bench.server(50) as url:
            for _ in range(turns):
                for name, command in commands.items():
                    used.setdefault(name, []).append(bench.measure(*command(url)))
                    shutil.rmtree(work / "runs", ignore_errors=True)
        if published:
            report = json.loads((work / "published.json").read_text())
            assert report["successful_samples"] == samples, report["errors"][:1]
    finally:
        shutil.rmtree(work)
    found = {name: bench.middle(all) for name, all in used.items()}
    return {
        name: {
            "cpu_ms": round(1000 * one.cpu / samples, 2),
            "rss_mb": bench.mb(one),
            "seconds": round(one.wall, 1),
        }
        for name, one in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer samples, one turn")
    parser.add_argument("--published", type=Path, help="folder of the published evaluate.py")
    parser.add_argument("--turns", type=int, default=3, help="how often each is measured")
    parser.add_argument("--python", type=Path, help="interpreter that has the peers already")
    parser.add_argument("--out", default="bench/peers.json", help="JSON to write")
    chosen = parser.parse_args()
    published = chosen.published
    if published is None or not (published / "evaluate.py").is_file():
        print("Without the published script: name its folder with --published.", file=sys.stderr)
        published = None
    python = chosen.python or environment()
    found: dict[str, Any] = {}
    for size, whole, part in SIZES:
        samples, turns = (part, 1) if chosen.quick else (whole, chosen.turns)
        name = f"{size[0]}x{size[1]}"
        found[name] = one_size(size, samples, turns, python, published)
        print(f"{samples} images of {name}{'':<12} CPU ms a request   peak MB   seconds")
        for client, one in found[name].items():
            print(
                f"  {client:<28}{one['cpu_ms']:>16}{one['rss_mb']:>10}{one['seconds']:>10}",
                flush=True,
            )
    Path(chosen.out).write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
