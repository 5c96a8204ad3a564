"""The end of a run: a folder that any tool loads, with a card of what was done."""

from __future__ import annotations

import contextlib
import importlib.metadata
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from groundingme import __version__
from groundingme.store import write_atomically
from groundingme.train.tuning.base import Base

CARD = "training.json"
ADAPTER, WEIGHTS = "adapter", "weights"
"""Folders of what training leaves: LoRA's matrices, or all weights."""
_VIDEOS = "video_preprocessor_config.json"


def save_model(base: Base, folder: Path, *, full: bool, merge: bool) -> None:
    """Writes what was trained as a model with its processor, on the CPU.

    Args:
        base: What it was trained from.
        folder: Of the run, with `ADAPTER` or `WEIGHTS` in it; the model is written into it.
        full: Whether all weights were trained.
        merge: Whether LoRA's matrices become part of the weights; else the folder has the adapter,
            which needs the base model to be loaded.
    """
    if full or merge:
        model = _whole(base, folder, full)
        model.config = base.config
        model.save_pretrained(folder)
    else:
        for path in (folder / ADAPTER).glob("adapter_*"):
            shutil.copy2(path, folder / path.name)
    base.processor.save_pretrained(folder)
    _keep_videos(base, folder)
    if full:
        shutil.rmtree(folder / WEIGHTS)


def _whole(base: Base, folder: Path, full: bool) -> Any:
    from transformers import AutoModelForImageTextToText

    where = {"revision": base.revision} if base.revision else {}
    if full:
        # In the precision of the base model: float32 served the training alone.
        kept = getattr(base.config, "dtype", None) or "auto"
        return AutoModelForImageTextToText.from_pretrained(folder / WEIGHTS, dtype=kept)
    from peft import PeftModel

    model = AutoModelForImageTextToText.from_pretrained(base.name, dtype="auto", **where)
    return PeftModel.from_pretrained(model, str(folder / ADAPTER)).merge_and_unload()


def _keep_videos(base: Base, folder: Path) -> None:
    """The base model's settings for videos, where its processor was loaded without them."""
    from transformers.utils import cached_file

    if getattr(base.processor, "video_processor", None) is not None:
        return
    with contextlib.suppress(OSError):
        found = cached_file(base.name, _VIDEOS, revision=base.revision)
        if found:
            shutil.copyfile(found, folder / _VIDEOS)


def write_card(folder: Path, told: dict[str, Any]) -> None:
    """What was done, last of all: a folder with a card is finished."""
    card = {
        **told,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"groundingme": __version__, **_versions()},
    }
    encoded = msgspec.json.format(msgspec.json.encode(card), indent=2)
    write_atomically(folder / CARD, encoded + b"\n", durable=True)


def _versions() -> dict[str, str]:
    names = ("torch", "transformers", "trl", "peft", "accelerate", "datasets")
    return {name: importlib.metadata.version(name) for name in names}
