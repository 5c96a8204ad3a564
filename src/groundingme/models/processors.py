"""Processors of multimodal models, with or without torchvision.

Several families have a processor that also takes videos, and transformers makes its part for
videos with torchvision alone. Pictures need none, so where torchvision is missing that part is
left out.
"""

from __future__ import annotations

import functools
from typing import Any


def load_processor(name: str, **options: Any) -> Any:
    """A processor of transformers.

    Args:
        name: Hub id, or path of a folder.
        **options: Of `AutoProcessor.from_pretrained`: `revision`, `trust_remote_code`, and whatever
            the processor takes.

    Raises:
        Exception: Whatever transformers raises where there is none that can be loaded.
    """
    from transformers import AutoProcessor
    from transformers.utils import is_torchvision_available

    kind = None if is_torchvision_available() else _kind(name, options)
    if kind is None or "video_processor" not in kind.get_attributes():
        return AutoProcessor.from_pretrained(name, **options)
    return without_videos(kind).from_pretrained(name, **options)


def _kind(name: str, options: dict[str, Any]) -> Any:
    """The class of a model's processor; None where transformers does not know it."""
    import transformers
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

    chosen = {key: options[key] for key in ("revision", "trust_remote_code") if key in options}
    try:
        config = transformers.AutoConfig.from_pretrained(name, **chosen)
        found = PROCESSOR_MAPPING_NAMES.get(config.model_type)
    except (OSError, ValueError):
        # An adapter by itself has no configuration of a model beside its processor.
        told, _ = transformers.ProcessorMixin.get_processor_dict(name, **chosen)
        found = told.get("processor_class")
    return getattr(transformers, found, None) if found else None


@functools.cache
def without_videos(kind: Any) -> Any:
    """The same class, of the same name, whose instances have no part for videos."""

    def get_attributes(cls: Any) -> list[str]:
        return [one for one in kind.get_attributes() if one != "video_processor"]

    def reduce(self: Any) -> tuple[Any, ...]:
        return _empty, (kind,), self.__dict__

    # Processes that decode pictures are sent one, and cannot find this class by its name.
    own = {"get_attributes": classmethod(get_attributes), "__reduce__": reduce}
    return type(kind.__name__, (kind,), own)


def _empty(kind: Any) -> Any:
    made = without_videos(kind)
    return made.__new__(made)
