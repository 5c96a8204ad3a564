"""`python -m groundingme.train.grounder --out DIR`: the built-in grounder from nothing."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

from groundingme.train.grounder import stages
from groundingme.train.grounder.stages import NEGATIVES, Plan, say


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs every stage that is not done yet; Ctrl-C loses a minute of training at most."""
    parser = argparse.ArgumentParser(
        prog="python -m groundingme.train.grounder", description=main.__doc__
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of everything made")
    parser.add_argument("--minutes", type=float, default=42.0, help="of training on two cores")
    parser.add_argument("--pictures", type=int, default=4000, help="training scenes drawn")
    parser.add_argument("--pages", type=int, default=16000, help="training scenes asked about")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--seed", type=int, default=0, help="of weights and batches")
    parser.add_argument("--workers", type=int, default=2, help="processes that draw scenes")
    plan = Plan(**vars(parser.parse_args(arguments)))
    began = time.monotonic()

    def stage(text: str) -> None:
        say(f"[{(time.monotonic() - began) / 60:5.1f} min] {text}")

    stage("drawing scenes and asking questions")
    stages.make_data(plan)
    stage("training: look, read, spell; beside them the matcher on simulated readings")
    stages.together(
        [
            [
                (stages.train_look, (plan,)),
                (stages.train_read, (plan,)),
                (stages.train_spell, (plan,)),
            ],
            [(stages.train_early_match, (plan,))],
        ]
    )
    stage("looking at the drawn scenes and reading them")
    stages.read_all(plan)
    stage("training both matchers on those readings")
    stages.together(
        [
            [(stages.train_match, (plan, "match", NEGATIVES))],
            [(stages.train_match, (plan, "match-positive-only", 0.0))],
        ]
    )
    stage("scoring")
    figures = stages.score(plan)
    stage(f"done; weights and figures are in {plan.weights}")
    print(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
