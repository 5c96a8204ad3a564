"""Kinds of values that the API takes, with their bounds."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path, Query
from pydantic import AfterValidator, Field, StringConstraints

from groundingme.studio.context import Studio, studio

MOST = 1_000
"""Most records of a list in one answer."""
_LAST = 2**31 - 1


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("expected text without NUL characters")
    return text


Text = Annotated[str, StringConstraints(max_length=20_000), AfterValidator(_storable)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=100), AfterValidator(_storable)]
Word = Annotated[str, StringConstraints(max_length=200), AfterValidator(_storable)]
Id = Annotated[int, Path(ge=1, le=_LAST)]
Version = Annotated[int, Field(ge=0, le=_LAST)]
Offset = Annotated[int, Query(ge=0, le=_LAST)]
Limit = Annotated[int, Query(ge=1, le=MOST)]
Parts = Annotated[Studio, Depends(studio)]
