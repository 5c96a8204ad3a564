"""Teaches `nets.Look`: a focal loss on the map of centres, overlap and edges on the boxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from groundingme.models.builtin.seeing import STRIDE
from groundingme.train.grounder.data import Shelf
from groundingme.train.grounder.loop import Step
from groundingme.train.grounder.nets import Look


def heat(boxes: Tensor, h: int, w: int) -> tuple[Tensor, Tensor]:
    """Target map [B, h, w] and the box that each cell belongs to [B, h, w].

    Args:
        boxes: [B, M, 5]: edges in pixels and 1 for a box, 0 for one to be left open, -1 for none.
        h: Rows.
        w: Columns.
    """
    x = (torch.arange(w, device=boxes.device) + 0.5) * STRIDE
    y = (torch.arange(h, device=boxes.device) + 0.5) * STRIDE
    width, height = boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1]
    # The cell that holds the centre gets 1: the bump is centred on it.
    cx = ((boxes[..., 0] + boxes[..., 2]) / 2 / STRIDE).floor().clamp(0, w - 1)
    cy = ((boxes[..., 1] + boxes[..., 3]) / 2 / STRIDE).floor().clamp(0, h - 1)
    cx, cy = (cx + 0.5) * STRIDE, (cy + 0.5) * STRIDE
    sx, sy = (width * 0.09).clamp(min=2.2), (height * 0.09).clamp(min=2.2)
    ex = torch.exp(-(((x - cx[..., None]) / sx[..., None]) ** 2) / 2)
    ey = torch.exp(-(((y - cy[..., None]) / sy[..., None]) ** 2) / 2)
    bumps = ey[..., :, None] * ex[..., None, :] * (boxes[..., 4] == 1)[..., None, None]
    best, which = bumps.max(1)
    return best, which


def closed(boxes: Tensor, h: int, w: int) -> Tensor:
    """1 where a cell counts, 0 inside boxes that are left open; [B, h, w]."""
    x = (torch.arange(w, device=boxes.device) + 0.5) * STRIDE
    y = (torch.arange(h, device=boxes.device) + 0.5) * STRIDE
    inside_x = (x >= boxes[..., 0, None] - STRIDE) & (x <= boxes[..., 2, None] + STRIDE)
    inside_y = (y >= boxes[..., 1, None] - STRIDE) & (y <= boxes[..., 3, None] + STRIDE)
    inside = inside_y[..., :, None] & inside_x[..., None, :]
    return 1.0 - (inside & (boxes[..., 4] == 0)[..., None, None]).any(1).float()


def loss(net: Look, pictures: Tensor, boxes: Tensor) -> tuple[Tensor, dict[str, float]]:
    """Of a batch: pictures uint8 [B, H, W, 3], boxes as `heat` takes them."""
    logits, sides = net(pictures)
    h, w = logits.shape[1:]
    target, which = heat(boxes, h, w)
    count = closed(boxes, h, w)
    positive = (target > 0.999).float()
    number = positive.sum().clamp(min=1)
    p = logits.sigmoid()
    plus = torch.nn.functional.logsigmoid(logits) * (1 - p) ** 2 * positive
    minus = torch.nn.functional.logsigmoid(-logits) * p**2 * (1 - target) ** 4 * (1 - positive)
    focal = -(plus.sum() + (minus * count).sum()) / number

    batch, rows, columns = torch.nonzero(target > 0.6, as_tuple=True)
    weight = target[batch, rows, columns]
    truth = boxes[batch, which[batch, rows, columns], :4]
    x, y = (columns + 0.5) * STRIDE, (rows + 0.5) * STRIDE
    got = sides[batch, :, rows, columns]
    want = torch.stack([x - truth[:, 0], y - truth[:, 1], truth[:, 2] - x, truth[:, 3] - y], 1)
    size = (truth[:, 2:] - truth[:, :2]).clamp(min=4.0)
    edge = ((got - want).abs() / torch.cat([size, size], 1)).sum(1)
    inter = torch.minimum(got, want)
    shared = (inter[:, 0] + inter[:, 2]).clamp(min=0) * (inter[:, 1] + inter[:, 3]).clamp(min=0)
    area = (got[:, 0] + got[:, 2]) * (got[:, 1] + got[:, 3])
    iou = shared / (area + size.prod(1) - shared).clamp(min=1.0)
    total = weight.sum().clamp(min=1)
    fit = ((1 - iou + edge) * weight).sum() / total
    mean_iou = float((iou.detach() * weight).sum() / total)
    return focal + 0.5 * fit, {"focal": float(focal.detach()), "iou": mean_iou}


def crowded(boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether any two boxes of a window overlap by a twentieth of the smaller one.

    Args:
        boxes: As `heat` takes them, [N, M, 5].
    """
    found = []
    for row in boxes:
        kept = row[row[:, 4] == 1, :4]
        low = np.maximum(kept[:, None, :2], kept[None, :, :2])
        high = np.minimum(kept[:, None, 2:], kept[None, :, 2:])
        shared = np.prod(np.clip(high - low, 0, None), axis=2)
        area = np.prod(kept[:, 2:] - kept[:, :2], axis=1)
        share = shared / np.maximum(np.minimum(area[:, None], area[None, :]), 1e-6)
        np.fill_diagonal(share, 0.0)
        found.append(bool((share > 0.05).any()))
    return np.array(found, bool)


def step(net: Look, folder: Path, device: str, seed: int, size: int = 12) -> Step:
    """Batches of windows from the shelf in `folder`, mirrored and recoloured at random."""
    shelf = Shelf(folder, ("windows", "window_boxes"))
    rng = np.random.default_rng([seed, 1])

    packed = np.flatnonzero(crowded(shelf.column("window_boxes")))

    def draw() -> tuple[Tensor, dict[str, float]]:
        # What stands behind something is rare and hard, so every third window has some.
        chosen = rng.integers(0, len(shelf), size)
        if len(packed):
            chosen[: size // 3] = rng.choice(packed, size // 3)
        drawn = shelf.rows(chosen)
        pictures = torch.from_numpy(drawn["windows"]).to(device)
        boxes = torch.from_numpy(drawn["window_boxes"]).to(device)
        if rng.random() < 0.5:
            pictures = pictures.flip(2)
            left = pictures.shape[2] - boxes[..., 2]
            right = pictures.shape[2] - boxes[..., 0]
            boxes = torch.stack([left, boxes[..., 1], right, boxes[..., 3], boxes[..., 4]], -1)
        return loss(net, recolored(pictures, rng), boxes)

    return draw


def recolored(pictures: Tensor, rng: np.random.Generator) -> Tensor:
    """Brightness, contrast and noise changed a little; uint8 stays uint8."""
    n = len(pictures)
    change = torch.from_numpy(rng.normal(0, 1, (n, 2)).astype(np.float32)).to(pictures.device)
    gain = (1 + 0.06 * change[:, 0])[:, None, None, None]
    shift = (8 * change[:, 1])[:, None, None, None]
    x = (pictures.float() - 128) * gain + 128 + shift
    return x.round().clamp(0, 255).to(torch.uint8)
