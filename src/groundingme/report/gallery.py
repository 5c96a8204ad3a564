"""The samples of a report as data for its gallery: questions, answers, pictures."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from groundingme import slices
from groundingme.mistakes import KINDS, other_objects
from groundingme.report.contents import Contents
from groundingme.report.pictures import Small, Wanted, shrink_all
from groundingme.schema import Box, Generation

MOST = 1500
"""Most samples of a gallery; the figures are always those of all."""

TEXT_BYTES = 3_500_000
"""Of all replies and reasoning together."""
_LENGTHS = (100_000, 40_000, 16_000, 8_000, 4_000, 2_000, 1_000, 500, 250, 120)


class Gallery(msgspec.Struct, frozen=True, kw_only=True):
    """What the page's script reads.

    Attributes:
        data: JSON-ready: runs, kinds of mistakes, samples.
        pictures: WebP in base64; samples refer to them by index.
        shown: How many samples there are.
        note: A line where something was left out, or "".
    """

    data: dict[str, Any]
    pictures: list[str]
    shown: int
    note: str


def gallery(
    contents: Contents,
    budget: int,
    *,
    most: int = MOST,
    workers: int | None = None,
    tick: Callable[[int, int], None] | None = None,
) -> Gallery:
    """The samples with answers and pictures.

    Args:
        contents: Of the report.
        budget: Bytes of the page that texts and pictures may take.
        most: Most samples.
        workers: Processes that decode images.
        tick: Called with the number of images done, and of all.
    """
    rows = _chosen(contents, most)
    limit = _text_limit(contents, rows)
    samples = [_sample(contents, at, limit) for at in rows]
    left = budget - len(msgspec.json.encode(samples))
    small, places = _pictures(contents, rows, left * 3 // 4, workers, tick)
    # By their bytes, so that samples of one image share its thumbnail.
    kept: dict[bytes, int] = {}
    for sample, (image, turn) in zip(samples, places, strict=True):
        if image < 0:
            continue
        one = small[image]
        if one.problem:
            sample["problem"] = one.problem
            continue
        sample["size"] = [one.width, one.height]
        sample["picture"] = kept.setdefault(one.data, len(kept))
        crop = one.crops[turn]
        if crop:
            sample["window"] = [round(edge, 1) for edge in crop.window]
            if crop.data:
                sample["crop"] = kept.setdefault(crop.data, len(kept))
    data = {
        "kinds": KINDS,
        "runs": [
            {
                "letter": one.letter,
                "label": one.label,
                "colour": one.colour,
                "dash": one.dash or "",
                "drawn": one in contents.charted,
            }
            for one in contents.marks
        ],
        "samples": samples,
    }
    return Gallery(
        data=data,
        pictures=[base64.b64encode(one).decode("ascii") for one in kept],
        shown=len(rows),
        note=_note(contents, rows, limit),
    )


def _chosen(contents: Contents, most: int) -> list[int]:
    """Which samples to show: all, or up to half of them flips and the rest spread evenly."""
    total = len(contents.samples)
    if total <= most:
        return list(range(total))
    taken = {one.index for one in contents.comparison.flips[: most // 2]}
    others = [at for at in range(total) if at not in taken]
    # In the order of subtasks, so that even steps take of each as many as it has.
    names = [(one.subtask_l1, one.subtask_l2) for one in contents.samples]
    others.sort(key=lambda at: names[at])
    steps = np.linspace(0, len(others) - 1, most - len(taken)).round().astype(int).tolist()
    return sorted(taken | {others[at] for at in steps})


def _note(contents: Contents, rows: Sequence[int], limit: int) -> str:
    said = []
    if len(rows) < len(contents.samples):
        said.append(
            f"{len(rows):,} of {len(contents.samples):,} samples are shown: up to half of them "
            "samples on which runs differ, the others spread evenly over all subtasks. All "
            "figures above are those of all samples"
        )
    if limit < _LENGTHS[0]:
        said.append(f"Replies and reasoning are cut to {limit:,} characters each")
    return "".join(f"{one}. " for one in said).strip()


def _text_limit(contents: Contents, rows: Sequence[int]) -> int:
    """Most characters of a reply, so that all texts fit."""
    ids = [contents.samples[at].id for at in rows]
    lengths = [
        (len(text), len(text.encode(errors="replace")) / max(1, len(text)))
        for entry in contents.entries
        for one in (entry.generations.get(id) for id in ids)
        if one
        for text in (one.text, one.reasoning)
    ]
    for limit in _LENGTHS:
        if sum(min(length, limit) * width for length, width in lengths) <= TEXT_BYTES:
            return limit
    return _LENGTHS[-1]


def _sample(contents: Contents, at: int, limit: int) -> dict[str, Any]:
    sample = contents.samples[at]
    target = None if sample.target is None or contents.negatives[at] else sample.target
    side = "" if target is None else slices.SIZES[int(slices.size_bins([target])[0])]
    found: dict[str, Any] = {
        "id": sample.id,
        "text": sample.description,
        "l1": sample.subtask_l1,
        "l2": sample.subtask_l2,
        "target": _box(target),
        "side": side,
        "size": [sample.width, sample.height],
        "answers": [_answer(contents, run, at, limit) for run in range(len(contents.entries))],
    }
    if sample.problem:
        found["problem"] = sample.problem
    return found


def _answer(contents: Contents, run: int, at: int, limit: int) -> dict[str, Any]:
    entry = contents.entries[run]
    score = entry.scores[at]
    found: dict[str, Any] = {
        "kind": int(contents.mistakes[run].kind[at]),
        "right": int(contents.right[run, at]),
        "why": score.reason,
    }
    if score.box is not None:
        found["box"] = _box(score.box)
        if not contents.negatives[at] and math.isfinite(score.iou):
            found["iou"] = round(score.iou, 3)
    other = int(contents.mistakes[run].other[at])
    if other >= 0 and (name := other_objects(contents.samples[at])[other].name):
        found["on"] = name
    one = entry.generations.get(score.id)
    return found | (_reply(one, limit) if one else {})


def _reply(one: Generation, limit: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "reply": _cut(one.text, limit),
        "reasoning": _cut(one.reasoning, limit),
        "failure": " ".join(part for part in (one.failure, one.detail[:500]) if part),
        "tokens": one.completion_tokens,
        "seconds": round(one.latency, 2) or None,
        "sure": None if one.confidence is None else round(one.confidence, 3),
        "finish": one.finish_reason if one.finish_reason not in ("", "stop") else "",
    }
    return {name: value for name, value in found.items() if value not in (None, "")}


def _cut(text: str, limit: int) -> str:
    """Start and end of a long text, and how much is missing between."""
    if len(text) <= limit:
        return text
    head, tail = limit * 2 // 3, limit // 3
    gap = len(text) - head - tail
    return f"{text[:head]}\n[... {gap:,} characters left out ...]\n{text[-tail:]}"


def _box(box: Box | None) -> list[float] | None:
    if box is None or not all(map(math.isfinite, box)):
        return None
    return [round(edge, 1) for edge in box]


def _pictures(
    contents: Contents,
    rows: Sequence[int],
    budget: int,
    workers: int | None,
    tick: Callable[[int, int], None] | None,
) -> tuple[list[Small], list[tuple[int, int]]]:
    """Small pictures, and for each sample which of them and which crop; -1 for none."""
    wanted: list[Wanted] = []
    places: list[tuple[int, int]] = []
    known: dict[str, int] = {}
    for at in rows:
        source = contents.samples[at].image
        if source is None:
            places.append((-1, 0))
            continue
        image = known.setdefault(source.name, len(wanted))
        if image == len(wanted):
            wanted.append(Wanted(source, ()))
        boxes = wanted[image].boxes
        places.append((image, len(boxes)))
        wanted[image] = Wanted(wanted[image].source, (*boxes, _looked_at(contents, at)))
    told = (lambda done: tick(done, len(wanted))) if tick else None
    return shrink_all(wanted, budget, workers=workers, tick=told), places


def _looked_at(contents: Contents, at: int) -> Box | None:
    """What a crop of a sample should show: the target, or else the first box that a run gave."""
    target = contents.samples[at].target
    if target is not None and not contents.negatives[at]:
        return target
    boxes = (entry.scores[at].box for entry in contents.entries)
    return next((one for one in boxes if one is not None), None)
