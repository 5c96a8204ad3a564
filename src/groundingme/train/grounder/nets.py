"""The nets that look and read, in torch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from groundingme.models.builtin import seeing
from groundingme.models.builtin.words import LONGEST_TEXT
from groundingme.train.grounder import labels


def _conv(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _conv(width, width)
        self.second = nn.Sequential(
            nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.second(self.first(x)))


def _pixels(pictures: Tensor) -> Tensor:
    """uint8 [B, H, W, 3] to float [B, 3, H, W], about -1 to 1."""
    return pictures.permute(0, 3, 1, 2).float() / 127.5 - 1.0


class Look(nn.Module):
    """Where things are: a map of centres, and at every cell the sides of the box around it.

    Everything heavy happens at an eighth of the canvas; the last layer gives four cells each.
    """

    def __init__(self, widths: tuple[int, ...] = (12, 24, 40, 64, 96), top: int = 64) -> None:
        super().__init__()
        a, b, c, d, e = widths
        self.two, self.four = _conv(3, a, 3, 2), _conv(a, b, 3, 2)
        self.eight = nn.Sequential(_conv(b, c, 3, 2), _Residual(c))
        self.sixteen = nn.Sequential(_conv(c, d, 3, 2), _Residual(d))
        self.thirtytwo = nn.Sequential(_conv(d, e, 3, 2), _Residual(e))
        self.up16, self.up8 = nn.Conv2d(e, d, 1), nn.Conv2d(d, c, 1)
        self.mix16 = _conv(d, d, 3)
        self.last = _conv(c, top, 3)
        self.out = nn.Conv2d(top, 20, 1)
        with torch.no_grad():
            self.out.weight.mul_(0.1)
            self.out.bias = nn.Parameter(torch.tensor([-3.5] * 4 + [1.0] * 16))

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 [B, H, W, 3], sides multiples of 32, to logits [B, h, w] and sides [B, 4, h, w].

        Sides are distances from the cell's centre to left, top, right, bottom in pixels.
        """
        x8 = self.eight(self.four(self.two(_pixels(pictures))))
        x16 = self.sixteen(x8)
        x32 = self.thirtytwo(x16)
        twice = nn.functional.interpolate
        x16 = self.mix16(torch.relu(x16 + twice(self.up16(x32), scale_factor=2.0)))
        x8 = torch.relu(x8 + twice(self.up8(x16), scale_factor=2.0))
        cells = nn.functional.pixel_shuffle(self.out(self.last(x8)), 2)
        return cells[:, 0], torch.exp(cells[:, 1:].clamp(max=5.5)) * 2.0


class Read(nn.Module):
    """What a crop shows: raw numbers of every property (`labels.RAW`), and edges of two boxes."""

    def __init__(self, widths: tuple[int, ...] = (16, 32, 64, 96), neck: int = 192) -> None:
        super().__init__()
        a, b, c, d = widths
        self.body = nn.Sequential(
            _conv(3, a, 3, 2),
            _conv(a, b, 3, 2),
            _Residual(b),
            _conv(b, c, 3, 2),
            _Residual(c),
            _conv(c, d, 3, 2),
            _Residual(d),
            _conv(d, 48, 1),
        )
        self.neck = nn.Sequential(nn.Linear(48 * 16, neck), nn.ReLU())
        self.raw = nn.Linear(neck, labels.RAW_SIZE)
        self.edges = nn.Linear(neck, 8)
        with torch.no_grad():
            self.edges.weight.mul_(0.1)
            start = [0.15, 0.15, 0.85, 0.85, 0.3, 0.4, 0.7, 0.6]
            self.edges.bias = nn.Parameter(torch.tensor(start))

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 [N, 64, 64, 3] to raw numbers [N, RAW_SIZE] and edges [N, 8] in sides of a crop.

        The first four edges are those of the thing, the others those of the writing on it.
        """
        x = self.neck(self.body(_pixels(crops)).flatten(1))
        return self.raw(x), self.edges(x)


class Spell(nn.Module):
    """Writing in a crop of its own: where each character stands, then one reader for all."""

    def __init__(self, widths: tuple[int, ...] = (16, 32, 64), width: int = 64) -> None:
        super().__init__()
        a, b, c = widths
        self.body = nn.Sequential(_conv(3, a, 3, 2), _conv(a, b), _conv(b, c, 3, 2), _Residual(c))
        self.columns = nn.Conv2d(c, width, (seeing.LINE[0] // 4, 1))
        self.near = nn.Conv1d(width, width, 5, padding=2)
        self.where = nn.Conv1d(width, LONGEST_TEXT, 1)
        columns = seeing.LINE[1] // 4
        self.spots = nn.Parameter(torch.zeros(LONGEST_TEXT, columns))
        self.place = nn.Parameter(torch.randn(LONGEST_TEXT, width) * 0.1)
        self.read = nn.Sequential(
            nn.Linear(3 * width, 128), nn.ReLU(), nn.Linear(128, labels.LETTERS)
        )

    def forward(self, lines: Tensor) -> Tensor:
        """uint8 [N, H, W, 3] of `seeing.LINE` to logits [N, LONGEST_TEXT, LETTERS]."""
        seen = torch.relu(self.columns(self.body(_pixels(lines)))[:, :, 0])
        near = torch.relu(self.near(seen))
        share = (self.where(near) + self.spots).softmax(2)
        each = share @ torch.cat([seen, near], 1).transpose(1, 2)
        place = self.place.expand(each.shape[0], -1, -1)
        out: Tensor = self.read(torch.cat([each, place], 2))
        return out


class Features(nn.Module):
    """Raw numbers to probabilities, [N, RAW_SIZE] to [N, F]: all of `labels.FEATURES` but text."""

    parts_of: Tensor
    axes_of: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("parts_of", torch.tensor(labels.PARTS_OF, dtype=torch.float32))
        self.register_buffer("axes_of", torch.tensor(labels.AXES_OF, dtype=torch.float32))

    def forward(self, raw: Tensor) -> Tensor:
        cut = {name: raw[:, part] for name, part in labels.RAW.items()}
        kind = cut["kind"].softmax(1)
        parts, state = cut["parts"].sigmoid(), cut["state"].sigmoid()
        can_have, has_axis = kind @ self.parts_of, kind @ self.axes_of
        return torch.cat(
            [
                cut["thing"].sigmoid(),
                cut["visible"].sigmoid(),
                cut["written"].sigmoid(),
                kind,
                cut["color"].softmax(1),
                cut["surface"].softmax(1),
                can_have * parts,
                can_have * (1 - parts),
                has_axis * (1 - state),
                has_axis * state,
                cut["count"].softmax(1),
            ],
            1,
        )
