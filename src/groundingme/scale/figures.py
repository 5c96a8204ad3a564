"""The scaling curve, and accuracy against tokens, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from groundingme.errors import UsageError
from groundingme.scale import curves
from groundingme.scale.curves import Frontier, Point
from groundingme.scale.selection import image_codes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from groundingme.scale.selection import SampleRun

# After Okabe and Ito; a dash and a shape each, so that no colour is needed to tell them apart.
LOOKS = {
    "oracle": ("#000000", "--", "o"),
    "majority": ("#0072b2", "-", "s"),
    "medoid": ("#009e73", "-.", "D"),
    "median": ("#e69f00", "-", "^"),
    "confidence": ("#cc79a7", "-", "v"),
    "longest": ("#d55e00", ":", "X"),
    "shortest": ("#56b4e9", ":", "P"),
    "mean": ("#7f7f7f", ":", "o"),
}
LINES = {
    "fixed N": ("#7f7f7f", "-", "o"),
    "posterior": ("#0072b2", "-", "s"),
    "window": ("#e69f00", "-", "^"),
    "fixed N, by confidence": ("#7f7f7f", "--", "o"),
    "posterior, by confidence": ("#0072b2", "--", "s"),
    "window, by confidence": ("#e69f00", "--", "^"),
}


def scaling_panel(axes: Axes, points: Mapping[str, Sequence[Point]]) -> None:
    """Score against N, with 95 % intervals."""
    names = sorted(points, key=lambda name: -points[name][-1].score)
    for turn, name in enumerate(names):
        color, dashes, shape = LOOKS[name]
        found = points[name]
        at = np.array([one.k for one in found]) * 2 ** (0.035 * (turn - (len(names) - 1) / 2))
        score = 100 * np.array([one.score for one in found])
        axes.plot(at, score, dashes, color=color, marker=shape, ms=3.5, label=name)
        axes.vlines(
            at, [100 * one.low for one in found], [100 * one.high for one in found],
            colors=color, linewidth=0.8,
        )  # fmt: skip
    ks = [one.k for one in points[names[0]]]
    axes.set_xscale("log", base=2)
    axes.set_xticks(ks, [f"{k:.0f}" for k in ks])
    axes.set(xlabel="trajectories of a sample", ylabel="Acc@0.5, % (95 % interval)")
    axes.grid(axis="y")


def frontier_panel(
    axes: Axes,
    majority: Mapping[str, Sequence[Frontier]],
    by_confidence: Mapping[str, Sequence[Frontier]],
    *,
    counted: bool,
) -> None:
    """Score against the share of tokens, or of trajectories where none were counted."""
    lines = dict(majority) | {f"{name}, by confidence": one for name, one in by_confidence.items()}
    for name, found in lines.items():
        color, dashes, shape = LINES[name]
        axes.plot(
            [100 * one.share for one in found], [100 * one.score for one in found], dashes,
            color=color, marker=shape, ms=3.5, label=name,
        )  # fmt: skip
    unit = "tokens" if counted else "trajectories"
    axes.set(xlim=(0, 103), xlabel=f"{unit}, % of all", ylabel="Acc@0.5, %")
    axes.grid(axis="y")


def draw_curve(run: SampleRun, path: str | Path, *, seed: int = 0) -> None:
    """Score against N for every selector, and the score that stopping early keeps.

    Args:
        run: Stored trajectories.
        path: Of the picture; its ending decides on the format.
        seed: Of the orders of trajectories.

    Raises:
        UsageError: matplotlib is not installed, or the picture cannot be written.
    """
    try:
        import matplotlib
    except ImportError:
        raise UsageError(
            "expected matplotlib for a figure, got none; pip install matplotlib"
        ) from None
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    t, images = run.t, image_codes(run)
    sure = bool(np.isfinite(t.confidence).any())
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.4))
    scaling_panel(left, curves.scaling(t, images, seed=seed))
    frontier_panel(
        right,
        curves.frontier(t, images, seed=seed),
        curves.frontier(t, images, "confidence", seed=seed) if sure else {},
        counted=bool(np.isfinite(t.tokens).any()),
    )
    if run.greedy is not None:
        greedy = 100 * run.greedy.right().mean()
        left.axhline(greedy, color="#d55e00", lw=1, label="greedy")
    for panel in (left, right):
        panel.legend(fontsize=8)
        panel.grid(alpha=0.3)
    figure.suptitle(f"{run.folder.run.model} on {run.folder.run.data_name}", fontsize=10)
    figure.tight_layout()
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=130)
    except (OSError, ValueError) as error:
        raise UsageError(f"expected a picture that can be written, got {path}: {error}") from None
    finally:
        plt.close(figure)
