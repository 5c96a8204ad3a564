"""What the API says when something cannot be done: a status, a kind, and one line."""

from __future__ import annotations

from typing import Any

from groundingme.errors import GroundingMEError


class ApiError(GroundingMEError):
    """An answer with a status of 400 to 499.

    Attributes:
        status: Of HTTP.
        kind: A short stable word: `not-found`, `conflict`, `forbidden`, `login`, `invalid`, ...
        more: Further fields of `error` in the answer.
    """

    def __init__(self, status: int, kind: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.more = more


def not_found(what: str, name: str) -> ApiError:
    """404: there is no such thing, or it is not for this person to know."""
    return ApiError(404, "not-found", f"expected {what} that is there, got {name!r}")
