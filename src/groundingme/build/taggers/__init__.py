"""Taggers: what may be in a picture, in words for a detector. One file a tagger.

A tagger is made once in each worker by `make`, and asked for many pictures at a time.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from groundingme.errors import GroundingMEError, MissingDependencyError, UsageError
from groundingme.registry import Registry, unknown

if TYPE_CHECKING:
    from PIL import Image

PACKAGES = ("torch", "transformers")
"""What the extra `build` brings for models in this process."""

DTYPES = ("auto", "float32", "float16", "bfloat16")


class Tag(NamedTuple):
    """What may be in a picture.

    Attributes:
        name: As a detector is asked for it.
        score: In [0, 1]; 1 where the tagger gives none.
    """

    name: str
    score: float


Tags = list[Tag] | GroundingMEError
"""Tags of one picture, best first; or why there are none, which is counted."""


class Tagger(Protocol):
    """Says what may be in pictures.

    Attributes:
        needs_image: Whether it looks at them; if not, none are opened for it.
    """

    needs_image: bool

    def tag(self, pictures: Sequence[Image.Image]) -> list[Tags]:
        """Tags of each picture, in the order of the pictures.

        Args:
            pictures: Upright RGB; None for each where `needs_image` is false.

        Raises:
            GroundingMEError: No picture can be tagged: a model that cannot be loaded.
        """
        ...


TAGGERS: Registry[Callable[..., Tagger]] = Registry("tagger", "groundingme.build.taggers")


def make(name: str, **options: Any) -> Tagger:
    """A tagger by name.

    It checks the options and reads small files; weights are loaded with the first pictures.

    Args:
        name: `fixed`, `ram`, `florence` or `mllm`.
        **options: For the tagger.

    Raises:
        UsageError: The name or an option is unknown, or cannot be used.

    Example:
        >>> make("fixed", vocabulary=["cup", "spoon"]).tag([None])
        [[Tag(name='cup', score=1.0), Tag(name='spoon', score=1.0)]]
    """
    factory = TAGGERS.get(name)
    known = [
        parameter.name
        for parameter in inspect.signature(factory).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    ]
    for option in options:
        if option not in known:
            raise unknown(f"option of the tagger {name}", option, known)
    try:
        return factory(**options)
    except UsageError:
        raise
    except (TypeError, ValueError) as error:
        given = ", ".join(f"{option}={value!r}" for option, value in options.items())
        raise UsageError(
            f"expected options that the tagger {name} can use ({', '.join(known)}), got "
            f"{given or 'none'}: {error}"
        ) from None


def needs(tagger: str, packages: Sequence[str] = PACKAGES) -> None:
    """Raises `MissingDependencyError` where a package is not installed."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise MissingDependencyError(
                f"expected the packages {' and '.join(packages)} for the tagger {tagger}, got no "
                f"{package}; pip install 'groundingme[build]'"
            )


def check_dtype(dtype: str) -> str:
    """The name of a type of numbers.

    Raises:
        UsageError: It is none of `DTYPES`.
    """
    if dtype not in DTYPES:
        raise UsageError(f"expected dtype as one of {', '.join(DTYPES)}, got {dtype!r}")
    return dtype


def place(device: str | None, dtype: str) -> tuple[str, Any]:
    """Where a model runs, and torch's type of its numbers.

    Args:
        device: None for the first GPU where there is one.
        dtype: One of `DTYPES`; `auto` is float16 on a GPU, else float32.
    """
    import torch

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if dtype == "auto":
        dtype = "float16" if device.startswith("cuda") else "float32"
    return device, getattr(torch, dtype)
