"""A confidence where a server gives no log-probabilities: ask again, and count who agrees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from groundingme.errors import UsageError
from groundingme.models import Model, Request, Wrapped
from groundingme.models.confidence import agreement
from groundingme.models.options import whole
from groundingme.parsing import answer_of
from groundingme.schema import Generation

TEMPERATURE = 1.0


class Sampled(Wrapped):
    """Any model, asked some more times for each answer.

    The first reply is the answer, asked for at the run's own temperature. Its `confidence` is the
    share of the samples that agree with it: boxes of an IoU of 0.5 or more, or rejections as well.
    Tokens and seconds are those of all replies together.

    Args:
        model: The model that answers.
        samples: How many times it is asked again.
        sample_temperature: Of the samples, above 0.
    """

    def __init__(
        self,
        model: Model,
        *,
        samples: int | str = 8,
        sample_temperature: float | str = TEMPERATURE,
    ) -> None:
        try:
            self._temperature = float(sample_temperature)
        except ValueError:
            self._temperature = 0.0
        if not 0 < self._temperature < float("inf"):
            raise UsageError(
                f"expected a sample_temperature above 0, got {sample_temperature!r}; at 0 all "
                "samples would be the answer itself"
            )
        self._samples = whole("samples", samples, 1) or 1
        super().__init__(model)
        self._begun: dict[tuple[str, int], list[Generation]] = {}

    def settings(self) -> dict[str, Any]:
        """Adds how many samples are asked for, and how."""
        return {
            **self._model.settings(),
            "samples": self._samples,
            "sample_temperature": self._temperature,
        }

    async def generate(self, request: Request) -> Generation:
        # Replies that are there when a later one fails are not asked for again.
        replies = self._begun.setdefault((request.id, request.trajectory), [])
        while len(replies) <= self._samples:
            number = len(replies)
            again = msgspec.structs.replace(
                request, temperature=self._temperature, trajectory=request.trajectory + number
            )
            replies.append(await self._model.generate(again if number else request))
        del self._begun[request.id, request.trajectory]
        return msgspec.structs.replace(
            replies[0],
            confidence=agreement([answer_of(one) for one in replies]),
            prompt_tokens=_total([one.prompt_tokens for one in replies]),
            completion_tokens=_total([one.completion_tokens for one in replies]),
            reasoning_tokens=_total([one.reasoning_tokens for one in replies]),
            latency=round(sum(one.latency for one in replies), 4),
        )


def _total(counts: Sequence[int | None]) -> int | None:
    """The sum; None where one is not known."""
    known = [one for one in counts if one is not None]
    return sum(known) if len(known) == len(counts) else None
