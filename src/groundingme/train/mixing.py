"""Makes mixtures: exact counts, nested, stratified by image, and apart from evaluation.

Of the positives there is one order, and of the negatives another. Each goes round the images: first
one sample of every image, then a second one of those that have two, and so on; images take turns in
an order that the seed and their bytes decide, the same for both. A ratio takes the beginning of
each. So whatever a mixture with fewer negatives holds of them, one with more negatives holds as
well, and the other way round for positives: between two ratios nothing else differs.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

import groundingme
from groundingme import geometry
from groundingme.asking import AUTO
from groundingme.datasets import Dataset, load_dataset
from groundingme.datasets.check import check
from groundingme.errors import DataError, ImageError, UsageError
from groundingme.schema import Box, Sample
from groundingme.store import kept, written
from groundingme.train import sources
from groundingme.train.conversation import Convention, convention
from groundingme.train.folders import claim, write_json
from groundingme.train.mixture import (
    COLUMNS,
    IMAGES,
    MANIFEST,
    TABLE,
    VERSION,
    Mixture,
    load_mixture,
)
from groundingme.train.other_tools import TOOLS, write_for
from groundingme.train.pictures import Look, Looks, Store

SETTINGS = "mixtures.json"
RATIOS = ("1:8", "1:4", "1:2", "1:1", "2:1")
"""Negatives to positives. Source: arXiv 2512.17495, section 6."""
NESTING = (
    "each ratio takes the first negatives and the first positives of one order of each; a mixture "
    "with more of either holds all of those that one with fewer holds"
)
_TELL_EVERY = 2000


class Ratio(msgspec.Struct, frozen=True):
    """Negatives to positives.

    Attributes:
        negatives: Parts, 0 or more.
        positives: Parts, 0 or more; one of both is more than 0.
    """

    negatives: int
    positives: int

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.negatives}-{self.positives}"

    def counts(self, total: int) -> tuple[int, int]:
        """Negatives and positives of a mixture of so many; negatives are rounded half up.

        Example:
            >>> Ratio(1, 8).counts(30_000)
            (3333, 26667)
        """
        parts = self.negatives + self.positives
        negatives = (2 * total * self.negatives + parts) // (2 * parts)
        return negatives, total - negatives

    def largest(self, negatives: int, positives: int) -> int:
        """The largest total for which there are enough of both."""

        def lacks(total: int) -> bool:
            n, p = self.counts(total)
            return n > negatives or p > positives

        return bisect_right(range(negatives + positives + 1), False, key=lacks) - 1


def parse_ratios(text: str) -> list[Ratio]:
    """Ratios such as `1:8,1:1,2:1`, negatives first.

    Raises:
        UsageError: One of them is none, or stands there twice.
    """
    found = []
    for item in text.split(","):
        parts = [one.strip() for one in item.split(":")]
        if len(parts) != 2 or not all(one.isascii() and one.isdigit() for one in parts):
            raise UsageError(
                f"expected ratios of negatives to positives such as 1:8,1:1, got {item!r}"
            )
        ratio = Ratio(int(parts[0][:9]), int(parts[1][:9]))
        if not ratio.negatives + ratio.positives or ratio in found:
            said = "twice" if ratio in found else "of nothing"
            raise UsageError(f"expected different ratios, got {item.strip()} {said}")
        found.append(ratio)
    return found


class Usable(NamedTuple):
    """A sample that can be trained on, and the digest of its image."""

    sample: Sample
    look: Look


class Side(NamedTuple):
    """The positives, or the negatives.

    Attributes:
        data: As the user named it.
        dataset: What was read.
        samples: Those of use, in the order in which mixtures take them.
        left_out: How many others there are, by reason.
    """

    data: str
    dataset: Dataset
    samples: list[Usable]
    left_out: Counter[str]

    def told(self) -> dict[str, Any]:
        """Itself in a manifest."""
        return {
            "data": self.data,
            "name": self.dataset.name,
            "fingerprint": self.dataset.fingerprint,
            "samples": len(self.dataset),
            "usable": len(self.samples),
            "images": len({one.look.digest for one in self.samples}),
            "left_out": dict(sorted(self.left_out.items())),
        }


def mix(
    positives: str | Dataset,
    negatives: str | Dataset,
    *,
    out: str | Path,
    ratios: str | Sequence[Ratio] = ",".join(RATIOS),
    total: int | None = None,
    seed: int = 0,
    family: str = "qwen3-vl",
    coords: str = AUTO,
    prompt: str = AUTO,
    apart: Sequence[str | Dataset] = (),
    also: Sequence[str] = (),
    split: str | None = None,
    negatives_split: str | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> list[Mixture]:
    """Writes a mixture for each ratio; the same call again adds ratios that are not there yet.

    Args:
        positives: A data set; its rejections are left out.
        negatives: A data set, maybe the same; its positives are left out.
        out: Folder to write.
        ratios: Of negatives to positives.
        total: Samples of each mixture; None for as many as every ratio can have.
        seed: Of the order in which images and samples are taken.
        family: Whose convention is written: a name of `families.toml`, or a served name.
        coords: A coordinate format instead of the family's.
        prompt: As `eval` takes it.
        apart: Data sets of evaluation, none of whose images may be in a mixture.
        also: Names of `other_tools.TOOLS` whose files are written beside.
        split: Of both data sets; None takes `train` where there is one.
        negatives_split: Of the negatives, where it is another.
        tell: Told a line for people.

    Raises:
        UsageError: A setting that cannot be, or too few samples; nothing was written then.
        DataError: A data set cannot be read.
        JobError: A file could not be written.
    """
    chosen = parse_ratios(ratios) if isinstance(ratios, str) else list(ratios)
    for tool in also:
        if tool not in TOOLS:
            raise UsageError(f"expected one of {', '.join(TOOLS)} for --also, got {tool!r}")
    how = convention(family, coords=coords, prompt=prompt)
    looks = Looks()
    kept_apart = [_Apart.of(one, looks, tell) for one in apart]
    good = _side(positives, split, True, how, looks, kept_apart, set(), seed, tell)
    asked = {(one.look.digest, _folded(one.sample)) for one in good.samples}
    bad = _side(
        negatives, negatives_split or split, False, how, looks, kept_apart, asked, seed, tell
    )
    size = _total(chosen, total, len(bad.samples), len(good.samples))
    folder = Path(out)
    settings = {
        "version": VERSION,
        "positives": good.told(),
        "negatives": bad.told(),
        "apart": [one.told() for one in kept_apart],
        "total": size,
        "seed": seed,
        **how.told(),
    }
    claim(folder, SETTINGS, settings, what="mixtures")
    store = Store(folder / IMAGES)
    return [
        _write(folder, one, size, good, bad, how, settings, store, also, tell) for one in chosen
    ]


class _Apart:
    """A data set of evaluation, and what was left out for it."""

    def __init__(self, data: str, dataset: Dataset, digests: set[str], unread: int) -> None:
        self.data, self.dataset, self.digests, self.unread = data, dataset, digests, unread
        self.samples = 0
        self.images: set[str] = set()

    @classmethod
    def of(cls, data: str | Dataset, looks: Looks, tell: Callable[[str], None]) -> _Apart:
        dataset = load_dataset(data) if isinstance(data, str) else data
        seen = [looks(one.image) for one in _told(dataset, tell)]
        unread = sum(not one.digest for one in seen)
        if unread:
            tell(
                f"{dataset.name}: {unread:,} of {len(dataset):,} images cannot be read, so "
                "nothing is kept apart from those"
            )
        return cls(_name(data), dataset, {one.digest for one in seen if one.digest}, unread)

    def holds(self, digest: str) -> bool:
        if digest in self.digests:
            self.samples += 1
            self.images.add(digest)
            return True
        return False

    def told(self) -> dict[str, Any]:
        return {
            "data": self.data,
            "name": self.dataset.name,
            "fingerprint": self.dataset.fingerprint,
            "samples": len(self.dataset),
            "images": len(self.digests),
            "unreadable": self.unread,
            "left_out": {"samples": self.samples, "images": len(self.images)},
        }


def _side(
    data: str | Dataset,
    split: str | None,
    positive: bool,
    how: Convention,
    looks: Looks,
    apart: Sequence[_Apart],
    asked: set[tuple[str, str]],
    seed: int,
    tell: Callable[[str], None],
) -> Side:
    """One of both sides.

    Args:
        asked: Questions that are on the other side already; those of this one are added.
    """
    dataset = sources.load(data, split)
    problems = {one.id: one.kind for one in check(dataset, images=False) if one.level == "error"}
    samples: list[Usable] = []
    left_out: Counter[str] = Counter()
    questions: set[tuple[str, str]] = set()
    for sample in _told(dataset, tell):
        reason = _reason(sample, positive) or problems.get(sample.id, "")
        look = Look() if reason else looks(sample.image)
        reason = reason or _unusable(sample, look, how)
        if not reason and [one for one in apart if one.holds(look.digest)]:
            reason = "apart"
        question = (look.digest, _folded(sample))
        if not reason and question in asked:
            reason = "contradicts"
        if not reason and question in questions:
            reason = "duplicate"
        if reason:
            left_out[reason] += 1
            continue
        questions.add(question)
        samples.append(Usable(sample, look))
    side = Side(_name(data), dataset, in_turns(samples, seed), left_out)
    tell(_line(side, positive))
    return side


def _name(data: str | Dataset) -> str:
    return data if isinstance(data, str) else data.source


def _folded(sample: Sample) -> str:
    return " ".join(sample.description.lower().split()).rstrip(".")


def _reason(sample: Sample, positive: bool) -> str:
    if sample.problem:
        return "row"
    if (sample.target is not None) != positive:
        return "rejection" if positive else "positive"
    return ""


def _unusable(sample: Sample, look: Look, how: Convention) -> str:
    """Why a sample cannot be trained on, in a word; "" where it can."""
    if not look.digest:
        return f"image-{look.kind}"
    size = (look.width, look.height)
    if sample.width and (sample.width, sample.height) != size:
        return "size"
    if "<image>" in sample.description:
        return "image-token"
    if sample.target is None:
        return ""
    if how.disagrees(how.answer(sample.target, size), sample.target, size):
        return "unwritable"
    # A box of few pixels in a large picture: its numbers, rounded, would name another one.
    return "rounded" if _written_iou(how, sample.target, size) < 0.5 else ""


def _written_iou(how: Convention, box: Box, size: tuple[int, int]) -> float:
    written = how.format.from_pixels([box], size)
    step = how.step
    rounded = how.format.to_pixels((written / step).round() * step, size)
    return float(geometry.iou([box], rounded)[0])


def _key(*parts: object) -> str:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()


def in_turns(samples: Iterable[Usable], seed: int) -> list[Usable]:
    """The samples in an order that goes round the images: see the top of the module."""
    drawn = sorted(samples, key=lambda one: _key(seed, one.look.digest, one.sample.id))
    met: Counter[str] = Counter()
    turns = []
    for one in drawn:
        digest = one.look.digest
        turns.append((met[digest], _key(seed, digest), one))
        met[digest] += 1
    return [one for _, _, one in sorted(turns, key=lambda row: row[:2])]


def _total(ratios: Sequence[Ratio], total: int | None, negatives: int, positives: int) -> int:
    limits = {one: one.largest(negatives, positives) for one in ratios}
    have = f"{negatives:,} negatives and {positives:,} positives"
    largest = min(limits.values())
    if not largest:
        raise UsageError(f"expected samples for {_ratio_text(ratios)}, got {have} that are of use")
    if total is None:
        return largest
    short = [one for one in ratios if limits[one] < total]
    if short:
        raise UsageError(
            f"expected enough samples for --total {total:,} at {_ratio_text(short)}, got {have}; "
            f"the largest total that all ratios can have is {largest:,}"
        )
    return total


def _ratio_text(ratios: Sequence[Ratio]) -> str:
    return ", ".join(f"{one.negatives}:{one.positives}" for one in ratios)


def _told(dataset: Dataset, tell: Callable[[str], None]) -> Iterable[Sample]:
    for done, sample in enumerate(dataset):
        if done and done % _TELL_EVERY == 0:
            tell(f"{dataset.name}: {done:,} of {len(dataset):,} read")
        yield sample


def _line(side: Side, positive: bool) -> str:
    what = "positives" if positive else "negatives"
    why = ", ".join(f"{n:,} {name}" for name, n in side.left_out.most_common())
    told = side.told()
    return (
        f"{what}: {len(side.samples):,} of {len(side.dataset):,} samples of {side.dataset.name} "
        f"on {told['images']:,} images" + (f" (left out: {why})" if why else "")
    )


# ---- writing


def _write(
    folder: Path,
    ratio: Ratio,
    total: int,
    good: Side,
    bad: Side,
    how: Convention,
    settings: dict[str, Any],
    store: Store,
    also: Sequence[str],
    tell: Callable[[str], None],
) -> Mixture:
    n, p = ratio.counts(total)
    place = folder / ratio.name
    manifest = {
        "version": VERSION,
        "ratio": f"{ratio.negatives}:{ratio.positives}",
        "counts": {"negatives": n, "positives": p},
        **{name: settings[name] for name in ("total", "seed")},
        **how.told(),
        "sources": {name: settings[name] for name in ("positives", "negatives")},
        "apart": settings["apart"],
        "nesting": NESTING,
        "columns": COLUMNS,
        "made_by": f"groundingme {groundingme.__version__}",
    }
    with kept(place):
        place.mkdir(exist_ok=True)
        if not (place / MANIFEST).exists():
            taken = [*good.samples[:p], *bad.samples[:n]]
            rows = [_row(one, how, store) for one in taken]
            rows.sort(key=lambda row: _key(settings["seed"], row["id"]))
            _write_table(place / TABLE, rows)
            write_json(place / MANIFEST, manifest)
        made = load_mixture(place, look=False)
        for tool in also:
            write_for(tool, made)
    tell(f"{place}: written")
    return made


def _row(one: Usable, how: Convention, store: Store) -> dict[str, Any]:
    sample, look = one
    assert sample.image is not None
    try:
        name = store.keep(sample.image, look.digest)
    except ImageError as error:
        raise DataError(f"expected the image of sample {sample.id!r} again, got: {error}") from None
    positive = sample.target is not None
    answer = how.answer(sample.target, (look.width, look.height))
    return {
        "id": f"{'positive' if positive else 'negative'}/{sample.id}",
        "image": f"../{IMAGES}/{name}",
        "prompt": [{"role": "user", "content": how.question(sample.description)}],
        "completion": [{"role": "assistant", "content": answer}],
        "positive": positive,
        "box": list(sample.target) if sample.target else None,
        "width": look.width,
        "height": look.height,
        "description": sample.description,
        "source_id": sample.id,
    }


def _write_table(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    turns = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    schema = pa.schema(
        {"id": pa.string(), "image": pa.string(), "prompt": turns, "completion": turns,
         "positive": pa.bool_(), "box": pa.list_(pa.float64()), "width": pa.int64(),
         "height": pa.int64(), "description": pa.string(), "source_id": pa.string()}
    )  # fmt: skip
    with written(path) as part:
        pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), part)
