"""How much memory a piece of work takes, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def peak_of(code: str, *arguments: object) -> tuple[float, str]:
    """Runs code in a process of its own, in which `path` is the first argument.

    Returns:
        Most megabytes that it took beyond its imports, and what it printed; of a
        `GroundingMEError` that it raised, the message.
    """
    program = f"""
import sys
import pyarrow.parquet, openpyxl, PIL.Image, PIL.ImageOps, PIL.PngImagePlugin
import PIL.TiffImagePlugin, PIL.JpegImagePlugin
import groundingme.datasets.folder, groundingme.datasets.tsv, groundingme.datasets.groundingme
from groundingme import images, files
from groundingme.datasets import load_dataset
from groundingme.errors import GroundingMEError
from groundingme.predictions import read_predictions

def peak():
    with open("/proc/self/status") as lines:
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024

load_dataset(sys.argv[1] + "/small")
before = peak()
path = sys.argv[2]
try:
{chr(10).join("    " + line for line in code.strip().splitlines())}
except GroundingMEError as error:
    print(str(error)[:300])
print(peak() - before)
"""
    if not Path("/proc/self/status").exists():
        pytest.skip("needs Linux, which tells the most memory that a process took")
    small = Path(str(arguments[0])).parent / "small"
    small.mkdir(exist_ok=True)
    (small / "samples.jsonl").write_text('{"id": "a", "description": "the cup"}\n')
    command = [sys.executable, "-c", program, str(small.parent), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said, _, megabytes = done.stdout.strip().rpartition("\n")
    return float(megabytes), said
