"""Try it: one question to a model about a picture."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Form, UploadFile

from groundingme.errors import UsageError
from groundingme.studio.asked import DEFAULT, Models
from groundingme.studio.context import Studio, studio
from groundingme.studio.desk import desk
from groundingme.studio.settings import MAX_UPLOAD

router = APIRouter(tags=["ask"], dependencies=[Depends(desk)])

Parts = Annotated[Studio, Depends(studio)]

_models: dict[tuple[str, ...], Models] = {}


def models(parts: Parts) -> Models:
    """The models that can be asked, loaded once for each list of specs."""
    specs = parts.settings.models
    return _models.setdefault(specs, Models(specs))


Asked = Annotated[Models, Depends(models)]


@router.get("/models")
def list_of_models(asked: Asked) -> dict[str, Any]:
    """Models that can be asked; the first one is taken where none is named."""
    return {"items": [{"name": one} for one in asked.names], "total": len(asked.names)}


@router.post("/ask")
def ask(
    parts: Parts,
    asked: Asked,
    description: Annotated[str, Form(max_length=4_000)],
    model: Annotated[str, Form(max_length=300)] = DEFAULT,
    picture: Annotated[UploadFile | None, File()] = None,
    key: Annotated[str, Form(max_length=2_000)] = "",
) -> dict[str, Any]:
    """Asks a model where something is in a picture: an uploaded one, or one that a key names."""
    if (picture is None) == (not key):
        raise UsageError("expected a picture or the key of one, and not both")
    if not description.strip():
        raise UsageError("expected a description, got an empty one")
    if picture is not None:
        key = parts.pictures.keep(picture.file.read(MAX_UPLOAD + 1))
    found = parts.pictures.load(key)
    return {**asked.ask(model, description, found.data), "key": key}
