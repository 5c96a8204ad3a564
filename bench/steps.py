"""Where the time of `groundingme score` goes: CPU microseconds a reply, step by step.

    python bench/steps.py FOLDER

FOLDER holds samples.jsonl and replies.jsonl of `bench/data.py replies`. Prints one JSON object.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from groundingme import load_dataset, metrics, parse, protocols
from groundingme.official import parse_official
from groundingme.predictions import read_predictions


def main(folder: Path) -> None:
    steps: dict[str, float] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        began = time.process_time()
        value = work()
        steps[name] = time.process_time() - began
        return value

    dataset = timed("read the samples", lambda: load_dataset(str(folder / "samples.jsonl")))
    found = timed("read the replies", lambda: read_predictions(folder / "replies.jsonl"))
    replies = found.generations
    texts = [one.text for one in replies.values()]
    timed("parse, strict", lambda: [parse(text) for text in texts])
    timed("parse, official", lambda: [parse_official(text) for text in texts])
    for protocol in ("strict", "official"):
        name = f"score, {protocol}"
        scores = timed(
            name, lambda p=protocol: protocols.score(dataset.samples, replies, protocol=p)
        )
        steps[name] -= steps[f"parse, {protocol}"]
    timed("figures", lambda: metrics.summarize(scores))
    print(json.dumps({name: round(1e6 * spent / len(texts), 2) for name, spent in steps.items()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
