"""How well rejections can be told from the descriptions alone, without looking at an image.

A small classifier reads the words and letters of each description and guesses whether something
matches. What it gets right, a model could get right without eyes, so a model's rejections show
grounding only where they are better. It is trained by cross-validation, and all samples of one
image are in one part, so it never sees the image, nor a description, of a sample that it guesses.

It is a logistic regression on word 1- and 2-grams and letter 3- to 5-grams, weighted by tf-idf
(the weights see descriptions, never labels) and fitted in its dual form: as many unknowns as
samples.
"""

from __future__ import annotations

import hashlib
import math
import re
import zlib
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from contextlib import suppress
from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from groundingme import selective, stats
from groundingme.comparison import MATCHED, Estimate
from groundingme.datasets import Dataset
from groundingme.errors import DataError, ImageError
from groundingme.schema import Sample
from groundingme.stats import Floats
from groundingme.taxonomy import REJECTION

FOLDS = 5
BUCKETS = 2**13
"""Columns into which n-grams are hashed."""
INVERSE_PENALTY = 10.0
"""What the loss counts against half the squared weights; fixed, so that nothing is tuned."""
MOST = 4000
"""Most samples that are read: the work grows with their cube."""
LEAST = 20
"""Fewest samples with a match, and without, from which the classifier says anything."""
_RESAMPLES = 2000


class Floor(msgspec.Struct, frozen=True, kw_only=True):
    """What the text alone tells.

    Attributes:
        samples: That were read.
        negatives: Among them, without a match.
        images: That they show.
        auroc: Of the guess against all positives, with its 95 % interval by image.
        matched: The same against Discriminative alone; NaN where there are too few.
    """

    samples: int
    negatives: int
    images: int
    auroc: Estimate
    matched: Estimate


class Verdict(msgspec.Struct, frozen=True):
    """A model's rejections beside those from the text alone, at no more false rejections.

    Attributes:
        model: Share of the negatives that the model rejects, in [0, 1].
        text: Share that the classifier rejects where it rejects as many positives as the model.
        false: Share of the positives that the model rejects.
        difference: `model` less `text`, with its 95 % interval by image.
    """

    model: float
    text: float
    false: float
    difference: Estimate

    @property
    def beats(self) -> bool:
        """Whether the data show that the model does better than the text."""
        return self.difference.low > 0


def features(descriptions: Sequence[str]) -> NDArray[np.float32]:
    """Weighted n-grams of each description.

    Returns:
        Shape `(N, BUCKETS)`: rows of length 1; all zeros for a description without letters.
    """
    found = np.zeros((len(descriptions), BUCKETS), dtype=np.float32)
    for row, text in enumerate(descriptions):
        counts = Counter(zlib.crc32(gram.encode()) % BUCKETS for gram in _grams(text))
        found[row, list(counts)] = 1 + np.log(np.fromiter(counts.values(), dtype=np.float32))
    seen = (found > 0).sum(axis=0)
    found *= (np.log((1 + len(found)) / (1 + seen)) + 1).astype(np.float32)
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    np.divide(found, lengths, out=found, where=lengths > 0)
    return found


def _grams(text: str) -> Iterator[str]:
    words = re.findall(r"\w+|[^\w\s]", text.lower())
    yield from words
    yield from (f"{a} {b}" for a, b in pairwise(words))
    for word in words:
        padded = f"<{word}>"
        for size in (3, 4, 5):
            yield from (
                f"#{padded[at : at + size]}" for at in range(max(0, len(padded) - size + 1))
            )


def fit(gram: ArrayLike, labels: ArrayLike, *, c: float = INVERSE_PENALTY) -> Floats:
    """Logistic regression in its dual form.

    Minimizes `w @ w / 2 + c * sum(log(1 + exp(-y * (X @ w))))` with y of -1 and 1, by Newton's
    method.

    Args:
        gram: Shape `(N, N)`: `X @ X.T`.
        labels: Shape `(N,)`: what is true.
        c: What the loss counts against the penalty.

    Returns:
        Shape `(N,)`: weights of the samples; the log-odds of others are `(other @ X.T) @ weights`.

    Source:
        Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, algorithm 3.1.
    """
    kernel = c * np.asarray(gram, dtype=np.float64)
    truth = np.asarray(labels, dtype=np.float64)
    odds = np.zeros(len(truth))
    weights = np.zeros(len(truth))
    for _ in range(50):
        chance = 1 / (1 + np.exp(-odds))
        curve = np.sqrt(chance * (1 - chance))
        goal = curve**2 * odds + truth - chance
        matrix = curve[:, None] * kernel * curve
        matrix[np.diag_indices_from(matrix)] += 1
        weights = goal - curve * np.linalg.solve(matrix, curve * (kernel @ goal))
        before, odds = odds, kernel @ weights
        if np.abs(odds - before).max() < 1e-6:
            break
    return c * weights


