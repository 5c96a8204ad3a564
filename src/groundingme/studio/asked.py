"""Models that answer on the try-it page: each loaded once, one question at a time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from typing import Any

from groundingme import asking, images, protocols, runner
from groundingme.models import Model, load_model
from groundingme.registry import unknown
from groundingme.retrying import RetryPolicy
from groundingme.schema import Generation, Sample
from groundingme.studio.spans import spans

DEFAULT = "builtin/grounder"
SHIPPED = (DEFAULT, "builtin/grounder-positive-only")

_ID = "asked"
_PATIENT = RetryPolicy(attempts=2, total=60, outage=0, window=1)
"""A person waits for the answer."""


class Models:
    """The models that may be asked.

    Args:
        specs: Beside the built-in ones: `PROVIDER/NAME`, or `PROVIDER/NAME,OPTION=VALUE,...`.
    """

    def __init__(self, specs: Sequence[str] = ()) -> None:
        self._specs = {one.partition(",")[0]: one for one in (*SHIPPED, *specs)}
        self._loaded: dict[str, Model] = {}
        self._lock = threading.Lock()

    @property
    def names(self) -> list[str]:
        """`PROVIDER/NAME` of each, the built-in one first."""
        return list(self._specs)

    def ask(self, name: str, description: str, data: bytes) -> dict[str, Any]:
        """One answer, read under the strict protocol.

        Args:
            name: Of the model.
            description: Of what it should find.
            data: The encoded picture.

        Returns:
            JSON-ready; `box` in pixels of the upright picture.

        Raises:
            UsageError: No such model, or it cannot be loaded.
            ImageError: The picture cannot be used.
            FatalError: The model cannot be reached.
        """
        if name not in self._specs:
            raise unknown("model", name, self.names)
        found = images.probe(data)
        sample = Sample(
            id=_ID,
            description=description,
            target=None,
            width=found.width,
            height=found.height,
            image=images.BytesImage(_ID, data),
        )
        with self._lock:
            model = self._load(name)
            how = asking.resolve(model)
            began = time.monotonic()
            said = _ask(model, how, sample)
            seconds = time.monotonic() - began
        score = protocols.score([sample], {_ID: said}, protocol="strict", coords=how.coords)[0]
        return {
            "model": name,
            "outcome": score.outcome,
            "reason": score.reason,
            "box": score.box,
            "confidence": said.confidence,
            "reply": said.text,
            "reasoning": said.reasoning,
            "failure": said.failure,
            "detail": said.detail,
            "spans": [] if said.failure else spans(sample, said, how.coords),
            "tokens": said.completion_tokens,
            "width": found.width,
            "height": found.height,
            "latency": said.latency or seconds,
            "warning": how.warning,
        }

    def _load(self, name: str) -> Model:
        if name not in self._loaded:
            model, *options = self._specs[name].split(",")
            given = dict(one.partition("=")[::2] for one in options)
            self._loaded[name] = load_model(model, **given)
        return self._loaded[name]


def _ask(model: Model, how: asking.Asking, sample: Sample) -> Generation:
    found: list[Generation] = []
    asyncio.run(
        runner.ask(
            model, [sample], prompt=how.template, sink=found.append, concurrency=1,
            retry=_PATIENT, system=how.system, extra=how.extra, thinking=how.thinking,
            image_rule=how.image,
        )
    )  # fmt: skip
    return found[0]
