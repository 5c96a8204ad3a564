"""The net that matches: which of the things that were read does a description mean?

Things ask the words what is wanted (cross attention), then each other where they stand
(relation), several times over. Half of the relation heads choose among the others, half count
them: ordinals and "the most" need sums. What a pair is to each other is in `Pairs`; which of
that matters is decided by each thing from what it has understood of the words.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from groundingme.models.builtin.words import ALPHABET, LONGEST, LONGEST_TEXT
from groundingme.train.grounder import labels

_FAR_OUT = -1e4
"""Logit of what is not there."""


class Pairs(nn.Module):
    """How thing i stands to thing j: [B, N, 6] places to [B, N, N, SIZE] features."""

    SIZE = 30

    def forward(self, places: Tensor) -> Tensor:
        """Places as `seeing.places` gives them."""
        x1, y1, x2, y2 = places[..., :4].unbind(-1)
        w, h = (x2 - x1).clamp(min=1e-4), (y2 - y1).clamp(min=1e-4)
        x, y = (x1 + x2) / 2, (y1 + y2) / 2

        def minus(a: Tensor) -> Tensor:
            return a[:, None, :] - a[:, :, None]

        dx, dy, foot = minus(x), minus(y), minus(y2)
        wide, high = (w[:, None] + w[:, :, None]) / 2, (h[:, None] + h[:, :, None]) / 2
        far = torch.sqrt(dx * dx + dy * dy + 1e-8)
        shared_w = torch.minimum(x2[:, None], x2[:, :, None]) - torch.maximum(
            x1[:, None], x1[:, :, None]
        )
        shared_h = torch.minimum(y2[:, None], y2[:, :, None]) - torch.maximum(
            y1[:, None], y1[:, :, None]
        )
        shared = shared_w.clamp(min=0) * shared_h.clamp(min=0)
        gap = torch.sqrt((-shared_w).clamp(min=0) ** 2 + (-shared_h).clamp(min=0) ** 2 + 1e-8)
        same = torch.eye(places.shape[1], device=places.device).expand(dx.shape)
        features = [
            dx,
            dy,
            foot,
            dx.abs(),
            dy.abs(),
            far,
            torch.log(far + 0.02) / 2,
            torch.tanh(6 * dx),
            torch.tanh(6 * dy),
            torch.tanh(40 * dx),
            torch.tanh(40 * dy),
            torch.tanh(40 * foot),
            torch.tanh(dx / wide),
            torch.tanh(dy / high),
            torch.tanh(3 * dx / wide),
            torch.tanh(3 * dy / high),
            torch.tanh(dx.abs() / wide - 1),
            torch.tanh(dx.abs() - 1.2 * dy.abs()) * 3,
            torch.tanh(2 * (dy.abs() / high - 1)),
            torch.exp(-((dy / (0.35 * high)) ** 2)),
            torch.exp(-((foot / (0.35 * high)) ** 2)),
            torch.exp(-((dx / (0.35 * wide)) ** 2)),
            shared / (w * h)[:, :, None],
            shared / (w * h)[:, None, :],
            torch.tanh(gap / (0.3 * high) - 1),
            torch.log(h[:, None] / h[:, :, None]),
            torch.tanh(6 * torch.log(h[:, None] / h[:, :, None])),
            torch.log((w * h)[:, None] / (w * h)[:, :, None]) / 2,
            same,
            torch.ones_like(same),
        ]
        return torch.stack(features, -1)


class _Gated(nn.Module):
    """Feed-forward layer whose halves multiply: it compares what it is given."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.into, self.out = nn.Linear(width, 2 * inner), nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.into(self.norm(x)).chunk(2, -1)
        out: Tensor = x + self.out(a * nn.functional.gelu(b))
        return out