def suspicions(
    descriptions: Sequence[str], negatives: ArrayLike, groups: ArrayLike, *, seed: int = 0
) -> Floats:
    """Log-odds that nothing matches, each from folds without the sample's image.

    Args:
        descriptions: N texts.
        negatives: Shape `(N,)`: whether nothing matches.
        groups: Shape `(N,)`, whole numbers: samples of one image share one.
        seed: Of the folds.

    Returns:
        Shape `(N,)`.
    """
    truth = np.asarray(negatives, dtype=bool)
    codes = np.unique(np.asarray(groups), return_inverse=True)[1]
    fold = np.random.default_rng(seed).permutation(int(codes.max()) + 1)[codes] % FOLDS
    rows = features(descriptions)
    # One more column of ones is the intercept.
    gram = (rows @ rows.T).astype(np.float64) + 1
    found = np.zeros(len(truth))
    for at in range(FOLDS):
        held, seen = fold == at, fold != at
        weights = fit(gram[np.ix_(seen, seen)], truth[seen])
        found[held] = gram[np.ix_(held, seen)] @ weights
    return found


def guess(samples: Sequence[Sample], groups: Sequence[Hashable], *, seed: int = 0) -> Floats:
    """How much each description looks as if nothing matched.

    Args:
        samples: N; targets and categories say which match nothing.
        groups: One key a sample: samples of one image share it.
        seed: Of the folds, and of the choice of samples where they are more than `MOST`.

    Returns:
        Shape `(N,)`: log-odds, from the folds that did not see the sample's image; NaN for samples
        that were not read.

    Raises:
        DataError: Fewer than `LEAST` samples of either kind, or than `FOLDS` images.
    """
    codes = stats.cluster_codes(groups)
    read = _chosen(codes, seed)
    negatives = _negatives(samples)[read]
    images = len(np.unique(codes[read]))
    if min(negatives.sum(), (~negatives).sum()) < LEAST or images < FOLDS:
        raise DataError(
            f"expected {LEAST} samples or more with a match, and as many without, on {FOLDS} "
            f"images, got {int((~negatives).sum())} and {int(negatives.sum())} on {images}; the "
            "text floor needs both kinds"
        )
    found = np.full(len(samples), np.nan)
    texts = [samples[at].description for at in read.tolist()]
    found[read] = suspicions(texts, negatives, codes[read], seed=seed)
    return found


def text_floor(samples: Sequence[Sample], groups: Sequence[Hashable], *, seed: int = 0) -> Floor:
    """How well "nothing matches" can be told from the descriptions of a data set.

    Args:
        samples: See `guess`.
        groups: See `guess`.
        seed: See `guess`; of the intervals, too.

    Raises:
        DataError: See `guess`.
    """
    guesses = guess(samples, groups, seed=seed)
    read = ~np.isnan(guesses)
    negatives = _negatives(samples)
    codes = stats.cluster_codes(groups)
    alike = [at for at, one in enumerate(samples) if negatives[at] or one.subtask_l1 == MATCHED]
    matched = Estimate(math.nan)
    # Another classifier, trained on these alone: the first one learns what parts the categories.
    with suppress(DataError):
        chosen, keys = [samples[at] for at in alike], [groups[at] for at in alike]
        matched = _auroc(guess(chosen, keys, seed=seed), negatives[alike], codes[alike], seed)
    return Floor(
        samples=int(read.sum()),
        negatives=int(negatives[read].sum()),
        images=len(np.unique(codes[read])),
        auroc=_auroc(guesses, negatives, codes, seed),
        matched=matched,
    )


def _negatives(samples: Sequence[Sample]) -> NDArray[np.bool_]:
    found = [one.target is None or one.subtask_l1 == REJECTION for one in samples]
    return np.array(found, dtype=bool)


