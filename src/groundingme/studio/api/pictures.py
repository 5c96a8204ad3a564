"""Pictures, thumbnails and deep-zoom tiles by their keys."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import Response

from groundingme.studio import tiles
from groundingme.studio.context import Studio, studio
from groundingme.studio.desk import desk
from groundingme.studio.pictures import MIMES, TILED_FROM

router = APIRouter(tags=["pictures"], dependencies=[Depends(desk)])

Parts = Annotated[Studio, Depends(studio)]
Key = Annotated[str, Path(max_length=2_000, description="Of a picture, as the API gave it.")]

_KEPT = {"Cache-Control": "private, max-age=3600", "X-Content-Type-Options": "nosniff"}


@router.get("/pictures/{key}/info")
def picture_info(key: Key, parts: Parts) -> dict[str, Any]:
    """Width and height of the upright picture, and whether it should be shown in tiles."""
    _, found = parts.pictures.info(key)
    return {
        "width": found.width,
        "height": found.height,
        "format": found.format,
        "tiled": found.width * found.height > TILED_FROM,
    }


@router.get("/pictures/{key}/thumb", response_class=Response)
def picture_thumb(
    key: Key, parts: Parts, side: Annotated[int, Query(ge=1, le=1280)] = 320
) -> Response:
    """A small picture as JPEG: 160, 320, 640 or 1,280 pixels, the next size that suffices."""
    return Response(parts.pictures.thumb(key, side), media_type="image/jpeg", headers=_KEPT)


@router.get("/pictures/{key}.dzi", response_class=Response)
def picture_descriptor(key: Key, parts: Parts) -> Response:
    """The Deep Zoom descriptor of a picture."""
    _, found = parts.pictures.info(key)
    text = tiles.descriptor((found.width, found.height))
    return Response(text, media_type="application/xml", headers=_KEPT)


@router.get("/pictures/{key}_files/{level}/{column}_{row}.jpg", response_class=Response)
def picture_tile(
    key: Key,
    level: Annotated[int, Path(ge=0, le=40)],
    column: Annotated[int, Path(ge=0, le=100_000)],
    row: Annotated[int, Path(ge=0, le=100_000)],
    parts: Parts,
) -> Response:
    """A Deep Zoom tile as JPEG."""
    made = parts.pictures.tile(key, level, column, row)
    return Response(made, media_type="image/jpeg", headers=_KEPT)


@router.get("/pictures/{key}", response_class=Response)
def picture(key: Key, parts: Parts) -> Response:
    """The picture as it is stored."""
    found = parts.pictures.load(key)
    mime = MIMES.get(found.found.format, "application/octet-stream")
    headers = {**_KEPT, "Content-Disposition": "inline"}
    return Response(found.data, media_type=mime, headers=headers)
