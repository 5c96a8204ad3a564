"""Find out which coordinate format a model writes: `groundingme calibrate`.

Thirty easy questions about drawn pictures are asked, each with one large target away from the
diagonal, in pictures of several shapes and sizes, so that a box in the wrong format misses its
target. All formats are scored over all replies at once, never one per sample.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

import groundingme
from groundingme import readings
from groundingme.asking import AUTO, Asking, resolve
from groundingme.datasets.scenes import presets
from groundingme.errors import JobError
from groundingme.evaluation import run_to_end
from groundingme.models import Model, load_model
from groundingme.progress import Progress, Silent
from groundingme.readings import Calibration
from groundingme.runner import RetryPolicy, ask
from groundingme.schema import Generation, Sample

SIZES = (
    (640, 480, 6),
    (480, 720, 6),
    (1600, 900, 6),
    (1500, 2250, 4),
    (2800, 1800, 4),
    (5600, 3200, 4),
)
"""Width, height in pixels, and number of questions. The largest are beyond every vendor's own
maximum, so that pixels of the original and of the resized picture can be told apart."""

_SPEC = "scenes:n=14,seed=41,distractors=0,clutter=1-2,size=0.45-0.6,facts=1-2,width={},height={}"
_SHARES = {("Discriminative", "Text"): 1, ("Discriminative", "Appearance"): 1}
_LEAST_AREA = 0.03
_OFF_DIAGONAL = 0.08


def calibrate(
    model: str | Model,
    *,
    prompt: str = AUTO,
    thinking: str | int | bool | None = None,
    concurrency: int = 8,
    retry: RetryPolicy | None = None,
    max_tokens: int = 20480,
    save: bool = True,
    progress: Progress | None = None,
    **options: Any,
) -> Calibration:
    """Asks a model 30 easy questions and says which coordinate format its boxes are in.

    Args:
        model: `PROVIDER/NAME`, or a model made by `load_model`.
        prompt: As in `evaluate`; what is found out holds for this prompt.
        thinking: As in `evaluate`.
        concurrency: Requests in flight at once.
        retry: When to ask again; the default is `RetryPolicy()`.
        max_tokens: Most tokens of a completion, reasoning included.
        save: Keeps the outcome in the user's configuration, where `coords="auto"` finds it; not
            where no format fits, or too few replies were boxes.
        progress: Told of every reply; None is silent.
        **options: For the provider, such as `base_url`.

    Raises:
        UsageError: An argument that cannot be, or a configuration that cannot be written.
        FatalError: No request can succeed.
        JobError: No reply was a box, or it was interrupted.
    """
    asked = load_model(model, **options) if isinstance(model, str) else model
    how = resolve(asked, prompt=prompt, thinking=thinking)
    samples = questions()
    replies: dict[str, Generation] = {}
    watcher = progress or Silent()
    watcher.start(samples, {}, how.coords)

    def sink(generation: Generation) -> None:
        replies[generation.id] = generation
        watcher.update(generation)

    work = ask(
        asked,
        samples,
        prompt=how.template,
        sink=sink,
        concurrency=concurrency,
        retry=retry,
        max_tokens=max_tokens,
        system=how.system,
        extra=how.extra,
        thinking=how.thinking,
        image_rule=how.image,
    )
    try:
        if run_to_end(work):
            raise JobError("interrupted; nothing was kept")
    finally:
        watcher.stop()
    found = readings.choose(
        samples,
        replies,
        model=how.model,
        prompt=how.prompt,
        digest=how.digest,
        server=how.server or "",
        thinking=str(how.thinking or ""),
        expected=how.coords if how.source == "family" else "",
    )
    if found is None:
        raise JobError(_no_boxes(samples, replies))
    found = msgspec.structs.replace(
        found,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        version=groundingme.__version__,
    )
    if save and found.usable:
        readings.keep(found)
    return found


def surprise(found: Calibration, how: Asking) -> str:
    """Where a calibration says something else than the model's family; "" where it does not."""
    if how.family is None:
        return ""
    known = how.family.coords_under(how.prompt)
    if not known or known in (found.coords, *found.alike):
        return ""
    return f"the table of families says {known} for {how.family.title}"


@functools.cache
def questions() -> tuple[Sample, ...]:
    """The thirty questions, always the same."""
    return tuple(one for size in SIZES for one in _of_size(*size))


def _of_size(width: int, height: int, count: int) -> Iterator[Sample]:
    spec = _SPEC.format(width, height)
    preset = msgspec.structs.replace(presets.parse_spec(spec), shares=_SHARES)
    for sample in presets.from_preset(preset, spec):
        if sample.target is None or not count:
            continue
        x1, y1, x2, y2 = sample.target
        large = (x2 - x1) * (y2 - y1) >= _LEAST_AREA * width * height
        apart = abs((x1 + x2) / 2 / width - (y1 + y2) / 2 / height) >= _OFF_DIAGONAL
        if large and apart:
            count -= 1
            yield msgspec.structs.replace(sample, id=f"{width}x{height}-{count}")


def _no_boxes(samples: tuple[Sample, ...], replies: dict[str, Generation]) -> str:
    failed = [one for one in replies.values() if one.failure]
    if failed:
        said = f"{len(failed)} requests failed, such as: {failed[0].detail}"
    else:
        text = next((one.text for one in replies.values() if one.text), "")
        said = f"replies such as {text[:80]!r}"
    return f"expected boxes in {len(samples)} replies, got none: {said}"
