"""The leaderboard: figures of every run, kept on disk, and the ranks that the data allow.

Ranks are among runs of the same samples, each of which was asked in all of them; a run in
progress, or one that stopped early, has none. They follow from the same tests as those of
`comparison`: McNemar's, swapped image by image, with Holm's correction over all pairs, and an
interval of the difference that does not reach 0.
"""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import combinations
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

import groundingme
from groundingme import stats
from groundingme.comparison import ALPHA, Estimate
from groundingme.errors import GroundingMEError
from groundingme.protocols import FAILED, UNPARSED
from groundingme.schema import Run
from groundingme.store import RunFolder, write_atomically
from groundingme.studio.keeping import Kept, Stamp
from groundingme.studio.library import Library, Opened, run_stamp
from groundingme.studio.live import is_running

Bools = NDArray[np.bool_]

PATIENCE = 0.7
"""Seconds that a list takes to compute figures; the rest comes with the next time it is asked."""
MOST_RANKED = 100
"""Runs of one data set that are ranked; there are 4,950 pairs of them."""
LARGE = 20_000
"""Samples beyond which `FEW_RESAMPLES` are drawn, as intervals are narrow there."""
FEW_RESAMPLES = 1_000
_MOST_FILES = 5_000


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What the list shows of a run under one protocol.

    Attributes:
        samples: In the run.
        done: Samples with a reply.
        failed: Samples that were asked and have none.
        unparsed: Replies that cannot be read.
        accuracy: Acc@0.5.
        rejection: The same of samples of which nothing matches; NaN where there are none.
        tokens: Of all replies, prompt and completion.
        usd: What they cost; None where no price is known.
        right: Packed bits, one a sample.
        scored: Likewise: whether it is in the denominator.
        images: 32-bit codes, one a sample: which samples show the same image.
        control: Whether other images were shown than the right ones.
    """

    samples: int
    done: int
    failed: int
    unparsed: int
    accuracy: Estimate
    rejection: Estimate
    tokens: int
    usd: float | None
    right: bytes
    scored: bytes
    images: bytes
    control: bool

    @property
    def asked(self) -> bool:
        """Whether every sample was."""
        return self.done + self.failed >= self.samples

    def bits(self, name: str) -> Bools:
        """`right` or `scored` as an array, shape `(N,)`."""
        packed = np.frombuffer(getattr(self, name), dtype=np.uint8)
        return np.unpackbits(packed, count=self.samples).astype(bool)


def share(hits: Bools, members: Bools, clusters: NDArray[np.int64], *, exact: bool) -> Estimate:
    """A share with its interval, as `comparison` has it.

    Args:
        hits: Shape `(N,)`.
        members: Shape `(N,)`: of which samples.
        clusters: Shape `(N,)`.
        exact: Never by resampling, as for subtasks.
    """
    count = int(members.sum())
    if not count:
        return Estimate(math.nan)
    part = hits[members]
    if exact or stats.needs_exact(part):
        ends = stats.exact_interval(part, clusters[members])
    else:
        columns = np.stack([hits & members, members], axis=1)
        ends = stats.bootstrap(columns, clusters, lambda sums: sums[:, 0] / sums[:, 1])
    return Estimate(int(part.sum()) / count, *ends)


def figures_of(opened: Opened) -> Figures:
    """The figures of an opened run."""
    scores, result = opened.entry.scores, opened.result
    failed = scores.outcome == FAILED
    unasked = sum(one == "not-asked" for one in scores.reasons)
    members = scores.scored & (not result.without_score)
    clusters = opened.clusters
    negatives = scores.negatives & members
    spent = result.spending
    return Figures(
        samples=len(scores),
        done=int((~failed).sum()),
        failed=int(failed.sum()) - unasked,
        unparsed=int((scores.outcome == UNPARSED).sum()),
        accuracy=share(opened.right, members, clusters, exact=False),
        rejection=share(opened.right, negatives, clusters, exact=False),
        tokens=spent.prompt_tokens + spent.completion_tokens,
        usd=round(spent.dollars, 6) if spent.price else None,
        right=np.packbits(opened.right).tobytes(),
        scored=np.packbits(scores.scored).tobytes(),
        images=clusters.astype(np.int32).tobytes(),
        control=bool(opened.run.settings.get("control")),
    )


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the list.

    Attributes:
        id: Of the run.
        run: Its manifest.
        running: Whether it is in progress.
        figures: None where they are not computed yet, or cannot be.
        problem: Why they cannot, or "".
        rank: Best and worst, or None.
    """

    id: str
    run: Run
    running: bool
    figures: Figures | None
    problem: str = ""
    rank: tuple[int, int] | None = None

    def as_dict(self) -> dict[str, Any]:
        """As the API says it; undefined figures are NaN, which JSON has as null."""
        one, known = self.run, self.figures
        return {
            "id": self.id,
            "model": one.model,
            "data": one.data_name,
            "fingerprint": one.data_fingerprint.removeprefix("sha256:")[:16],
            "subset": one.subset,
            "limit": one.limit,
            "thinking": one.settings.get("thinking"),
            "temperature": one.settings.get("temperature"),
            "control": one.settings.get("control"),
            "sampled": one.settings.get("sampled"),
            "created": one.created,
            "samples": known.samples if known else one.samples,
            "done": known.done if known else None,
            "failed": known.failed if known else None,
            "unparsed": known.unparsed if known else None,
            "running": self.running,
            "pending": known is None and not self.problem,
            "problem": self.problem,
            "accuracy": known.accuracy if known else Estimate(math.nan),
            "rejection": known.rejection if known else Estimate(math.nan),
            "rank": self.rank,
            "tokens": known.tokens if known else None,
            "usd": known.usd if known else None,
        }


