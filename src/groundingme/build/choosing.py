"""The stage `select`: candidates of all pictures become targets, under quotas."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from groundingme import taxonomy
from groundingme.build.records import FATES, Picture, Target
from groundingme.build.select import SelectOptions, Supply, select
from groundingme.build.stage import Context, Shards

_SUPPRESSED = FATES.index("suppressed")
_ROWS = np.arange(len(taxonomy.SUBTASKS), dtype=np.int32)


def choose(shards: Shards, options: SelectOptions, context: Context) -> Iterator[Sequence[Target]]:
    """Targets, in the order of their pictures and boxes; a shard of them for each of pictures."""
    images: list[NDArray[np.intp]] = []
    boxes: list[NDArray[np.intp]] = []
    labels: list[NDArray[np.intp]] = []
    bits: list[NDArray[np.int32]] = []
    scores: list[NDArray[np.float64]] = []
    classes: dict[str, int] = {}
    number = 0
    for shard in shards:
        for picture in shard:
            found = picture.found
            here = np.flatnonzero(found.subtasks) if picture.goes_on else np.empty(0, np.intp)
            names = [found.labels[at] for at in here.tolist()]
            images.append(np.full(len(here), number))
            boxes.append(here)
            labels.append(
                np.array([classes.setdefault(name, len(classes)) for name in names], np.intp)
            )
            bits.append(found.subtasks[here])
            scores.append(found.scores[here])
            number += 1
    empty = np.empty(0, np.intp)
    image, box = np.concatenate([empty, *images]), np.concatenate([empty, *boxes])
    suits = (np.concatenate([empty, *bits])[:, None] >> _ROWS) & 1
    chosen, supply = select(
        image,
        box,
        np.concatenate([empty, *labels]),
        suits.astype(bool),
        np.concatenate([np.empty(0), *scores]),
        msgspec.structs.replace(options, seed=context.seed + options.seed),
    )
    _tell(supply, context)
    taken: dict[int, list[tuple[int, int]]] = {}
    for at in np.flatnonzero(chosen >= 0).tolist():
        taken.setdefault(int(image[at]), []).append((int(box[at]), int(chosen[at])))
    number = 0
    for shard in shards:
        targets: list[Target] = []
        for picture in shard:
            targets += [_target(picture, *one) for one in taken.get(number, ())]
            number += 1
        yield targets


def _target(picture: Picture, at: int, subtask: int) -> Target:
    found, row = picture.found, taxonomy.SUBTASKS[subtask]
    label = found.labels[at]
    others = [
        tuple(found.boxes[other].tolist())
        for other in np.flatnonzero(found.fates != _SUPPRESSED).tolist()
        if other != at and found.labels[other] == label
    ]
    return Target(
        id=f"{picture.id}#{at}",
        picture=picture.id,
        where=picture.where,
        width=picture.width,
        height=picture.height,
        box=tuple(found.boxes[at].tolist()),
        label=label,
        score=float(found.scores[at]),
        subtask_l1=row.l1,
        subtask_l2=row.l2,
        others=others,
    )


def _tell(supply: Sequence[Supply], context: Context) -> None:
    short = [one for one in supply if one.chosen < one.wanted]
    if short:
        said = ", ".join(f"{one.subtask} {one.chosen} of {one.wanted}" for one in short)
        context.tell(f"select: fewer candidates than wanted: {said}")
