"""The scaling curve, and accuracy against tokens, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from groundingme.errors import UsageError
from groundingme.scale import stopping
from groundingme.scale.select import curve, majority

if TYPE_CHECKING:
    from groundingme.scale.selection import SampleRun

CURVES = {
    "oracle": ("#000000", "--"),
    "majority": ("#0072b2", "-"),
    "medoid": ("#009e73", "-"),
    "median": ("#e69f00", "-"),
    "confidence": ("#cc79a7", "-"),
    "mean": ("#7f7f7f", ":"),
}
THRESHOLDS = (0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
WINDOWS = (2, 3, 4, 6)


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

    t = run.t
    by = [name for name in CURVES if name not in ("oracle", "mean")]
    if not np.isfinite(t.confidence).any():
        by.remove("confidence")
    points = curve(t, by, seed=seed)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.0))
    for name, (color, dashes) in CURVES.items():
        if name in points:
            ks, scores = zip(*points[name], strict=True)
            left.plot(ks, 100 * np.array(scores), dashes, color=color, marker="o", ms=4, label=name)
    if run.greedy is not None:
        greedy = 100 * run.greedy.right().mean()
        left.axhline(greedy, color="#d55e00", lw=1, label="greedy")
    left.set_xscale("log", base=2)
    left.set_xticks(ks, [str(k) for k in ks])
    left.set_xlabel("trajectories")
    left.set_ylabel("Acc@0.5, %")
    left.legend(fontsize=8)
    _frontier(run, right, seed)
    for panel in (left, right):
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


def _frontier(run: SampleRun, panel: object, seed: int) -> None:
    """Accuracy of the majority against the share of tokens, fixed and stopped early."""
    t = run.t.shuffled(np.random.default_rng(seed))
    everything = stopping.spent(t, np.full(len(t), t.n)).sum()
    rng = np.random.default_rng(seed)
    lines: dict[str, tuple[str, list[tuple[float, float]]]] = {"fixed N": ("#7f7f7f", [])}
    for k in range(1, t.n + 1):
        part = t.first(k)
        share = stopping.spent(t, np.full(len(t), k)).sum() / everything
        lines["fixed N"][1].append((share, float(majority(part, rng).right(part).mean())))
    for name, color, rules in (
        ("posterior", "#0072b2", [stopping.posterior(p) for p in THRESHOLDS]),
        ("window", "#e69f00", [stopping.window(w) for w in WINDOWS if w < t.n]),
    ):
        found = []
        for rule in rules:
            used, choice = stopping.replay(t, rule)
            found.append(
                (stopping.spent(t, used).sum() / everything, float(choice.right(t).mean()))
            )
        lines[name] = (color, found)
    for name, (color, found) in lines.items():
        x, y = np.array(found).T
        panel.plot(100 * x, 100 * y, "o-", ms=4, color=color, label=name)  # type: ignore[attr-defined]
    panel.set_xlabel("tokens, % of all trajectories")  # type: ignore[attr-defined]
    panel.legend(fontsize=8, title="majority")  # type: ignore[attr-defined]
