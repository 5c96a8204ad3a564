"""The nouns of a build: Picture, Detections, Target. Read this file first.

A *picture* is one image with what the stages found out about it: its tags and its *detections*.
A *target* is one detection that was chosen for one subtask; it gets a description, or an untrue
one that nothing matches. What a stage turns down stays in the tables with the reason, so that
every picture, box and target is counted to the end.
"""

from __future__ import annotations

import dataclasses

import msgspec
import numpy as np
from numpy.typing import NDArray

from groundingme.schema import Box

FATES = ("kept", "suppressed", "few", "large", "border", "small", "flat", "degenerate")
"""What became of a box: kept, or why it was turned down. The codes are positions in this table."""

KEPT = 0


@dataclasses.dataclass
class Detections:
    """The boxes of one picture, in columns of one length N.

    Attributes:
        boxes: Shape `(N, 4)`, float64, x1 y1 x2 y2 in pixels of the upright picture.
        labels: Class of each box.
        scores: Shape `(N,)`, float64, of the detector; 1 where it gives none.
        fates: Shape `(N,)`, int8, positions in `FATES`.
        subtasks: Shape `(N,)`, int32: bit i is set where the box suits row i of
            `taxonomy.SUBTASKS`.
    """

    boxes: NDArray[np.float64] = dataclasses.field(default_factory=lambda: np.empty((0, 4)))
    labels: list[str] = dataclasses.field(default_factory=list)
    scores: NDArray[np.float64] = dataclasses.field(default_factory=lambda: np.empty(0))
    fates: NDArray[np.int8] = dataclasses.field(default_factory=lambda: np.empty(0, np.int8))
    subtasks: NDArray[np.int32] = dataclasses.field(default_factory=lambda: np.empty(0, np.int32))

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def of(
        cls, boxes: NDArray[np.float64], labels: list[str], scores: NDArray[np.float64]
    ) -> Detections:
        """Fresh detections, all kept, that suit no subtask yet."""
        count = len(labels)
        return cls(
            np.asarray(boxes, np.float64).reshape(count, 4),
            labels,
            np.asarray(scores, np.float64).reshape(count),
            np.zeros(count, np.int8),
            np.zeros(count, np.int32),
        )

    @property
    def kept(self) -> NDArray[np.intp]:
        """Indices of the boxes that no stage turned down."""
        return np.flatnonzero(self.fates == KEPT)

    def codes(self) -> tuple[NDArray[np.intp], list[str]]:
        """The label of each box as a position in the list of all labels, which is sorted."""
        names = sorted(set(self.labels))
        place = {name: at for at, name in enumerate(names)}
        return np.fromiter((place[one] for one in self.labels), np.intp, len(self.labels)), names


@dataclasses.dataclass
class Picture:
    """One image, and what is known of it.

    Attributes:
        id: Unique in the build: the path inside the source, or shard and member.
        where: How to read it again: see `sources.locate`.
        width: Of the upright picture, in pixels; 0 until it was looked at.
        height: Likewise.
        digest: `sha256:` and hex digits of the encoded bytes.
        hash: 64-bit perceptual hash; see `hashing`.
        sharpness: Variance of the Laplacian of the picture scaled down to 512 px; low is blurred.
        fate: "" for a picture that goes on, else why it was turned down: `small`, `blurred`,
            `duplicate`, ...
        failure: What could not be done with it, in a line; such a picture goes no further, and
            `--retry-failed` tries it again.
        tags: Names of what may be in it, best first.
        tag_scores: As many numbers.
        found: Its boxes.
    """

    id: str
    where: str
    width: int = 0
    height: int = 0
    digest: str = ""
    hash: int = 0
    sharpness: float = 0.0
    fate: str = ""
    failure: str = ""
    tags: list[str] = dataclasses.field(default_factory=list)
    tag_scores: list[float] = dataclasses.field(default_factory=list)
    found: Detections = dataclasses.field(default_factory=Detections)

    @property
    def goes_on(self) -> bool:
        """Whether later stages look at it."""
        return not self.fate and not self.failure


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What makes a description untrue.

    Attributes:
        kind: L-2 subtask of Rejection: `Appearance`, `Component`, `Text` or `State`.
        before: The words that were true; "" where words were put in.
        after: The words in their place; "" where words were left out.
        by: Who changed them: `rules`, or a model's name.
    """

    kind: str
    before: str
    after: str
    by: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a verifying model said to a description.

    Attributes:
        model: Its name.
        outcome: `box`, `rejected`, `unparsed` or `failed`.
        box: Its box, in pixels; None unless `outcome` is `box`.
        iou: Of that box with the target's, in [0, 1]; 0 for a rejection's description.
        agrees: Whether it found exactly the target, or rejected what nothing matches.
    """

    model: str
    outcome: str
    box: Box | None
    iou: float
    agrees: bool


class Target(msgspec.Struct, kw_only=True):
    """One question in the making.

    Attributes:
        id: Unique in the build: `PICTURE#BOX`, and `PICTURE#BOX-KIND` for a rejection.
        picture: Id of its picture.
        where: How to read the picture: see `sources.locate`.
        width: Of the upright picture, in pixels.
        height: Likewise.
        box: The object, in pixels; for a rejection that of the description it was made from.
        label: Class of the object.
        score: Of the detector.
        subtask_l1: A name of `taxonomy.L1`.
        subtask_l2: A name of `taxonomy.L2`.
        others: Boxes of the other objects of its class in the picture.
        drafts: Descriptions that were drafted, in order of asking.
        description: The one that is asked; "" until there is one.
        original: For a rejection: the true description that it was made from.
        changes: For a rejection: what was changed in it.
        verdicts: What the verifying models said.
        flags: What a person should know first: `not-unique`, `found`, `text-floor`, ...
        rank: Higher is seen first by people, in [0, 1].
        fate: "" for a target that goes on, else why it was turned down.
        failure: What could not be done with it, in a line.
    """

    id: str
    picture: str
    where: str
    width: int
    height: int
    box: Box
    label: str
    score: float
    subtask_l1: str
    subtask_l2: str
    others: list[Box] = []
    drafts: list[str] = []
    description: str = ""
    original: str = ""
    changes: list[Change] = []
    verdicts: list[Verdict] = []
    flags: list[str] = []
    rank: float = 0.0
    fate: str = ""
    failure: str = ""

    @property
    def goes_on(self) -> bool:
        """Whether later stages look at it."""
        return not self.fate and not self.failure

    @property
    def is_rejection(self) -> bool:
        """Whether nothing in the picture should match its description."""
        return self.subtask_l1 == "Rejection"