def _chosen(codes: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Indices of the samples that are read: whole images, at random, up to `MOST` samples."""
    if len(codes) <= MOST:
        return np.arange(len(codes))
    order = np.random.default_rng(seed).permutation(int(codes.max()) + 1)
    sizes = np.bincount(codes)[order]
    kept = order[np.cumsum(sizes) <= MOST]
    return np.flatnonzero(np.isin(codes, kept))


def _auroc(
    guesses: Floats, negatives: NDArray[np.bool_], codes: NDArray[np.int64], seed: int
) -> Estimate:
    read = ~np.isnan(guesses)
    scores, truth, clusters = guesses[read], negatives[read], codes[read]
    drawn = [
        selective.auroc(scores, truth, weights)
        for weights in stats.resampled_weights(clusters, resamples=_RESAMPLES, seed=seed)
    ]
    low, high = stats.percentiles(np.concatenate(drawn))
    return Estimate(float(selective.auroc(scores, truth)), float(low), float(high))


def verdict(
    guesses: Floats,
    negatives: ArrayLike,
    rejected: ArrayLike,
    clusters: ArrayLike,
    *,
    seed: int = 0,
) -> Verdict:
    """Whether a model rejects better than the text alone.

    The classifier draws its line so that it rejects no more positives than the model does.

    Args:
        guesses: Shape `(N,)`, of the same samples: see `guess`.
        negatives: Shape `(N,)`: whether nothing matches.
        rejected: Shape `(N,)`: whether the model says so.
        clusters: Shape `(N,)`: samples of one image share a number.
        seed: Of the interval.
    """
    read = ~np.isnan(guesses)
    truth = np.asarray(negatives, dtype=bool)[read]
    says = np.asarray(rejected, dtype=bool)[read]
    suspicion, codes = guesses[read], np.asarray(clusters)[read]
    positives = np.sort(suspicion[~truth])[::-1]
    spent = int(says[~truth].sum())
    line = positives[spent] if spent < len(positives) else -math.inf
    text = suspicion > line
    gain = says[truth].astype(float) - text[truth]
    columns = np.stack([gain, np.ones(len(gain))], axis=1)
    ends = stats.bootstrap(columns, codes[truth], lambda sums: sums[:, 0] / sums[:, 1], seed=seed)
    return Verdict(
        model=float(says[truth].mean()),
        text=float(text[truth].mean()),
        false=spent / max(1, len(positives)),
        difference=Estimate(float(gain.mean()), *ends),
    )


def image_groups(dataset: Dataset, *, read: bool = True) -> list[str]:
    """What tells the images of a data set apart.

    Args:
        dataset: Any.
        read: Whether to compare the images' bytes; else their names, under which a data set may
            store one picture several times.
    """
    known: dict[str, str] = {}
    found = []
    for one in dataset:
        if one.image is None:
            found.append(f"sample {one.id}")
            continue
        name = one.image.name
        if name not in known:
            known[name] = name
            with suppress(ImageError):
                known[name] = hashlib.sha256(one.image.read()).hexdigest() if read else name
        found.append(known[name])
    return found


def as_dict(floor: Floor) -> dict[str, float | int | None]:
    """The figures, JSON-ready; undefined ones are None."""
    found: dict[str, float | int | None] = {
        "samples": floor.samples, "negatives": floor.negatives, "images": floor.images,
    }  # fmt: skip
    for name, one in (("auroc", floor.auroc), ("auroc_matched", floor.matched)):
        for end, value in (("", one.value), ("_low", one.low), ("_high", one.high)):
            found[f"{name}{end}"] = None if math.isnan(value) else value
    return found


def sentences(floor: Floor, *, total: int) -> list[str]:
    """What was found, for people.

    Args:
        floor: Of a data set.
        total: Samples of the data set.
    """
    where = f"{floor.samples:,} samples ({floor.negatives:,} match nothing) of {floor.images:,}"
    if floor.samples < total:
        where = f"{where} images, drawn from {total:,} samples"
    else:
        where = f"{where} images"
    lines = [
        f"From the text alone, over {where}:",
        f"AUROC of rejection {_span(floor.auroc)}; 50 is a coin.",
    ]
    if not math.isnan(floor.matched.value):
        lines.append(f"Against {MATCHED} alone: {_span(floor.matched)}.")
    if floor.auroc.low > 0.5:
        lines.append(
            "So part of the rejections can be guessed without an image; groundingme report says "
            "whether a model does better."
        )
    else:
        lines.append("That does not show that the text gives anything away.")
    return lines


def _span(one: Estimate) -> str:
    return f"{100 * one.value:.1f} ({100 * one.low:.1f} to {100 * one.high:.1f})"
