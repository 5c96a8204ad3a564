"""How well the queue of the study `cost` predicts a real server with random arrivals.

A server over HTTP, with slots and exponential times, is measured with 1, 2, 4 and 8 requests always
in flight; from that alone the 95th percentile at several rates of random arrivals is predicted, and
then measured.

    python bench/capacity.py [SLOTS] [SECONDS]
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.slotted import SlottedServer
from tests.test_study_cost import predict_open


def main() -> None:
    slots = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 0.05
    with SlottedServer(slots, seconds, even=False) as server:
        found, rows = predict_open(server, [0.3, 0.5, 0.7, 0.8, 0.9])
    print(f"slots {found.slots}, {found.seconds:.4f} s alone, +{found.slowdown:.4f} s each")
    print("load   p95 measured   predicted   off by")
    for load, seen, guess in rows:
        print(f"{load:4.0%} {seen:12.3f} s {guess:9.3f} s {guess / seen - 1:+8.0%}")


if __name__ == "__main__":
    main()
