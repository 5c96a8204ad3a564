"""`python -m groundingme.train.scratch --out DIR`: a Qwen3-VL from nothing, and the sweep on it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from groundingme.errors import GroundingMEError, UsageError
from groundingme.interrupting import Interrupted
from groundingme.train.scratch import stages
from groundingme.train.scratch.stages import TINY, Amount

HELP = {
    "size": "tiny, small, medium, large or 2b",
    "minutes": "of training without negatives",
    "samples": "scenes of that training",
    "mixture": "scenes of each kind to make mixtures from",
    "total": "samples of each mixture",
    "exam": "scenes of each of both exams",
    "ratios": "of negatives to positives",
    "seeds": "trainings of each ratio",
    "epochs": "passes over a mixture",
    "width": "of pictures, in pixels",
    "height": "of pictures, in pixels",
    "batch": "rows of a step",
    "rate": "highest learning rate; a fifth of it for the mixtures",
    "measured": "steps whose time is taken",
    "workers": "processes that draw and decode",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs every stage that is not done yet; the same command goes on."""
    parser = argparse.ArgumentParser(
        prog="python -m groundingme.train.scratch", description=main.__doc__
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of everything made")
    parser.add_argument("--seed", type=int, default=0, help="of weights and order")
    parser.add_argument("--tiny", action="store_true", help="very little of everything, on a CPU")
    for field in msgspec.structs.fields(Amount):
        parser.add_argument(f"--{field.name}", type=type(field.default), help=HELP[field.name])
    given = vars(parser.parse_args(arguments))
    out, seed, tiny = (given.pop(name) for name in ("out", "seed", "tiny"))
    chosen = {name: value for name, value in given.items() if value is not None}
    amount = msgspec.structs.replace(TINY if tiny else Amount(), **chosen)
    try:
        stages.run(amount, out, seed)
    except GroundingMEError as error:
        stages.tell(f"Error: {error}")
        return 2 if isinstance(error, UsageError) else 1
    except (Interrupted, KeyboardInterrupt):
        stages.tell("Interrupted; the same command goes on.")
        return 130
    stages.tell(f"Figures: {out / 'scratch.json'} and {out / 'sweep' / 'sweep.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