class Board:
    """Figures of all runs, each computed once.

    Args:
        library: Of the runs.
        home: Folder whose subfolder `figures` keeps them.
    """

    def __init__(self, library: Library, home: Path) -> None:
        self._library = library
        self._folder = home / "figures"
        self._known: Kept[str, Figures] = Kept(4_000_000, lambda one: 1_000 + 6 * one.samples)
        self._ranks: Kept[str, list[tuple[int, int]]] = Kept(1_000)

    def lines(self, protocol: str, *, patience: float = PATIENCE) -> list[Line]:
        """All runs, the newest first.

        Args:
            protocol: Whose scores count.
            patience: Seconds to spend on figures that are not there yet; at least one run's come.
        """
        until = time.monotonic() + patience
        found = [
            self._line(folder, protocol, time.monotonic() < until)
            for folder in self._library.runs()
        ]
        return self._ranked(found, protocol)

    def line(self, id: str, protocol: str) -> Line:
        """One run, without its rank.

        Raises:
            ApiError: 404 where there is none.
        """
        return self._line(self._library.folder(id), protocol, True)

    def _line(self, folder: RunFolder, protocol: str, compute: bool) -> Line:
        running = is_running(folder.path)
        known, problem = None, ""
        try:
            if running:
                known = self._of_running(folder, protocol) if compute else None
            else:
                known = self._of_finished(folder, protocol, compute)
        except GroundingMEError as error:
            problem = str(error)
        return Line(
            id=folder.path.name, run=folder.run, running=running, figures=known, problem=problem
        )

    def _of_running(self, folder: RunFolder, protocol: str) -> Figures:
        opened = self._library.open(folder.path.name, protocol)
        key = _key(folder, opened.stamp, protocol)
        return self._known.get(key, lambda: figures_of(opened))

    def _of_finished(self, folder: RunFolder, protocol: str, compute: bool) -> Figures | None:
        key = _key(folder, run_stamp(folder.path), protocol)

        def make() -> Figures:
            made = figures_of(self._library.open(folder.path.name, protocol))
            self._keep(f"{key}.msgpack", msgspec.msgpack.encode(made))
            return made

        known = self._known.find(key) or self._from_disk(key)
        return known or (self._known.get(key, make) if compute else None)

    def _from_disk(self, key: str) -> Figures | None:
        with suppress(OSError, msgspec.DecodeError):
            data = (self._folder / f"{key}.msgpack").read_bytes()
            found = msgspec.msgpack.decode(data, type=Figures)
            self._known.put(key, found)
            return found
        return None

    def _keep(self, name: str, data: bytes) -> None:
        """Writes a file of the cache; where that cannot be, it is computed again another time."""
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            write_atomically(self._folder / name, data)
            there = sorted(os.scandir(self._folder), key=lambda one: one.stat().st_mtime_ns)
            for old in there[:-_MOST_FILES]:
                os.unlink(old.path)

    def _ranked(self, lines: Sequence[Line], protocol: str) -> list[Line]:
        groups: dict[str, list[int]] = {}
        for at, one in enumerate(lines):
            groups.setdefault(one.run.data_fingerprint, []).append(at)
        found = list(lines)
        for members in groups.values():
            if any(lines[at].figures is None and not lines[at].problem for at in members):
                continue
            ready = [at for at in members if _is_ranked(lines[at])]
            if not 1 < len(ready) <= MOST_RANKED:
                continue
            figures = [known for at in ready if (known := lines[at].figures)]
            for at, rank in zip(ready, self._ranks_of(figures), strict=True):
                found[at] = msgspec.structs.replace(lines[at], rank=rank)
        return found

    def _ranks_of(self, figures: Sequence[Figures]) -> list[tuple[int, int]]:
        digest = hashlib.sha256(groundingme.__version__.encode())
        for one in figures:
            digest.update(one.right + one.scored + one.images)
        name = f"ranks-{digest.hexdigest()[:40]}.json"

        def make() -> list[tuple[int, int]]:
            with suppress(OSError, msgspec.DecodeError):
                data = (self._folder / name).read_bytes()
                return msgspec.json.decode(data, type=list[tuple[int, int]])
            found = ranks(figures)
            self._keep(name, msgspec.json.encode(found))
            return found

        return self._ranks.get(name, make)


