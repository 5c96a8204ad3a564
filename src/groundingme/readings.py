"""Which coordinate format a model writes: what numbers alone tell, and what was once measured.

`spread_hint` needs no ground truth. `choose` finds the format that fits boxes whose targets are
known, and its outcome, a `Calibration`, is kept in the user's configuration for later runs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from groundingme import geometry, protocols
from groundingme.costs import config_folder
from groundingme.errors import UsageError
from groundingme.geometry import COORD_FORMATS, Boxes, CoordFormat
from groundingme.schema import Generation, Sample
from groundingme.store import write_atomically

FILE = "calibration.json"

_ALIKE = 0.95
"""Mean IoU of two formats' boxes from which they are as good as one."""
_NO_BETTER = 1e-6
"""Difference of mean IoU that is the rounding of a processor."""
_DRAWS = 2000
_SEED = 20251217

_PLAIN = ("abs", "n1000")
"""Of formats that fit alike, the ones to take first."""
_LEAST_MARGIN = 0.05
_LEAST_IOU = 0.3
_LEAST_BOXES = 10


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """How well one format fits.

    Attributes:
        coords: Name of the format.
        iou: Mean IoU over the boxes, in [0, 1].
        acc50: Share of the boxes with an IoU of 0.5 or more.
    """

    coords: str
    iou: float
    acc50: float


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """The format that a model was found to write under one prompt and setting, at one server.

    Attributes:
        model: `PROVIDER/NAME`.
        prompt: Name of the prompt, or `custom`.
        digest: Of everything that was asked: see `digest_of`.
        server: Address of who answered; "" for a vendor's own, and for models in this process.
        thinking: As it was asked for; "" for the model's own way.
        coords: Name of the format that fits best.
        fits: All formats, the best first.
        alike: Formats that put these boxes where the best one does.
        margin: Mean IoU of the best format, less that of the best one that is not alike.
        low: Of the margin: lower end of its 95 % interval, by bootstrap over samples.
        high: Upper end.
        asked: Positives that were asked.
        boxes: How many of the replies were boxes.
        created: ISO 8601, UTC.
        version: Of groundingme.
    """

    model: str
    prompt: str
    digest: str
    server: str = ""
    thinking: str = ""
    coords: str
    fits: list[Fit]
    alike: list[str]
    margin: float
    low: float
    high: float
    asked: int
    boxes: int
    created: str = ""
    version: str = ""

    @property
    def usable(self) -> bool:
        """Whether it says anything at all: some format fits enough boxes."""
        return self.boxes >= _LEAST_BOXES and self.fits[0].iou >= _LEAST_IOU

    @property
    def doubt(self) -> str:
        """Why it should not be relied on, in words; "" where it may be."""
        best = self.fits[0]
        if self.boxes < _LEAST_BOXES:
            return f"only {self.boxes} of {self.asked} replies were boxes"
        if best.iou < _LEAST_IOU:
            return f"no format fits: {best.coords}, the best, has a mean IoU of {best.iou:.2f}"
        if self.low <= 0 or self.margin < _LEAST_MARGIN:
            return f"the margin is small: {self.margin:.2f} ({self.low:.2f} to {self.high:.2f})"
        return ""


_HARMLESS = ("temperature", "max_tokens", "jpeg_quality", "split", "samples", "sample_temperature",
             "control")  # fmt: skip
"""Settings that do not change in which numbers a box is written."""


def digest_of(template: str, settings: Mapping[str, Any]) -> str:
    """What a calibration holds for: `sha256:` and hex digits.

    Args:
        template: The prompt's, with whatever switches thinking in it.
        settings: Of the run: thinking, system prompt, fields of the request, image rule, and what
            the provider adds. Sampling and the like make no difference.
    """
    rest = {name: value for name, value in settings.items() if name not in _HARMLESS}
    asked = msgspec.json.encode([template, rest], order="sorted")
    return f"sha256:{hashlib.sha256(asked).hexdigest()}"


def path_of_calibrations() -> Path:
    """The file in the user's configuration."""
    return config_folder() / FILE


def calibrations() -> list[Calibration]:
    """Everything that was kept; nothing where there is no file.

    Raises:
        UsageError: The file is damaged.
    """
    path = path_of_calibrations()
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Calibration])
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, UnicodeDecodeError, msgspec.DecodeError) as error:
        raise UsageError(
            f"expected calibrations in {path}, got: {error}; mend the file, or move it away"
        ) from None


