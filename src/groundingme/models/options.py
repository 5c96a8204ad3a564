"""Options of providers, which may come as text from the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from groundingme import keys
from groundingme.errors import UsageError

_URL = re.compile(r"https?://[^/\s]+(?:/\S*)?")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PRINTABLE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


def address(url: str, example: str) -> str:
    """A base URL without a slash at its end.

    Raises:
        UsageError: It is none, or it holds a user or password, which the message does not show.
    """
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise UsageError(
            "expected a base URL without a user or password, got one with them; keep the key with "
            "groundingme keys set NAME, or send it with --header"
        )
    if not _URL.fullmatch(url):
        raise UsageError(f"expected a base URL such as {example}, got {url!r}")
    return url.rstrip("/")


def sent_headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Headers that can be sent; their secrets are masked from now on.

    Raises:
        UsageError: One cannot be; the message does not show its value.
    """
    for name, value in (headers or {}).items():
        if not _HEADER.fullmatch(name) or not _PRINTABLE.fullmatch(value):
            raise UsageError(f"expected a header's NAME=VALUE, got the name {name!r} and a value")
        keys.hide_header(name, value)
    return dict(headers or {})


def whole(option: str, value: int | str | None, least: int) -> int | None:
    """A whole number of `least` or more; None stays None.

    Raises:
        UsageError: It is none, or less.
    """
    if value is None:
        return None
    try:
        number = int(value)
    except ValueError:
        number = least - 1
    if number < least:
        raise UsageError(f"expected {option} as a whole number of {least} or more, got {value!r}")
    return number


def share(option: str, value: float | str | None) -> float | None:
    """A number in [0, 1]; None stays None.

    Raises:
        UsageError: It is none.
    """
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise UsageError(f"expected {option} as a number from 0 to 1, got {value!r}")
    return number


def flag(option: str, value: bool | str) -> bool:
    """True or false, also in words.

    Raises:
        UsageError: Neither.
    """
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    known = words.get(str(value).lower())
    if known is None:
        raise UsageError(f"expected {option} as true or false, got {value!r}")
    return known


def mapping(option: str, value: Mapping[str, Any] | str | None) -> dict[str, Any]:
    """An object, also as JSON; None is an empty one.

    Raises:
        UsageError: It is none.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise UsageError(f"expected {option} as a JSON object, got {value!r}") from None
    if value is not None and not isinstance(value, Mapping):
        raise UsageError(f"expected {option} as a JSON object, got {value!r}")
    return dict(value or {})


def spelled_for_template(
    extra: Mapping[str, Any], sampling: Collection[str], model: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fields of an OpenAI-compatible request as a model in this process takes them.

    Args:
        extra: The fields.
        sampling: Names of those that its sampling takes.
        model: For the message.

    Returns:
        Variables of the chat template, and sampling.

    Raises:
        UsageError: A field that neither takes. Where the chat template has variables, a switch
            meant for a hosted server (`thinking`) is let be.
    """
    template = dict(extra.get("chat_template_kwargs") or {})
    if "reasoning_effort" in extra:
        template["reasoning_effort"] = extra["reasoning_effort"]
    rest = set(extra) - {"chat_template_kwargs", "reasoning_effort", *sampling}
    if template:
        rest.discard("thinking")
    if rest:
        takes = ", ".join(("chat_template_kwargs", "reasoning_effort", *sampling))
        raise UsageError(f"expected fields that {model} can use ({takes}), got {min(rest)!r}")
    return template, {name: value for name, value in extra.items() if name in sampling}
