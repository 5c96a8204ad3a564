"""The card of a published data set: what it holds, and how it was made."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from groundingme import geometry, taxonomy
from groundingme.build.records import Target

if TYPE_CHECKING:
    from groundingme.build.publish import PublishOptions

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
"""How the Hub names the number of rows."""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What the paper's table of statistics says of a benchmark.

    Attributes:
        samples: How many there are.
        subtasks: Samples by `L1/L2`, in the order of the taxonomy.
        images: Different pictures.
        classes: Different classes of objects.
        image_side: Least and most square root of a picture's area, in pixels.
        object_side: Of an object's box, likewise.
        area_share: Quartiles of the box's share of the picture, in percent.
        words: Quartiles of the words of a description.
        same_class: Quartiles of the objects of the target's class in the picture, itself included.
    """

    samples: int
    subtasks: dict[str, int]
    images: int
    classes: int
    image_side: tuple[float, float]
    object_side: tuple[float, float]
    area_share: tuple[float, float, float]
    words: tuple[float, float, float]
    same_class: tuple[float, float, float]


def figures(targets: Sequence[Target]) -> Figures:
    """The statistics of at least one target."""
    counts = Counter(f"{one.subtask_l1}/{one.subtask_l2}" for one in targets)
    order = [row.name for row in taxonomy.SUBTASKS]
    areas = geometry.area([one.box for one in targets])
    pictures = np.array([one.width * one.height for one in targets], float)
    return Figures(
        samples=len(targets),
        subtasks={name: counts[name] for name in (*order, *sorted(counts.keys() - set(order)))
                  if counts[name]},
        images=len({one.picture for one in targets}),
        classes=len({one.label for one in targets}),
        image_side=_ends(np.sqrt(pictures)),
        object_side=_ends(np.sqrt(areas)),
        area_share=_quartiles(100 * areas / np.maximum(pictures, 1)),
        words=_quartiles(np.array([len(one.description.split()) for one in targets], float)),
        same_class=_quartiles(np.array([len(one.others) + 1 for one in targets], float)),
    )  # fmt: skip


def _ends(values: NDArray[np.float64]) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _quartiles(values: NDArray[np.float64]) -> tuple[float, float, float]:
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    return float(low), float(middle), float(high)


def write(
    options: PublishOptions, found: Figures, history: Sequence[dict[str, Any]], *, left_out: int
) -> str:
    """The card as Markdown, with the header that the Hub reads."""
    parts = [
        _header(options, found.samples),
        f"# {options.name}",
        options.summary
        or "Images and descriptions for visual grounding: each sample asks for the one object that "
        "a description fits, or for an explicit null where nothing fits.",
        "## Use",
        f"    groundingme eval MODEL --data OWNER/NAME --split {options.split}\n\n"
        "    from datasets import load_dataset\n"
        f'    samples = load_dataset("OWNER/NAME", split="{options.split}")',
        "Columns: `id`, `description`, `image`, `bbox` (x1, y1, x2, y2 in pixels of the upright "
        "image; null where nothing matches), `detection_type`, `subtask_l1`, `subtask_l2`, "
        "`width`, `height`. `provenance.jsonl` has one line a sample: the detection it comes from, "
        "drafts of its description, what was changed for a rejection, and what verifying models "
        "said.",
        "## What is in it",
        _statistics(found),
        _subtasks(found),
        "## How it was made",
        f"Built by groundingme in the stages below; {left_out} targets were left out on the way. "
        "Numbers are records that each stage handed on, and what it turned down.",
        _stages(history),
        _settings(history),
        "## Licence",
        f"{options.license}, for descriptions and boxes. The images keep their own licences."
        if options.license
        else "Not stated. Ask the authors before you use it.",
    ]
    if options.authors:
        parts += ["## Authors", ", ".join(options.authors)]
    return "\n\n".join(parts) + "\n"


def _header(options: PublishOptions, samples: int) -> str:
    # JSON is YAML, and quotes whatever a name may hold.
    told: dict[str, Any] = {
        "pretty_name": options.name,
        **({"license": options.license} if options.license else {}),
        "task_categories": ["object-detection", "image-text-to-text"],
        "tags": ["visual-grounding", "referring-expressions", "rejection", "croissant"],
        "size_categories": [next((name for n, name in SIZES if samples < n), "n>1M")],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": options.split, "path": f"data/{options.split}-*.parquet"}],
            }
        ],
    }
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in told.items()]
    return "\n".join(["---", *lines, "---"])


def _statistics(found: Figures) -> str:
    def ends(pair: tuple[float, float]) -> str:
        return f"{pair[0]:.0f} to {pair[1]:.0f}"

    def quartiles(three: tuple[float, float, float], form: str = ".0f") -> str:
        return " / ".join(format(one, form) for one in three)

    rows = [
        ("samples", str(found.samples)),
        ("images", str(found.images)),
        ("classes of objects", str(found.classes)),
        ("image size, square root of its area, px", ends(found.image_side)),
        ("object size, likewise, px", ends(found.object_side)),
        ("object's share of the image, quartiles, %", quartiles(found.area_share, ".2f")),
        ("words of a description, quartiles", quartiles(found.words)),
        ("objects of the class in the image, quartiles", quartiles(found.same_class)),
    ]
    return _table(("", ""), rows)


def _subtasks(found: Figures) -> str:
    tests = {row.name: row.tests for row in taxonomy.SUBTASKS}
    rows = [(name, str(n), tests.get(name, "")) for name, n in found.subtasks.items()]
    return _table(("subtask", "samples", "what it tests"), rows)


def _stages(history: Sequence[dict[str, Any]]) -> str:
    rows = []
    for one in history:
        reasons = {**one["reasons"], **{f"boxes {k}": v for k, v in one["boxes"].items()}}
        reasons.pop("boxes kept", None)
        down = ", ".join(f"{n} {reason}" for reason, n in reasons.items())
        rows.append((one["stage"], str(one["goes_on"]), down))
    return _table(("stage", "handed on", "turned down"), rows)


def _settings(history: Sequence[dict[str, Any]]) -> str:
    told = {one["stage"]: one["options"] for one in history if one["options"] is not None}
    text = json.dumps(_public(msgspec.to_builtins(told)), indent=1, ensure_ascii=False)
    return (
        f"<details><summary>Settings of every stage</summary>\n\n```json\n{text}\n```\n\n</details>"
    )


def _public(value: Any) -> Any:
    """Settings without the folders of this machine."""
    if isinstance(value, dict):
        return {key: _public(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_public(one) for one in value]
    is_path = isinstance(value, str) and (value.startswith("~") or os.path.isabs(value))
    return os.path.basename(value.rstrip("/")) if is_path else value


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
