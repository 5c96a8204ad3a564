"""How long `groundingme report` takes, and how large its page is.

    python bench/report.py RUN [RUN ...]

Prints the wall time, which depends on what else the machine does, and the processor time of the
command with all its processes, which hardly does.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    """Runs the command once."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "report.html"
        command = [sys.executable, "-m", "groundingme", "report", *sys.argv[1:], "-o", str(out)]
        began = time.perf_counter()
        done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
        wall = time.perf_counter() - began
    said = json.loads(done.stdout)
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"{len(said['runs'])} runs of {said['samples']} samples: {wall:.1f} s, of the processor "
        f"{spent.ru_utime + spent.ru_stime:.1f} s, {said['bytes'] / 1e6:.1f} MB"
    )


if __name__ == "__main__":
    main()