def find_calibration(model: str, digest: str, server: str | None) -> Calibration | None:
    """What was kept for that model, asked so.

    Args:
        model: `PROVIDER/NAME`.
        digest: As `digest_of` gives it.
        server: As in `Calibration`; None for any, which counts where all servers agree.

    Raises:
        UsageError: The file is damaged.
    """
    found = [
        one
        for one in calibrations()
        if (one.model, one.digest) == (model, digest) and server in (None, one.server)
    ]
    return found[-1] if len({one.coords for one in found}) == 1 else None


def keep(calibration: Calibration) -> Path:
    """Writes a calibration into the user's configuration, over an earlier one of the same.

    Returns:
        The file.

    Raises:
        UsageError: The file is damaged or cannot be written.
    """

    def key(one: Calibration) -> tuple[str, str, str]:
        return one.model, one.digest, one.server

    rows = [one for one in calibrations() if key(one) != key(calibration)]
    path = path_of_calibrations()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        encoded = msgspec.json.encode([*rows, calibration])
        write_atomically(path, msgspec.json.format(encoded, indent=2) + b"\n")
    except OSError as error:
        raise UsageError(
            f"expected a configuration folder that can be written, got {path.parent} "
            f"({error.strerror}); set GROUNDINGME_CONFIG to another"
        ) from None
    return path


def choose(
    samples: Sequence[Sample],
    generations: Mapping[str, Generation],
    *,
    model: str,
    prompt: str,
    digest: str,
    server: str = "",
    thinking: str = "",
    expected: str = "",
) -> Calibration | None:
    """The format that fits a model's boxes best, over all samples at once.

    Args:
        samples: Positives, all of whose targets are known.
        generations: By sample id.
        model: `PROVIDER/NAME`.
        prompt: Name of the prompt.
        digest: Of what was asked.
        server: Who answered.
        thinking: As asked for.
        expected: Format to take where several fit alike; "" for none.

    Returns:
        None where no reply was a box.
    """
    names = _candidates(samples, generations)
    scores = {
        name: protocols.score(samples, generations, protocol="strict", coords=name)
        for name in names
    }
    boxed = np.isfinite(scores[names[0]].written).all(axis=1)
    if not boxed.any():
        return None
    ious = {name: scores[name].ious[boxed] for name in names}
    boxes = {name: scores[name].boxes[boxed] for name in names}
    first = max(names, key=lambda name: float(ious[name].mean()))
    alike = [
        name
        for name in names
        if name == first or geometry.iou(boxes[name], boxes[first]).mean() >= _ALIKE
    ]
    best = _preferred(alike, first, ious, expected)
    others = [name for name in names if name not in alike]
    nothing = np.zeros(int(boxed.sum()))
    rival = max((ious[name] for name in others), key=lambda one: float(one.mean()), default=nothing)
    low, high = _interval(ious[best] - rival)
    fits = [
        Fit(coords=name, iou=float(ious[name].mean()), acc50=float((ious[name] >= 0.5).mean()))
        for name in names
    ]
    return Calibration(
        model=model,
        prompt=prompt,
        digest=digest,
        server=server,
        thinking=thinking,
        coords=best,
        fits=sorted(fits, key=lambda fit: (fit.coords != best, -fit.iou)),
        alike=[name for name in alike if name != best],
        margin=float((ious[best] - rival).mean()),
        low=low,
        high=high,
        asked=len(samples),
        boxes=int(boxed.sum()),
    )


def _candidates(samples: Sequence[Sample], generations: Mapping[str, Generation]) -> list[str]:
    """Formats that the replies may be in: location tokens are read as bins and nothing else."""
    reasons = protocols.score(samples, generations, protocol="strict").reasons
    tokens = reasons.count("loc-tokens") * 2 > len(reasons)
    return [name for name, form in COORD_FORMATS.items() if form.bins == tokens]


def _preferred(
    alike: list[str], first: str, ious: Mapping[str, NDArray[np.float64]], expected: str
) -> str:
    """Of formats that fit alike, the expected or plainest one, unless `first` is surely better."""
    for name in (expected, *_PLAIN, *alike):
        if name == first or (
            name in alike and _interval(ious[first] - ious[name])[0] <= _NO_BETTER
        ):
            return name
    return first


