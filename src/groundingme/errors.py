"""Every error that groundingme raises on purpose.

    GroundingMEError                what a caller may want to catch
    ├── UsageError (ValueError)     the user can mend it; the command exits with 2
    │   ├── UnknownNameError        no such data set, model, protocol, format ...
    │   ├── DataError               a data set or results file that cannot be read
    │   │   └── SplitError          it has no such split
    │   ├── BoxError                an array that is no list of boxes
    │   ├── RunError                a run folder that cannot be used
    │   └── MissingDependencyError  an optional package is not installed
    ├── ImageError                  one image cannot be used; its sample fails, the run goes on
    ├── RequestError                one request to a model failed; its sample fails
    │   ├── RetryableError          worth asking again: timeout, 429, 5xx, dropped connection
    │   └── FatalError              no later request can succeed: wrong key, unknown model
    └── JobError                    the work was asked for correctly and failed; exit with 1

Each message is one line: what was expected, what came, what to do.
"""

import copyreg
from typing import Any


class GroundingMEError(Exception):
    """Base of every error raised on purpose by this package."""

    def __reduce__(self) -> Any:
        # Other processes read it back with what `__init__` was given beyond the message.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


class UsageError(GroundingMEError, ValueError):
    """The caller asked for something that cannot be done as asked."""


class UnknownNameError(UsageError):
    """A name that is in no table."""


class DataError(UsageError):
    """A data set or results file that is missing or cannot be read."""


class SplitError(DataError):
    """A data set has no split of that name.

    Attributes:
        splits: Those that it has.
    """

    def __init__(self, message: str, *, splits: tuple[str, ...]) -> None:
        super().__init__(message)
        self.splits = splits


class BoxError(UsageError):
    """An array that does not hold boxes of shape `(N, 4)`."""


class RunError(UsageError):
    """A run folder that is missing, damaged, or held by another process."""


class MissingDependencyError(UsageError):
    """An optional package is needed; the message names its pip line."""


class ImageError(GroundingMEError):
    """One image cannot be used.

    Attributes:
        kind: `missing`, `outside`, `empty`, `truncated`, `unreadable`, `unsupported` or
            `too-large`.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class RequestError(GroundingMEError):
    """One request to a model failed, and asking the same again would fail the same way.

    Attributes:
        kind: A short stable word for tables: `timeout`, `rate-limit`, `server`, `connection`,
            `unreachable`, `bad-request`, `bad-reply`, `auth`, `not-found`, ...
        status: The HTTP status, or None where no reply came.
    """

    def __init__(self, kind: str, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.status = status


class RetryableError(RequestError):
    """A request worth asking again.

    Attributes:
        retry_after: Seconds that the server asked to wait, or None.
    """

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(kind, message, status=status)
        self.retry_after = retry_after


class FatalError(RequestError):
    """A failure that every later request would share, so the run stops at once."""


class JobError(GroundingMEError):
    """A job that was asked for correctly and could not be done."""


def json_problem(error: Exception) -> str:
    """What is wrong with JSON that could not be read; of deep nesting each Python says another."""
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
