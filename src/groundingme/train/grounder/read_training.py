"""Teaches `nets.Read` every property of the thing in a crop and where exactly its edges are, and
`nets.Spell` what is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from groundingme.train.grounder import labels
from groundingme.train.grounder.data import Shelf
from groundingme.train.grounder.look_training import recolored
from groundingme.train.grounder.loop import Step
from groundingme.train.grounder.nets import Read, Spell

CLEAR = 0.45
"""Visible share below which nobody can be asked for parts, states, counts or writing."""


def loss(
    net: Read,
    crops: Tensor,
    thing: Tensor,
    visible: Tensor,
    edges: Tensor,
    writing: Tensor,
    target: Tensor,
) -> tuple[Tensor, dict[str, float]]:
    """Of a batch.

    Args:
        net: The reader.
        crops: uint8 [N, 64, 64, 3].
        thing: 1 for a thing, 0 for none, [N].
        visible: Share of the thing that can be seen, [N].
        edges: Of the box in sides of the crop, [N, 4].
        writing: Edges of what is written on it, all -1 where nothing is, [N, 4].
        target: Numbers as `labels.target` gives them, [N, TARGET_SIZE].
    """
    raw, got = net(crops)
    cut = {name: raw[:, part] for name, part in labels.RAW.items()}
    target = target.long()
    column = {name: target[:, number] for name, number in labels.TARGETS.items()}
    is_thing = functional.binary_cross_entropy_with_logits(cut["thing"][:, 0], thing)
    there = thing > 0.5
    clear = there & (visible > CLEAR)
    terms = {"thing": is_thing}
    seen = functional.binary_cross_entropy_with_logits(
        cut["visible"][:, 0], visible, reduction="none"
    )
    terms["visible"] = 2 * _mean(seen, there)
    for name in ("kind", "color", "surface"):
        each = functional.cross_entropy(cut[name], column[name].clamp(min=0), reduction="none")
        terms[name] = _mean(each, there & (column[name] >= 0))
    each = functional.cross_entropy(cut["count"], column["count"].clamp(min=0), reduction="none")
    terms["count"] = _mean(each, clear & (column["count"] > 0))
    terms["uncounted"] = 0.3 * _mean(each, clear & (column["count"] == 0))
    parts = target[:, labels.PART_COLUMNS]
    each = functional.binary_cross_entropy_with_logits(
        cut["parts"], parts.clamp(min=0).float(), reduction="none"
    )
    terms["parts"] = _mean(each, clear[:, None] & (parts >= 0))
    state = cut["state"].gather(1, column["axis"].clamp(min=0)[:, None])[:, 0]
    each = functional.binary_cross_entropy_with_logits(
        state, column["state"].clamp(min=0).float(), reduction="none"
    )
    terms["state"] = _mean(each, clear & (column["axis"] >= 0))
    letters = target[:, labels.LETTER_COLUMNS]
    each = functional.binary_cross_entropy_with_logits(
        cut["written"][:, 0], (letters[:, 0] > 0).float(), reduction="none"
    )
    terms["written"] = _mean(each, clear)
    fit = functional.smooth_l1_loss(got[:, :4], edges, beta=0.02, reduction="none").sum(1)
    terms["edges"] = 8 * _mean(fit, there)
    fit = functional.smooth_l1_loss(got[:, 4:], writing, beta=0.02, reduction="none").sum(1)
    terms["writing"] = 8 * _mean(fit, there & (writing[:, 2] > writing[:, 0]))
    total = torch.stack(list(terms.values())).sum()
    figures = {name: float(terms[name].detach()) for name in _SHOWN}
    return total, figures


_SHOWN = ("kind", "visible", "parts", "state", "written", "edges", "writing")


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    weight = mask.expand(values.shape).to(values.dtype)
    return (values * weight).sum() / weight.sum().clamp(min=1)


def step(net: Read, folder: Path, device: str, seed: int, size: int = 64) -> Step:
    """Batches of crops from the shelf in `folder`, recoloured at random."""
    names = ("crops", "crop_thing", "crop_visible", "crop_edges", "crop_writing", "crop_target")
    shelf = Shelf(folder, names)
    rng = np.random.default_rng([seed, 2])

    shown = shelf.column("crop_visible")
    hidden = np.flatnonzero((shelf.column("crop_thing") > 0) & (shown < 0.9))

    def draw() -> tuple[Tensor, dict[str, float]]:
        # Things that are partly hidden are rare and hard, so every fourth crop shows one.
        chosen = rng.integers(0, len(shelf), size)
        if len(hidden):
            chosen[: size // 4] = rng.choice(hidden, size // 4)
        drawn = shelf.rows(chosen)
        crops, *rest = (torch.from_numpy(drawn[name]).to(device) for name in names)
        return loss(net, recolored(crops, rng), *rest)

    return draw


def spell_step(net: Spell, folder: Path, device: str, seed: int, size: int = 96) -> Step:
    """Batches of lines from the shelf in `folder`, recoloured at random."""
    shelf = Shelf(folder, ("lines", "line_text"))
    rng = np.random.default_rng([seed, 4])

    def draw() -> tuple[Tensor, dict[str, float]]:
        drawn = shelf.draw(rng, size)
        lines = torch.from_numpy(drawn["lines"]).to(device)
        text = torch.from_numpy(drawn["line_text"]).to(device).long()
        logits = net(recolored(lines, rng))
        each = functional.cross_entropy(logits.flatten(0, 1), text.flatten(), reduction="none")
        right = (logits.argmax(2) == text).all(1).float().mean()
        return each.mean(), {"right": float(right)}

    return draw