def _interval(differences: NDArray[np.float64]) -> tuple[float, float]:
    """95 % interval of a mean by bootstrap, always drawn alike."""
    dice = np.random.default_rng(_SEED)
    n = len(differences)
    means = differences[dice.integers(0, n, (_DRAWS, n))].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


_FIRST_LOOK = 30
_SPREAD_BOXES = 20
_INSIDE, _REACH = 0.8, 0.75
"""Below one of these a declared format is suspected."""
_FINE, _FAR = 0.98, 0.85
"""What the format named instead must have of both."""
_SPREAD_FORMATS = (
    "n1000",
    "n1",
    "abs",
    "abs-yxyx",
    "abs-qwen2.5-vl",
    "abs-mimo-vl",
    "abs-claude",
    "abs-claude-4.7",
)
"""Formats that can be told by how far their numbers reach; of several, the first is named."""


def spread_hint(
    samples: Sequence[Sample],
    generations: Mapping[str, Generation],
    scores: protocols.Scores,
) -> str:
    """Says where written numbers look like another format, without looking at any target.

    In the right format boxes lie inside their images and, taken together, reach nearly to the
    far edges. There is a hint only where at least 20 images of known size have a box, the
    declared format throws a fifth of them out of the image or leaves them in its upper left part,
    and another format does neither. Images little larger than 1000 pixels tell nothing.

    Args:
        samples: Of the data set.
        generations: By sample id.
        scores: Of the same samples under `strict`, which say what was declared.

    Returns:
        One line, or "".
    """
    _, sent = protocols.frames(samples, generations)
    rows = np.isfinite(scores.written).all(axis=1) & (sent > 0).all(axis=1)
    if rows.sum() < _SPREAD_BOXES:
        return ""
    written, sent = scores.written[rows], sent[rows]
    declared = COORD_FORMATS[scores.coords]
    inside, reach = _spread(declared, written, sent)
    squeezed = inside >= _INSIDE
    if declared.bins or (squeezed and reach >= _REACH):
        return ""
    for name in _SPREAD_FORMATS:
        fine, far = _spread(COORD_FORMATS[name], written, sent)
        if fine >= _FINE and far >= (max(_FAR, 1.2 * reach) if squeezed else _REACH):
            return (
                f"these boxes look like {_in_words(COORD_FORMATS[name])}, the declared format is "
                f"{_in_words(declared)}: find out with groundingme calibrate, or declare it with "
                f"--coords {name}"
            )
    return ""


class SpreadWatch:
    """`spread_hint` while a run goes: after 30 replies, then each time that they have doubled.

    Args:
        samples: Of the data set.
        done: Replies of earlier sessions.
        coords: The declared format.
    """

    def __init__(self, samples: Sequence[Sample], done: Iterable[Generation], coords: str) -> None:
        self._samples = {one.id: one for one in samples}
        self._replies = {one.id: one for one in done}
        self._coords = coords
        self._next = max(_FIRST_LOOK, len(self._replies))

    def add(self, generation: Generation) -> str:
        """Counts one more reply; the hint in one line, once, or ""."""
        if generation.failure or not self._next:
            return ""
        self._replies[generation.id] = generation
        if len(self._replies) < self._next:
            return ""
        self._next = 2 * len(self._replies)
        seen = [self._samples[id] for id in self._replies if id in self._samples]
        scores = protocols.score(seen, self._replies, protocol="strict", coords=self._coords)
        hint = spread_hint(seen, self._replies, scores)
        if hint:
            self._next = 0
        return hint


def _spread(form: CoordFormat, written: Boxes, sent: Boxes) -> tuple[float, float]:
    """Share of boxes inside their images, and how far all of them reach to the right and down.

    The reach is the geometric mean of two shares, each a 95 % quantile over the boxes: 1 where
    boxes go to both far edges.
    """
    with np.errstate(all="ignore"):
        part = form.to_pixels(written, sent) / np.tile(sent, 2)
    inside = ((part >= -0.02) & (part <= 1.02)).all(axis=1).mean()
    reach = np.clip(np.quantile(part[:, 2:], 0.95, axis=0), 0, None)
    return float(inside), float(np.sqrt(reach.prod()))


def _in_words(form: CoordFormat) -> str:
    order = ", y first" if form.order == "yxyx" else ""
    if form.scale is not None:
        return f"0-{form.scale:g}{order} ({form.name})"
    whose = "resized" if form.resize else "original"
    return f"pixels of the {whose} image{order} ({form.name})"
