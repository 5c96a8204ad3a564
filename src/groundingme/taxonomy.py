"""The subtasks: four L-1 categories and twelve L-2 subtasks, one row each.

Source: arXiv 2512.17495, table of the benchmark's statistics (1,005 samples).
"""

from __future__ import annotations

from typing import NamedTuple


class Subtask(NamedTuple):
    """One row of the taxonomy.

    Attributes:
        l1: Category.
        l2: Subtask within the category.
        samples: Samples in the published benchmark.
        tests: What it tests, in a phrase.
    """

    l1: str
    l2: str
    samples: int
    tests: str

    @property
    def name(self) -> str:
        """`L1/L2`, as `--subset` takes it."""
        return f"{self.l1}/{self.l2}"


SUBTASKS: tuple[Subtask, ...] = (
    Subtask("Discriminative", "Appearance", 52, "subtle visual attributes such as colour, texture"),
    Subtask("Discriminative", "Component", 50, "presence or absence of a structural part"),
    Subtask("Discriminative", "Text", 50, "text embedded in the image"),
    Subtask("Discriminative", "State", 52, "dynamic or static condition"),
    Subtask("Spatial", "Relationship", 150, "position relative to other entities"),
    Subtask("Spatial", "Counting", 150, "explicit quantity or ordinal"),
    Subtask("Limited", "Occlusion", 150, "partly visible: occluded or truncated"),
    Subtask("Limited", "Small", 150, "tiny object in an ultra-high-resolution image"),
    Subtask("Rejection", "Appearance", 50, "no match: an attribute is contradicted"),
    Subtask("Rejection", "Component", 51, "no match: a part is contradicted"),
    Subtask("Rejection", "Text", 50, "no match: a text is contradicted"),
    Subtask("Rejection", "State", 50, "no match: a state is contradicted"),
)

L1: tuple[str, ...] = tuple(dict.fromkeys(row.l1 for row in SUBTASKS))
"""The four categories, in the paper's order."""

L2: tuple[str, ...] = tuple(dict.fromkeys(row.l2 for row in SUBTASKS))
"""The distinct names of the second level, in the paper's order."""

REJECTION = "Rejection"

_ROWS = {(row.l1, row.l2): row for row in SUBTASKS}


def find(l1: str, l2: str) -> Subtask | None:
    """The row of a subtask, or None where the two names do not belong together."""
    return _ROWS.get((l1, l2))
