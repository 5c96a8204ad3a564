"""The stage `dedupe`: of pictures that look alike, the first stays.

Two pictures are near-duplicates where their perceptual hashes differ in at most `distance` bits.
Going through the pictures in order, one is a duplicate if an earlier one that stays is that near;
so no two that stay are near each other, and each that goes names the first one that it is near.

Not every pair is compared. Hashes cut into B blocks that differ in at most d bits agree in B - d
blocks at least, wherever the bits fall; so for each choice of B - d blocks only those hashes are
compared that agree in all of them. And the first half of the pictures is settled before the
second, which then meets only those that stay: ten thousand frames of one camera cost no more than
as many different pictures.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from groundingme.build.hashing import distances
from groundingme.build.records import Picture
from groundingme.build.stage import Context, Shards

Hashes = NDArray[np.uint64]
Indices = NDArray[np.intp]

BITS = 64
_FEW = 256
"""Hashes that are settled one by one."""
_PAIRS = 2**22
"""Most pairs that are compared all with all."""


class DedupeOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When two pictures are duplicates.

    Attributes:
        distance: Most bits of 64 in which their hashes differ. Different photos differ in 30 on
            average and hardly ever in fewer than 14; a picture that was saved anew, in 0 to 4.
    """

    distance: Annotated[int, msgspec.Meta(ge=0, le=8)] = 4


def dedupe(shards: Shards, options: DedupeOptions, context: Context) -> Iterator[Sequence[Picture]]:
    """Gives later near-duplicates the fate `duplicate of ID`."""
    mine = (one.hash for shard in shards for one in shard if one.goes_on)
    firsts = duplicates(np.fromiter(mine, np.uint64), options.distance)
    needed = set(firsts[firsts >= 0].tolist())
    ids: dict[int, str] = {}
    at = 0
    for shard in shards:
        for one in shard:
            if not one.goes_on:
                continue
            if at in needed:
                ids[at] = one.id
            first = int(firsts[at])
            if first >= 0:
                one.fate = f"duplicate of {ids[first]}"
            at += 1
        yield shard


def duplicates(hashes: Hashes, distance: int) -> Indices:
    """Which earlier one each hash duplicates.

    Args:
        hashes: Shape `(N,)`, in order.
        distance: Most bits in which duplicates differ, in [0, 8].

    Returns:
        Shape `(N,)`: the index of the first hash that stays and is so near, or -1 for one that
        stays.
    """
    distinct, first, back = np.unique(hashes, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    ranked = distinct[order]
    nearest = np.full(len(ranked), -1, np.intp)
    _settle(ranked, np.arange(len(ranked)), distance, nearest)
    rank = np.empty(len(order), np.intp)
    rank[order] = np.arange(len(order))
    mine = rank[back.reshape(-1)]
    kept = np.where(nearest[mine] < 0, mine, nearest[mine])
    found = first[order[kept]]
    return np.where(found == np.arange(len(hashes)), -1, found).astype(np.intp)


def _settle(hashes: Hashes, which: Indices, distance: int, nearest: Indices) -> Indices:
    """Settles some hashes among themselves, in order; gives those that stay.

    Args:
        hashes: All of them, distinct.
        which: Ascending indices of those to settle.
        distance: Most bits in which duplicates differ.
        nearest: Shape `(N,)`; written to: the index that each one duplicates.
    """
    if len(which) <= _FEW:
        return _one_by_one(hashes, which, distance, nearest)
    half = len(which) // 2
    early = _settle(hashes, which[:half], distance, nearest)
    late = which[half:]
    nearest[late] = _first_near(hashes, early, late, distance)
    late = _settle(hashes, late[nearest[late] < 0], distance, nearest)
    return np.concatenate([early, late])


def _one_by_one(hashes: Hashes, which: Indices, distance: int, nearest: Indices) -> Indices:
    mine = hashes[which]
    near = distances(mine[:, None], mine[None, :]) <= distance
    stays = np.ones(len(which), np.bool_)
    # Few rows have anything near them but themselves.
    for row in np.flatnonzero(near.sum(axis=1) > 1):
        if stays[row]:
            hit = np.flatnonzero(near[row] & stays)
            hit = hit[hit > row]
            stays[hit] = False
            nearest[which[hit]] = which[row]
    return which[stays]


def _first_near(hashes: Hashes, kept: Indices, others: Indices, distance: int) -> Indices:
    """For each of `others` the first of `kept` that is near, or -1."""
    best = np.full(len(others), len(hashes), np.intp)
    if len(kept) * len(others) <= _PAIRS:
        near = distances(hashes[others][:, None], hashes[kept][None, :]) <= distance
        hit = near.any(axis=1)
        best[hit] = kept[near[hit].argmax(axis=1)]
    else:
        for mask in _masks(distance, len(kept), len(others)):
            _meet(hashes, kept, others, mask, distance, best)
    return np.where(best < len(hashes), best, -1)


def _meet(
    hashes: Hashes, kept: Indices, others: Indices, mask: np.uint64, distance: int, best: Indices
) -> None:
    """Compares those that agree in the bits of the mask; lowers `best` to what is found."""
    keys = hashes[kept] & mask
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    wanted = hashes[others] & mask
    # In ascending order the search walks through memory once.
    active = np.argsort(wanted)
    at = np.searchsorted(keys, wanted[active])
    while len(active):
        inside = at < len(keys)
        active, at = active[inside], at[inside]
        agrees = keys[at] == wanted[active]
        active, at = active[agrees], at[agrees]
        found = kept[order[at]]
        near = distances(hashes[others[active]], hashes[found]) <= distance
        best[active[near]] = np.minimum(best[active[near]], found[near])
        # Those behind the first one that is near have higher indices.
        active, at = active[~near], at[~near] + 1


def _masks(distance: int, kept: int, others: int) -> Iterator[np.uint64]:
    """Choices of blocks of which every near pair agrees in one; as many as cost least."""

    def cost(blocks: int) -> float:
        agreeing = blocks - distance
        bits = agreeing * BITS / blocks
        # Hashes of photos are not spread evenly: as if they had two thirds of their bits.
        pairs = kept * others / 2 ** (bits * 2 / 3)
        return math.comb(blocks, agreeing) * (pairs + 20 * (kept + others))

    blocks = min(range(distance + 1, distance + 8), key=cost)
    edges = np.linspace(0, BITS, blocks + 1).round().astype(int).tolist()
    parts = [(1 << end) - (1 << start) for start, end in itertools.pairwise(edges)]
    for chosen in itertools.combinations(parts, blocks - distance):
        yield np.uint64(sum(chosen))