def _is_ranked(line: Line) -> bool:
    known = line.figures
    return known is not None and known.asked and not line.running and bool(known.done)


def _key(folder: RunFolder, stamp: Stamp, protocol: str) -> str:
    parts = (groundingme.__version__, str(folder.path.resolve()), stamp, protocol)
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:40]


def ranks(figures: Sequence[Figures]) -> list[tuple[int, int]]:
    """Best and worst rank that the data allow each run.

    Args:
        figures: Of two runs or more on the same samples, in the same order.
    """
    right = np.stack([one.bits("right") for one in figures])
    scored = np.stack([one.bits("scored") for one in figures])
    clusters = _clusters(figures)
    pairs = list(combinations(range(len(figures)), 2))
    adjusted = stats.holm([_test(right, scored, clusters, a, b) for a, b in pairs])
    shares = _resampled(right, scored, clusters)
    better = np.zeros((len(figures),) * 2, dtype=bool)
    for (a, b), p in zip(pairs, adjusted.tolist(), strict=True):
        if p > ALPHA:
            continue
        low, high = stats.percentiles(shares[:, a] - shares[:, b])
        if low > 0:
            better[a, b] = True
        elif high < 0:
            better[b, a] = True
    return [(int(best), int(worst)) for best, worst in stats.rank_ranges(better)]


def _resampled(right: Bools, scored: Bools, clusters: NDArray[np.int64]) -> stats.Floats:
    """Accuracy in resamples that are the same for every run, shape `(B, K)`."""
    resamples = stats.RESAMPLES if right.shape[1] <= LARGE else FEW_RESAMPLES
    columns = np.concatenate([right, scored]).T
    sums = stats.resampled_sums(columns, clusters, resamples=resamples)
    with np.errstate(all="ignore"):
        return np.asarray(sums[:, : len(right)] / sums[:, len(right) :])


def _test(right: Bools, scored: Bools, clusters: NDArray[np.int64], a: int, b: int) -> float:
    rows = scored[a] & scored[b]
    gained = right[a][rows].astype(np.int64) - right[b][rows]
    return stats.paired_test(gained, clusters[rows])


def _clusters(figures: Iterable[Figures]) -> NDArray[np.int64]:
    """Those of the run that tells most images apart; a control shows other images."""
    known = list(figures)
    real = [one for one in known if not one.control] or known
    codes = [np.frombuffer(one.images, dtype=np.int32) for one in real]
    return max(codes, key=lambda one: int(one.max(initial=-1))).astype(np.int64)