class _Words(nn.Module):
    """Words among each other, with a learnt bias for how far apart they stand."""

    REACH = 12

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.near = nn.Parameter(torch.zeros(2 * self.REACH + 1, heads))
        self.mix = _Gated(width, 2 * width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        b, t, d = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        place = torch.arange(t, device=x.device)
        apart = (place[None] - place[:, None]).clamp(-self.REACH, self.REACH) + self.REACH
        logits = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        logits = logits + self.near[apart].permute(2, 0, 1) + mask[:, None, None]
        x = x + self.out((logits.softmax(-1) @ v).transpose(1, 2).reshape(b, t, d))
        out: Tensor = self.mix(x)
        return out


class _Round(nn.Module):
    """Things ask the words, then each other."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.heads = heads
        self.ask_norm, self.word_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.ask, self.words = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.quote = nn.Parameter(torch.zeros(heads))
        self.gate = nn.Linear(width, width)
        self.hear = nn.Linear(2 * width + heads, width)
        self.first = _Gated(width, inner)

        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.wanted = nn.Linear(width, heads * Pairs.SIZE)
        self.tell = nn.Linear(width + heads * Pairs.SIZE, width)
        self.second = _Gated(width, inner)
        with torch.no_grad():
            self.wanted.weight.mul_(0.5)

    def forward(
        self, x: Tensor, words: Tensor, word_mask: Tensor, match: Tensor, pairs: Tensor,
        mask: Tensor,
    ) -> Tensor:  # fmt: skip
        """One round.

        Args:
            x: Things, the last one standing for none, [B, N, D].
            words: [B, T, D].
            word_mask: 0, or `_FAR_OUT` where no word is, [B, T].
            match: How likely thing n bears what token t quotes, [B, N, T].
            pairs: As `Pairs`, [B, N, N, P].
            mask: 0, or `_FAR_OUT` where no thing is, [B, N].
        """
        b, n, d = x.shape
        t, heads = words.shape[1], self.heads
        here = self.ask_norm(x)
        q = self.ask(here).reshape(b, n, heads, -1).transpose(1, 2)
        k, v = self.words(self.word_norm(words)).reshape(b, t, 2, heads, -1).permute(2, 0, 3, 1, 4)
        logits = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        logits = logits + self.quote[:, None, None] * match[:, None] + word_mask[:, None, None]
        share = logits.softmax(-1)
        heard = (share @ v).transpose(1, 2).reshape(b, n, d)
        quoted = (share * match[:, None]).sum(-1).transpose(1, 2)
        x = x + self.hear(torch.cat([heard, heard * self.gate(here), quoted], -1))
        x = self.first(x)

        here = self.norm(x)
        q, k, v = self.qkv(here).reshape(b, n, 3, heads, -1).permute(2, 0, 3, 1, 4)
        wanted = self.wanted(here).reshape(b, n, heads, Pairs.SIZE)
        # [B, N, H, P] x [B, N, N, P] -> [B, H, N, N]
        fit = (wanted @ pairs.transpose(-1, -2)).transpose(1, 2)
        logits = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5 + fit + mask[:, None, None]
        half = heads // 2
        share = torch.cat([logits[:, :half].softmax(-1), logits[:, half:].sigmoid()], 1)
        told = (share @ v).transpose(1, 2).reshape(b, n, d)
        how = (share.transpose(1, 2) @ pairs).reshape(b, n, -1)
        x = x + self.tell(torch.cat([told, how], -1))
        out: Tensor = self.second(x)
        return out


class Match(nn.Module):
    """Logits of every thing, and of none, for a description."""

    def __init__(
        self, vocabulary: int, width: int = 96, rounds: int = 4, heads: int = 8, inner: int = 128
    ) -> None:
        super().__init__()
        plain = labels.FEATURES["text"].start
        self.letters = nn.Parameter(torch.randn(LONGEST_TEXT, len(ALPHABET) + 1, width) * 0.1)
        self.feature = nn.Linear(plain, width)
        self.place = nn.Linear(12, width)
        self.word = nn.Embedding(vocabulary, width)
        self.position = nn.Embedding(LONGEST, width)
        self.nothing = nn.Parameter(torch.randn(width) * 0.1)
        self.pairs = Pairs()
        self.reading = nn.ModuleList(_Words(width, 4) for _ in range(2))
        self.rounds = nn.ModuleList(_Round(width, heads, inner) for _ in range(rounds))
        self.norm = nn.LayerNorm(width)
        self.score, self.none = nn.Linear(width, 1), nn.Linear(width, 1)
        self.marks = nn.Linear(width, 3)
        with torch.no_grad():
            self.word.weight.mul_(0.3)
            self.position.weight.mul_(0.1)

    def forward(
        self, features: Tensor, places: Tensor, there: Tensor, words: Tensor, characters: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Scores of a batch.

        Args:
            features: As `nets.Features`, [B, N, F].
            places: As `seeing.places`, [B, N, 6].
            there: 1 where a thing is, 0 for filling, [B, N].
            words: As `words.encode`, 0 for filling, [B, T].
            characters: As `words.encode`, [B, T, LONGEST_TEXT].

        Returns:
            Logits [B, N + 1]; the last one is none of them. And, for teaching only, logits of what
            `questions.marks` says of each thing, [B, N, 3].
        """
        b, n, _ = features.shape
        start = labels.FEATURES["text"].start
        text = features[..., start:].reshape(b, n, LONGEST_TEXT, -1)
        plain = features[..., :start]
        x1, y1, x2, y2, w, h = places.unbind(-1)
        where = [x1, y1, x2, y2, w - x2, h - y2, x2 - x1, y2 - y1, w, h]
        where += [torch.log((x2 - x1).clamp(min=1e-4)), torch.log((y2 - y1).clamp(min=1e-4))]
        things = self.feature(plain) + self.place(torch.stack(where, -1))
        things = things + text.flatten(2) @ self.letters.flatten(0, 1)
        x = torch.cat([things, self.nothing.expand(b, 1, -1)], 1)
        gone = (1 - torch.cat([there, torch.ones_like(there[:, :1])], 1)) * _FAR_OUT

        # How likely a thing bears the quoted text: the product over its characters.
        quoted = nn.functional.one_hot(characters, text.shape[-1]).to(text.dtype)
        is_quote = (characters[..., 0] > 0).to(text.dtype)
        each = torch.einsum("bnpc,btpc->bntp", torch.log(text + 1e-3), quoted)
        match = torch.exp(each.sum(-1) * 0.5) * is_quote[:, None]
        match = torch.cat([match, torch.zeros_like(match[:, :1])], 1)

        pairs = self.pairs(places)
        pairs = nn.functional.pad(pairs, (0, 0, 0, 1, 0, 1))

        spots = torch.arange(words.shape[1], device=words.device)
        said = self.word(words) + self.position(spots)
        said = said + (quoted.flatten(2) @ self.letters.flatten(0, 1)) * is_quote[..., None]
        word_mask = (words == 0).to(text.dtype) * _FAR_OUT
        for layer in self.reading:
            said = layer(said, word_mask)
        early = []
        for layer in self.rounds:
            x = layer(x, said, word_mask, match, pairs, gone)
            early.append(x)
        marks = torch.cat([self.marks(early[0])[..., :2], self.marks(early[1])[..., 2:]], -1)
        x = self.norm(x)
        scores = torch.cat([self.score(x[:, :-1]), self.none(x[:, -1:])], 1)[..., 0]
        return scores + gone, marks[:, :-1]
