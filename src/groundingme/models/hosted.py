"""What hosted APIs share: settings that can be used, and errors in one line that hide the key."""

from __future__ import annotations

import email.utils
import re
import sys
import time
from collections.abc import Mapping
from typing import Any

from groundingme import keys
from groundingme.errors import FatalError, RequestError, RetryableError, UsageError
from groundingme.models import Model
from groundingme.models.options import address, sent_headers

_SETTING = re.compile(
    r"\b(?:thinking|temperature|effort|max_tokens|max_?output_?tokens|output_config)\b", re.I
)
"""Words in a refusal that is about a setting, which all requests share."""


_BAD_KEY = re.compile(r"\bAPI[ _]key\b.*\b(?:expired|invalid)|\bAPI_KEY_INVALID\b", re.I)

NO_QUOTA = re.compile(
    r"insufficient_quota|billing_hard_limit|credit balance is too low"
    r"|insufficient (?:balance|credits)",
    re.I,
)
"""Words in a refusal that no later request escapes before somebody pays or a month begins."""


class HostedModel(Model):
    """A model behind somebody's API, asked through the vendor's own SDK.

    Args:
        name: `PROVIDER/NAME`.
        base_url: Where the API is; None for the vendor's own address.
        key_names: Names that the key may have (see `keys`); the first one found counts.
        extra_body: Merged into every request's body, over what is there.
        headers: Sent with every request.
        timeout: Seconds to wait for one whole reply.

    Raises:
        UsageError: One of them cannot be used.
    """

    paced = True
    switches_thinking = True

    def __init__(
        self,
        name: str,
        *,
        base_url: str | None,
        key_names: tuple[str, ...],
        extra_body: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None,
        timeout: float | str,
    ) -> None:
        if not 0 < float(timeout) < float("inf"):
            raise UsageError(f"expected a timeout of more than 0 seconds, got {timeout}")
        self.name = name
        self.base_url = address(base_url, "https://host.example") if base_url else None
        self.server = self.base_url or ""
        self._served = name.partition("/")[2]
        self._key_names = key_names
        self._extra = dict(extra_body or {})
        self._shown = keys.without_secrets(self._extra)
        self._headers = sent_headers(headers)
        self._timeout = float(timeout)
        self._key()

    def settings(self) -> dict[str, Any]:
        """`extra_body` alone, without keys: they and the address do not change what is asked."""
        return {"extra_body": self._shown} if self._shown else {}

    @property
    def _where(self) -> str:
        return self.base_url or f"the API of {self.name.partition('/')[0]}"

    def _key(self) -> str:
        """The key; "" where there is none.

        Raises:
            UsageError: It is no key; the message does not show it.
        """
        return next(filter(None, map(keys.find, self._key_names)), "")

    def _needed_key(self) -> str:
        key = self._key()
        if not key:
            names = " or ".join(self._key_names)
            raise FatalError(
                "auth",
                f"expected a key in the variable {names}, got none; set it, or keep one with "
                f"groundingme keys set {self._key_names[0]}",
            )
        return key

    def _line(self, said: object, limit: int = 300) -> str:
        """What somebody said, as one line in which the key is masked."""
        return " ".join(keys.masked(str(said)).split())[:limit]

    def _refused(self, status: int, said: object, wait: float | None = None) -> RequestError:
        """The error for an answer that is none.

        Args:
            status: Of the HTTP answer.
            said: What its body says.
            wait: Seconds that the server asks to wait.
        """
        words = self._line(said)
        line = f"{self._where} answered {status}: {words or 'nothing'}"
        if status in (401, 403) or (status == 400 and _BAD_KEY.search(words)):
            return FatalError(
                "auth",
                f"{line}; put a valid key into {self._key_names[0]}, or keep one with "
                f"groundingme keys set {self._key_names[0]}",
                status=status,
            )
        if status == 402 or (status in (400, 429) and NO_QUOTA.search(words)):
            return FatalError("quota", line, status=status)
        if status == 404:
            return FatalError(
                "not-found", f"{line}; check the name {self._served!r}", status=status
            )
        if status == 429:
            return RetryableError("rate-limit", line, status=status, retry_after=wait)
        if status in (408, 409, 425) or status >= 500:
            return RetryableError("server", line, status=status, retry_after=wait)
        if status == 413:
            return RequestError("too-large", line, status=status)
        if status == 400 and _SETTING.search(words) and "messages." not in words:
            return FatalError("bad-request", line, status=status)
        return RequestError("bad-request", line, status=status)

    def _broken(self, error: BaseException) -> RequestError:
        """The error for a reply that never came, by the names of what the SDK's client raised."""
        chain: list[BaseException] = []
        cause: BaseException | None = error
        while cause is not None and cause not in chain:
            chain.append(cause)
            cause = cause.__cause__ or cause.__context__
        for one in chain:
            if isinstance(one, RequestError):  # of our own: see `wire`
                return one
        kin = {kind.__name__ for one in chain for kind in type(one).__mro__}
        if kin & {"ConnectError", "ClientConnectorError"}:
            refused = any(isinstance(one, ConnectionRefusedError) for one in chain)
            words = "connection refused" if refused else self._line(chain[-1])
            return RetryableError("unreachable", f"nobody answers at {self._where}: {words}")
        if kin & {"TimeoutError", "TimeoutException", "APITimeoutError"}:
            return RetryableError(
                "timeout", f"no reply within {self._timeout:g} s from {self._where}"
            )
        words = self._line(chain[-1]) or type(chain[-1]).__name__
        return RetryableError("connection", f"{self._where}: {words}")


def transport_errors() -> tuple[type[BaseException], ...]:
    """What the HTTP clients that are in use raise where no whole answer comes."""
    import aiohttp

    clients = [sys.modules[name] for name in ("httpx", "httpx2") if name in sys.modules]
    return (TimeoutError, OSError, aiohttp.ClientError, *(one.TransportError for one in clients))


def seconds(text: str | None) -> float | None:
    """A Retry-After in seconds: a number, a number with `s`, or a date; None where it is neither.

    Example:
        >>> seconds("1.5"), seconds("12s"), seconds("soon"), seconds(None)
        (1.5, 12.0, None, None)
    """
    if text is None:
        return None
    try:
        return max(0.0, float(text.removesuffix("s")))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None
