"""How a model's accuracy falls as scenes get harder: one knob at a time, the rest as they are.

    python bench/difficulty.py [--model builtin/grounder] [--n 600] [--out docs/difficulty.png]

Prints a table with 95 % Wilson intervals of Acc@0.5 on positives and of rejections, and draws it.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path

from groundingme import evaluate

KNOBS: dict[str, tuple[str, ...]] = {
    "small_size": ("12-13", "14-16", "18-22", "26-34", "50-70"),
    "distractors": ("0", "2", "4", "6", "9"),
    "size": ("0.10-0.13", "0.14-0.17", "0.19-0.23", "0.26-0.31", "0.35-0.40"),
    "facts": ("1", "3", "5", "7", "9"),
    "visible": ("0.3-0.4", "0.4-0.5", "0.5-0.6", "0.6-0.7", "0.7-0.85"),
}
SUBSETS = {"small_size": "Limited/Small", "visible": "Limited/Occlusion"}
"""Where a knob touches one subtask only."""
MORE = {"distractors": ",similar=1"}
"""What else is set: things of the same kind confuse only where they differ in little."""
TITLES = {
    "small_size": "height of a tiny target, px (Small)",
    "distractors": "things that differ from the target in one fact",
    "size": "height of things, share of the picture",
    "facts": "facts in a description",
    "visible": "share of a hidden target that is seen (Occlusion)",
}


def wilson(share: float, n: int) -> tuple[float, float]:
    """95 % interval of a share of n."""
    if not n:
        return math.nan, math.nan
    z = 1.96
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return middle - half, middle + half


def measure(model: str, knob: str, value: str, n: int, runs: Path) -> dict[str, tuple[float, int]]:
    """Share and number of positives found and of negatives rejected."""
    subset = SUBSETS.get(knob, "")
    # A subtask with 150 of 1,005 samples needs a larger data set to give n of them.
    total = n if not subset else round(n * 1005 / 150)
    result = evaluate(
        model,
        f"scenes:seed=1,n={total},{knob}={value}{MORE.get(knob, '')}",
        subset=subset,
        out=runs,
        concurrency=4,
    )
    right, negative = result.scores.ious >= 0.5, result.scores.negatives
    return {
        name: (float(right[rows].mean()) if rows.any() else math.nan, int(rows.sum()))
        for name, rows in (("positives", ~negative), ("rejections", negative))
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="builtin/grounder")
    parser.add_argument("--n", type=int, default=600, help="samples at each point")
    parser.add_argument("--knobs", default=",".join(KNOBS))
    parser.add_argument("--out", default="", help="picture to draw")
    args = parser.parse_args()
    found: dict[str, list[dict[str, tuple[float, int]]]] = {}
    with tempfile.TemporaryDirectory() as runs:
        for knob in args.knobs.split(","):
            print(f"\n{TITLES[knob]}")
            for value in KNOBS[knob]:
                n = args.n if knob not in SUBSETS else max(1, args.n // 4)
                figures = measure(args.model, knob, value, n, Path(runs))
                found.setdefault(knob, []).append(figures)
                cells = []
                for name, (share, count) in figures.items():
                    if count:
                        low, high = wilson(share, count)
                        cells.append(
                            f"{name} {100 * share:5.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
                            f" of {count}"
                        )
                print(f"  {value:>10}  " + "   ".join(cells), flush=True)
    if args.out:
        picture(found, args.model, args.out)


def picture(found: dict[str, list[dict[str, tuple[float, int]]]], model: str, path: str) -> None:
    """One panel a knob, with intervals."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(found), figsize=(3.4 * len(found), 3.1), squeeze=False)
    for panel, (knob, points) in zip(panels[0], found.items(), strict=True):
        for name, color in (("positives", "#1a8f4c"), ("rejections", "#c9372c")):
            rows = [(i, *one[name]) for i, one in enumerate(points) if one[name][1]]
            if not rows:
                continue
            x = [i for i, _, _ in rows]
            y = [100 * share for _, share, _ in rows]
            bounds = [wilson(share, n) for _, share, n in rows]
            low = [
                100 * max(0.0, share - a)
                for (_, share, _), (a, _) in zip(rows, bounds, strict=True)
            ]
            high = [
                100 * max(0.0, b - share)
                for (_, share, _), (_, b) in zip(rows, bounds, strict=True)
            ]
            panel.errorbar(x, y, yerr=(low, high), marker="o", capsize=3, color=color, label=name)
        panel.set_xticks(range(len(points)), KNOBS[knob], rotation=30, fontsize=8)
        panel.set_ylim(0, 102)
        panel.set_title(TITLES[knob], fontsize=8)
        panel.grid(alpha=0.3)
    panels[0][0].set_ylabel("Acc@0.5, %")
    panels[0][1 if len(found) > 1 else 0].legend(fontsize=8, loc="lower left")
    figure.suptitle(f"{model} on scenes, 95 % intervals", fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
