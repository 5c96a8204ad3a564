"""Everything that a server can do wrong, at random but the same on every day."""

from __future__ import annotations

import email.utils
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping

from chat import Reply

QUOTA = json.dumps({"error": {"message": "no money left", "code": "insufficient_quota"}})

PASSING: Mapping[str, Callable[[], Reply]] = {
    "429": lambda: Reply(status=429),
    "429 in seconds": lambda: Reply(status=429, headers={"Retry-After": "0.05"}),
    "429 until": lambda: Reply(
        status=429, headers={"Retry-After": email.utils.formatdate(time.time(), usegmt=True)}
    ),
    "500": lambda: Reply(status=500),
    "502": lambda: Reply(status=502, body="<html>bad gateway</html>"),
    "503": lambda: Reply(status=503, headers={"Retry-After": "0"}),
    "dropped before": lambda: Reply(drop=True),
    "dropped within": lambda: Reply(half=True),
    "stalled": lambda: Reply(stall=True),
    "never": lambda: Reply(delay=30),
    "slow": lambda: Reply(status=503, delay=0.1),
    "no JSON": lambda: Reply(body="<html>proxy</html>"),
    "half JSON": lambda: Reply(body='{"choices": [{"mess'),
    "other JSON": lambda: Reply(body='{"detail": "busy"}'),
    "error with 200": lambda: Reply(body='{"error": {"message": "overloaded"}}'),
    "no choices": lambda: Reply(body='{"choices": []}'),
    "no content": lambda: Reply(None),
}
"""What is gone when the same is asked again."""

ENDING: Mapping[str, Callable[[], Reply]] = {
    "400": lambda: Reply(status=400),
    "401": lambda: Reply(status=401),
    "404": lambda: Reply(status=404),
    "quota": lambda: Reply(status=429, body=QUOTA),
    "402": lambda: Reply(status=402),
}
"""What ends the sample or the whole session, and is gone with the next one."""


class Moody:
    """A server's default reply: a fault by chance, else `answer`.

    The n-th reply to a description is the same whatever else is asked.

    Args:
        answer: From a description to the reply without a fault.
        share: Of requests that meet a fault, in [0, 1].
        seed: Another one is another mix.
        faults: Which.

    Attributes:
        met: How often each fault came.
    """

    def __init__(
        self,
        answer: Callable[[str], Reply],
        share: float,
        seed: int,
        faults: Mapping[str, Callable[[], Reply]] = PASSING,
    ) -> None:
        self._answer = answer
        self._share = share
        self._seed = seed
        self._faults = faults
        self._turns: Counter[str] = Counter()
        self.met: Counter[str] = Counter()

    def __call__(self, description: str) -> Reply:
        turn = self._turns[description]
        self._turns[description] += 1
        chance = random.Random(f"{self._seed}:{description}:{turn}")
        if chance.random() >= self._share:
            return self._answer(description)
        name = chance.choice(list(self._faults))
        self.met[name] += 1
        return self._faults[name]()
