"""What would be asked, without asking it."""

from __future__ import annotations

from typing import Any

from groundingme import controls
from groundingme.asking import AUTO, resolve
from groundingme.datasets import load_dataset
from groundingme.errors import DataError
from groundingme.models import load_model
from groundingme.runner import request_for


def dry_run(
    model: str,
    data: str,
    *,
    coords: str = AUTO,
    prompt: str = AUTO,
    thinking: str | int | bool | None = None,
    split: str | None = None,
    subset: str = "",
    limit: int | None = None,
    temperature: float = 0.0,
    max_tokens: int = 20480,
    jpeg_quality: int | None = None,
    control: str | None = None,
    **options: Any,
) -> dict[str, Any]:
    """The first request that `evaluate` would send with the same arguments; nothing is sent.

    Returns:
        `model`, `samples` (how many would be asked), `sample` (id of the first), `coords` and why
        it is read so, `image` (what would be sent of it), and `request`.

    Raises:
        UsageError: As `evaluate`.
        ImageError: The first image cannot be used.
    """
    dataset = load_dataset(data, split=split).select(subset=subset, limit=limit)
    if control:
        dataset = controls.apply(dataset, control)
    usable = [sample for sample in dataset if not sample.problem]
    if not usable:
        raise DataError(f"expected at least one usable sample in {dataset.source}, got none")
    asked = load_model(model, **options)
    how = resolve(asked, coords=coords, prompt=prompt, thinking=thinking)
    request = request_for(
        asked, usable[0], prompt=how.template, temperature=temperature, max_tokens=max_tokens,
        jpeg_quality=jpeg_quality, system=how.system, extra=how.extra, thinking=how.thinking,
        image_rule=how.image,
    )  # fmt: skip
    image = request.image
    return {
        "model": asked.name,
        "samples": len(dataset),
        "sample": request.id,
        "coords": how.coords,
        "why": how.why,
        "warning": how.warning,
        "image": image
        and {
            "mime": image.mime,
            "bytes": len(image.data),
            "width": image.width,
            "height": image.height,
            "digest": image.digest,
        },
        "request": asked.preview(request),
    }
